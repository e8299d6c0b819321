"""What is to be checked: every kustomization of the repository, each component on the base, and the combinations listed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import documents

# Where manifests lie.
ROOTS = ("k8s", "runtime-class", "e2e/cluster")
# Files that no cluster is given: the chart's templates are rendered by helm, and kind's configuration is no object.
NOT_OBJECTS = ("kustomize.config.k8s.io", "kind.x-k8s.io")
COMPONENTS = Path("k8s/components")
# Some kinds are nothing without a namespace. Like the overlays': what names one keeps it.
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
    """The objects of one kustomization, or of one loose file."""

    name: str
    file: Path
    objects: list[dict]
    # Made for people to apply as it is; a component on the base is not.
    is_overlay: bool


def needs(component: str) -> list[str]:
    """The components that it says to be built upon (`# Needs: a, b`), and theirs, first things first."""
    text = (COMPONENTS / component / "kustomization.yaml").read_text()
    found: list[str] = []
    for line in re.findall(r"^# Needs: (.*)$", text, re.MULTILINE):
        for word in line.split(","):
            name = word.strip().removesuffix(".")
            if (COMPONENTS / name / "kustomization.yaml").exists():
                found += [n for n in (*needs(name), name) if n not in found]
    return found


def kustomizations() -> list[Path]:
    """Directories of the repository that build by themselves."""
    found = []
    for root in ROOTS:
        for file in sorted(Path(root).rglob("kustomization.yaml")):
            if all(d.get("kind") == "Kustomization" for d in documents.read(file)):
                found.append(file.parent)
    return found


def loose(built: list[Path]) -> list[Path]:
    """Manifests that belong to no kustomization: those below none, and below no component."""
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
    """Builds a kustomization. A warning of kustomize's is an error: it is how it says that a field goes away."""
    told = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=False)
    if told.returncode or told.stderr.strip():
        raise SystemExit(f"lint-k8s: {name}: {told.stderr.strip()}")
    file = into / f"{name.replace('/', '_').replace(' + ', '+')}.yaml"
    file.write_text(told.stdout)
    return Rendered(name, file, list(documents.documents(told.stdout)), is_overlay)


def combine(base: str, components: list[str], work: Path, into: Path) -> Rendered:
    """Builds components on a base, each after what it needs and has not been there: as if they stood at the end of the base's own list."""
    name = " + ".join([base, *components])
    # Real paths: `target` may be a link to somewhere else, and kustomize goes up from where it leads.
    directory = work.resolve() / "combinations" / name.replace("/", "_").replace(" + ", "+")
    origin = (Path("k8s") / base).resolve()
    if base == "base":
        kustomization = {"resources": [os.path.relpath(origin, directory)], "transformers": [NAMESPACE]}
        directory.mkdir(parents=True)
    else:
        # An overlay: a copy of it, for what comes after its components has to come after these too.
        shutil.copytree(origin, directory)
        (kustomization,) = documents.read(directory / "kustomization.yaml")
        for key in ("resources", "components"):
            entries = kustomization.get(key, [])
            kustomization[key] = [os.path.relpath(origin / e, directory) if e.startswith("../") else e for e in entries]
    present = [Path(entry).name for entry in kustomization.setdefault("components", [])]
    for component in components:
        for wanted in (*needs(component), component):
            if wanted not in present:
                present.append(wanted)
                kustomization["components"].append(os.path.relpath(COMPONENTS.resolve() / wanted, directory))
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **kustomization}
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))
    return build(directory, name, into, is_overlay=False)


def example(work: Path, into: Path) -> Rendered:
    """The overlay that the README shows, built as it stands there, beside the others."""
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
    (directory / "namespace.yaml").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}')
    return build(directory, "k8s/README.md", into, is_overlay=False)


def everything(work: Path) -> list[Rendered]:
    """All that there is to check, rendered below `work`."""
    into = work / "rendered"
    into.mkdir(parents=True, exist_ok=True)
    built = kustomizations()
    found = [build(d, str(d), into, is_overlay=d.parent == Path("k8s/overlays")) for d in built]
    found += [combine("base", [c.name], work, into) for c in sorted(COMPONENTS.iterdir()) if (c / "kustomization.yaml").exists()]
    for line in Path("k8s/lint/combinations").read_text().splitlines():
        if line and not line.startswith("#"):
            base, *components = line.split()
            found.append(combine(base, components, work, into))
    found.append(example(work, into))
    found += [Rendered(str(f), f, documents.read(f), is_overlay=False) for f in loose(built)]
    return found
