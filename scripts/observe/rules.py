"""Reads the rule files, checks the alerts, and generates the PrometheusRule of the Prometheus operator."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from .promql import Selector, selectors

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "k8s/monitoring"
RULES = MONITORING / "rules"
OPERATIONS = ROOT / "docs/operations.md"
PROMETHEUS_RULE = MONITORING / "operator/prometheusrule.yaml"
# `none` is for an alert that always fires, so that its absence is noticed.
SEVERITIES = {"critical", "warning", "none"}

HEADER = """\
# Generated from ../rules by `scripts/monitoring generate`: change the files there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: github-gists-api
  labels: {app: github-gists-api}
spec:
  groups:
"""


@dataclass(frozen=True)
class Rule:
    """A recording rule or an alert, and its file."""

    file: str
    name: str
    expression: str
    alert: bool
    labels: dict[str, str]
    annotations: dict[str, str]

    def selectors(self) -> list[Selector]:
        """Returns the selectors of the rule's expression."""
        return selectors(self.expression)


def files() -> list[Path]:
    """Returns the rule files in the order of their kustomization."""
    listed = yaml.safe_load((RULES / "kustomization.yaml").read_text())
    return [RULES / name for name in listed["configMapGenerator"][0]["files"]]


def rules() -> list[Rule]:
    """Returns all rules."""
    found = []
    for path in files():
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                found.append(
                    Rule(
                        path.name,
                        name,
                        rule["expr"],
                        "alert" in rule,
                        rule.get("labels", {}),
                        rule.get("annotations", {}),
                    )
                )
    return found


def prometheus_rule() -> str:
    """Returns the rule files as one PrometheusRule, with their comments."""
    text = HEADER
    for path in files():
        groups = path.read_text().split("\ngroups:\n", 1)[1] if "\ngroups:\n" in path.read_text() else None
        if groups is None:
            raise SystemExit(f"{path.relative_to(ROOT)}: no line `groups:`")
        text += "".join(f"  {line}\n" if line.strip() else "\n" for line in groups.splitlines())
    return text


def anchors(markdown: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def complaints(all_rules: list[Rule]) -> list[str]:
    """Checks the alerts beyond promtool: annotations, labels, runbooks and tests."""
    wrong = []
    known = anchors(OPERATIONS.read_text()) if OPERATIONS.exists() else set()
    alerts = [rule for rule in all_rules if rule.alert]
    bases = set()
    for rule in alerts:
        at = f"{rule.file}: {rule.name}"
        for annotation in ("summary", "description", "runbook_url"):
            if not rule.annotations.get(annotation):
                wrong.append(f"{at}: no {annotation}")
        if rule.labels.get("severity") not in SEVERITIES:
            wrong.append(f"{at}: severity {rule.labels.get('severity')!r} is not one of {sorted(SEVERITIES)}")
        if rule.labels.get("service") != "github-gists-api":
            wrong.append(f"{at}: no label service: Alertmanager routes by it")
        base, _, anchor = rule.annotations.get("runbook_url", "").partition("#")
        bases.add(base)
        if anchor != rule.name.lower():
            wrong.append(f"{at}: the runbook's anchor is {anchor!r}: it must be the alert's name in lower case")
        if anchor not in known:
            wrong.append(f"{at}: docs/operations.md has no heading with the anchor #{anchor}")
    if len(bases) > 1:
        wrong.append(f"runbooks have several base URLs: {sorted(bases)}")
    headings = {anchor for anchor in known if anchor.startswith("gists")}
    for anchor in sorted(headings - {rule.name.lower() for rule in alerts}):
        wrong.append(f"docs/operations.md: #{anchor} belongs to no alert")
    return list(dict.fromkeys(wrong)) + untested(alerts)


def untested(alerts: list[Rule]) -> list[str]:
    """Returns the alerts without a test in which they fire, or without a test in which they do not."""
    fires, silent = set(), set()
    for path in sorted((RULES / "tests").glob("*.yaml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("promql_expr_test", []):
                names = {
                    rule.name
                    for rule in alerts
                    for one in selectors(case["expr"])
                    if one.name == "ALERTS" and one.accepts({"alertname": rule.name, "alertstate": "firing", **rule.labels})
                }
                samples = case.get("exp_samples") or []
                labelled = {rule.name for rule in alerts if any(rule.name in sample.get("labels", "") for sample in samples)}
                fires |= (labelled or names) if samples else set()
                silent |= set() if samples else names
    alert_names = sorted({rule.name for rule in alerts})
    unfired = [f"{name}: no test in which it fires" for name in alert_names if name not in fires]
    always = {rule.name for rule in alerts if rule.labels.get("severity") == "none"}
    return unfired + [f"{name}: no test in which it stays silent" for name in alert_names if name not in silent | always]


def promtool(*arguments: str) -> list[str]:
    """Runs promtool. Returns its output when it fails."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [f"promtool {arguments[0]} {arguments[1]}:\n{done.stdout}{done.stderr}"]
