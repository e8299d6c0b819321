"""Checks Alertmanager's configuration and the receivers of alerts."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from .rules import MONITORING, Rule

DIRECTORY = MONITORING / "alertmanager"
CONFIGURATION = DIRECTORY / "alertmanager.yaml"


def complaints(all_rules: list[Rule]) -> list[str]:
    """Returns amtool's errors, and the alerts whose receivers differ from `routes.yaml`."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        # Debian's amtool 0.25 does not know a webhook's `url_file`, which came with 0.26. `url` has its place.
        file.write(re.sub(r"(?m)^( +- )url_file: .*$", r"\1url: https://example.com", CONFIGURATION.read_text()))
        file.flush()
        return findings(Path(file.name), all_rules)


def findings(configuration: Path, all_rules: list[Rule]) -> list[str]:
    """Returns the complaints about this configuration."""
    checked = amtool("check-config", str(configuration))
    if checked.returncode:
        return [checked.stdout + checked.stderr]
    wrong = [complaint for name in ("gists.title", "gists.text") if (complaint := rendered(name))]
    for case in yaml.safe_load((DIRECTORY / "routes.yaml").read_text()):
        labels = [f"{name}={value}" for name, value in case["labels"].items()]
        routed = amtool("config", "routes", "test", f"--config.file={configuration}", *labels)
        receivers = routed.stdout.strip().split(",")
        if routed.returncode or receivers != case["receivers"]:
            wrong.append(f"routes.yaml: {case['labels']} reaches {receivers}{routed.stderr}, expected {case['receivers']}")
    alerts = {rule.name for rule in all_rules if rule.alert}
    for inhibition in yaml.safe_load(configuration.read_text())["inhibit_rules"]:
        for matcher in inhibition["source_matchers"] + inhibition["target_matchers"]:
            label, _, value = matcher.partition("=")
            names = value.strip('~"').split("|") if label == "alertname" else []
            wrong += [f"alertmanager.yaml: {matcher}: no such alert" for name in names if name not in alerts]
    return wrong


def rendered(template: str) -> str | None:
    """Renders a template with amtool's sample alerts. Returns the error, or `None`."""
    text = f'{{{{ template "{template}" . }}}}'
    done = amtool("template", "render", f"--template.glob={DIRECTORY}/*.tmpl", f"--template.text={text}")
    if done.returncode or not done.stdout.strip():
        return f"gists.tmpl: {template}: {done.stdout}{done.stderr}"
    return None


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
