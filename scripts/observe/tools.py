"""Provides promtool, amtool and PyYAML. Those that the machine lacks are installed in the user's cache."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gists-monitoring"
PYYAML = "PyYAML==6.0.3"
# The Debian packages of the programs. They are unpacked, not installed, because installing would start servers.
PACKAGES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}


def ensure() -> None:
    """Provides the programs and PyYAML to this process. Restarts the process in a virtual environment if PyYAML is missing."""
    if importlib.util.find_spec("yaml") is None:
        python = CACHE / "venv/bin/python"
        if not python.exists():
            print(f"==> installing {PYYAML} for scripts/monitoring", file=sys.stderr)
            venv.create(CACHE / "venv", with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", PYYAML], check=True)
        if Path(sys.executable) == python:
            sys.exit(f"scripts/monitoring: {python} has no PyYAML: remove {CACHE}")
        os.execv(python, [str(python), *sys.argv])
    os.environ["PATH"] += f"{os.pathsep}{CACHE / 'usr/bin'}"
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            unpack(program, package)


def unpack(program: str, package: str) -> None:
    """Unpacks a Debian package into the cache."""
    if shutil.which("apt-get") is None:
        sys.exit(f"scripts/monitoring: {program} is missing: install Prometheus and Alertmanager")
    print(f"==> unpacking {program} from the Debian package {package}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        if subprocess.run(["apt-get", "download", "-qq", package], cwd=directory, check=False).returncode:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "download", "-qq", package], cwd=directory, check=True)
        for file in Path(directory).glob("*.deb"):
            CACHE.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg-deb", "--extract", file, CACHE], check=True)
