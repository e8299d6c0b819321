"""Runs other projects' linters. Each function returns the findings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from exceptions import Exceptions
from render import Rendered

# A grade of kube-score: 1 is critical, 5 is a warning, 10 is good.
CRITICAL = 1


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)


def plain(*command: object) -> list[str]:
    """Runs a linter whose exit code tells whether it found something."""
    told = run(*command)
    return [(told.stdout + told.stderr).strip() or f"{command[0]} ended with {told.returncode}"] if told.returncode else []


def kubeconform(files: list[Path], schemas: Path) -> list[str]:
    """Checks the files against the schemas. Unknown fields, repeated fields and kinds without a schema are errors."""
    core = schemas / "core" / "{{ .ResourceKind }}{{ .KindSuffix }}.json"
    custom = schemas / "custom" / "{{ .Group }}" / "{{ .ResourceKind }}_{{ .ResourceAPIVersion }}.json"
    return plain("kubeconform", "-strict", "-summary", "-n", "2", "-schema-location", core, "-schema-location", custom, *files)


def istioctl(rendered: Rendered, allowed: Exceptions) -> list[str]:
    """Analyses one rendering. Warnings count as errors."""
    command = ("istioctl", "analyze", "--use-kube=false", "--all-namespaces", "--output", "json")
    told = run(*command, rendered.file)
    try:
        messages = json.loads(told.stdout or "[]") or []
    except ValueError:
        return [f"istioctl analyze: {told.stdout}{told.stderr}"]
    if told.returncode and not messages:
        return [f"istioctl analyze: {told.stderr}"]
    wrong = []
    for message in messages:
        # "EnvoyFilter istio-system/name"
        origin = message.get("origin", "")
        if message["level"] != "Info" and not allowed.allow("istioctl", message["code"], origin.rpartition("/")[2]):
            wrong.append(f"{message['level']} {message['code']} {origin}: {message['message']}")
    return wrong


def kube_score(rendered: Rendered, allowed: Exceptions) -> list[str]:
    told = run("kube-score", "score", "--output-format", "json", rendered.file)
    try:
        objects = json.loads(told.stdout) or []
    except ValueError:
        # The file has no object that kube-score knows, for example only policies.
        return [] if told.returncode == 0 else [f"kube-score: {told.stdout}{told.stderr}"]
    wrong = []
    for obj in objects:
        name = obj["object_meta"]["name"]
        for check in obj["checks"]:
            if check["grade"] == CRITICAL and not check["skipped"] and not allowed.allow("kube-score", check["check"]["id"], name):
                why = "; ".join(f"{c['path']} {c['summary']}".strip() for c in check["comments"])
                wrong.append(f"{obj['type_meta']['kind']} {name}: {check['check']['id']}: {why}")
    return wrong
