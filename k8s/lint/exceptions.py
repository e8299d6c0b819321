"""Reads the file `exceptions` and records which of its lines were needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).with_name("exceptions")


class Exceptions:
    """The findings that do not fail the lint."""

    def __init__(self) -> None:
        # (linter, check, object) -> the number of the line that allows the finding.
        self.allowed: dict[tuple[str, str, str], int] = {}
        self.used: set[int] = set()
        for number, line in enumerate(FILE.read_text().splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            fields = line.split(maxsplit=3)
            if len(fields) != 4:
                raise SystemExit(f"{FILE}:{number}: no reason: {line!r}")
            self.allowed[fields[0], fields[1], fields[2]] = number

    def allow(self, linter: str, check: str, name: str) -> bool:
        """Tells whether the finding of this check on this object is allowed."""
        for wanted in (name, "*"):
            if (line := self.allowed.get((linter, check, wanted))) is not None:
                self.used.add(line)
                return True
        return False

    def stale(self) -> Iterator[str]:
        """Yields the exceptions that allowed no finding."""
        for (linter, check, name), line in self.allowed.items():
            if line not in self.used:
                yield f"{FILE.name}:{line}: {linter} no longer reports {check} on {name}: remove the line"
