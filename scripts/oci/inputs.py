"""Where the images' files come from: what was built here, and for the test images what Debian installed here."""

import datetime
import os
import re
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .tree import EXECUTABLE, READABLE, Tree

ROOT = Path(__file__).resolve().parents[2]
# glibc's loader prints one library a line, with or without a name before its path.
LIBRARY = re.compile(r"(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)")


class InputError(Exception):
    """An input that is missing or unfit; the message says what to do."""


@dataclass(frozen=True)
class Inputs:
    """The files that this repository builds, and what the images say of where they are from."""

    component: Path
    host: Path
    binaries: Path
    revision: str
    created: str
    version: str


def gather(target: Path, host: Path | None, component: Path | None) -> Inputs:
    """The inputs under `target`, Cargo's directory, or at the paths given instead."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    revision, created = provenance()
    return Inputs(
        component=component or target / "wasm32-wasip2/dist/gists.wasm",
        host=host or target / "release/wasi-http-host",
        binaries=target / "release",
        revision=revision,
        created=created,
        version=manifest["workspace"]["package"]["version"],
    )


def provenance() -> tuple[str, str]:
    """The commit, marked where the tree differs from it, and its time; both empty-handed outside of a clone."""
    head = _git("log", "-1", "--format=%H %ct")
    revision, _, seconds = head.partition(" ") if head else ("unknown", "", "0")
    if head and _git("status", "--porcelain", "--untracked-files=no"):
        revision += "-dirty"
    seconds = os.environ.get("SOURCE_DATE_EPOCH", seconds)
    return revision, datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def read(path: Path, remedy: str) -> bytes:
    """A file's bytes; where it is missing, the error says how to get it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {remedy}") from None


def spin_manifest() -> bytes:
    """The repository's spin.toml with the component beside it, and nothing else changed."""
    text = (ROOT / "spin.toml").read_text()
    source = tomllib.loads(text)["component"]["gists"]["source"]
    moved = text.replace(f'source = "{source}"', 'source = "gists.wasm"')
    expected = tomllib.loads(text)
    expected["component"]["gists"]["source"] = "gists.wasm"
    if tomllib.loads(moved) != expected:
        raise InputError("spin.toml: the component's source could not be replaced alone")
    return moved.encode()


def libraries(binary: Path) -> list[Path]:
    """The shared libraries and the loader that an ELF file needs; none for a static one."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True)
    if done.returncode != 0:
        if "not a dynamic executable" in done.stderr + done.stdout or "statically linked" in done.stdout:
            return []
        raise InputError(f"ldd {binary}: {done.stderr.strip()}")
    missing = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
    if missing:
        raise InputError(f"{binary}: {missing[0]}")
    return [Path(path) for path in LIBRARY.findall(done.stdout)]


def add_executable(tree: Tree, path: str, binary: Path, remedy: str, *, static: bool = False) -> None:
    """Puts a program at `path`, with the libraries it needs unless it must need none."""
    tree.file(path, read(binary, remedy), EXECUTABLE)
    needed = libraries(binary)
    if static and needed:
        raise InputError(f"{binary} needs {needed[0]}, but must be static: {remedy}")
    for library in needed:
        tree.file(str(library), library.resolve().read_bytes(), EXECUTABLE)


def add_compiled(tree: Tree, directory: str, inputs: Inputs) -> None:
    """Compiles the component by the very host of the image, and puts the code into `directory`, which is read-only there."""
    with tempfile.TemporaryDirectory() as scratch:
        component, cache = Path(scratch, "gists.wasm"), Path(scratch, "cache")
        component.write_bytes(read(inputs.component, "run 'make build'"))
        command = [str(inputs.host), "compile", "--cache-dir", str(cache), str(component)]
        done = subprocess.run(command, capture_output=True, text=True)
        compiled = sorted(cache.glob("*.cwasm")) if cache.is_dir() else []
        if done.returncode != 0 or len(compiled) != 1:
            raise InputError(f"{' '.join(command)}: exit code {done.returncode}, {len(compiled)} files\n{done.stderr}")
        tree.file(f"{directory}/{compiled[0].name}", compiled[0].read_bytes(), READABLE)
