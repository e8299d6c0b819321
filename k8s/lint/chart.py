"""Checks of the Helm charts.

The gists chart must render the same objects as the base, and as the base with tracing. Each chart must accept each set of valid values and
refuse each set of invalid values.
"""

from __future__ import annotations

import copy
import difflib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import documents
from policies import HASHED
from render import Rendered

CHARTS = Path("charts")
CHART = CHARTS / "gists"
UMBRELLA = CHARTS / "my-app"
# Labels and annotations that only helm's output has.
HELMS = ("app.kubernetes.io/managed-by", "helm.sh/chart", "helm.sh/hook", "helm.sh/hook-delete-policy")

SIDECAR = {
    "name": "sidecar",
    "image": "busybox:1.37",
    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
    "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
}

# Values that the gists chart must accept. The objects that it renders from them must be valid.
ALLOWED: dict[str, dict] = {
    "canary": {"version": "canary", "image": {"tag": "0.2.0-rc.1"}, "autoscaling": {"minReplicas": 1}},
    "canaries": {"version": "canary", "replicas": 4},
    "stopped": {"autoscaling": {"enabled": False}, "replicas": 0},
    "two": {"autoscaling": {"minReplicas": 2}, "podDisruptionBudget": {"minAvailable": 1}},
    "plain": {"runtimeClassName": "", "image": {"repository": "registry.example.com:5000/github-gists-api-plain"}},
    "digest": {"image": {"digest": "sha256:" + "0" * 64}, "imagePullSecrets": [{"name": "registry"}]},
    "fixed": {"autoscaling": {"enabled": False}, "replicas": 2, "podDisruptionBudget": {"minAvailable": "50%"}},
    "full": {
        "settings": {"CACHE_TTL": 600, "WASI_HTTP_HOST_NO_CACHE": True, "APP": ""},
        "env": [{"name": "WASI_HTTP_HOST_LOG_LEVEL", "value": "DEBUG"}],
        "serviceAccount": {"annotations": {"example.com/role": "none"}},
        "podAnnotations": {"example.com/a": "b"},
        "podLabels": {"team": "gists"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "wasm", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "system-cluster-critical",
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "sidecars": [SIDECAR],
    },
    "many": {"autoscaling": {"maxReplicas": 40}},
    "shared": {"settings": {"CACHE_STORE": "shared", "WASI_HTTP_HOST_KEYVALUE_STORE": "shared=redis://redis:6379"}},
    "traced": {
        "tracing": {"enabled": True, "endpoint": "https://collector.example.com", "share": 1},
        "settings": {"OTEL_SERVICE_NAME": "mine"},
    },
}
# Values that the gists chart must refuse, and a part of the message.
REFUSED: list[tuple[dict, str]] = [
    ({"image": {"tag": "latest"}}, "/image/tag"),
    ({"image": {"repository": "api:1"}}, "/image/repository"),
    ({"settings": {"GITHUB_TOKEN": "secret"}}, "/settings"),
    ({"settings": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret"}}, "/settings"),
    ({"tracing": {"endpoint": "http://user:secret@collector"}}, "/tracing/endpoint"),
    ({"tracing": {"share": 5}}, "/tracing/share"),
    ({"settings": {"cache_ttl": "60"}}, "cache_ttl"),
    ({"settings": {"CACHE_ENTRIES": 1000000}}, "/settings/CACHE_ENTRIES"),
    ({"replica": 3}, "replica"),
    ({"version": "blue"}, "/version"),
    ({"autoscaling": {"minReplicas": 11}}, "autoscaling.minReplicas"),
    ({"preStopSeconds": 40}, "terminationGracePeriodSeconds"),
    ({"autoscaling": {"minReplicas": 2}}, "podDisruptionBudget.minAvailable"),
    ({"autoscaling": {"enabled": False}, "replicas": 2}, "podDisruptionBudget.minAvailable"),
    ({"autoscaling": {"minReplicas": 1}, "podDisruptionBudget": {"minAvailable": "1%"}}, "podDisruptionBudget.minAvailable"),
    ({"podDisruptionBudget": {"minAvailable": "100%"}}, "podDisruptionBudget.minAvailable"),
]


# The same for the umbrella chart.
UMBRELLA_ALLOWED: dict[str, dict] = {
    "default": {},
    "meshed": {"service-a": {"mesh": {"enabled": True}}, "service-b": {"mesh": {"enabled": True}}},
    "scaled": {"service-b": {"autoscaling": {"enabled": True}, "service": {"port": 80}}},
    "apart": {"service-a": {"enabled": False}, "service-b": {"settings": {"SERVICE_A_URL": "https://a.example.com"}}},
}
UMBRELLA_REFUSED: list[tuple[dict, str]] = [
    ({"service-a": {"replica": 3}}, "replica"),
    ({"service-a": {"image": {"tag": "latest"}}}, "/image/tag"),
    ({"service-b": {"service": {"port": 0}}}, "/service/port"),
    ({"service-a": {"mesh": {"callers": ["service-b"]}}}, "/mesh/callers/0"),
    ({"service-b": {"replicas": 1}}, "podDisruptionBudget.minAvailable"),
    ({"service-b": {"name": "b" * 54}}, "/name"),
]


def template(values: dict, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    command = ["helm", "template", chart.name, str(chart), "--namespace", "default", "--values", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def normal(objects: list[dict]) -> dict[str, str]:
    """Returns the objects as text, by kind and name, without what may differ between helm and kustomize.

    That is: helm's labels and annotations, the namespace, and the hash in the name of a ConfigMap.
    """
    objects = copy.deepcopy(objects)
    text = {}
    for obj in objects:
        meta = obj["metadata"]
        meta.pop("namespace", None)
        for key in ("labels", "annotations"):
            kept = {k: v for k, v in meta.pop(key, {}).items() if k not in HELMS}
            if kept:
                meta[key] = kept
    hashed = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    for obj in objects:
        told = json.dumps(obj, indent=1, sort_keys=True)
        for name in hashed:
            told = told.replace(f'"{name}"', f'"{HASHED.sub("-HASH", name)}"')
        text[f"{obj['kind']} {HASHED.sub('-HASH', obj['metadata']['name']) if obj['kind'] == 'ConfigMap' else obj['metadata']['name']}"] = (
            told
        )
    return text


def equals(wanted: Rendered, values: dict) -> Iterator[str]:
    """Yields the differences between the wanted objects and what the chart renders from these values."""
    told = template(values)
    if told.returncode:
        yield f"{CHART}: {told.stderr.strip()}"
        return
    ours, charts = normal(wanted.objects), normal(list(documents.documents(told.stdout)))
    for name in sorted(ours.keys() | charts.keys()):
        if ours.get(name) != charts.get(name):
            lines = difflib.unified_diff(
                ours.get(name, "").splitlines(),
                charts.get(name, "").splitlines(),
                f"{wanted.name}: {name}",
                f"{CHART}: {name}",
                lineterm="",
            )
            yield f"the chart does not render {wanted.name}:\n" + "\n".join(lines)


def canary_is_not_scaled(rendered: list[Rendered]) -> Iterator[str]:
    """A release of a canary brings the given number of pods, and no autoscaler that would change the number."""
    for name, pods in (("canary", 1), ("canaries", 4)):
        for obj in next(r.objects for r in rendered if r.name == f"{CHART} ({name})"):
            if obj["kind"] in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
                yield f"{CHART} with values {name}: renders a {obj['kind']}"
            elif obj["kind"] == "Deployment" and obj["spec"].get("replicas") != pods:
                yield f"{CHART} with values {name}: {obj['spec'].get('replicas')} replicas, not {pods}"


def renderings(into: Path) -> tuple[list[Rendered], list[str]]:
    """Renders the charts with all allowed values. Also returns the allowed values that they refuse, and the refused that they accept."""
    rendered, wrong = [], []
    for chart, allowed, refused in ((CHART, ALLOWED, REFUSED), (UMBRELLA, UMBRELLA_ALLOWED, UMBRELLA_REFUSED)):
        for name, values in allowed.items():
            told = template(values, chart)
            if told.returncode:
                wrong.append(f"{chart} with values {name}: {told.stderr.strip()}")
                continue
            file = into / f"chart_{chart.name}_{name}.yaml"
            file.write_text(told.stdout)
            rendered.append(Rendered(f"{chart} ({name})", file, list(documents.documents(told.stdout)), is_overlay=False))
        for values, said in refused:
            told = template(values, chart)
            if not told.returncode:
                wrong.append(f"{chart} accepts {values}")
            elif said not in told.stderr:
                wrong.append(f"{chart} with {values} does not name {said!r}: {told.stderr.strip()}")
    return rendered, wrong


def whole() -> list[Path]:
    """Returns the directories of all charts but subcharts, which use templates of their parent's library."""
    return [file.parent for file in sorted(CHARTS.glob("*/Chart.yaml"))]
