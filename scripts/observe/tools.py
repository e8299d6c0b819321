"""What the checks need and a machine may lack: promtool and PyYAML, kept in the user's cache."""

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
# For its promtool. Unpacked, not installed: that would start a server.
PACKAGE = "prometheus"


def ensure() -> None:
    """Makes them available to this process, which may be started anew by another interpreter."""
    if importlib.util.find_spec("yaml") is None:
        python = CACHE / "venv/bin/python"
        if not python.exists():
            print(f"==> installing {PYYAML} for scripts/monitoring", file=sys.stderr)
            venv.create(CACHE / "venv", with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", PYYAML], check=True)
        if Path(sys.executable) == python:
            sys.exit(f"{python} has no PyYAML; remove {CACHE}")
        os.execv(python, [str(python), *sys.argv])
    if shutil.which("promtool") is None:
        promtool = CACHE / "usr/bin/promtool"
        if not promtool.exists():
            unpack()
        os.environ["PATH"] += f"{os.pathsep}{promtool.parent}"


def unpack() -> None:
    """Debian's package, into the cache."""
    if shutil.which("apt-get") is None:
        sys.exit("scripts/monitoring needs promtool, which comes with Prometheus")
    print(f"==> fetching promtool, of Debian's package {PACKAGE}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        if subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=directory, check=False).returncode:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=directory, check=True)
        for package in Path(directory).glob("*.deb"):
            CACHE.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg-deb", "--extract", package, CACHE], check=True)
