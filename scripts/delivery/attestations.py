"""What is attested about an image: a CycloneDX 1.6 SBOM from Cargo.lock, and an SLSA 1.0 provenance."""

import json
import os
import subprocess
from typing import Any

from oci.inputs import ROOT
from oci.inputs import provenance as revision

# Seconds for `cargo metadata`, which may download packages that no build has needed.
TIME_LIMIT = 120
BUILD_TYPE = "scripts/image"


def packages(package: str, metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the packages that end up in a program or component: the closure of its normal dependencies, by their id."""
    known = {one["id"]: one for one in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    [start] = [one["id"] for one in known.values() if one["name"] == package and one["source"] is None]
    found, left = {}, [start]
    while left:
        key = left.pop()
        if key in found:
            continue
        found[key] = known[key]
        for dependency in nodes[key]["deps"]:
            # Dependencies of tests and build scripts run elsewhere.
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                left.append(dependency["pkg"])
    return found


def component(package: dict[str, Any]) -> dict[str, Any]:
    """Returns the SBOM's entry of a package."""
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    entry = {"type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return entry


def sbom(name: str, parts: list[tuple[str, str]]) -> dict[str, Any]:
    """Returns the SBOM of an image that is built from these packages for these targets."""
    entries: dict[str, dict[str, Any]] = {}
    for package, target in parts:
        command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=TIME_LIMIT).stdout
        for found in packages(package, json.loads(printed)).values():
            entry = component(found)
            entries[entry["purl"]] = entry
    repository, digest = name.split("@")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": revision()[1], "component": {"type": "container", "name": repository, "version": digest}},
        "components": [entries[purl] for purl in sorted(entries)],
    }


def provenance(name: str) -> dict[str, Any]:
    """Returns the predicate of the provenance: the commit, and who built. On GitHub, the run of the workflow."""
    commit, created = revision()
    server, repository, run = (os.environ.get(f"GITHUB_{part}", "") for part in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    source = f"{server}/{repository}" if repository else "file://local"
    workflow = os.environ.get("GITHUB_WORKFLOW_REF", "")
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"image": name.split("@", maxsplit=1)[0].rsplit("/", 1)[1], "ref": os.environ.get("GITHUB_REF", "")},
            "resolvedDependencies": [{"uri": f"git+{source}", "digest": {"gitCommit": commit}}],
        },
        "runDetails": {
            "builder": {"id": f"{server}/{workflow}" if workflow else "local"},
            "metadata": {"invocationId": f"{source}/actions/runs/{run}" if run else "local", "startedOn": created},
        },
    }
