"""The files of a layer as a tar archive. Equal files give equal bytes."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field

EXECUTABLE, READABLE, DIRECTORY, SHARED_DIRECTORY = 0o755, 0o644, 0o755, 0o1777


@dataclass(frozen=True)
class Entry:
    """A file, a directory or a symbolic link, owned by root and dated 1970, so that neither builder nor build time changes the bytes."""

    kind: bytes
    mode: int
    data: bytes = b""
    target: str = ""


@dataclass
class Tree:
    """The files of a layer by absolute path. Parent directories are added automatically."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def _put(self, path: str, entry: Entry) -> None:
        if not path.startswith("/") or os.path.normpath(path) != path:
            raise ValueError(f"{path!r} is not a normal absolute path")
        parent = path.rpartition("/")[0] or "/"
        if parent != "/" and parent not in self.entries:
            self.directory(parent)
        known = self.entries.setdefault(path, entry)
        if known != entry:
            raise ValueError(f"{path} is given twice with different content")

    def directory(self, path: str, mode: int = DIRECTORY) -> None:
        """Adds a directory."""
        self._put(path, Entry(tarfile.DIRTYPE, mode))

    def file(self, path: str, data: bytes, mode: int = READABLE) -> None:
        """Adds a file."""
        self._put(path, Entry(tarfile.REGTYPE, mode, data))

    def link(self, path: str, target: str) -> None:
        """Adds a symbolic link to `target`."""
        self._put(path, Entry(tarfile.SYMTYPE, 0o777, target=target))

    def tar(self) -> bytes:
        """Returns the uncompressed layer. Its digest is the layer's diff ID."""
        members = ((path.lstrip("/"), entry) for path, entry in sorted(self.entries.items()))
        return pack(members)

    def layer(self) -> tuple[bytes, bytes]:
        """Returns the layer, uncompressed and compressed."""
        tar = self.tar()
        return tar, gzip.compress(tar, compresslevel=9, mtime=0)


def pack(members: Iterable[tuple[str, Entry]]) -> bytes:
    """Returns a tar archive of these names and entries, in this order."""
    buffer = io.BytesIO()
    # PAX, not GNU: the standard has names longer than 100 bytes only in PAX.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, entry in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname = entry.kind, entry.mode, entry.target
            info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()
