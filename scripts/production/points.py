"""The points of the production checklist. Each is a command that prints JSON, and a check of what the command prints."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

CERTIFICATE_DAYS = 21
# Names of variables whose values are secret.
SECRET = re.compile(r"(TOKEN|PASSWORD|SECRET|PRIVATE|API_KEY)(?!_FILE)", re.IGNORECASE)
# The containers of Istio's injector, which Istio configures: the sidecar, and the ones that run before it.
SIDECAR = ("istio-proxy", "istio-init", "istio-validation")
# What a check returns: a line for each thing that is wrong.
Wrong = list[str]


@dataclass(frozen=True)
class Answer:
    """What a command printed, or why it failed."""

    document: dict
    error: str


@dataclass(frozen=True)
class Places:
    """Where to look: a namespace, `namespace/service:port` of Prometheus, and `namespace/name` of the gateway's Secret."""

    namespace: str
    prometheus: str
    certificate: str


@dataclass(frozen=True)
class Point:
    """One point of the list."""

    title: str
    command: str
    check: Callable[[dict, datetime], Wrong]


def get(kind: str, name: str = "", namespace: str = "") -> str:
    """Returns the command that prints one object, or all objects of a kind."""
    words = ["kubectl", *(["-n", namespace] if namespace else []), "get", kind, *([name] if name else []), "-o", "json"]
    return " ".join(words)


def query(prometheus: str, expression: str) -> str:
    """Returns the command that asks Prometheus through the API server."""
    namespace, _, service = prometheus.partition("/")
    path = f"/api/v1/namespaces/{namespace}/services/{service}/proxy/api/v1/query?query={quote(expression)}"
    return f"kubectl get --raw {path}"


def all_points(places: Places) -> list[Point]:
    namespace = places.namespace

    def here(kind: str) -> str:
        return get(kind, namespace=namespace)

    pods = here("pods")
    secret_namespace, _, secret = places.certificate.partition("/")
    return [
        Point("the namespace enforces the Pod Security Standard `restricted`", get("namespace", namespace), restricted),
        Point("no container may become root, write to its image or keep a capability", pods, confined),
        Point("each image is named by its digest", pods, by_digest),
        Point("no pod holds a token of the cluster", pods, without_token),
        Point("no secret value stands in a pod's specification", pods, without_secrets),
        Point("each container has requests and a limit of memory", pods, with_resources),
        Point("each container has a readiness probe and a liveness probe", pods, with_probes),
        Point("each Deployment has at least two available replicas", here("deployments"), available),
        Point("each Deployment spreads its replicas over nodes", here("deployments"), spread),
        Point("disruption budgets exist, and let one pod go", here("poddisruptionbudgets"), budgets),
        Point("autoscalers have figures, and are not at their maximum", here("horizontalpodautoscalers"), autoscalers),
        Point("network policies refuse what no policy allows", here("networkpolicies"), default_deny),
        Point("the mesh refuses plain text", here("peerauthentications"), strict),
        Point("the mesh refuses callers that no policy names", here("authorizationpolicies,pods"), known_callers),
        Point(f"the gateway's certificate is valid for {CERTIFICATE_DAYS} days", get("secret", secret, secret_namespace), certificate),
        Point("Prometheus scrapes the pods", query(places.prometheus, f'up{{namespace="{namespace}"}}'), scraped),
        Point("alerts reach an Alertmanager", query(places.prometheus, "prometheus_notifications_alertmanagers_discovered"), alerted),
    ]


def restricted(namespace: dict, _now: datetime) -> Wrong:
    found = namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
    return [] if found == "restricted" else [f"pod-security.kubernetes.io/enforce is {found or 'not set'}"]


def ended(pod: dict) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def containers(pods: dict) -> Iterator[tuple[str, dict, dict]]:
    """Yields each container of each pod that has not ended, with a name for messages, and the pod's specification."""
    for pod in pods["items"]:
        if ended(pod):
            continue
        spec = pod["spec"]
        for container in spec["containers"]:
            if container["name"] not in SIDECAR:
                yield f"pod {pod['metadata']['name']}, container {container['name']}", container, spec


def each(pods: dict, wrong: Callable[[dict, dict], str | None]) -> Wrong:
    """Returns what `wrong` says of each container. A namespace without containers shows nothing, which is wrong too."""
    all_of = list(containers(pods))
    if not all_of:
        return ["no pod runs here"]
    told = ((name, wrong(container, spec)) for name, container, spec in all_of)
    return [f"{name}: {reason}" for name, reason in told if reason]


def confined(pods: dict, _now: datetime) -> Wrong:
    def wrong(container: dict, spec: dict) -> str | None:
        of_pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
        both = of_pod | own
        wanted = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "allowPrivilegeEscalation: false": own.get("allowPrivilegeEscalation") is False,
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "capabilities.drop: [ALL]": "ALL" in own.get("capabilities", {}).get("drop", []),
            "seccompProfile": both.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
        }
        missing = [name for name, holds in wanted.items() if not holds]
        return f"lacks {', '.join(missing)}" if missing else None

    return each(pods, wrong)


def by_digest(pods: dict, _now: datetime) -> Wrong:
    return each(pods, lambda container, _: None if "@sha256:" in container["image"] else f"image {container['image']}")


def without_token(pods: dict, _now: datetime) -> Wrong:
    def wrong(container: dict, _spec: dict) -> str | None:
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        return next((f"mounts {path}" for path in mounts if path == "/var/run/secrets/kubernetes.io/serviceaccount"), None)

    return each(pods, wrong)


def without_secrets(pods: dict, _now: datetime) -> Wrong:
    def wrong(container: dict, _spec: dict) -> str | None:
        named = [one["name"] for one in container.get("env", []) if one.get("value") and SECRET.search(one["name"])]
        return f"values of {', '.join(named)}" if named else None

    return each(pods, wrong)


def with_resources(pods: dict, _now: datetime) -> Wrong:
    def wrong(container: dict, _spec: dict) -> str | None:
        resources = container.get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        lacking = [f"requests.{name}" for name in ("cpu", "memory") if name not in requests]
        lacking += [] if "memory" in limits else ["limits.memory"]
        return f"lacks {', '.join(lacking)}" if lacking else None

    return each(pods, wrong)


def with_probes(pods: dict, _now: datetime) -> Wrong:
    def wrong(container: dict, _spec: dict) -> str | None:
        lacking = [name for name in ("readinessProbe", "livenessProbe") if name not in container]
        return f"lacks {', '.join(lacking)}" if lacking else None

    return each(pods, wrong)


def items(document: dict, what: str, wrong: Callable[[dict], str | None]) -> Wrong:
    """Returns what `wrong` says of each object."""
    if not document["items"]:
        return [f"there is no {what}"]
    told = ((item["metadata"]["name"], wrong(item)) for item in document["items"])
    return [f"{name}: {reason}" for name, reason in told if reason]


def available(deployments: dict, _now: datetime) -> Wrong:
    def wrong(deployment: dict) -> str | None:
        count = deployment.get("status", {}).get("availableReplicas", 0)
        return None if count >= 2 else f"{count} available"

    return items(deployments, "Deployment", wrong)


def spread(deployments: dict, _now: datetime) -> Wrong:
    def wrong(deployment: dict) -> str | None:
        spec = deployment["spec"]["template"]["spec"]
        apart = spec.get("topologySpreadConstraints") or spec.get("affinity", {}).get("podAntiAffinity")
        return None if apart else "neither topologySpreadConstraints nor podAntiAffinity"

    return items(deployments, "Deployment", wrong)


def budgets(found: dict, _now: datetime) -> Wrong:
    def wrong(budget: dict) -> str | None:
        allowed = budget.get("status", {}).get("disruptionsAllowed", 0)
        return None if allowed >= 1 else "no disruption is allowed now"

    return items(found, "PodDisruptionBudget", wrong)


def autoscalers(found: dict, _now: datetime) -> Wrong:
    def wrong(scaler: dict) -> str | None:
        status, maximum = scaler.get("status", {}), scaler["spec"]["maxReplicas"]
        conditions = {one["type"]: one for one in status.get("conditions", [])}
        active = conditions.get("ScalingActive", {})
        if active.get("status") != "True":
            return f"ScalingActive is {active.get('status', 'unknown')}: {active.get('message', 'no condition yet')}"
        return f"at its maximum of {maximum}" if status.get("currentReplicas", 0) >= maximum else None

    return items(found, "HorizontalPodAutoscaler", wrong)


def default_deny(policies: dict, _now: datetime) -> Wrong:
    denied: set[str] = set()
    for policy in policies["items"]:
        spec = policy["spec"]
        if not spec.get("podSelector"):
            denied |= {kind for kind in spec.get("policyTypes", ["Ingress"]) if not spec.get(kind.lower())}
    lacking = sorted({"Ingress", "Egress"} - denied)
    return [f"no policy for all pods denies {kind}" for kind in lacking]


def strict(found: dict, _now: datetime) -> Wrong:
    return items(found, "PeerAuthentication", lambda one: None if mode(one) == "STRICT" else f"mode {mode(one)}")


def mode(peer_authentication: dict) -> str:
    return peer_authentication.get("spec", {}).get("mtls", {}).get("mode", "UNSET")


def known_callers(found: dict, _now: datetime) -> Wrong:
    # Istio refuses a caller of a pod that a policy selects and no rule of such a policy allows.
    policies = [one.get("spec") or {} for one in found["items"] if one["kind"] == "AuthorizationPolicy"]
    selectors = [spec.get("selector", {}).get("matchLabels", {}) for spec in policies if spec.get("action", "ALLOW") == "ALLOW"]
    pods = {"items": [one for one in found["items"] if one["kind"] == "Pod"]}
    labels = {one["metadata"]["name"]: one["metadata"].get("labels", {}).items() for one in pods["items"] if not ended(one)}
    if not labels:
        return ["no pod runs here"]
    return [f"no AuthorizationPolicy selects pod {name}" for name, own in labels.items() if not any(of.items() <= own for of in selectors)]


def certificate(secret: dict, now: datetime) -> Wrong:
    pem = base64.b64decode(secret.get("data", {}).get("tls.crt", ""))
    command = ["openssl", "x509", "-noout", "-enddate"]
    try:
        done = subprocess.run(command, input=pem, capture_output=True, timeout=10, check=False)
    except FileNotFoundError:
        return ["openssl is not on the PATH"]
    if done.returncode != 0:
        return ["tls.crt is no certificate"]
    ends = datetime.strptime(done.stdout.decode().strip().removeprefix("notAfter="), "%b %d %H:%M:%S %Y GMT")
    ends = ends.replace(tzinfo=now.tzinfo)
    return [] if ends - now >= timedelta(days=CERTIFICATE_DAYS) else [f"it ends at {ends:%Y-%m-%d %H:%M} UTC"]


def samples(answer: dict) -> list[tuple[dict, float]]:
    return [(one["metric"], float(one["value"][1])) for one in answer.get("data", {}).get("result", [])]


def scraped(answer: dict, _now: datetime) -> Wrong:
    found = samples(answer)
    if not found:
        return ["Prometheus knows no pod of this namespace"]
    return [f"{metric.get('pod') or metric.get('instance', 'a target')} is down" for metric, value in found if value != 1]


def alerted(answer: dict, _now: datetime) -> Wrong:
    return [] if any(value > 0 for _, value in samples(answer)) else ["Prometheus knows no Alertmanager"]
