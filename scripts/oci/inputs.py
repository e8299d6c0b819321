"""Finds the images' files: what this repository builds and, for test images, what Debian packages have installed on this machine."""

import datetime
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .architecture import own_architecture, read_header
from .tree import EXECUTABLE, READABLE, Tree

ROOT = Path(__file__).resolve().parents[2]
# A line of ldd: a library's path, with or without the library's name before it.
LIBRARY = re.compile(r"(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)")
# The profiles of scripts/programs. `dist` takes the host that scripts/release built with profile guidance.
PROFILES = ("release", "dist")
# How another architecture's host is run on this machine, and the processors that it compiles the component for. Compiled code fits
# processors with the same features: neoverse-n1 stands for Graviton2 and Ampere Altra, max for Graviton3 and later, Axion and Cobalt.
EMULATORS = {"arm64": ("qemu-aarch64", ("neoverse-n1", "max"))}


class InputError(Exception):
    """An input is missing or unusable. The message says what to do."""


@dataclass(frozen=True)
class Inputs:
    """The files that this repository builds for one architecture, and the revision that they are built from."""

    component: Path
    architecture: str
    host: Path
    # The static programs for nodes, and their Cargo profile.
    programs: Path
    profile: str
    # Other programs of this repository, which may need shared libraries.
    binaries: Path
    revision: str
    created: str
    version: str

    @property
    def guided(self) -> bool:
        """Whether the host was built with profile guidance: scripts/release does this only for its own machine's architecture."""
        return self.profile == "dist" and self.architecture == own_architecture()


def gather(target: Path, profile: str, host: Path | None, component: Path | None, architecture: str | None = None) -> Inputs:
    """Returns the inputs in Cargo's directory `target`, or at the given paths.

    `profile` is one of `PROFILES`. `architecture` is this machine's own by default.
    """
    own = own_architecture()
    architecture = architecture or own
    programs = target / "node" / profile
    if architecture != own:
        programs /= architecture
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    revision, created = provenance()
    return Inputs(
        component=component or target / "wasm32-wasip2/dist/gists.wasm",
        architecture=architecture,
        host=host or programs / "wasi-http-host",
        programs=programs,
        profile=profile,
        binaries=target / "release",
        revision=revision,
        created=created,
        version=manifest["workspace"]["package"]["version"],
    )


def provenance() -> tuple[str, str]:
    """Returns the commit and its time. Uncommitted changes add `-dirty`; outside a clone, the commit is `unknown` and the time is 1970."""
    head = _git("log", "-1", "--format=%H %ct")
    revision, _, seconds = head.partition(" ") if head else ("unknown", "", "0")
    if head and _git("status", "--porcelain", "--untracked-files=no"):
        revision += "-dirty"
    seconds = os.environ.get("SOURCE_DATE_EPOCH", seconds)
    return revision, datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def read(path: Path, remedy: str) -> bytes:
    """Reads a file. The error for a missing file says how to get it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {remedy}") from None


def spin_manifest() -> bytes:
    """Returns the repository's spin.toml with the component's path in the image."""
    text = (ROOT / "spin.toml").read_text()
    source = tomllib.loads(text)["component"]["gists"]["source"]
    moved = text.replace(f'source = "{source}"', 'source = "gists.wasm"')
    expected = tomllib.loads(text)
    expected["component"]["gists"]["source"] = "gists.wasm"
    if tomllib.loads(moved) != expected:
        raise InputError("spin.toml: replacing the component's source would change something else")
    return moved.encode()


def libraries(binary: Path) -> list[Path]:
    """Returns the shared libraries and the loader that an ELF file needs. A static file needs none."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "not a dynamic executable" in done.stderr + done.stdout or "statically linked" in done.stdout:
            return []
        raise InputError(f"ldd {binary}: {done.stderr.strip()}")
    missing = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
    if missing:
        raise InputError(f"{binary}: {missing[0]}")
    return [Path(path) for path in LIBRARY.findall(done.stdout)]


def add_executable(tree: Tree, path: str, binary: Path, remedy: str) -> None:
    """Adds a program of this machine at `path`, with the libraries that it needs."""
    tree.file(path, read(binary, remedy), EXECUTABLE)
    for library in libraries(binary):
        tree.file(str(library), library.resolve().read_bytes(), EXECUTABLE)


def add_static(tree: Tree, path: str, binary: Path, architecture: str, remedy: str) -> None:
    """Adds a static program at `path`. Raises `InputError` for a program with shared libraries, or for another architecture."""
    data = read(binary, remedy)
    program = read_header(data)
    if program is None:
        raise InputError(f"{binary} is no 64-bit ELF program: {remedy}")
    if program.architecture != architecture:
        raise InputError(f"{binary} is built for {program.architecture}, but the image is for {architecture}: {remedy}")
    if program.interpreted:
        raise InputError(f"{binary} needs shared libraries, but must be static: {remedy}")
    tree.file(path, data, EXECUTABLE)


def add_compiled(tree: Tree, directory: str, inputs: Inputs) -> None:
    """Compiles the component with the image's host, and adds the code to `directory`: one file for each kind of processor."""
    with tempfile.TemporaryDirectory() as scratch:
        component, cache = Path(scratch, "gists.wasm"), Path(scratch, "cache")
        component.write_bytes(read(inputs.component, "run 'make build'"))
        compilers = _compilers(inputs)
        for compiler in compilers:
            # A small pool, because QEMU keeps a record of each reserved page. The code does not depend on the number of instances.
            flags = ["--max-instances=1", "--threads=1", f"--cache-dir={cache}"]
            command = [*compiler, str(inputs.host), "compile", *flags, str(component)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise InputError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        compiled = sorted(cache.glob("*.cwasm"))
        if len(compiled) != len(compilers):
            raise InputError(f"{inputs.host} compiled {component.name} {len(compilers)} times, but left {len(compiled)} files")
        for code in compiled:
            tree.file(f"{directory}/{code.name}", code.read_bytes(), READABLE)


def _compilers(inputs: Inputs) -> list[list[str]]:
    """Returns what goes before the host on a command line, once for each kind of processor to compile for."""
    own = own_architecture()
    if inputs.architecture == own:
        return [[]]
    if inputs.architecture not in EMULATORS:
        raise InputError(f"this machine is {own}, and no emulator runs the host for {inputs.architecture}: use such a machine")
    emulator, processors = EMULATORS[inputs.architecture]
    if not shutil.which(emulator):
        raise InputError(f"{emulator} is missing: run 'apt-get install qemu-user'")
    return [[emulator, "-cpu", processor] for processor in processors]
