"""Pushes what a release consists of to a registry, and signs it by digest."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from oci.inputs import ROOT

from .attestations import provenance, sbom

WASM = "wasm32-wasip2"
# A release has images of both architectures (scripts/image), and one SBOM for both.
NATIVE = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")


def built_from(*programs: str, component: bool = False) -> list[tuple[str, str]]:
    """Returns the Rust packages with the targets that an image is built from."""
    return [("gists", WASM)] * component + [(program, target) for program in programs for target in NATIVE]


# What is published, by the names of scripts/image.
PARTS = {
    "github-gists-api": built_from(component=True),
    "github-gists-api-artifact": built_from(component=True),
    "github-gists-api-plain": built_from("wasi-http-host", component=True),
    "wasi-http-installer": built_from("wasi-http-installer", "containerd-shim-wasi-http", "wasi-http-image-verifier", "wasi-http-host"),
}
CHART = ROOT / "charts/gists"
# Repository of charts, below the registry's path.
CHARTS = "charts"
VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# Seconds for one command: a push of some megabytes, or a signature.
TIME_LIMIT = 300


class PublishError(Exception):
    """Something could not be published. The message says what and why."""


@dataclass(frozen=True)
class Signing:
    """How names are signed: with the private key in a file, or keyless (`None`)."""

    key: str | None
    # No transparency log and no time stamp: whoever verifies trusts the key alone.
    private: bool


class Publisher:
    """Publishes to one registry. A context: its files with the login are removed at the end."""

    def __init__(self, registry: str, tags: list[str], authority: Path | None, signing: Signing) -> None:
        wrong = next((tag for tag in tags if not TAG.fullmatch(tag)), None)
        if wrong is not None:
            raise PublishError(f"--tag {wrong}: not a tag of an image")
        if not VERSION.fullmatch(tags[0]):
            raise PublishError(f"--tag {tags[0]}: the first tag has to be a version such as 0.1.0")
        self.registry, self.tags, self.authority, self.signing = registry, tags, authority, signing
        self._scratch = tempfile.TemporaryDirectory(prefix="publish-")
        self._directory = Path(self._scratch.name)
        self._environment = dict(os.environ)

    def __enter__(self) -> "Publisher":
        user, password = os.environ.get("REGISTRY_USERNAME"), os.environ.get("REGISTRY_PASSWORD")
        if user and password:
            host = self.registry.split("/")[0]
            login = self._directory / "config.json"
            login.touch(mode=0o600)
            login.write_text(json.dumps({"auths": {host: {"username": user, "password": password}}}))
            # oras and cosign read the directory, helm reads the file.
            self._environment |= {"DOCKER_CONFIG": str(self._directory), "HELM_REGISTRY_CONFIG": str(login)}
        if self.signing.private:
            for command in ("signing-config", "trusted-root"):
                self._run("cosign", command, "create", "--out", str(self._directory / f"{command}.json"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._scratch.cleanup()

    def publish(self, layouts: Path) -> Iterator[str]:
        """Publishes the images in the layouts, and the chart. Yields each name with its digest."""
        for image, parts in PARTS.items():
            layout = layouts / image
            if not (layout / "index.json").is_file():
                raise PublishError(f"{layout}: no OCI layout: run 'make image image-installer'")
            name = self._push(image, layout)
            self._sign(name, parts)
            yield name
        name = self._push_chart()
        self._sign(name, [])
        yield name

    def _push(self, image: str, layout: Path) -> str:
        [root] = json.loads((layout / "index.json").read_text())["manifests"]
        source = f"{layout}:{root['annotations']['org.opencontainers.image.ref.name']}"
        authority = ["--to-ca-file", str(self.authority)] if self.authority else []
        repository = f"{self.registry}/{image}"
        self._run("oras", "cp", "--no-tty", "--from-oci-layout", source, f"{repository}:{','.join(self.tags)}", *authority)
        return f"{repository}@{root['digest']}"

    def _push_chart(self) -> str:
        version = self.tags[0]
        self._run("helm", "package", str(CHART), "--version", version, "--app-version", version, "--destination", str(self._directory))
        [package] = self._directory.glob("*.tgz")
        authority = ["--ca-file", str(self.authority)] if self.authority else []
        said = self._run("helm", "push", str(package), f"oci://{self.registry}/{CHARTS}", *authority)
        digest = re.search(r"Digest: (sha256:[0-9a-f]{64})", said)
        if digest is None:
            raise PublishError(f"helm push printed no digest: {said.strip()}")
        return f"{self.registry}/{CHARTS}/{package.name.removesuffix(f'-{version}.tgz')}@{digest[1]}"

    def _sign(self, name: str, parts: list[tuple[str, str]]) -> None:
        options = ["--yes"]
        if self.authority:
            options += ["--registry-cacert", str(self.authority)]
        if self.signing.key:
            options += ["--key", self.signing.key]
        if self.signing.private:
            options += [f"--{kind}={self._directory / kind}.json" for kind in ("signing-config", "trusted-root")]
        self._run("cosign", "sign", *options, name)
        predicates = {"slsaprovenance1": provenance(name)}
        if parts:
            predicates["cyclonedx"] = sbom(name, parts)
        for kind, predicate in predicates.items():
            file = self._directory / f"{kind}.json"
            file.write_text(json.dumps(predicate))
            self._run("cosign", "attest", *options, "--type", kind, "--predicate", str(file), name)

    def _run(self, *command: str) -> str:
        """Runs a command, and returns what it printed."""
        try:
            done = subprocess.run(
                command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
            )
        except FileNotFoundError:
            raise PublishError(f"{command[0]} is not on the PATH (docs/release.md says where it comes from)") from None
        except subprocess.TimeoutExpired:
            raise PublishError(f"{' '.join(command)}: not done after {TIME_LIMIT} s") from None
        if done.returncode != 0:
            raise PublishError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout + done.stderr
