"""Rules of this repository that no other linter has. Each function yields its findings."""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import documents
import versions
import yaml
from render import COMPONENTS, Rendered

# Workloads that cannot meet the restricted Pod Security Standard, and why.
PRIVILEGED = {
    "wasi-http-installer": "writes the node's binaries and containerd's configuration",
    "wasi-http-remover": "removes the node's binaries and the change to containerd's configuration",
    "alloy": "reads the node's log files, which belong to root",
}
# For each variable of k8s/cluster/versions.env, the module whose custom resource definitions it installs.
INSTALLED = {
    "ISTIO_VERSION": "istio.io/api",
    "GATEWAY_API_VERSION": "sigs.k8s.io/gateway-api",
    "CERT_MANAGER_VERSION": "github.com/cert-manager/cert-manager",
    "METALLB_VERSION": "go.universe.tf/metallb",
}
# Istio's policies that may name their workloads.
SELECTING = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "EnvoyFilter", "Sidecar", "Telemetry", "WasmPlugin")
# Policies for all workloads of the mesh: they must have no selector.
MESH_WIDE = {("PeerAuthentication", "default")}
# GitHub's secondary limit of requests at once, for all clients with one token or address.
GITHUB_CONCURRENCY = 100
# The setting `upstream_concurrency`, if it is not set.
DEFAULT_CONCURRENCY = 20
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
# Where clusters have their DNS, and what a policy names it by.
DNS_SERVERS = {
    "CoreDNS and kube-dns": '"kube-dns"',
    "NodeLocal DNSCache": "169.254.20.10/32",
    "Cloud DNS for GKE": "169.254.169.254/32",
    "OpenShift's DNS": '"openshift-dns"',
    "the port of OpenShift's DNS pods": "5353",
}
# Services in the namespace `monitoring` that charts bring with the values of k8s/monitoring, and their ports.
CHARTS_SERVICES = {"grafana": "80", "loki-gateway": "80"}
# The load of a pod at which the components `hpa-requests` and `keda` add another.
REQUESTS_PER_POD = 500
HASHED = re.compile(r"-[0-9a-z]{10}$")


def pods(obj: dict) -> Iterator[dict]:
    """Yields the pod spec of a workload or a pod; nothing for other objects."""
    spec = obj.get("spec") or {}
    if obj.get("kind") in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield spec["template"]["spec"]
    elif obj.get("kind") == "Pod":
        yield spec


def containers(pod: dict) -> Iterator[dict]:
    yield from pod.get("initContainers", [])
    yield from pod.get("containers", [])


def restricted(rendered: Rendered) -> Iterator[str]:
    """Pods meet the restricted Pod Security Standard, so that no namespace needs a weaker level."""
    for obj in rendered.objects:
        name = obj.get("metadata", {}).get("name", "")
        if name in PRIVILEGED:
            continue
        for pod in pods(obj):
            whole = pod.get("securityContext", {})
            for container in containers(pod):
                own = container.get("securityContext", {})
                what = f"{obj['kind']} {name}, container {container['name']}"
                if not (own.get("runAsNonRoot") or whole.get("runAsNonRoot")):
                    yield f"{what}: runAsNonRoot is not true"
                if (own.get("seccompProfile") or whole.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
                    yield f"{what}: seccompProfile is not RuntimeDefault"
                if own.get("allowPrivilegeEscalation") is not False:
                    yield f"{what}: allowPrivilegeEscalation is not false"
                if "ALL" not in own.get("capabilities", {}).get("drop", []):
                    yield f"{what}: does not drop ALL capabilities"
                if not own.get("readOnlyRootFilesystem"):
                    yield f"{what}: the root file system can be written to"


def settled(rendered: Rendered) -> Iterator[str]:
    """A ConfigMap with a hash in its name is immutable, and a ConfigMap that a pod requires exists."""
    maps = {o["metadata"]["name"] for o in rendered.objects if o.get("kind") == "ConfigMap"}
    for obj in rendered.objects:
        if obj.get("kind") == "ConfigMap" and HASHED.search(obj["metadata"]["name"]) and obj.get("immutable") is not True:
            yield f"ConfigMap {obj['metadata']['name']}: not immutable (a generator that merges must set `immutable` again)"
        for pod in pods(obj):
            for container in containers(pod):
                for source in container.get("envFrom", []):
                    wanted = source.get("configMapRef", {})
                    if wanted and not wanted.get("optional") and wanted["name"] not in maps:
                        yield f"{obj['kind']} {obj['metadata']['name']}: ConfigMap {wanted['name']} does not exist"


def apart_from_its_namespace(rendered: Rendered) -> Iterator[str]:
    """What is applied with the service holds no Namespace: `kubectl delete -k` would delete everything in it."""
    if any(o.get("kind") == "Deployment" and o["metadata"]["name"] == "github-gists-api" for o in rendered.objects):
        for obj in rendered.objects:
            if obj.get("kind") == "Namespace":
                yield f"Namespace {obj['metadata']['name']}: `kubectl delete -k` would delete everything in it: see k8s/namespaces"


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


def identified(rendered: Rendered) -> Iterator[str]:
    """In an overlay, the pods' version label is the tag of their image, and every object has the label `environment`."""
    if not rendered.is_overlay:
        return
    for obj in rendered.objects:
        labels = obj["metadata"].get("labels", {})
        # Objects in another namespace, such as Istio's gateway, have the label, too.
        if labels.get("environment") != Path(rendered.name).name:
            yield f"{obj['kind']} {obj['metadata']['name']}: label environment is {labels.get('environment')!r}"
        # The canary's version differs from the environment's.
        if obj.get("kind") != "Deployment" or (labels.get("app"), labels.get("version")) != ("github-gists-api", "stable"):
            continue
        template = obj["spec"]["template"]
        version = template["metadata"]["labels"].get("app.kubernetes.io/version")
        image = template["spec"]["containers"][0]["image"]
        if "@" not in image and image.rpartition(":")[2] != version:
            yield f"Deployment {obj['metadata']['name']}: image {image}, but app.kubernetes.io/version {version!r}"


def apart(rendered: Rendered) -> Iterator[str]:
    """The canary has an image name of its own, so that an overlay can set the images of canary and stable release separately."""
    deployments = {o["metadata"]["name"]: o["spec"]["template"]["spec"] for o in rendered.objects if o.get("kind") == "Deployment"}
    images = {name: pod["containers"][0]["image"] for name, pod in deployments.items()}
    stable, canary = (images.get(name, "").partition(":")[0] for name in ("github-gists-api", "github-gists-api-canary"))
    if not (stable and canary):
        return
    # A name without a registry comes from a component: the overlay has not set it.
    if "overlays/" in rendered.name and "/" not in canary:
        yield f"the overlay's `images` does not list {canary}"
    elif "overlays/" not in rendered.name and stable == canary:
        yield f"the canary would run the stable image: {canary} must have a name of its own"


def released(rendered: Rendered) -> Iterator[str]:
    """The objects that a pipeline applies have the label that selects them, and the pipeline's Role allows it to apply them."""
    named = {"kind": "Role", "name": "github-gists-deployer"}
    roles = [o for o in rendered.objects if {"kind": o.get("kind"), "name": o["metadata"]["name"]} == named]
    may = [rule for role in roles for rule in role["rules"] if {"create", "patch"} <= set(rule["verbs"])]
    for obj in rendered.objects:
        labels, what = obj["metadata"].get("labels", {}), f"{obj['kind']} {obj['metadata']['name']}"
        if labels.get("app.kubernetes.io/component") != "service":
            if obj["kind"] == "Deployment" and labels.get("app") == "github-gists-api":
                yield f"{what}: no label app.kubernetes.io/component: service: a pipeline would not apply it"
            continue
        group = obj["apiVersion"].rpartition("/")[0]
        resource = f"{obj['kind'].lower()}s"
        if roles and not any(group in rule["apiGroups"] and resource in rule["resources"] for rule in may):
            yield f"{what}: has the label app.kubernetes.io/component: service, but the Role {named['name']} does not allow to apply it"


def dns(policy: dict) -> list[dict]:
    """Returns the rules of a NetworkPolicy that let pods ask for names."""
    return [way for way in policy["spec"].get("egress", []) if any(port.get("port") == 53 for port in way.get("ports", []))]


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


def one_way_out(rendered: Rendered) -> Iterator[str]:
    """Where Istio lets pods reach registered hosts only, no NetworkPolicy lets them reach all public addresses.

    A process that bypasses its sidecar would otherwise bypass the egress gateway.
    """
    sidecars = [o for o in rendered.objects if o.get("kind") == "Sidecar"]
    if not any(o["spec"].get("outboundTrafficPolicy", {}).get("mode") == "REGISTRY_ONLY" for o in sidecars):
        return
    for obj in rendered.objects:
        for way in obj["spec"].get("egress", []) if obj.get("kind") == "NetworkPolicy" else []:
            if any(peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0") for peer in way.get("to", [])):
                yield f"NetworkPolicy {obj['metadata']['name']}: lets pods bypass the egress gateway"


def names_everywhere() -> Iterator[str]:
    """Each policy that allows DNS allows the same servers: clusters differ in where their DNS is."""
    (wanted,) = (dns(o) for o in documents.read(COMPONENTS / "network-policy/default-deny.yaml") if o["metadata"]["name"] == "allow-dns")
    told = json.dumps(wanted)
    for what, peer in DNS_SERVERS.items():
        if peer not in told:
            yield f"allow-dns does not allow {what}"
    for file in sorted(COMPONENTS.rglob("*.yaml")):
        for policy in (o for o in documents.read(file) if o.get("kind") == "NetworkPolicy"):
            if dns(policy) and dns(policy) != wanted:
                yield f"{file}: NetworkPolicy {policy['metadata']['name']}: its rules for DNS are not those of allow-dns"


def monitoring_addresses(everything: Iterable[Rendered]) -> Iterator[str]:
    """Each address in the namespace `monitoring` that a file names is that of a Service in k8s/monitoring, or of a chart."""
    known: dict[str, set[str]] = {name: {port} for name, port in CHARTS_SERVICES.items()}
    for rendered in everything:
        for obj in rendered.objects if rendered.name.startswith("k8s/monitoring/") else []:
            if obj.get("kind") == "Service" and obj["metadata"].get("namespace") == "monitoring":
                known.setdefault(obj["metadata"]["name"], set()).update(str(port["port"]) for port in obj["spec"]["ports"])
    for file in sorted(f for f in Path("k8s").rglob("*") if f.suffix in (".yaml", ".alloy")):
        for name, port in re.findall(r"([a-z0-9-]+)\.monitoring\.svc(?:\.cluster\.local)?(?::(\d+))?", file.read_text()):
            if name not in known or (port and port not in known[name]):
                yield f"{file}: no Service has the address {name}.monitoring.svc{f':{port}' if port else ''}"


def let_out(rendered: Rendered) -> Iterator[str]:
    """Where a NetworkPolicy restricts a pod's egress, a policy allows the pod DNS.

    A policy with egress rules denies its pods all other egress. In a namespace that had no such policy, a component's own policy would
    otherwise cut its pods off from DNS.
    """
    outgoing = [o for o in rendered.objects if o.get("kind") == "NetworkPolicy" and o["spec"].get("egress")]

    def allows_names(policy: dict) -> bool:
        return bool(dns(policy))

    for policy in outgoing:
        pods, meta = policy["spec"]["podSelector"].get("matchLabels", {}), policy["metadata"]
        if not any(
            allows_names(other)
            and other["metadata"].get("namespace") == meta.get("namespace")
            and other["spec"]["podSelector"].get("matchLabels", {}).items() <= pods.items()
            for other in outgoing
        ):
            yield f"NetworkPolicy {meta['name']}: forbids its pods DNS"


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


# The rules that every rendering must meet.
OF_OBJECTS = (
    restricted,
    settled,
    apart_from_its_namespace,
    bounded,
    routed,
    connects_in_time,
    taken_over,
    drainable,
    identified,
    apart,
    released,
    let_out,
    meshed_alike,
    one_way_out,
    within_githubs_limit,
    limits_each_client,
)


def canary_follows() -> Iterator[str]:
    """The canary's Deployment equals the base's, except for name, image, version and replicas."""
    wanted = documents.read(Path("k8s/base/deployment.yaml"))[0]
    (found,) = documents.read(Path("k8s/components/istio-canary/deployment.yaml"))
    wanted["metadata"]["name"] += "-canary"
    spec = wanted["spec"]
    spec["replicas"] = 1
    for labels in (wanted["metadata"]["labels"], spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]):
        labels["version"] = "canary"
    container = spec["template"]["spec"]["containers"][0]
    container["image"] = container["image"].replace("github-gists-api:", "github-gists-api-canary:")
    container["env"] = [{"name": "APP_VERSION", "value": "canary"} if e["name"] == "APP_VERSION" else e for e in container["env"]]
    if found != wanted:
        as_text = [yaml.safe_dump(d).splitlines() for d in (wanted, found)]
        yield "\n".join(
            difflib.unified_diff(
                as_text[0], as_text[1], "k8s/base/deployment.yaml, as a canary", "istio-canary/deployment.yaml", lineterm=""
            )
        )


def one_version() -> Iterator[str]:
    """Workspace, base, components and chart have the same version."""
    version = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = documents.read(Path("k8s/chart/Chart.yaml"))[0]
    for key in ("version", "appVersion"):
        if chart[key] != version:
            yield f"k8s/chart/Chart.yaml: {key} {chart[key]} is not the workspace's version {version}"
    if f"ARG VERSION={version}\n" not in Path("Dockerfile").read_text():
        yield f"Dockerfile: the default of VERSION is not the workspace's version {version}"
    for file in sorted([*Path("k8s/base").rglob("*.yaml"), *Path("k8s/components").rglob("*.yaml")]):
        text = file.read_text()
        told = re.findall(r"\bgithub-gists-api(?:-canary)?(?:-plain|-artifact)?:([0-9][\w.-]*)", text)
        told += re.findall(r"app\.kubernetes\.io/version: (\S+)", text)
        for found in told:
            if found != version:
                yield f"{file}: version {found} is not the workspace's version {version}"


def artifact_knows_settings() -> Iterator[str]:
    """The component for the OCI artifact, which has no spin.toml, lists all variables of spin.toml."""
    settings = list(tomllib.loads(Path("spin.toml").read_text())["variables"])
    file = Path("k8s/components/wasm-artifact/kustomization.yaml")
    (kustomization,) = documents.read(file)
    told = [literal for generator in kustomization["configMapGenerator"] for literal in generator["literals"]]
    if f"WASI_HTTP_HOST_VAR={','.join(settings)}" not in told:
        yield f"{file}: WASI_HTTP_HOST_VAR does not name spin.toml's variables: {','.join(settings)}"


def installed_versions() -> Iterator[str]:
    """The versions that people install are the versions whose schemas the lint uses."""
    installed = dict(
        line.split("=") for line in Path("k8s/cluster/versions.env").read_text().splitlines() if "=" in line and line[0] != "#"
    )
    pinned = {origin.module: origin.version.removeprefix("v") for origin in versions.read().crds}
    for variable, module in INSTALLED.items():
        if installed.get(variable) != pinned.get(module):
            yield f"versions.env: {variable} is {installed.get(variable)}, k8s/lint/versions has {module} {pinned.get(module)}"
