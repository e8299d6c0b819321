"""Rules on Istio's routes and policies. Each function yields its findings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from capacity import AUTOSCALERS, REQUESTS_PER_POD
from render import Rendered

# Istio's policies that may name their workloads.
SELECTING = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "EnvoyFilter", "Sidecar", "Telemetry", "WasmPlugin")
# Policies for all workloads of the mesh: they must have no selector.
MESH_WIDE = {("PeerAuthentication", "default")}


def bounded(rendered: Rendered) -> Iterator[str]:
    """An Istio policy names the workloads to which it applies.

    Without a selector, it applies to all workloads of its namespace: an AuthorizationPolicy also closes a gateway in the namespace.
    """
    for obj in rendered.objects:
        name, spec = obj["metadata"]["name"], obj.get("spec") or {}
        if obj.get("kind") not in SELECTING or (obj["kind"], name) in MESH_WIDE:
            continue
        if not any(spec.get(field) for field in ("selector", "workloadSelector", "targetRefs", "targetRef")):
            yield f"{obj['kind']} {name}: has no selector, so it applies to all workloads of its namespace"


def destinations(node: object) -> Iterator[dict]:
    """Every `destination` below a VirtualService's node."""
    if isinstance(node, dict):
        if isinstance(node.get("destination"), dict):
            yield node["destination"]
        for value in node.values():
            yield from destinations(value)
    elif isinstance(node, list):
        for value in node:
            yield from destinations(value)


def routed(rendered: Rendered) -> Iterator[str]:
    """The Service, the port and the subset that a route names exist, and the subset selects pods.

    Without a cluster, istioctl accepts wrong names. Hosts with a dot belong to other namespaces and are not checked.
    """
    services = {o["metadata"]["name"]: o["spec"] for o in rendered.objects if o.get("kind") == "Service"}
    workloads = [o for o in rendered.objects if o.get("kind") == "Deployment"]
    labels = [o["spec"]["template"]["metadata"]["labels"].items() for o in workloads]
    rules = {o["spec"]["host"]: o["spec"] for o in rendered.objects if o.get("kind") == "DestinationRule"}
    for host, rule in rules.items():
        for subset in rule.get("subsets", []):
            if not any(subset["labels"].items() <= pods for pods in labels):
                yield f"DestinationRule {host}: no pods for subset {subset['name']}"
    for obj in rendered.objects:
        if obj.get("kind") != "VirtualService":
            continue
        for destination in destinations(obj["spec"]):
            host, what = destination["host"], f"VirtualService {obj['metadata']['name']}"
            if "." in host:
                continue
            ports = [port["port"] for port in services.get(host, {}).get("ports", [])]
            if host not in services:
                yield f"{what}: no Service {host}"
            elif "port" in destination and destination["port"]["number"] not in ports:
                yield f"{what}: Service {host} has no port {destination['port']['number']}"
            subset = destination.get("subset")
            if subset and subset not in [s["name"] for s in rules.get(host, {}).get("subsets", [])]:
                yield f"{what}: no DestinationRule has subset {subset} of {host}"


def seconds(duration: str) -> float:
    """Returns the seconds of a duration of one unit, such as `12s`."""
    found = re.fullmatch(r"([0-9.]+)(ms|s|m|h)", duration)
    if found is None:
        raise SystemExit(f"lint-k8s: {duration!r} is no duration of one unit")
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]


def connects_in_time(rendered: Rendered) -> Iterator[str]:
    """The time to connect to a pod fits all tries of a request into its time.

    The address of a lost node does not answer. Envoy tries another pod only after the time to connect. When the time to connect is longer
    than a try, the try times out instead, and Envoy does not try another pod.
    """
    rules = {o["spec"]["host"]: o["spec"].get("trafficPolicy", {}) for o in rendered.objects if o.get("kind") == "DestinationRule"}
    for obj in rendered.objects:
        for route in (obj.get("spec") or {}).get("http", []) if obj.get("kind") == "VirtualService" else []:
            tries = route.get("retries", {})
            for host in {d["host"] for d in destinations(route)} & rules.keys():
                connect = seconds(rules[host].get("connectionPool", {}).get("tcp", {}).get("connectTimeout", "10s"))
                one = seconds(tries.get("perTryTimeout", route["timeout"]))
                if connect >= one or connect * (tries.get("attempts", 0) + 1) >= seconds(route["timeout"]):
                    yield (
                        f"VirtualService {obj['metadata']['name']}, {route.get('name')}: a lost pod takes {connect:g} s to connect,"
                        f" too long for {tries.get('attempts', 0) + 1} tries of {one:g} s within {route['timeout']}"
                    )


def meshed_alike(rendered: Rendered) -> Iterator[str]:
    """All Deployments of the service are in the mesh, or none is.

    A component that adds a Deployment must come before those that patch Deployments. A pod outside of the mesh cannot reach the egress
    gateway, and its clients get no mutual TLS.
    """
    labels = ("sidecar.istio.io/inject", "istio.io/dataplane-mode")
    ways = {
        obj["metadata"]["name"]: tuple(obj["spec"]["template"]["metadata"]["labels"].get(label) for label in labels)
        for obj in rendered.objects
        if obj.get("kind") == "Deployment" and obj["metadata"].get("labels", {}).get("app") == "github-gists-api"
    }
    if len(set(ways.values())) > 1:
        yield f"the Deployments are in the mesh in different ways: {ways}: list the component that adds one first"


def descriptors(node: object) -> Iterator[dict]:
    """Every local rate limit with a token bucket below an EnvoyFilter's node."""
    if isinstance(node, dict):
        if str(node.get("@type", "")).endswith("LocalRateLimit") and "token_bucket" in node:
            yield node
        for value in node.values():
            yield from descriptors(value)
    elif isinstance(node, list):
        for value in node:
            yield from descriptors(value)


def limits_each_client(rendered: Rendered) -> Iterator[str]:
    """A rate limit at the gateway has a bucket for each client, and a common bucket that does not stop the scaling.

    With one bucket for all, a client that floods the gateway takes the tokens of all others.
    """
    most = max(
        (o["spec"].get("maxReplicas") or o["spec"]["maxReplicaCount"] for o in rendered.objects if o.get("kind") in AUTOSCALERS),
        default=0,
    )
    for obj in rendered.objects:
        if obj.get("kind") != "EnvoyFilter":
            continue
        for limit in descriptors(obj["spec"]):
            actions = [name for rate in limit.get("rate_limits", []) for action in rate["actions"] for name in action]
            keys = [e["key"] for d in limit.get("descriptors", []) for e in d["entries"] if "value" not in e]
            what = f"EnvoyFilter {obj['metadata']['name']}"
            if not set(actions) & set(keys) & {"remote_address", "masked_remote_address"}:
                yield f"{what}: one bucket for all clients: a client that floods the gateway takes the others' tokens"
            bucket = limit["token_bucket"]
            if bucket["tokens_per_fill"] < most * REQUESTS_PER_POD * float(bucket["fill_interval"].removesuffix("s")):
                yield f"{what}: allows {bucket['tokens_per_fill']} requests, and {most} pods serve {REQUESTS_PER_POD} each per second"
