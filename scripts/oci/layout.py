"""An OCI image layout: blobs named by digest and an index with the image's name, as a directory and as a tar file."""

import hashlib
import json
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from .tree import READABLE, Entry, pack

OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG, LAYER = OCI + "index.v1+json", OCI + "manifest.v1+json", OCI + "config.v1+json", OCI + "layer.v1.tar+gzip"
WASM_CONFIG, WASM_LAYER = "application/vnd.wasm.config.v0+json", "application/wasm"


def digest_of(data: bytes) -> str:
    """Returns the digest that names a blob (OCI image specification, descriptor)."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(document: dict) -> bytes:
    """Encodes a document as JSON so that equal documents give equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass
class Layout:
    """The blobs of one image, and its name."""

    name: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    named: dict | None = None

    def blob(self, media_type: str, data: bytes) -> dict:
        """Adds a blob. Returns its descriptor."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def manifest(self, config: dict, layers: list[dict], annotations: dict[str, str]) -> dict:
        """Adds an image manifest. Returns its descriptor."""
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "annotations": annotations}
        return self.blob(MANIFEST, canonical(document))

    def index(self, manifests: list[dict], annotations: dict[str, str]) -> dict:
        """Adds an image index, for several platforms. Returns its descriptor."""
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": annotations}
        return self.blob(INDEX, canonical(document))

    def name_root(self, descriptor: dict) -> None:
        """Gives the layout's name to a manifest or an index."""
        reference = {"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name.rsplit(":", 1)[1]}
        self.named = descriptor | {"annotations": reference}

    @property
    def digest(self) -> str:
        """The digest that pins the image."""
        return self.root["digest"]

    @property
    def size(self) -> int:
        """The bytes of all blobs. A registry stores as much; a node downloads the part for its platform."""
        return sum(map(len, self.blobs.values()))

    def files(self) -> dict[str, bytes]:
        """Returns the layout's files by path."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [self.root]}
        files = {"oci-layout": canonical({"imageLayoutVersion": "1.0.0"}), "index.json": canonical(index)}
        return files | {"blobs/" + digest.replace(":", "/"): data for digest, data in sorted(self.blobs.items())}

    def write(self, directory: Path) -> Path:
        """Writes the layout to `directory` and to a tar file beside it. Returns the tar file's path. Replaces both only when complete."""
        files = self.files()
        fresh = directory.with_name(directory.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        for path, data in files.items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).write_bytes(data)
        shutil.rmtree(directory, ignore_errors=True)
        fresh.rename(directory)
        tar = directory.with_name(directory.name + ".tar")
        part = directory.with_name(directory.name + ".tar.new")
        part.write_bytes(pack((path, Entry(tarfile.REGTYPE, READABLE, data)) for path, data in files.items()))
        part.rename(tar)
        return tar

    @property
    def root(self) -> dict:
        """The descriptor of the manifest or index that has the layout's name. Raises `ValueError` before `name_root`."""
        if self.named is None:
            raise ValueError(f"{self.name}: no manifest or index has the name yet")
        return self.named
