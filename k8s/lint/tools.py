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
    """Returns the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def candidates(tool: Tool, own: Path) -> list[Path]:
    """Returns the paths where the program exists: built by an earlier run, on the PATH, or built for the test cluster."""
    cluster = Path(os.environ.get("CLUSTER_CACHE") or cache() / "cluster") / "bin"
    places = [own, *map(Path, os.get_exec_path()), cluster]
    return [place / tool.name for place in places if os.access(place / tool.name, os.X_OK)]


def is_pinned(program: Path, tool: Tool) -> bool:
    """Tells whether the program was built from the pinned version, by the module information that Go puts into every program.

    The output of `--version` depends on how the program was built.
    """
    told = subprocess.run(["go", "version", "-m", program], capture_output=True, text=True, check=False)
    wanted = rf"^\s+(mod|dep)\s+{re.escape(tool.module)}\s+{re.escape(tool.version)}(\s|$)"
    return re.search(wanted, told.stdout, re.MULTILINE) is not None


def build(tool: Tool, newer: list[With], own: Path) -> Path:
    """Builds the program into the directory `own`, in a temporary Go module that requires it."""
    print(f"lint-k8s: building {tool.name} ({tool.module} {tool.version}); once, some minutes", file=sys.stderr, flush=True)
    started = time.monotonic()
    own.mkdir(parents=True, exist_ok=True)
    package = tool.module if tool.command == "." else f"{tool.module}/{tool.command}"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    # In the same directory, so that a rename puts the complete program into place.
    with tempfile.TemporaryDirectory(dir=own, prefix=".building-") as directory:
        wanted = [(tool.module, tool.version), *((w.module, w.version) for w in newer if w.tool == tool.name)]
        requires = "".join(f"require {module} {version}\n" for module, version in wanted)
        Path(directory, "go.mod").write_text(f"module lint\n{requires}")
        if subprocess.run(["go", "build", "-o", "program", package], cwd=directory, env=env, check=False).returncode:
            raise SystemExit(f"lint-k8s: {tool.name} failed to build; alternatively, put {tool.module} {tool.version} on the PATH")
        Path(directory, "program").replace(own / tool.name)
    print(f"lint-k8s: {tool.name} built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return own / tool.name


def main(directory: Path) -> None:
    if shutil.which("go") is None:
        raise SystemExit("lint-k8s: Go is missing: install it from https://go.dev/dl")
    own = cache() / "gists-lint" / "bin"
    # Find or build all programs before the directory is replaced: builds take minutes and can fail.
    pinned = read()
    found = {t: next((p for p in candidates(t, own) if is_pinned(p, t)), None) or build(t, pinned.with_, own) for t in pinned.tool}
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for tool, program in found.items():
        # kustomize's own program has `kustomize build DIR` in place of `kubectl kustomize DIR`.
        if tool.name == "kubectl" and program.parent == own:
            wrapper = directory / "kubectl"
            wrapper.write_text(f'#!/bin/sh\n[ "$1" = kustomize ] || exit 64\nshift\nexec "{program}" build "$@"\n')
            wrapper.chmod(0o755)
        else:
            (directory / tool.name).symlink_to(program)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
