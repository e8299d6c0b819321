"""Reads `versions`, the one list of what the lint runs and reads."""

from __future__ import annotations

from dataclasses import dataclass, field
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
class With:
    """A module of a later version than a tool asks for."""

    tool: str
    module: str
    version: str


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


@dataclass(frozen=True)
class Versions:
    """All lines, by kind."""

    tool: list[Tool] = field(default_factory=list)
    with_: list[With] = field(default_factory=list)
    core: list[Core] = field(default_factory=list)
    crds: list[Crds] = field(default_factory=list)


def read() -> Versions:
    """What the file says."""
    found = Versions()
    kinds = {"tool": (Tool, found.tool), "with": (With, found.with_), "core": (Core, found.core), "crds": (Crds, found.crds)}
    for number, line in enumerate(FILE.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        kind, *values = line.split()
        try:
            make, into = kinds[kind]
            into.append(make(*values))
        except (KeyError, TypeError):
            raise SystemExit(f"{FILE}:{number}: not a kind and its fields: {line!r}") from None
    if len(found.core) != 1:
        raise SystemExit(f"{FILE}: {len(found.core)} lines `core`, not 1")
    return found
