"""Rules on NetworkPolicies and addresses. Each function yields its findings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import documents
from render import COMPONENTS, Rendered

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


def dns(policy: dict) -> list[dict]:
    """Returns the rules of a NetworkPolicy that let pods ask for names."""
    return [way for way in policy["spec"].get("egress", []) if any(port.get("port") == 53 for port in way.get("ports", []))]


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
    common = documents.read(COMPONENTS / "network-policy/default-deny/default-deny.yaml")
    (wanted,) = (dns(o) for o in common if o["metadata"]["name"] == "allow-dns")
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
