"""Reads `versions`, the one list of what the lint runs and reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("versions")


@dataclass(frozen=True)
class Tool:
    """A program that Go can build."""

    name: str
    module: str
    version: str
    command: str


@dataclass(frozen=True)
class Core:
    """The schemas of Kubernetes' own kinds, in a Python wheel."""

    package: str
    version: str
    directory: str
    sha256: str


@dataclass(frozen=True)
class Crds:
    """Custom resource definitions in a Go module."""

    module: str
    version: str
    files: str
    checksum: str


def read() -> tuple[list[Tool], Core, list[Crds]]:
    """The tools, the core schemas' origin, the custom resources' origins."""
    tools: list[Tool] = []
    cores: list[Core] = []
    crds: list[Crds] = []
    kinds = {"tool": (Tool, tools), "core": (Core, cores), "crds": (Crds, crds)}
    for number, line in enumerate(FILE.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        kind, *fields = line.split()
        if kind not in kinds or len(fields) != 4:
            raise SystemExit(f"{FILE}:{number}: not a kind and four fields: {line!r}")
        make, into = kinds[kind]
        into.append(make(*fields))
    if len(cores) != 1:
        raise SystemExit(f"{FILE}: {len(cores)} lines `core`, not 1")
    return tools, cores[0], crds
