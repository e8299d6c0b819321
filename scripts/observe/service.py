"""Runs host, component and a fake GitHub, sends requests that create every series, and scrapes the host."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from .rules import ROOT
from .series import Scrape

DEADLINE = 60
# The fake's status for each user. The answer to `limited` closes the rate-limit gate, so that the user after it is not fetched.
ANSWERS = {"octocat": None, "fails": 503, "token": 401, "refused": 403, "limited": 429, "shut": None}
# The statuses of the fake that the service must count.
ASKED = {"200", "401", "403", "429", "503"}


def scrape(programs: Path, component: Path) -> Scrape:
    """Returns the metrics of the admin port after requests of every kind."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        github, main, admin, nobody = (f"127.0.0.1:{port}" for port in free_ports(4))
        manifest = (ROOT / "spin.toml").read_text()
        manifest = re.sub(r'(?m)^source = ".*"$', f'source = "{component}"', manifest)
        (directory / "spin.toml").write_text(manifest)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "GITHUB_API_URL": f"http://{github}",
            "WASI_HTTP_HOST_LISTEN": main,
            "WASI_HTTP_HOST_ADMIN_LISTEN": admin,
            "WASI_HTTP_HOST_READY_PATH": "/ready",
            "WASI_HTTP_HOST_COMPONENT_METRICS": "/metrics",
            "WASI_HTTP_HOST_NO_CACHE": "true",
            # A store at an address without a server: its series exist nevertheless.
            "WASI_HTTP_HOST_KEYVALUE_STORE": f"shared=redis://{nobody}",
            # The same for the collector of traces.
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{nobody}",
            "WASI_HTTP_HOST_TLS_CERT": str(directory / "tls.crt"),
            "WASI_HTTP_HOST_TLS_KEY": str(directory / "tls.key"),
        }
        trust = certificate(directory)
        log = stack.enter_context((directory / "log").open("w+"))
        stack.enter_context(running([programs / "fake-github", "--listen", github], {}, log))
        stack.enter_context(running([programs / "wasi-http-host", "serve", directory / "spin.toml"], environment, log))
        until(f"http://{admin}/ready", 200, directory / "log")
        until(f"http://{github}/_fake", 200, directory / "log")
        for user, status in ANSWERS.items():
            if status:
                ask(f"http://{github}/_fake/always/{user}", "PUT", f'{{"status":{status}}}')
        sunset = '{"headers":[["sunset","Fri, 10 Mar 2028 00:00:00 GMT"]]}'
        ask(f"http://{github}/_fake/always/octocat", "PUT", sunset)
        asked = [ask(f"https://{main}/{user}", trust=trust) for user in (*ANSWERS, "octocat")]
        expected = [200, 502, 502, 502, 429, 429, 200]
        if asked != expected:
            raise SystemExit(f"the service answered {asked}, expected {expected}")
        for path in ("nobody-at-all", "octocat?page=0", "health", "cache/stats", "docs", "openapi.json", "no/such/route"):
            ask(f"https://{main}/{path}", trust=trust)
        # Each instance flushes its counters within a second after its responses.
        deadline = time.monotonic() + DEADLINE
        while True:
            with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
                shown = Scrape.parse(answer.read().decode())
            missing = ASKED - {one.get("status") for one in shown.series.get("github_api_requests_total", ())}
            if not missing:
                return shown
            if time.monotonic() > deadline:
                raise SystemExit(f"github_api_requests_total lacks {sorted(missing)} after {DEADLINE} s")
            time.sleep(0.1)


def certificate(directory: Path) -> ssl.SSLContext:
    """Writes a certificate for 127.0.0.1 and its key. Returns the context of a client that trusts it."""
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True)
    return ssl.create_default_context(cafile=directory / "tls.crt")


@contextmanager
def running(command: list[str | Path], environment: dict[str, str], log: IO[str]) -> Iterator[None]:
    """Runs a process until the block ends."""
    process = subprocess.Popen([str(part) for part in command], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(url: str, method: str = "GET", body: str | None = None, trust: ssl.SSLContext | None = None) -> int:
    """Sends a request. Returns the status."""
    request = urllib.request.Request(url, method=method, data=body.encode() if body else None)
    try:
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def until(url: str, status: int, log: Path) -> None:
    """Waits until the URL answers with the status."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            if ask(url) == status:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} did not answer {status} within {DEADLINE} s:\n{log.read_text()[-4000:]}")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Returns ports on which no process listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
