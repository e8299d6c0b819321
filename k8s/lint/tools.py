"""Finds or builds the programs that the lint runs: `tools.py DIRECTORY` fills DIRECTORY with links to programs of the pinned versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from versions import Tool, With, read


def cache() -> Path:
    """Where the user's caches are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def candidates(tool: Tool, own: Path) -> list[Path]:
    """Where the program may be: built by us before, on the PATH, or among those of a test cluster."""
    cluster = Path(os.environ.get("CLUSTER_CACHE") or cache() / "cluster") / "bin"
    places = [own, *map(Path, os.get_exec_path()), cluster]
    return [place / tool.name for place in places if os.access(place / tool.name, os.X_OK)]


def is_pinned(program: Path, tool: Tool) -> bool:
    """Whether Go recorded the pinned module in the program. What a program says of its own version depends on how it was built."""
    told = subprocess.run(["go", "version", "-m", program], capture_output=True, text=True, check=False)
    wanted = rf"^\s+(mod|dep)\s+{re.escape(tool.module)}\s+{re.escape(tool.version)}(\s|$)"
    return re.search(wanted, told.stdout, re.MULTILINE) is not None


def build(tool: Tool, newer: list[With], own: Path) -> Path:
    """Builds the program into `own`, in a module of its own that asks for it."""
    print(f"lint-k8s: building {tool.name} ({tool.module} {tool.version}); once, some minutes", file=sys.stderr, flush=True)
    started = time.monotonic()
    own.mkdir(parents=True, exist_ok=True)
    package = tool.module if tool.command == "." else f"{tool.module}/{tool.command}"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    # Beside where it is to be: it appears there whole, by a rename.
    with tempfile.TemporaryDirectory(dir=own, prefix=".building-") as directory:
        wanted = [(tool.module, tool.version), *((w.module, w.version) for w in newer if w.tool == tool.name)]
        requires = "".join(f"require {module} {version}\n" for module, version in wanted)
        Path(directory, "go.mod").write_text(f"module lint\n{requires}")
        if subprocess.run(["go", "build", "-o", "program", package], cwd=directory, env=env, check=False).returncode:
            raise SystemExit(f"lint-k8s: {tool.name} could not be built; put {tool.module} {tool.version} on the PATH instead")
        Path(directory, "program").replace(own / tool.name)
    print(f"lint-k8s: {tool.name} built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return own / tool.name


def main(directory: Path) -> None:
    if shutil.which("go") is None:
        raise SystemExit("lint-k8s: Go is missing: install it from https://go.dev/dl")
    own = cache() / "gists-lint" / "bin"
    # All of them first: building takes minutes, and the directory is to be there whole.
    pinned = read()
    found = {t: next((p for p in candidates(t, own) if is_pinned(p, t)), None) or build(t, pinned.with_, own) for t in pinned.tool}
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for tool, program in found.items():
        # The stand-alone kustomize says `kustomize build DIR` for what kubectl says as `kubectl kustomize DIR`.
        if tool.name == "kubectl" and program.parent == own:
            wrapper = directory / "kubectl"
            wrapper.write_text(f'#!/bin/sh\n[ "$1" = kustomize ] || exit 64\nshift\nexec "{program}" build "$@"\n')
            wrapper.chmod(0o755)
        else:
            (directory / tool.name).symlink_to(program)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
