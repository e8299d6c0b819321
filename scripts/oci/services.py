"""The services of `services/`: one image for each component of each system's spin.toml."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .inputs import ROOT, InputError

# The host's own table of a component stays; the rest of `tool`, and `build`, are for building.
NOT_SERVED = ("build", "tool")
# A use of a variable: `{{ name }}`.
VARIABLE = re.compile(r"\{\{\s*([a-z0-9_]+)\s*\}\}")


@dataclass(frozen=True)
class Service:
    """A component of a system's spin.toml."""

    # Of the image: the component's file without suffix, with hyphens, as its crate is called.
    name: str
    system: str
    description: str
    # The component's file, in Cargo's target directory.
    wasm: str
    # spin.toml of this service alone.
    manifest: dict[str, Any]


def services(root: Path = ROOT / "services") -> Iterator[Service]:
    """Yields the services of all systems. Raises `InputError` when a component is not built in the target directory."""
    for file in sorted(root.glob("*/spin.toml")):
        whole = tomllib.loads(file.read_text())
        for identifier, component in whole["component"].items():
            source = PurePosixPath(component["source"])
            directory = "../../target/wasm32-wasip2/dist"
            if str(source.parent) != directory or source.suffix != ".wasm":
                raise InputError(f"{file}: component {identifier}: the source {source} is no component in {directory}")
            description = component.get("description", f"{whole['application']['description']}: {identifier}")
            name = source.stem.replace("_", "-")
            yield Service(name, file.parent.name, description, source.name, alone(whole, identifier))


def alone(whole: dict[str, Any], identifier: str) -> dict[str, Any]:
    """Returns the manifest of a system with this component only, which serves all paths, and with the variables that it uses."""
    component = {key: value for key, value in whole["component"][identifier].items() if key not in NOT_SERVED}
    if (host := whole["component"][identifier].get("tool", {}).get("wasi-http-host")) is not None:
        component["tool"] = {"wasi-http-host": host}
    component["source"] = "service.wasm"
    used = set(VARIABLE.findall(json.dumps(component)))
    return {
        "spin_manifest_version": whole["spin_manifest_version"],
        "application": whole["application"],
        "variables": {name: value for name, value in whole.get("variables", {}).items() if name in used},
        "trigger": {"http": [{"route": "/...", "component": identifier}]},
        "component": {identifier: component},
    }


def toml(manifest: dict[str, Any]) -> bytes:
    """Writes a manifest as TOML, a line for each value of the first level."""
    text = "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in manifest.items())
    if tomllib.loads(text) != manifest:
        raise InputError("spin.toml: has a value that is not written as it was read")
    return text.encode()


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # Texts, numbers, `true` and `false` are written alike. Characters stay as they are, because TOML knows no surrogates; but TOML allows
    # no DEL in a text.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
