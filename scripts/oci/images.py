"""The images: their files, their metadata and how they start."""

import functools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .inputs import InputError, Inputs, add_compiled, add_executable, add_static, read, spin_manifest
from .services import Service, services, toml
from .tree import EXECUTABLE, SHARED_DIRECTORY, Tree

# As numbers, because an image without /etc/passwd has no user names. The Kubernetes manifests use the same user.
USER = "1000:1000"
BUILD = "run 'make build'"
PROGRAMS = "run 'make programs'"


@dataclass(frozen=True)
class HealthCheck:
    """How Docker and Podman ask whether a container is healthy. Times are in seconds."""

    command: list[str]
    interval: int = 10
    timeout: int = 5
    start_period: int = 30
    retries: int = 3


@dataclass(frozen=True)
class Image:
    """An image for each architecture. `fill` puts the files into the tree of its only layer."""

    name: str
    group: str
    title: str
    description: str
    fill: Callable[[Tree, Inputs], None]
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    user: str = USER
    directory: str = "/"
    artifact: bool = False
    # Whether it holds programs of scripts/programs. Then there is one for each architecture that is asked for, and labels name the profile.
    native: bool = False
    # Whether its one layer is for every architecture.
    portable: bool = False
    health_check: HealthCheck | None = None


def component(tree: Tree, inputs: Inputs) -> None:
    """Adds the component and its manifest, for a WebAssembly host."""
    tree.file("/gists.wasm", read(inputs.component, BUILD))
    tree.file("/spin.toml", spin_manifest())


def service(one: Service, tree: Tree, inputs: Inputs) -> None:
    """Adds a component of `services/`, and the part of its system's manifest that is about it."""
    tree.file("/service.wasm", read(inputs.component.with_name(one.wasm), "run 'make services'"))
    tree.file("/spin.toml", toml(one.manifest))


def plain(tree: Tree, inputs: Inputs) -> None:
    """Adds the component, its manifest, the host, and the compiled code, so that the first start compiles nothing."""
    component(tree, inputs)
    add_static(tree, "/wasi-http-host", inputs.host, inputs.architecture, PROGRAMS)
    add_compiled(tree, "/cache", inputs)


def installer(tree: Tree, inputs: Inputs) -> None:
    """Adds the installer, and the programs that it installs on a node for `runtimeClassName: wasi-http`."""
    add_static(tree, "/wasi-http-installer", inputs.programs / "wasi-http-installer", inputs.architecture, PROGRAMS)
    for name in ("containerd-shim-wasi-http-v1", "wasi-http-image-verifier"):
        add_static(tree, f"/node/{name}", inputs.programs / name, inputs.architecture, PROGRAMS)
    add_static(tree, "/node/wasi-http-host", inputs.host, inputs.architecture, PROGRAMS)
    # A component that answers every request, for the pod that proves a node.
    tree.file("/probe.wasm", read(inputs.programs / "probe.wasm", PROGRAMS))


def program(path: str, built: str, tree: Tree, inputs: Inputs) -> None:
    """Adds a program of this repository."""
    add_executable(tree, path, inputs.binaries / built, f"run 'cargo build --release --package e2e --bin {built}'")


def debian(paths: list[str], package: str, tree: Tree, _inputs: Inputs) -> None:
    """Adds programs that a Debian package has installed on this machine."""
    for path in paths:
        add_executable(tree, path, Path(path), f"run 'apt-get install {package}'")
    tree.directory("/tmp", SHARED_DIRECTORY)
    tree.directory("/data", SHARED_DIRECTORY)


def busybox(tree: Tree, _inputs: Inputs) -> None:
    """Adds Debian's static busybox, with a link for each of its programs."""
    binary = Path("/bin/busybox")
    tree.file("/bin/busybox", read(binary, "run 'apt-get install busybox-static'"), EXECUTABLE)
    names = subprocess.run([binary, "--list-full"], capture_output=True, text=True, check=False)
    if names.returncode != 0:
        raise InputError(f"{binary} --list-full: exit code {names.returncode}")
    for name in names.stdout.split():
        if name != "bin/busybox":
            tree.link(f"/{name}", "/bin/busybox")
    tree.directory("/tmp", SHARED_DIRECTORY)


SERVICE = "The GitHub Gists API: public gists of a user, paged, cached, observable"
PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

IMAGES = [
    Image(
        name="github-gists-api",
        group="service",
        title="gists API (WebAssembly)",
        description=SERVICE + "; for the RuntimeClass wasi-http",
        fill=component,
        entrypoint=["/spin.toml"],
        ports=[8080, 9090],
        # The component runs on any processor; an image has to name them all the same.
        portable=True,
    ),
    Image(
        name="github-gists-api-artifact",
        group="service",
        title="gists API (WebAssembly component)",
        description=SERVICE + "; an OCI artifact whose one layer is the component",
        fill=component,
        artifact=True,
    ),
    Image(
        name="github-gists-api-plain",
        group="service",
        title="gists API (WebAssembly with its host)",
        description=SERVICE + "; an ordinary container, for nodes without the RuntimeClass",
        fill=plain,
        entrypoint=["/wasi-http-host", "serve", "/spin.toml"],
        environment={
            "WASI_HTTP_HOST_LISTEN": "[::]:8080",
            "WASI_HTTP_HOST_ADMIN_LISTEN": "[::]:9090",
            "WASI_HTTP_HOST_CACHE_DIR": "/cache",
        },
        ports=[8080, 9090],
        native=True,
        health_check=HealthCheck(["/wasi-http-host", "probe"]),
    ),
    Image(
        name="wasi-http-installer",
        group="installer",
        title="wasi-http installer",
        description="Puts the containerd shim wasi-http on a node, and takes it off again",
        fill=installer,
        entrypoint=["/wasi-http-installer"],
        # It writes to the node's file system, which is root's.
        user="0:0",
        native=True,
    ),
    Image(
        name="fake-github",
        group="test",
        title="fake GitHub",
        description="A GitHub that knows only made-up users, for tests",
        fill=functools.partial(program, "/fake-github", "fake-github"),
        entrypoint=["/fake-github"],
        command=["--listen", "[::]:8099"],
        ports=[8099],
    ),
    Image(
        name="redis",
        group="test",
        title="Redis",
        description="Debian's Redis without persistence, for tests",
        fill=functools.partial(debian, ["/usr/bin/redis-server", "/usr/bin/redis-cli", "/usr/bin/cat"], "redis-server"),
        entrypoint=["/usr/bin/redis-server"],
        command=["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", "/data"],
        environment=PATH,
        ports=[6379],
        directory="/data",
    ),
    Image(
        name="prometheus",
        group="test",
        title="Prometheus",
        description="Debian's Prometheus, for tests",
        fill=functools.partial(debian, ["/usr/bin/prometheus", "/usr/bin/promtool"], "prometheus"),
        entrypoint=["/usr/bin/prometheus"],
        command=["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data", "--web.listen-address=:9090"],
        environment=PATH,
        ports=[9090],
        directory="/data",
    ),
    Image(
        name="busybox",
        group="test",
        title="busybox",
        description="Debian's static busybox, a Linux sidecar for tests",
        fill=busybox,
        entrypoint=["/bin/sh"],
        environment=PATH,
    ),
    *(
        Image(
            name=one.name,
            group="services",
            title=f"{one.name} of {one.system} (WebAssembly)",
            description=one.description + "; for the RuntimeClass wasi-http",
            fill=functools.partial(service, one),
            entrypoint=["/spin.toml"],
            ports=[8080, 9090],
            portable=True,
        )
        for one in services()
    ),
]
