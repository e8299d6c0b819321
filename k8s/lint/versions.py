"""Reads `versions`, the list of the programs and schemas that the lint uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("versions")


@dataclass(frozen=True)
class Tool:
    """A program, built with Go."""

    name: str
    module: str
    version: str
    command: str


@dataclass(frozen=True)
class With:
    """A version of a module that replaces the version in a tool's own go.mod."""

    tool: str
    module: str
    version: str


@dataclass(frozen=True)
class Core:
    """The Python wheel with the schemas of Kubernetes' own kinds."""

    package: str
    version: str
    directory: str
    sha256: str


@dataclass(frozen=True)
class Crds:
    """A Go module with custom resource definitions."""

    module: str
    version: str
    files: str
    checksum: str


@dataclass(frozen=True)
class Versions:
    """The lines of the file, by their kind."""

    tool: list[Tool] = field(default_factory=list)
    with_: list[With] = field(default_factory=list)
    core: list[Core] = field(default_factory=list)
    crds: list[Crds] = field(default_factory=list)


def read() -> Versions:
    """Reads the file. Ends the lint when a line is malformed."""
    found = Versions()
    kinds: dict[str, tuple[Callable[..., Any], list[Any]]] = {
        "tool": (Tool, found.tool),
        "with": (With, found.with_),
        "core": (Core, found.core),
        "crds": (Crds, found.crds),
    }
    for number, line in enumerate(FILE.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        kind, *values = line.split()
        try:
            make, into = kinds[kind]
            into.append(make(*values))
        except (KeyError, TypeError):
            raise SystemExit(f"{FILE}:{number}: unknown kind, or not its number of fields: {line!r}") from None
    if len(found.core) != 1:
        raise SystemExit(f"{FILE}: {len(found.core)} lines of kind `core`, not 1")
    return found
