"""Runs all checks. Each prints what it checked."""

from __future__ import annotations

import io
import re
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

import yaml

from . import alertmanager, generate, rules, series, service, test_observe
from .dashboards import ALL
from .rules import MONITORING, ROOT, promtool


def everything(recorded: Path | None, programs: Path, component: Path) -> int:
    """Runs all checks. Returns the number of checks that failed."""
    failed = 0

    def step(what: str, check: Callable[[], list[str]]) -> None:
        nonlocal failed
        found = check()
        failed += bool(found)
        print(f"{'FAILED' if found else 'ok':6} {what}", flush=True)
        for complaint in found:
            print("       " + complaint.replace("\n", "\n       "), file=sys.stderr)

    all_rules = rules.rules()
    alerts = [rule for rule in all_rules if rule.alert]
    tests = sorted((rules.RULES / "tests").glob("*.yaml"))
    paths = [str(path) for path in rules.files()]
    expressions = [plain for dashboard in ALL for plain in map(series.plain, dashboard.expressions())]

    step("tests of these checks", own_tests)
    step("generated files", generate.complaints)
    step(f"{len(all_rules)} rules", lambda: promtool("check", "rules", *paths))
    step(f"{len(tests)} files of rule tests", lambda: promtool("test", "rules", *map(str, tests)))
    step(f"{len(alerts)} alerts: runbooks, labels, a test each", lambda: rules.complaints(all_rules))
    step(f"{len(expressions)} panel expressions", lambda: panels(expressions))
    step("scrape configuration", scrape_configuration)
    step("Alertmanager: configuration and routes", lambda: alertmanager.complaints(all_rules))
    step("every other YAML file", well_formed)
    scrape = series.Scrape.parse(recorded.read_text()) if recorded else service.scrape(programs, component)
    where = recorded.name if recorded else "the real service"
    step(
        f"series, of {len(scrape.series)} that {where} exports",
        lambda: series.complaints(scrape, all_rules),
    )
    return failed


def own_tests() -> list[str]:
    """Runs the tests of these checks. Returns the failures."""
    tests = unittest.defaultTestLoader.loadTestsFromModule(test_observe)
    result = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
    if not result.testsRun:
        return ["no test ran"]
    return [text for _, text in result.failures + result.errors]


def panels(expressions: list[str]) -> list[str]:
    """Checks panel expressions with promtool, as recording rules."""
    named = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "panels", "rules": named}]}, file)
        file.flush()
        return promtool("check", "rules", file.name)


def scrape_configuration() -> list[str]:
    """Checks the scrape configuration with promtool. Debian's promtool lacks kubernetes_sd_configs: file_sd_configs replace them."""
    text = (MONITORING / "prometheus/config.yaml").read_text()
    text, replaced = re.subn(r"(?m)^    kubernetes_sd_configs: \[\{role: .*\}\]$", "    file_sd_configs: [{files: [pods.json]}]", text)
    wrong = [] if replaced else ["prometheus/config.yaml: no line with kubernetes_sd_configs"]
    if "    kubernetes_sd_configs:" in text:
        wrong.append("prometheus/config.yaml: each kubernetes_sd_configs must be one line")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return wrong + promtool("check", "config", "--syntax-only", file.name)


def well_formed() -> list[str]:
    """Returns the files that are not valid YAML."""
    wrong = []
    for path in sorted(MONITORING.rglob("*.yaml")):
        try:
            list(yaml.safe_load_all(path.read_text()))
        except yaml.YAMLError as error:
            wrong.append(f"{path.relative_to(ROOT)}: {error}")
    return wrong
