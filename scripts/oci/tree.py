"""The files of a layer, and the tar that holds them: the same files give the same bytes."""

import gzip
import io
import os
import tarfile
from dataclasses import dataclass, field

EXECUTABLE, READABLE, DIRECTORY, SHARED_DIRECTORY = 0o755, 0o644, 0o755, 0o1777


@dataclass(frozen=True)
class Entry:
    """A file, a directory or a symbolic link; owned by root, dated 1970, so that neither builder nor hour shows."""

    kind: bytes
    mode: int
    data: bytes = b""
    target: str = ""


@dataclass
class Tree:
    """What a layer holds, by absolute path; parents come by themselves."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def _put(self, path: str, entry: Entry) -> None:
        if not path.startswith("/") or os.path.normpath(path) != path:
            raise ValueError(f"{path!r} is no plain absolute path")
        parent = os.path.dirname(path)
        if parent != "/" and parent not in self.entries:
            self.directory(parent)
        known = self.entries.setdefault(path, entry)
        if known != entry:
            raise ValueError(f"{path} is given twice, with different content")

    def directory(self, path: str, mode: int = DIRECTORY) -> None:
        """A directory, empty unless something is put below it."""
        self._put(path, Entry(tarfile.DIRTYPE, mode))

    def file(self, path: str, data: bytes, mode: int = READABLE) -> None:
        """A file."""
        self._put(path, Entry(tarfile.REGTYPE, mode, data))

    def link(self, path: str, target: str) -> None:
        """A symbolic link to `target`."""
        self._put(path, Entry(tarfile.SYMTYPE, 0o777, target=target))

    def tar(self) -> bytes:
        """The layer, uncompressed: what a diff id is the digest of."""
        members = ((path.lstrip("/"), entry) for path, entry in sorted(self.entries.items()))
        return pack(members)

    def layer(self) -> tuple[bytes, bytes]:
        """The layer's tar, and the same compressed."""
        tar = self.tar()
        return tar, gzip.compress(tar, compresslevel=9, mtime=0)


def pack(members) -> bytes:
    """A tar of (name, entry) pairs, in their order."""
    buffer = io.BytesIO()
    # PAX, not GNU: what names longer than 100 bytes need is then part of the standard.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, entry in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname = entry.kind, entry.mode, entry.target
            info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()
