"""Writes the generated files, and checks that the committed ones are current."""

from __future__ import annotations

from pathlib import Path

from . import rules, series
from .dashboards import ALL
from .rules import MONITORING, ROOT

DASHBOARDS = MONITORING / "grafana/dashboards"


def generated() -> dict[Path, str]:
    """Returns the generated files with their content."""
    files = {DASHBOARDS / f"{dashboard.uid}.json": dashboard.json() for dashboard in ALL}
    files[rules.PROMETHEUS_RULE] = rules.prometheus_rule()
    files[MONITORING / "series.json"] = series.summary(rules.rules())
    return files


def write() -> int:
    """Writes the generated files and prints their paths."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(ROOT))
    return 0


def complaints() -> list[str]:
    """Returns the files that differ from what would be generated."""
    files = generated()
    old = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    wrong = [f"{path.relative_to(ROOT)} is out of date: run scripts/monitoring generate" for path in old]
    stray = [path for path in DASHBOARDS.glob("*.json") if path not in files]
    return wrong + [f"{path.relative_to(ROOT)} has no source: remove it" for path in stray]
