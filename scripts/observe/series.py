"""Checks that the series exist that rules and panels read.

The service's own series come from a scrape of the service, recorded ones from their rules. Those of other exporters are declared in
`foreign.yaml`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from .dashboards import ALL
from .promql import Selector, selectors, unescape
from .rules import MONITORING, Rule

FOREIGN = MONITORING / "foreign.yaml"
# The labels that discovery adds to each series, by a scrape configuration or a PodMonitor.
TARGET_LABELS = {"job", "instance", "namespace", "pod", "node", "track"}
# Metric families without a sample before the first event. Until then, the service exports only their `# TYPE`.
ANNOUNCED = {"github_api_version_sunset_timestamp_seconds", "wasi_http_host_traps_total"}
# Metric families that exist only where the host terminates TLS. In the cluster tests it does not.
BY_SETTING = "wasi_http_host_tls_"
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'([a-zA-Z_]\w*)=("(?:\\.|[^"\\])*")')


@dataclass
class Scrape:
    """The series of a scrape: for each name, the labels of its samples. A family without a sample has an empty list."""

    series: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Scrape:
        """Reads Prometheus' text format."""
        scrape = cls()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ", 3)
                for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
                    scrape.series.setdefault(name + suffix, [])
            elif match := SAMPLE.match(line):
                labels = {name: unescape(value) for name, value in LABEL.findall(match.group(2) or "")}
                scrape.series.setdefault(match.group(1), []).append(labels)
        return scrape

    def complaint(self, selector: Selector) -> str | None:
        """Returns why no series of the scrape can match the selector, or `None`."""
        if selector.name not in self.series:
            return f"{selector}: the service exports no {selector.name}"
        samples = self.series[selector.name]
        asked = [matcher for matcher in selector.matchers if matcher[0] not in TARGET_LABELS]
        if samples and not any(Selector(selector.name, tuple(asked)).accepts(labels) for labels in samples):
            return f"{selector}: none of the {len(samples)} series of that name has these labels"
        labels = {label for sample in samples for label in sample}
        unknown = [label for label, _, _ in asked if samples and label not in labels]
        return f"{selector}: {selector.name} has no label {unknown[0]}" if unknown else None


def plain(expression: str) -> str:
    """Replaces Grafana's variables in a panel's expression."""
    return expression.replace("$__rate_interval", "5m").replace("$namespace", ".+")


def used(all_rules: list[Rule]) -> list[tuple[str, Selector]]:
    """Returns the selectors of all rules and panels, each with its place."""
    found = [(f"{rule.file}: {rule.name}", one) for rule in all_rules for one in rule.selectors()]
    for dashboard in ALL:
        for _, row in dashboard.rows:
            for panel in row:
                for expression, _ in panel.queries:
                    found += [(f"{dashboard.uid}: {panel.title}", one) for one in selectors(plain(expression))]
    return found


def foreign() -> dict[str, dict[str, Any]]:
    """Returns the declared series by name. `cluster` tells whether the cluster tests see the series."""
    return {
        name: {"labels": labels, "cluster": entry.get("cluster", False), "exporter": entry["exporter"]}
        for entry in yaml.safe_load(FOREIGN.read_text())
        for name, labels in entry["series"].items()
    }


def complaints(scrape: Scrape, all_rules: list[Rule]) -> list[str]:
    """Returns the selectors that no series can match, and the declarations that nothing uses."""
    recorded = {rule.name for rule in all_rules if not rule.alert}
    declared = foreign()
    wrong: list[str] = []
    seen: set[str] = set()
    for where, selector in used(all_rules):
        seen.add(selector.name)
        if selector.name in recorded or selector.name == "ALERTS":
            continue
        if selector.name in declared:
            labels = set(declared[selector.name]["labels"])
            unknown = [label for label, _, _ in selector.matchers if label not in labels]
            wrong += [f"{where}: {selector}: foreign.yaml declares no label {label}" for label in unknown]
        elif complaint := scrape.complaint(selector):
            wrong.append(f"{where}: {complaint}")
    wrong += [f"foreign.yaml: nothing reads {name}" for name in declared if name not in seen]
    wrong += [f"{name}: recorded, but nothing reads it" for name in sorted(recorded - seen)]
    entries = yaml.safe_load(FOREIGN.read_text())
    wrong += [
        f"foreign.yaml: {entry['exporter']}: needs `cluster: true` or a reason why the cluster tests do not see it"
        for entry in entries
        if not entry.get("cluster") and not entry.get("reason")
    ]
    return wrong


def summary(all_rules: list[Rule]) -> str:
    """Returns, for the cluster tests, the series that a Prometheus must find in a cluster."""
    recorded = {rule.name for rule in all_rules if not rule.alert}
    declared = foreign()
    ours = {one.name for _, one in used(all_rules)} - recorded - set(declared) - {"ALERTS"} - ANNOUNCED
    ours = {name for name in ours if not name.startswith(BY_SETTING)}
    panels = {dashboard.uid: [plain(expression) for expression in dashboard.expressions()] for dashboard in ALL}
    content = {
        "service": sorted(ours),
        "announced": sorted(ANNOUNCED),
        "recorded": sorted(recorded),
        "foreign": sorted(name for name, entry in declared.items() if entry["cluster"]),
        "panels": panels,
    }
    return json.dumps(content, indent=2) + "\n"
