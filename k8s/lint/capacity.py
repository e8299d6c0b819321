"""Rules on numbers of pods. Each function yields its findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

from render import Rendered

# GitHub's secondary limit of requests at once, for all clients with one token or address.
GITHUB_CONCURRENCY = 100
# The setting `upstream_concurrency`, if it is not set.
DEFAULT_CONCURRENCY = 20
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
# The load of a pod at which the components `hpa-requests` and `keda` add another.
REQUESTS_PER_POD = 500


def taken_over(rendered: Rendered) -> Iterator[str]:
    """A ScaledObject takes over the HorizontalPodAutoscaler that the base has made.

    KEDA's admission webhook refuses a ScaledObject for a workload that has another autoscaler.
    """
    for obj in rendered.objects:
        if obj.get("kind") != "ScaledObject":
            continue
        target = obj["spec"]["scaleTargetRef"]["name"]
        config = obj["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
        transfers = obj["metadata"].get("annotations", {}).get("scaledobject.keda.sh/transfer-hpa-ownership") == "true"
        if not transfers or config.get("name") != target:
            yield (
                f"ScaledObject {obj['metadata']['name']}: refused in a running overlay, whose HorizontalPodAutoscaler {target} it does not"
                " take over (transfer-hpa-ownership, and the name under advanced.horizontalPodAutoscalerConfig)"
            )


def least(rendered: Rendered, selector: dict[str, str]) -> int:
    """Returns how many pods of the Deployments that this selector matches run at least."""
    minimum = {
        o["spec"]["scaleTargetRef"]["name"]: o["spec"].get("minReplicas") or o["spec"].get("minReplicaCount")
        for o in rendered.objects
        if o.get("kind") in AUTOSCALERS
    }
    pods = 0
    for obj in rendered.objects:
        if obj.get("kind") == "Deployment" and selector.items() <= obj["spec"]["template"]["metadata"]["labels"].items():
            pods += minimum.get(obj["metadata"]["name"]) or obj["spec"].get("replicas", 1)
    return pods


def drainable(rendered: Rendered) -> Iterator[str]:
    """A PodDisruptionBudget lets at least one pod go, when as few pods run as may. Otherwise a node cannot be drained."""
    for obj in rendered.objects:
        if obj.get("kind") != "PodDisruptionBudget":
            continue
        pods, wanted = least(rendered, obj["spec"]["selector"]["matchLabels"]), obj["spec"].get("minAvailable", 0)
        # Kubernetes rounds a percentage up.
        kept = math.ceil(int(wanted[:-1]) * pods / 100) if isinstance(wanted, str) else wanted
        if pods and kept >= pods:
            yield f"PodDisruptionBudget {obj['metadata']['name']}: keeps {kept} of at least {pods} pods, which blocks the drain of a node"


def within_githubs_limit(rendered: Rendered) -> Iterator[str]:
    """All pods together send GitHub no more requests at once than GitHub allows.

    With a shared store, the pods share one bound. Without one, each pod counts its own requests.
    """
    maps = {o["metadata"]["name"]: o.get("data", {}) for o in rendered.objects if o.get("kind") == "ConfigMap"}
    most = {}
    for obj in rendered.objects:
        if obj.get("kind") in AUTOSCALERS:
            spec = obj["spec"]
            most[spec["scaleTargetRef"]["name"]] = spec.get("maxReplicas") or spec.get("maxReplicaCount")
    total, shared = 0, 0
    for obj in rendered.objects:
        if obj.get("kind") != "Deployment" or obj["metadata"].get("labels", {}).get("app") != "github-gists-api":
            continue
        settings: dict[str, str] = {}
        container = obj["spec"]["template"]["spec"]["containers"][0]
        for source in container.get("envFrom", []):
            settings |= maps.get(source.get("configMapRef", {}).get("name"), {})
        settings |= {variable["name"]: variable["value"] for variable in container.get("env", []) if "value" in variable}
        bound = int(settings.get("UPSTREAM_CONCURRENCY", DEFAULT_CONCURRENCY))
        if settings.get("CACHE_STORE", "default") == "default":
            surge = obj["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 1)
            total += bound * (most.get(obj["metadata"]["name"], obj["spec"].get("replicas", 1)) + int(surge))
        else:
            shared = max(shared, bound)
    if total + shared > GITHUB_CONCURRENCY:
        yield (
            f"the pods may send {total + shared} requests to GitHub at once, and GitHub allows {GITHUB_CONCURRENCY}:"
            " lower UPSTREAM_CONCURRENCY, or share a store"
        )
