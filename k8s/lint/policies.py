"""Rules on pods and on what is applied together. Each function yields its findings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from render import Rendered

# Workloads that cannot meet the restricted Pod Security Standard, and why.
PRIVILEGED = {
    "wasi-http-installer": "writes the node's binaries and containerd's configuration",
    "wasi-http-remover": "removes the node's binaries and the change to containerd's configuration",
    "alloy": "reads the node's log files, which belong to root",
}
HASHED = re.compile(r"-[0-9a-z]{10}$")


def pods(obj: dict) -> Iterator[dict]:
    """Yields the pod spec of a workload or a pod; nothing for other objects."""
    spec = obj.get("spec") or {}
    if obj.get("kind") in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield spec["template"]["spec"]
    elif obj.get("kind") == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"]["spec"]
    elif obj.get("kind") == "Pod":
        yield spec


def containers(pod: dict) -> Iterator[dict]:
    yield from pod.get("initContainers", [])
    yield from pod.get("containers", [])


def is_service(obj: dict) -> bool:
    """Tells whether the object is the Deployment of a service, which a release changes."""
    return obj.get("kind") == "Deployment" and obj["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "service"


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
    # Kubernetes puts the certificate of its authority into each namespace.
    maps = {"kube-root-ca.crt", *(o["metadata"]["name"] for o in rendered.objects if o.get("kind") == "ConfigMap")}
    for obj in rendered.objects:
        if obj.get("kind") == "ConfigMap" and HASHED.search(obj["metadata"]["name"]) and obj.get("immutable") is not True:
            yield f"ConfigMap {obj['metadata']['name']}: not immutable (a generator that merges must set `immutable` again)"
        for pod in pods(obj):
            for container in containers(pod):
                for source in container.get("envFrom", []):
                    wanted = source.get("configMapRef", {})
                    if wanted and not wanted.get("optional") and wanted["name"] not in maps:
                        yield f"{obj['kind']} {obj['metadata']['name']}: ConfigMap {wanted['name']} does not exist"
            for volume in pod.get("volumes", []):
                for source in (volume, *volume.get("projected", {}).get("sources", [])):
                    wanted = source.get("configMap", {})
                    if wanted and not wanted.get("optional") and wanted["name"] not in maps:
                        yield f"{obj['kind']} {obj['metadata']['name']}: ConfigMap {wanted['name']}, a volume, does not exist"


def apart_from_its_namespace(rendered: Rendered) -> Iterator[str]:
    """What is applied with the service holds no Namespace: `kubectl delete -k` would delete everything in it."""
    if any(is_service(o) for o in rendered.objects):
        for obj in rendered.objects:
            if obj.get("kind") == "Namespace":
                yield f"Namespace {obj['metadata']['name']}: `kubectl delete -k` would delete everything in it: see k8s/namespaces"


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
        if not is_service(obj) or labels.get("version") != "stable":
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
