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
import struct
import subprocess
import tarfile
import tempfile
import tomllib
import unittest
from collections.abc import Iterator
from pathlib import Path

from oci.architecture import ARCHITECTURES, Program, own_architecture, read_header
from oci.assemble import ANNOTATION, BUILD_PROFILE, PROFILE_GUIDED, annotations, assemble
from oci.component import InvalidComponentError, world
from oci.images import IMAGES, Image
from oci.inputs import ROOT, InputError, Inputs, add_executable, add_static, gather, libraries, provenance, spin_manifest
from oci.layout import CONFIG, INDEX, LAYER, MANIFEST, WASM_CONFIG, WASM_LAYER, Layout
from oci.services import Service, services, toml
from oci.tree import Tree

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
COMPONENT = Path(os.environ.get("IMAGE_COMPONENT", TARGET / "wasm32-wasip2/dist/gists.wasm"))
BY_NAME = {image.name: image for image in IMAGES}
INPUTS = dataclasses.replace(gather(TARGET, "release", None, COMPONENT), revision="0" * 40, created="2026-01-02T03:04:05Z")


def layout_of(name: str, *builds: Inputs) -> Layout:
    return assemble(BY_NAME[name], builds or [INPUTS], f"localhost/{name}:test")


def program(machine: int, *segments: int) -> bytes:
    """An ELF file that is nothing but its header and program headers of these types."""
    identity = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return identity + header + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in segments)


AMD64, ARM64 = 62, 183
PT_LOAD, PT_INTERP = 1, 3


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


class Services(unittest.TestCase):
    """Images of the components under services/."""

    WHOLE = """
        spin_manifest_version = 2
        [application]
        name = "shop"
        version = "1"
        description = "A shop"
        [variables]
        a_url = { default = "http://a.spin.internal" }
        a_text = { default = "„ü“ \\"quoted\\" \\u007f" }
        [[trigger.http]]
        route = "/a/..."
        component = "a"
        [[trigger.http]]
        route = { private = true }
        component = "b"
        [component.a]
        source = "../../target/wasm32-wasip2/dist/shop_a.wasm"
        description = "Answers"
        variables = { text = "{{ a_text }}" }
        [component.a.tool.wasi-http-host]
        max-instances = 8
        [component.b]
        source = "../../target/wasm32-wasip2/dist/shop_b.wasm"
        allowed_outbound_hosts = ["{{a_url}}"]
        [component.b.build]
        command = "make"
    """

    def services(self, text: str) -> list[Service]:
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch, "shop").mkdir()
            Path(scratch, "shop/spin.toml").write_text(text)
            return list(services(Path(scratch)))

    def test_each_component_is_an_image_that_serves_all_paths(self) -> None:
        a, b = self.services(self.WHOLE)
        self.assertEqual((a.name, a.system, a.wasm, a.description), ("shop-a", "shop", "shop_a.wasm", "Answers"))
        self.assertEqual((b.name, b.description), ("shop-b", "A shop: b"))
        self.assertEqual(a.manifest["trigger"]["http"], [{"route": "/...", "component": "a"}])
        self.assertEqual(b.manifest["trigger"]["http"], [{"route": "/...", "component": "b"}])
        self.assertEqual((list(a.manifest["variables"]), list(b.manifest["variables"])), (["a_text"], ["a_url"]))
        self.assertEqual(a.manifest["component"]["a"]["tool"], {"wasi-http-host": {"max-instances": 8}})
        self.assertEqual(set(b.manifest["component"]["b"]), {"source", "allowed_outbound_hosts"})

    def test_the_manifest_is_written_as_it_was_read(self) -> None:
        for one in self.services(self.WHOLE):
            self.assertEqual(tomllib.loads(toml(one.manifest).decode()), one.manifest)

    def test_a_component_from_elsewhere_is_refused_by_name(self) -> None:
        with self.assertRaisesRegex(InputError, "component a: the source ../a.wasm"):
            self.services(self.WHOLE.replace("../../target/wasm32-wasip2/dist/shop_a.wasm", "../a.wasm"))

    def test_images_hold_one_component_and_are_smaller_than_a_megabyte(self) -> None:
        built = [one for one in services() if COMPONENT.with_name(one.wasm).exists()]
        if missing := {one.name for one in services()} - {one.name for one in built}:
            print(f"NOT RUN: the size of images whose components are not built (make services): {', '.join(sorted(missing))}")
        for one in built:
            with self.subTest(one.name):
                layout = layout_of(one.name)
                manifest = json_blob(layout, json_blob(layout, layout.root)["manifests"][0])
                [layer] = manifest["layers"]
                tar = gzip.decompress(layout.blobs[layer["digest"]])
                self.assertEqual(sorted(members(tar)), ["service.wasm", "spin.toml"])
                self.assertLess(layout.size, 1_000_000)


class Labels(unittest.TestCase):
    """Labels say how the native programs of an image were built."""

    def test_native_images_name_the_profile(self) -> None:
        own = own_architecture()
        for image in IMAGES:
            for profile, architecture, guided in (("release", own, "false"), ("dist", own, "true"), ("dist", "another", "false")):
                with self.subTest(image.name, profile=profile, architecture=architecture):
                    labels = annotations(image, dataclasses.replace(INPUTS, profile=profile, architecture=architecture))
                    holds_programs = image.name in ("github-gists-api-plain", "wasi-http-installer")
                    expected = {BUILD_PROFILE: profile, PROFILE_GUIDED: guided} if holds_programs else {}
                    self.assertEqual({key: labels[key] for key in (BUILD_PROFILE, PROFILE_GUIDED) if key in labels}, expected)

    def test_the_plain_image_is_asked_by_its_own_host(self) -> None:
        # Without its files, for which the host would have to be built.
        image = dataclasses.replace(BY_NAME["github-gists-api-plain"], fill=lambda _tree, _inputs: None)
        layout = assemble(image, [INPUTS], f"localhost/{image.name}:test")
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


class Installer(unittest.TestCase):
    """The installer's image for both architectures, with headers that stand for the programs."""

    PROGRAMS = ("wasi-http-installer", "containerd-shim-wasi-http-v1", "wasi-http-image-verifier", "wasi-http-host")

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.builds = []
        for architecture, machine in (("amd64", AMD64), ("arm64", ARM64)):
            programs = Path(scratch.name, architecture)
            programs.mkdir()
            for name in self.PROGRAMS:
                (programs / name).write_bytes(program(machine, PT_LOAD) + name.encode())
            (programs / "probe.wasm").write_text("probe")
            build = dataclasses.replace(INPUTS, architecture=architecture, programs=programs, profile="dist")
            self.builds.append(dataclasses.replace(build, host=programs / "wasi-http-host"))

    def test_each_architecture_has_its_own_programs(self) -> None:
        layout = layout_of("wasi-http-installer", *self.builds)
        index = json_blob(layout, layout.root)
        platforms = [manifest["platform"] for manifest in index["manifests"]]
        self.assertEqual(platforms, [{"os": "linux", "architecture": name} for name in ARCHITECTURES])
        for descriptor, build in zip(index["manifests"], self.builds, strict=True):
            manifest = json_blob(layout, descriptor)
            [layer] = manifest["layers"]
            tar = gzip.decompress(layout.blobs[layer["digest"]])
            files = sorted(name for name, member in members(tar).items() if member.isfile())
            expected = [f"node/{name}" for name in ("containerd-shim-wasi-http-v1", "wasi-http-host", "wasi-http-image-verifier")]
            self.assertEqual(files, [*expected, "probe.wasm", "wasi-http-installer"])
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                for name in files:
                    if name != "probe.wasm":
                        self.assertEqual(read_header(content(archive, name)), Program(build.architecture, interpreted=False))
            config = json_blob(layout, manifest["config"])
            self.assertEqual(config["architecture"], build.architecture)
            self.assertEqual(config["config"]["Labels"][PROFILE_GUIDED], str(build.architecture == own_architecture()).lower())
        self.assertNotIn(PROFILE_GUIDED, index["annotations"], "true of one of the images only")
        self.assertEqual(index["annotations"][BUILD_PROFILE], "dist")

    def test_one_architecture_is_an_image_and_no_index(self) -> None:
        for build in self.builds:
            layout = layout_of("wasi-http-installer", build)
            self.assertEqual(layout.root["mediaType"], MANIFEST)
            self.assertEqual(layout.root["platform"], {"os": "linux", "architecture": build.architecture})

    def test_a_program_of_another_architecture_is_refused(self) -> None:
        amd64, arm64 = self.builds
        with self.assertRaisesRegex(InputError, "wasi-http-installer is built for amd64, but the image is for arm64: run 'make programs'"):
            layout_of("wasi-http-installer", dataclasses.replace(arm64, programs=amd64.programs))


class Gathered(unittest.TestCase):
    def test_programs_come_from_the_profiles_directory(self) -> None:
        for profile in ("release", "dist"):
            inputs = gather(Path("/t"), profile, None, None)
            self.assertEqual((inputs.programs, inputs.host), (Path("/t/node", profile), Path("/t/node", profile, "wasi-http-host")))
            other = gather(Path("/t"), profile, None, None, "another")
            self.assertEqual((other.programs, other.host), (Path("/t/node", profile, "another"), other.programs / "wasi-http-host"))


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
            add_static(Tree(), "/sh", Path("/bin/sh"), own_architecture(), "do this")
        # ldd of this machine cannot tell for another architecture.
        with tempfile.NamedTemporaryFile() as file:
            file.write(program(ARM64, PT_LOAD, PT_INTERP))
            file.flush()
            with self.assertRaisesRegex(InputError, "must be static: do this"):
                add_static(Tree(), "/sh", Path(file.name), "arm64", "do this")

    def test_what_is_no_program_is_refused(self) -> None:
        whole = program(AMD64, PT_LOAD)
        other_order = whole[:5] + b"\2" + whole[6:]
        for data in (b"", b"#!/bin/sh\n" * 9, whole[:63], whole[:-1], other_order):
            with self.subTest(data[:8], length=len(data)), tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                with self.assertRaisesRegex(InputError, "is no 64-bit ELF program: do this"):
                    add_static(Tree(), "/program", Path(file.name), "amd64", "do this")

    def test_the_headers_tell_static_programs_from_others(self) -> None:
        own = own_architecture()
        self.assertEqual(read_header(Path("/bin/sh").read_bytes()), Program(own, interpreted=True))
        self.assertEqual(read_header(program(ARM64, PT_LOAD)), Program("arm64", interpreted=False))
        self.assertEqual(read_header(program(40)), Program("ELF machine 40", interpreted=False))

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

    def test_an_architecture_that_nothing_builds_is_refused(self) -> None:
        done = self.run_it("installer", "--architecture", "riscv64")
        self.assertEqual(done.returncode, 2)
        self.assertIn("invalid choice: 'riscv64' (choose from 'amd64', 'arm64')", done.stderr)

    def test_the_host_of_one_architecture_is_not_for_two(self) -> None:
        done = self.run_it("installer", "--architecture", "amd64", "--architecture", "arm64", "--host", "/nowhere")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--host is the program of one architecture", done.stderr)

    def test_the_commits_time_can_be_overridden(self) -> None:
        os.environ["SOURCE_DATE_EPOCH"] = "86400"
        try:
            self.assertEqual(provenance()[1], "1970-01-02T00:00:00Z")
        finally:
            del os.environ["SOURCE_DATE_EPOCH"]


if __name__ == "__main__":
    unittest.main()
