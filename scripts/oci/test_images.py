"""Tests of the images. They need the component (make build); small files stand for the other programs.

python3 -B -m unittest discover --start-directory scripts/oci --top-level-directory scripts
"""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import unittest
from collections.abc import Iterator
from pathlib import Path

from oci.assemble import ANNOTATION, BUILD_PROFILE, PROFILE_GUIDED, annotations, assemble
from oci.component import InvalidComponentError, world
from oci.images import IMAGES, Image
from oci.inputs import ROOT, InputError, Inputs, add_executable, gather, libraries, provenance, spin_manifest
from oci.layout import CONFIG, INDEX, LAYER, MANIFEST, WASM_CONFIG, WASM_LAYER, Layout
from oci.tree import Tree

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
COMPONENT = Path(os.environ.get("IMAGE_COMPONENT", TARGET / "wasm32-wasip2/dist/gists.wasm"))
BY_NAME = {image.name: image for image in IMAGES}
INPUTS = dataclasses.replace(gather(TARGET, "release", None, COMPONENT), revision="0" * 40, created="2026-01-02T03:04:05Z")


def layout_of(name: str, inputs: Inputs = INPUTS) -> Layout:
    return assemble(BY_NAME[name], inputs, f"localhost/{name}:test")


def json_blob(layout: Layout, descriptor: dict) -> dict:
    return json.loads(layout.blobs[descriptor["digest"]])


def members(layer: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        return {member.name: member for member in archive}


def content(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file, f"{member} is no file"
    return file.read()


class Gists(unittest.TestCase):
    def setUp(self) -> None:
        self.layout = layout_of("github-gists-api")
        self.index = json_blob(self.layout, self.layout.root)
        self.manifests = [json_blob(self.layout, manifest) for manifest in self.index["manifests"]]

    def test_platforms_share_the_layer(self) -> None:
        self.assertEqual(self.layout.root["mediaType"], INDEX)
        platforms = [manifest["platform"] for manifest in self.index["manifests"]]
        self.assertEqual(platforms, [{"os": "linux", "architecture": name} for name in ("amd64", "arm64")])
        layers = {layer["digest"] for manifest in self.manifests for layer in manifest["layers"]}
        self.assertEqual(len(layers), 1)
        for manifest, platform in zip(self.manifests, platforms, strict=True):
            config = json_blob(self.layout, manifest["config"])
            self.assertEqual({key: config[key] for key in platform}, platform)

    def test_layer_holds_the_component_and_its_manifest_alone(self) -> None:
        [layer] = self.manifests[0]["layers"]
        self.assertEqual(layer["mediaType"], LAYER)
        tar = gzip.decompress(self.layout.blobs[layer["digest"]])
        found = members(tar)
        self.assertEqual(sorted(found), ["gists.wasm", "spin.toml"])
        for member in found.values():
            self.assertEqual((member.mode, member.uid, member.gid, member.mtime), (0o644, 0, 0, 0))
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            self.assertEqual(content(archive, "gists.wasm"), COMPONENT.read_bytes())
        config = json_blob(self.layout, self.manifests[0]["config"])
        self.assertEqual(config["rootfs"]["diff_ids"], ["sha256:" + hashlib.sha256(tar).hexdigest()])

    def test_starts_the_manifest_as_a_number_that_is_not_root(self) -> None:
        config = json_blob(self.layout, self.manifests[0]["config"])["config"]
        self.assertEqual(config["Entrypoint"], ["/spin.toml"])
        self.assertRegex(config["User"], r"^[1-9]\d*:[1-9]\d*$")

    def test_is_smaller_than_a_megabyte(self) -> None:
        self.assertLess(self.layout.size, 1_000_000)

    def test_a_service_image_says_where_it_is_from(self) -> None:
        config = json_blob(self.layout, self.manifests[0]["config"])["config"]
        self.assertEqual(config["Labels"], self.manifests[0]["annotations"])
        prefix = "org.opencontainers.image."
        self.assertEqual(config["Labels"][prefix + "revision"], "0" * 40)
        self.assertEqual(
            {key.removeprefix(prefix) for key in config["Labels"]},
            {"title", "description", "version", "revision", "created", "licenses"},
        )


class Labels(unittest.TestCase):
    """Labels say how the native programs of an image were built."""

    def test_native_images_name_the_profile(self) -> None:
        for image in IMAGES:
            for profile, guided in (("release", "false"), ("dist", "true")):
                with self.subTest(image.name, profile=profile):
                    labels = annotations(image, dataclasses.replace(INPUTS, profile=profile))
                    holds_programs = image.name in ("github-gists-api-plain", "wasi-http-installer")
                    expected = {BUILD_PROFILE: profile, PROFILE_GUIDED: guided} if holds_programs else {}
                    self.assertEqual({key: labels[key] for key in (BUILD_PROFILE, PROFILE_GUIDED) if key in labels}, expected)

    def test_the_plain_image_is_asked_by_its_own_host(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            # What stands for the host: `ldd` calls it static, and it "compiles" as the image wants it.
            host = Path(scratch, "wasi-http-host")
            host.write_text('#!/bin/sh\nmkdir "$3" && echo code > "$3/x.cwasm"\n')
            host.chmod(0o755)
            layout = layout_of("github-gists-api-plain", dataclasses.replace(INPUTS, host=host))
        config = json_blob(layout, json_blob(layout, layout.root)["config"])["config"]
        check = config["Healthcheck"]
        self.assertEqual(check["Test"], ["CMD", config["Entrypoint"][0], "probe"])
        # Docker's API has times in nanoseconds, and refuses less than a millisecond.
        self.assertEqual([check[key] for key in ("Interval", "Timeout", "StartPeriod")], [10_000_000_000, 5_000_000_000, 30_000_000_000])
        self.assertEqual(check["Retries"], 3)

    def test_an_image_without_a_shell_or_a_host_has_no_health_check(self) -> None:
        layout = layout_of("github-gists-api")
        [manifest, _] = json_blob(layout, layout.root)["manifests"]
        config = json_blob(layout, json_blob(layout, manifest)["config"])["config"]
        self.assertNotIn("Healthcheck", config)

    def test_the_installer_holds_the_probes_component_beside_the_programs(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            programs = Path(scratch)
            for name in ("wasi-http-installer", "containerd-shim-wasi-http-v1", "wasi-http-host", "probe.wasm"):
                # What stands for a program: `ldd` calls it static, as it is no dynamic executable.
                (programs / name).write_text(name)
            layout = layout_of("wasi-http-installer", dataclasses.replace(INPUTS, programs=programs, host=programs / "wasi-http-host"))
        [layer] = json_blob(layout, layout.root)["layers"]
        found = members(gzip.decompress(layout.blobs[layer["digest"]]))
        files = sorted(name for name, member in found.items() if member.isfile())
        self.assertEqual(files, ["node/containerd-shim-wasi-http-v1", "node/wasi-http-host", "probe.wasm", "wasi-http-installer"])

    def test_programs_come_from_the_profiles_directory(self) -> None:
        for profile in ("release", "dist"):
            inputs = gather(Path("/t"), profile, None, None)
            self.assertEqual((inputs.programs, inputs.host), (Path("/t/node", profile), Path("/t/node", profile, "wasi-http-host")))


class Artifact(unittest.TestCase):
    def test_the_layer_is_the_component(self) -> None:
        layout = layout_of("github-gists-api-artifact")
        manifest = json_blob(layout, layout.root)
        [layer] = manifest["layers"]
        self.assertEqual(layer["mediaType"], WASM_LAYER)
        self.assertEqual(layout.blobs[layer["digest"]], COMPONENT.read_bytes())
        self.assertEqual(manifest["config"]["mediaType"], WASM_CONFIG)
        config = json_blob(layout, manifest["config"])
        self.assertEqual((config["architecture"], config["os"]), ("wasm", "wasip2"))
        self.assertEqual(config["layerDigests"], [layer["digest"]])
        self.assertIn("wasi:http/handler@0.3.0", config["component"]["exports"])
        self.assertIn("wasi:http/client@0.3.0", config["component"]["imports"])

    def test_a_core_module_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidComponentError, "does not begin"):
            world(b"\0asm\1\0\0\0")

    def test_a_truncated_component_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidComponentError, "ends in the middle"):
            world(COMPONENT.read_bytes()[:-1])


class EveryLayout(unittest.TestCase):
    """Properties of every image. The tests use the images of the component, and one image of a program."""

    def layouts(self) -> Iterator[Layout]:
        yield layout_of("github-gists-api")
        yield layout_of("github-gists-api-artifact")
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copy("/bin/sh", Path(scratch, "fake-github"))
            yield layout_of("fake-github", dataclasses.replace(INPUTS, binaries=Path(scratch)))

    def test_names_each_blob_by_its_digest_and_size(self) -> None:
        for layout in self.layouts():
            with self.subTest(layout.name), tempfile.TemporaryDirectory() as scratch:
                directory = Path(scratch, "image")
                layout.write(directory)
                self.assertEqual(json.loads((directory / "oci-layout").read_text()), {"imageLayoutVersion": "1.0.0"})
                seen = set()
                pending = json.loads((directory / "index.json").read_text())["manifests"]
                while pending:
                    descriptor = pending.pop()
                    data = (directory / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
                    self.assertEqual(descriptor["digest"], "sha256:" + hashlib.sha256(data).hexdigest())
                    self.assertEqual(descriptor["size"], len(data))
                    seen.add(descriptor["digest"])
                    if descriptor["mediaType"] in (INDEX, MANIFEST):
                        document = json.loads(data)
                        self.assertEqual(document["schemaVersion"], 2)
                        self.assertEqual(document["mediaType"], descriptor["mediaType"])
                        parts = document.get("manifests") or [document["config"], *document["layers"]]
                        pending.extend(parts)
                    else:
                        self.assertIn(descriptor["mediaType"], {CONFIG, LAYER, WASM_CONFIG, WASM_LAYER})
                stored = {"sha256:" + path.name for path in (directory / "blobs/sha256").iterdir()}
                self.assertEqual(stored, seen, "a blob that nothing names, or the reverse")

    def test_the_tar_holds_the_layout_and_is_the_same_twice(self) -> None:
        for first, second in zip(self.layouts(), self.layouts(), strict=True):
            with self.subTest(first.name), tempfile.TemporaryDirectory() as scratch:
                self.assertEqual(first.digest, second.digest)
                tars = [layout.write(Path(scratch, number)) for number, layout in (("1", first), ("2", second))]
                self.assertEqual(tars[0].read_bytes(), tars[1].read_bytes())
                with tarfile.open(tars[0]) as archive:
                    packed = {member.name: content(archive, member) for member in archive}
                written = {
                    str(path.relative_to(Path(scratch, "1"))): path.read_bytes() for path in Path(scratch, "1").rglob("*") if path.is_file()
                }
                self.assertEqual(packed, written)

    def test_the_name_is_what_containerd_imports(self) -> None:
        for layout in self.layouts():
            [root] = json.loads(layout.files()["index.json"])["manifests"]
            self.assertEqual(root["annotations"]["io.containerd.image.name"], layout.name)
            self.assertEqual(root["annotations"]["org.opencontainers.image.ref.name"], "test")


class Files(unittest.TestCase):
    def test_the_manifest_in_the_image_is_ours_but_for_the_source(self) -> None:
        ours, theirs = tomllib.loads((ROOT / "spin.toml").read_text()), tomllib.loads(spin_manifest().decode())
        self.assertEqual(theirs["component"]["gists"].pop("source"), "gists.wasm")
        self.assertEqual(ours["component"]["gists"].pop("source"), "target/wasm32-wasip2/dist/gists.wasm")
        self.assertEqual(ours, theirs)

    def test_a_program_brings_its_libraries_and_its_loader(self) -> None:
        needed = libraries(Path("/bin/sh"))
        self.assertTrue(any(re.search(r"/ld-[^/]*\.so", str(path)) for path in needed), needed)
        tree = Tree()
        add_executable(tree, "/sh", Path("/bin/sh"), "")
        self.assertEqual({str(path) for path in needed} - set(tree.entries), set())

    def test_a_program_that_must_be_static_and_is_not_is_refused(self) -> None:
        with self.assertRaisesRegex(InputError, "must be static: do this"):
            add_executable(Tree(), "/sh", Path("/bin/sh"), "do this", static=True)

    def test_a_missing_input_says_how_to_get_it(self) -> None:
        with self.assertRaisesRegex(InputError, "/nowhere is missing: run 'make build'"):
            layout_of("github-gists-api", dataclasses.replace(INPUTS, component=Path("/nowhere")))

    def test_order_does_not_show(self) -> None:
        first, second = Tree(), Tree()
        first.file("/a/b", b"1")
        first.link("/c", "/a")
        second.link("/c", "/a")
        second.directory("/a")
        second.file("/a/b", b"1")
        self.assertEqual(first.layer(), second.layer())

    def test_a_path_that_leaves_the_root_is_refused(self) -> None:
        for path in ("relative", "/a/../b", "/a//b", "/a/"):
            with self.subTest(path), self.assertRaises(ValueError):
                Tree().file(path, b"")

    def test_one_path_with_two_contents_is_refused(self) -> None:
        tree = Tree()
        tree.file("/a", b"1")
        tree.file("/a", b"1")
        with self.assertRaisesRegex(ValueError, "given twice"):
            tree.file("/a", b"2")


class Dockerfile(unittest.TestCase):
    """The Dockerfile builds the same images: its instructions must match the descriptions here."""

    TEXT = (ROOT / "Dockerfile").read_text()

    def stage(self, name: str) -> str:
        found = re.search(rf"^FROM scratch AS {name}\n(.*?)(?=^FROM |\Z)", self.TEXT, re.MULTILINE | re.DOTALL)
        assert found, f"no stage {name}"
        return found[1].replace("\\\n", " ")

    @staticmethod
    def health_check(image: Image) -> str | None:
        check = image.health_check
        if check is None:
            return None
        options = f"--interval={check.interval}s --timeout={check.timeout}s --start-period={check.start_period}s --retries={check.retries}"
        return f"{options} CMD {json.dumps(check.command)}"

    def test_its_images_start_as_ours_do(self) -> None:
        names = {"gists": "github-gists-api", "plain": "github-gists-api-plain", "installer": "wasi-http-installer"}
        for stage, name in names.items():
            with self.subTest(stage):
                text, image = self.stage(stage), BY_NAME[name]
                words = dict(line.split(maxsplit=1) for line in text.splitlines() if line[:1].isupper() and not line.startswith("COPY"))
                self.assertEqual(json.loads(words["ENTRYPOINT"]), image.entrypoint)
                self.assertEqual(words["USER"], image.user)
                self.assertEqual(words.get("HEALTHCHECK"), self.health_check(image))
                self.assertEqual([int(port) for port in words.get("EXPOSE", "").split()], image.ports)
                self.assertEqual(dict(pair.split("=") for pair in words.get("ENV", "").split()), image.environment)
                labels = dict(pair.split("=", 1) for pair in shlex.split(words["LABEL"]))
                arguments = {"version": "${VERSION}", "revision": "${REVISION}", "created": "${CREATED}"}
                wanted = annotations(image, INPUTS) | {ANNOTATION + key: value for key, value in arguments.items()}
                if image.native:
                    wanted |= {BUILD_PROFILE: "${PROFILE}", PROFILE_GUIDED: "false"}
                self.assertEqual(labels, wanted)

    def test_its_manifest_is_ours(self) -> None:
        [expression] = re.findall(r"sed '([^']+)' spin\.toml > /out/spin\.toml", self.TEXT)
        done = subprocess.run(["sed", expression, ROOT / "spin.toml"], capture_output=True, check=True)
        self.assertEqual(done.stdout, spin_manifest())


class CommandLine(unittest.TestCase):
    def run_it(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ROOT / "scripts/image", *arguments], capture_output=True, text=True, check=False)

    def test_prints_name_digest_and_size(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            done = self.run_it("github-gists-api", "--component", str(COMPONENT), "--output", scratch, "--tag", "1.2.3")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"^localhost/github-gists-api:1\.2\.3  sha256:[0-9a-f]{64}  \d+ kB  \S+/github-gists-api\.tar\n$")
            self.assertTrue(Path(scratch, "github-gists-api.tar").is_file())

    def test_an_unknown_image_is_refused_by_name(self) -> None:
        done = self.run_it("nonsense")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such image or group: nonsense", done.stderr)

    def test_the_commits_time_can_be_overridden(self) -> None:
        os.environ["SOURCE_DATE_EPOCH"] = "86400"
        try:
            self.assertEqual(provenance()[1], "1970-01-02T00:00:00Z")
        finally:
            del os.environ["SOURCE_DATE_EPOCH"]


if __name__ == "__main__":
    unittest.main()
