"""The servers that are measured: how to start each on a free loopback port, and how to read its CPU time and memory."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WASM = Path(os.environ.get("GISTS_WASM", TARGET / "wasm32-wasip2/dist/gists.wasm"))
SHIPPED = TARGET / "dist/wasi-http-host"  # written by `make release`
WORKING = TARGET / "release/wasi-http-host"  # written by `make build`; slower, with assertions
HOST = Path(os.environ.get("WASI_HTTP_HOST_BIN") or (SHIPPED if SHIPPED.exists() else WORKING))
# The Cargo profile of native axum is the host's: the working build is compared with a working build.
PROFILE = "release" if HOST == WORKING else "dist"
HELLO = TARGET / "wasm32-wasip2/release/bench_hello.wasm"
NATIVE = TARGET / PROFILE / "bench-native"
LOAD = TARGET / "release/bench-load"
FAKE = TARGET / "release/fake-github"
VENV = TARGET / "bench-venv"

CACHE = "this host, response cache"
FRESH = "this host, fresh instances"
# Programs of other projects that are measured where they are on the PATH.
OPTIONAL = {"spin": "spin", "nginx": "nginx", "varnish": "varnishd"}

START_TIMEOUT = 60.0  # seconds; Spin compiles the component at its first start
STOP_TIMEOUT = 10.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


def fail(message: str) -> NoReturn:
    sys.exit(f"bench: {message}")


@dataclass
class Contender:
    """A server under test."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    # A pattern of the line that the server prints when it listens; its group is the address. Without it, `{port}` in the command is
    # replaced by a free port, and `{file}` by the path of the configuration.
    announces: str | None = None
    # Returns the text of the configuration for a port and a directory.
    configuration: Callable[[int, Path], str] | None = None
    probe: str = "/health"
    address: str = ""
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    def start(self, logs: Path, poll: float = 0.01, port: int = 0) -> None:
        port = port or free_port()
        self.log = logs / (re.sub(r"\W+", "-", self.name) + ".log")
        command = self.filled(port)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | self.environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                fail(f"{self.name} ended during its start:\n{self.tail()}")
            if self.announces:
                found = re.search(self.announces, self.log.read_text(errors="replace"))
                self.address = found[1] if found else ""
            else:
                self.address = f"127.0.0.1:{port}"
            if self.address and answers(self.address, self.probe):
                return
            time.sleep(poll)
        fail(f"{self.name} does not answer within {START_TIMEOUT:.0f} s:\n{self.tail()}")

    def filled(self, port: int) -> list[str]:
        """Returns the command for this port, and writes the configuration that the command names."""
        if self.log is None:
            fail(f"{self.name} has no directory for its log")
        file = self.log.with_suffix(".conf")
        if self.configuration:
            file.write_text(self.configuration(port, file.with_suffix("")))
            file.with_suffix("").mkdir(exist_ok=True)
        return [part.replace("{port}", str(port)).replace("{file}", str(file)) for part in self.command]

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log else ""

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def cpu_seconds(self) -> float:
        """Returns the user and system time of the process and its descendants."""
        return sum(cpu_ticks(pid) for pid in family(self.pid())) / TICKS

    def run_on(self, cores: set[int]) -> None:
        """Binds all threads of the process and its descendants to these cores."""
        for pid in family(self.pid()):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # the thread has ended
                    os.sched_setaffinity(int(thread.name), cores)

    def memory_bytes(self) -> int:
        """Returns the resident memory of the process and its descendants."""
        return sum(resident(pid) for pid in family(self.pid()))

    def pid(self) -> int:
        if self.process is None:
            fail(f"{self.name} is not running")
        return self.process.pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(address: str, path: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def family(pid: int) -> list[int]:
    """Returns the process and all its descendants."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            pids.extend(int(child) for child in task.read_text().split())
    return pids


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def fake_github() -> Contender:
    command = [FAKE, "--demo", "--listen", "127.0.0.1:0", "--rate-limit", "1000000"]
    return Contender("fake GitHub", [str(part) for part in command], announces=r"on http://([\d.:]+) with", probe="/_fake")


def upstream() -> Contender:
    """A fake GitHub. Its user `s{bytes}-{anything}` has one gist of about that length."""
    return Contender("upstream", [str(LOAD), "upstream"], announces=r"on http://([\d.:]+)", probe="/users/s0-0/gists")


def hello() -> Contender:
    """This host with a component that uses no store."""
    return serve("this host", HELLO, HOST, {}, "/")


def wasmtime() -> Contender:
    """`wasmtime serve` with the same component and its default limits: 128 requests for each instance, 16 concurrent ones."""
    command = ["wasmtime", "serve", "-Sp3,cli", "-Wcomponent-model-async", "--addr", "127.0.0.1:{port}", str(HELLO)]
    return Contender("wasmtime serve", command, probe="/")


def host(name: str, github: str, binary: Path, wasm: Path, *flags: str) -> Contender:
    """This host with the API."""
    return serve(name, manifest(wasm), binary, settings(github), "/health", *flags)


def serve(name: str, app: Path, binary: Path, environment: dict[str, str], probe: str, *flags: str) -> Contender:
    """This host without an access log, like the other servers."""
    command = [str(binary), "serve", str(app), "--listen", "127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0"]
    command += ["--log-format", "json", "--access-log", "off", *flags]
    return Contender(name, command, environment, probe=probe)


def manifest(wasm: Path) -> Path:
    """Returns the path of spin.toml, or of a copy that names another component."""
    if wasm == ROOT / "target/wasm32-wasip2/dist/gists.wasm":
        return ROOT / "spin.toml"
    text = (ROOT / "spin.toml").read_text()
    copy = TARGET / f"bench-{zlib.crc32(bytes(wasm.resolve())):08x}.toml"
    copy.write_text(re.sub(r'^source = ".*"', f'source = "{wasm.resolve()}"', text, flags=re.MULTILINE))
    return copy


def native(github: str) -> Contender:
    return Contender("native axum", [str(NATIVE), "--listen", "127.0.0.1:{port}"], settings(github))


def nginx(origin: Contender) -> Contender:
    """nginx with its cache, in front of another server."""

    def configuration(port: int, directory: Path) -> str:
        user = "user root;" if os.geteuid() == 0 else ""
        # The limit of 1,000 requests for each connection is lifted, because no other server has one.
        return f"""daemon off; worker_processes auto; pid {directory}/pid; error_log {directory}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000; open_file_cache max=1000;
  client_body_temp_path {directory}/client; fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi; proxy_temp_path {directory}/proxy;
  proxy_cache_path {directory}/cache keys_zone=pages:8m max_size=64m inactive=1h;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://{origin.address}; proxy_http_version 1.1; proxy_cache pages; proxy_cache_revalidate on; }}
  }}
}}
"""

    return Contender("nginx's cache", ["nginx", "-c", "{file}"], configuration=configuration)


def varnish(origin: Contender) -> Contender:
    """Varnish, in front of another server."""

    def configuration(_port: int, _directory: Path) -> str:
        name, backend_port = origin.address.rsplit(":", 1)
        return f'vcl 4.1;\nbackend default {{ .host = "{name}"; .port = "{backend_port}"; }}\n'

    command = ["varnishd", "-F", "-j", "none", "-a", "127.0.0.1:{port}", "-f", "{file}", "-s", "malloc,64m", "-n", "{file}.work"]
    return Contender("Varnish", command, configuration=configuration)


def fastapi(github: str) -> Contender:
    # As a module, because the programs in a virtual environment contain its path, and CI moves `target`.
    command = [str(VENV / "bin/python"), "-m", "uvicorn", "main:app", "--app-dir", str(BENCH / "fastapi"), "--no-access-log"]
    return Contender("FastAPI", [*command, "--port", "{port}"], settings(github))


def spin(github: str) -> Contender:
    variables = {f"SPIN_VARIABLE_{name}": value for name, value in settings(github).items()}
    return Contender(
        "Spin", ["spin", "up", "--quiet", "--state-dir", str(TARGET / "bench-spin"), "--listen", "127.0.0.1:{port}"], variables
    )


def settings(github: str) -> dict[str, str]:
    return {"GITHUB_API_URL": github, "CACHE_TTL": "3600"}


def prepare(names: set[str]) -> None:
    """Builds the other servers and the load generator. Ends the program when something is missing."""
    if shutil.which("wrk") is None:
        fail("wrk is missing: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk` (macOS)")
    for path in (WASM, HOST):
        if names & {"reused", "cache", "fresh"} and not path.exists():
            fail(f"{path} is missing: run `make build`")
    if HOST == WORKING:
        print("==> NOT MEASURED: what ships (no `make release` in this checkout); measuring working builds instead", flush=True)
    print("==> building the servers to compare with, and the load generator", flush=True)
    build = ["cargo", "build", "--locked", "--quiet", "--profile"]
    subprocess.run([*build, PROFILE, "-p", "bench-native", "--bins"], cwd=ROOT, check=True)
    subprocess.run([*build, "release", "-p", "bench-load", "-p", "e2e", "--bins"], cwd=ROOT, check=True)
    subprocess.run([*build, "release", "-p", "bench-hello", "--target", "wasm32-wasip2"], cwd=ROOT, check=True)
    stamp, wanted = VENV / "requirements.txt", (BENCH / "fastapi/requirements.txt").read_text()
    if "fastapi" in names and not (stamp.exists() and stamp.read_text() == wanted):
        print(f"==> installing FastAPI in {VENV.relative_to(ROOT)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run(
            [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "-r", str(BENCH / "fastapi/requirements.txt")], check=True
        )
        stamp.write_text(wanted)
