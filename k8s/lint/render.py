"""Renders what the lint checks: every kustomization, each component on the base, and the listed combinations."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documents

# The directories with manifests.
ROOTS = ("k8s", "charts", "runtime-class", "e2e/cluster")
# Files with these API groups are not applied to a cluster.
NOT_OBJECTS = ("kustomize.config.k8s.io", "kind.x-k8s.io")
COMPONENTS = Path("k8s/components")
# The components that add a Deployment of the service.
ADD_DEPLOYMENTS = ("istio-canary",)
# Sets the namespace of objects without one, as the overlays do. Objects of some kinds are invalid without a namespace.
NAMESPACE = json.dumps(
    {
        "apiVersion": "builtin",
        "kind": "NamespaceTransformer",
        "metadata": {"name": "namespace", "namespace": "gists"},
        "unsetOnly": True,
    }
)


@dataclass(frozen=True)
class Rendered:
    """The objects of one kustomization, or of one file outside all kustomizations."""

    name: str
    file: Path
    objects: list[dict]
    # Whether people apply it as it is.
    is_overlay: bool


def needs(component: str) -> list[str]:
    """Returns the components that this one needs (`# Needs: a, b`), directly or through others, in the order to apply them."""
    text = (COMPONENTS / component / "kustomization.yaml").read_text()
    found: list[str] = []
    for line in re.findall(r"^# Needs: (.*)$", text, re.MULTILINE):
        for word in line.split(","):
            name = word.strip().removesuffix(".")
            if (COMPONENTS / name / "kustomization.yaml").exists():
                found += [n for n in (*needs(name), name) if n not in found]
    return found


def kustomizations() -> list[Path]:
    """Returns the directories that can be built alone."""
    found = []
    for root in ROOTS:
        for file in sorted(Path(root).rglob("kustomization.yaml")):
            if all(d.get("kind") == "Kustomization" for d in documents.read(file)):
                found.append(file.parent)
    return found


def loose() -> list[Path]:
    """Returns the manifests outside all kustomizations and components."""
    inside = {file.parent for root in ROOTS for file in Path(root).rglob("kustomization.yaml")}
    found = []
    for root in ROOTS:
        for file in sorted(Path(root).rglob("*.yaml")):
            if "templates" in file.parts or any(parent in inside for parent in file.parents):
                continue
            objects = [d for d in documents.read(file) if "apiVersion" in d and "kind" in d]
            if objects and not any(d["apiVersion"].startswith(NOT_OBJECTS) for d in objects):
                found.append(file)
    return found


def build(directory: Path, name: str, into: Path, is_overlay: bool) -> Rendered:
    """Builds a kustomization. A warning is an error: kustomize warns before it removes a field."""
    told = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=False)
    if told.returncode or told.stderr.strip():
        raise SystemExit(f"lint-k8s: {name}: {told.stderr.strip()}")
    file = into / f"{name.replace('/', '_').replace(' + ', '+')}.yaml"
    file.write_text(told.stdout)
    return Rendered(name, file, list(documents.documents(told.stdout)), is_overlay)


def combine(base: str, components: list[str], work: Path, into: Path) -> Rendered:
    """Builds a base or an overlay with components appended, each after the components that it needs."""
    name = " + ".join([base, *components])
    # Resolved, because `target` may be a symbolic link, and kustomize resolves `..` from the link's target.
    directory = work.resolve() / "combinations" / name.replace("/", "_").replace(" + ", "+")
    origin = (Path("k8s") / base).resolve()
    if base == "base":
        kustomization: dict[str, Any] = {"resources": [os.path.relpath(origin, directory)], "transformers": [NAMESPACE]}
        directory.mkdir(parents=True)
    else:
        # A copy of the overlay: its patches must apply after the added components, too.
        shutil.copytree(origin, directory)
        (kustomization,) = documents.read(directory / "kustomization.yaml")
        for key in ("resources", "components"):
            entries = kustomization.get(key, [])
            kustomization[key] = [os.path.relpath(origin / e, directory) if e.startswith("../") else e for e in entries]
    present = [Path(entry).name for entry in kustomization.setdefault("components", [])]
    for component in components:
        for wanted in (*needs(component), component):
            if wanted not in present:
                # A component that adds a Deployment stands before those that patch Deployments, directly after what it needs.
                place = max(map(present.index, needs(wanted)), default=-1) + 1 if wanted in ADD_DEPLOYMENTS else len(present)
                present.insert(place, wanted)
                kustomization["components"].insert(place, os.path.relpath(COMPONENTS.resolve() / wanted, directory))
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **kustomization}
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))
    return build(directory, name, into, is_overlay=False)


def example(work: Path, into: Path) -> Rendered:
    """Builds the overlay that k8s/README.md shows."""
    found = re.search(r"^```yaml\n(.*?)^```$", Path("k8s/README.md").read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit("lint-k8s: k8s/README.md shows no overlay")
    beside = Path("k8s/overlays/mine").resolve()
    directory = work.resolve() / "combinations" / "mine"
    directory.mkdir(parents=True)
    (kustomization,) = documents.documents(found[1])
    for key in ("resources", "components"):
        kustomization[key] = [os.path.relpath(beside / e, directory) if e.startswith("../") else e for e in kustomization[key]]
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))
    return build(directory, "k8s/README.md", into, is_overlay=False)


def of_services(work: Path, into: Path) -> list[Rendered]:
    """Builds each component of a system of k8s/services on the system's base."""
    found = []
    for component in sorted(Path("k8s/services").glob("*/components/*/kustomization.yaml")):
        directory = component.parent
        base = directory.parent.parent / "base"
        beside = work.resolve() / "combinations" / str(directory).replace("/", "_")
        beside.mkdir(parents=True)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(base.resolve(), beside)],
            "components": [os.path.relpath(directory.resolve(), beside)],
            "transformers": [NAMESPACE],
        }
        (beside / "kustomization.yaml").write_text(json.dumps(kustomization))
        found.append(build(beside, f"{base} + {directory.name}", into, is_overlay=False))
    return found


def everything(work: Path) -> list[Rendered]:
    """Renders everything that the lint checks into `work`."""
    into = work / "rendered"
    into.mkdir(parents=True, exist_ok=True)
    built = kustomizations()
    found = [build(d, str(d), into, is_overlay=d.parent.name == "overlays") for d in built]
    found += [combine("base", [c.name], work, into) for c in sorted(COMPONENTS.iterdir()) if (c / "kustomization.yaml").exists()]
    for line in Path("k8s/lint/combinations").read_text().splitlines():
        if line and not line.startswith("#"):
            base, *components = line.split()
            found.append(combine(base, components, work, into))
    found += of_services(work, into)
    found.append(example(work, into))
    found += [Rendered(str(f), f, documents.read(f), is_overlay=False) for f in loose()]
    return found
