"""Which series there are: ours by a real scrape of the real service, recorded ones by their rules, others by declaration."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import yaml

from .dashboards import ALL
from .promql import Selector, selectors, unescape
from .rules import MONITORING, Rule

FOREIGN = MONITORING / "foreign.yaml"
# What discovery adds to each of our series, whether by a scrape configuration or by a PodMonitor.
TARGET_LABELS = {"job", "instance", "namespace", "pod", "node", "track"}
# Families whose first sample comes with the first event: until then they are only announced.
ANNOUNCED = {"wasi_http_host_traps_total"}
# Families that are there only where pods speak TLS themselves, as those of the cluster tests do not.
BY_SETTING = "wasi_http_host_tls_"
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'([a-zA-Z_]\w*)=("(?:\\.|[^"\\])*")')


@dataclass
class Scrape:
    """An exposition: each name's label sets; a family without a sample has none."""

    series: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Scrape:
        """Reads the text format."""
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
        """Why nothing of it can ever match the selector."""
        if selector.name not in self.series:
            return f"{selector}: the service exports no {selector.name}"
        samples = self.series[selector.name]
        asked = [matcher for matcher in selector.matchers if matcher[0] not in TARGET_LABELS]
        if samples and not any(Selector(selector.name, tuple(asked)).accepts(labels) for labels in samples):
            return f"{selector}: none of the {len(samples)} series of that name has such labels"
        labels = {label for sample in samples for label in sample}
        unknown = [label for label, _, _ in asked if samples and label not in labels]
        return f"{selector}: {selector.name} has no label {unknown[0]}" if unknown else None


def plain(expression: str) -> str:
    """A panel's expression without Grafana's variables."""
    return expression.replace("$__rate_interval", "5m").replace("$namespace", ".+")


def used(all_rules: list[Rule]) -> list[tuple[str, Selector]]:
    """Everything that rules and panels select, with where."""
    found = [(f"{rule.file}: {rule.name}", one) for rule in all_rules for one in rule.selectors()]
    for dashboard in ALL:
        for _, row in dashboard.rows:
            for panel in row:
                for expression, _ in panel.queries:
                    found += [(f"{dashboard.uid}: {panel.title}", one) for one in selectors(plain(expression))]
    return found


def foreign() -> dict[str, dict]:
    """Declared series: name to `labels` and `cluster`, whether a cluster test sees it."""
    return {
        name: {"labels": labels, "cluster": entry.get("cluster", False), "exporter": entry["exporter"]}
        for entry in yaml.safe_load(FOREIGN.read_text())
        for name, labels in entry["series"].items()
    }


def complaints(scrape: Scrape, all_rules: list[Rule]) -> list[str]:
    """Selectors that nothing can match, and declarations that nothing needs."""
    recorded = {rule.name for rule in all_rules if not rule.alert}
    declared, wrong, seen = foreign(), [], set()
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
    wrong += [f"{name}: recorded, and read by nobody" for name in sorted(recorded - seen)]
    entries = yaml.safe_load(FOREIGN.read_text())
    wrong += [
        f"foreign.yaml: {entry['exporter']}: neither seen in the cluster tests nor a reason why not"
        for entry in entries
        if not entry.get("cluster") and not entry.get("reason")
    ]
    return wrong


def summary(all_rules: list[Rule]) -> str:
    """For the cluster tests: what is to be found in a Prometheus that scrapes a cluster."""
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
