"""Rules on the files of the repository, which no rendering shows. Each function yields its findings."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import documents
import policies
import versions
import yaml
from render import Rendered

# For each variable of k8s/cluster/versions.env, the module whose custom resource definitions it installs.
INSTALLED = {
    "ISTIO_VERSION": "istio.io/api",
    "GATEWAY_API_VERSION": "sigs.k8s.io/gateway-api",
    "CERT_MANAGER_VERSION": "github.com/cert-manager/cert-manager",
    "METALLB_VERSION": "go.universe.tf/metallb",
    "KYVERNO_VERSION": "github.com/kyverno/kyverno",
}


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
    for file in sorted(Path("charts").rglob("Chart.yaml")):
        (chart,) = documents.read(file)
        told = [chart["version"], *([] if chart["type"] == "library" else [chart["appVersion"]])]
        for found in [*told, *(dependency["version"] for dependency in chart.get("dependencies", []))]:
            if found != version:
                yield f"{file}: version {found} is not the workspace's version {version}"
    if f"ARG VERSION={version}\n" not in Path("Dockerfile").read_text():
        yield f"Dockerfile: the default of VERSION is not the workspace's version {version}"
    roots = (Path("k8s/base"), Path("k8s/components"), Path("k8s/services"))
    for file in sorted(file for root in roots for file in root.rglob("*.yaml") if "dev" not in file.parts):
        text = file.read_text()
        told = re.findall(r"\b(?:github-gists-api(?:-canary)?(?:-plain|-artifact)?|image: service):([0-9][\w.-]*)", text)
        told += re.findall(r"newTag: ([\w.-]+)", text)
        told += re.findall(r"app\.kubernetes\.io/version: (\S+)", text)
        for found in told:
            if found != version:
                yield f"{file}: version {found} is not the workspace's version {version}"


def services_are_deployed(everything: Iterable[Rendered]) -> Iterator[str]:
    """Each component of `services/*/spin.toml` has a Deployment, and its ConfigMap has no setting that the component does not know."""
    deployed: dict[str, list[tuple[str, set[str]]]] = {}
    for rendered in everything:
        maps = {o["metadata"]["name"]: o.get("data") or {} for o in rendered.objects if o.get("kind") == "ConfigMap"}
        for obj in filter(policies.is_service, rendered.objects):
            pod = obj["spec"]["template"]["spec"]
            image = pod["containers"][0]["image"].rpartition("/")[2].partition(":")[0]
            sources = [source.get("configMapRef", {}) for source in pod["containers"][0].get("envFrom", [])]
            for volume in pod.get("volumes", []):
                sources += [source.get("configMap", {}) for source in volume.get("projected", {}).get("sources", [])]
            names = {name for source in sources for name in maps.get(source.get("name"), {})}
            deployed.setdefault(image, []).append((rendered.name, {n for n in names if not n.startswith("WASI_HTTP_HOST_")}))
    for file in sorted(Path("services").glob("*/spin.toml")):
        for component in tomllib.loads(file.read_text())["component"].values():
            name = Path(component["source"]).stem.replace("_", "-")
            known = {variable.upper() for variable in re.findall(r"\{\{\s*(\w+)\s*\}\}", json.dumps(component))}
            if name not in deployed:
                yield f"{file}: no Deployment in k8s/services or charts has the image {name}"
            for where, settings in deployed.get(name, []):
                for unknown in sorted(settings - known):
                    yield f"{where}: {unknown} is no setting of {name} in {file}"


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
