"""Tests of the scripts that workflows call, as programs.

python3 -B -m unittest discover --start-directory scripts/delivery --top-level-directory scripts
"""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import tomllib
import unittest
from pathlib import Path

from oci.inputs import ROOT

from delivery import sarif
from delivery.publish import PARTS


class Sarif(unittest.TestCase):
    def test_each_message_with_a_place_is_a_result_once(self) -> None:
        span = {"is_primary": True, "file_name": "src/lib.rs", "line_start": 3, "column_start": 5}
        message = {"code": {"code": "clippy::panic"}, "level": "warning", "message": "panics", "spans": [span]}
        lines = [
            json.dumps({"reason": "compiler-message", "message": message}),
            json.dumps({"reason": "compiler-message", "message": message}),
            json.dumps({"reason": "compiler-message", "message": message | {"spans": []}}),
            json.dumps({"reason": "build-finished", "success": True}),
            "what a build script prints",
        ]
        [run] = sarif.convert(lines)["runs"]
        self.assertEqual([result["ruleId"] for result in run["results"]], ["clippy::panic"])
        region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
        self.assertEqual(region, {"startLine": 3, "startColumn": 5})


class Scripts(unittest.TestCase):
    def run_script(self, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "SLACK_WEBHOOK_URL"} | variables
        command = [str(ROOT / "scripts" / name), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def test_the_gate_opens_only_when_every_job_has_succeeded(self) -> None:
        for needs, code in (
            ('{"a": {"result": "success"}, "b": {"result": "success"}}', 0),
            ('{"a": {"result": "success"}, "b": {"result": "failure"}}', 1),
            ('{"a": {"result": "skipped"}}', 1),
            ('{"a": {"result": "cancelled"}}', 1),
            ("{}", 1),
            ("", 1),
            ('{"a": {}}', 1),
        ):
            with self.subTest(needs):
                self.assertEqual(self.run_script("gate", NEEDS=needs).returncode, code)

    def test_a_notice_without_a_webhook_is_no_failure(self) -> None:
        done = self.run_script("notify", "text")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("SLACK_WEBHOOK_URL is not set", done.stderr)

    def test_a_webhook_that_does_not_answer_is_no_failure_and_is_not_shown(self) -> None:
        done = self.run_script("notify", "text", SLACK_WEBHOOK_URL="http://127.0.0.1:1/secret")
        self.assertEqual(done.returncode, 0)
        self.assertIn("the notice was not sent", done.stderr)
        self.assertNotIn("secret", done.stderr)

    def test_a_floor_that_is_no_percentage_is_refused(self) -> None:
        for floor in ("x", "101", "-1", ""):
            with self.subTest(floor):
                done = self.run_script("coverage", "--floor", floor)
                self.assertEqual(done.returncode, 64)
                self.assertIn(f"--floor {floor}: expected a number of percent", done.stderr)

    def test_wrong_arguments_of_a_deployment_are_named_and_change_nothing(self) -> None:
        for arguments, part in (
            (["ns"], "pass either --kustomize or --manifests"),
            (["ns", "--kustomize", "a", "--manifests", "b"], "pass either --kustomize or --manifests"),
            (["ns", "--image", "a"], "--image a: expected NAME=IMAGE"),
            (["ns", "--kustomize", "a", "--watch", "1x"], "--watch 1x: expected seconds"),
            (["ns", "--kustomize", "a", "--smoke", "x"], "--smoke x: expected a path"),
            (["ns", "--kustomize", "a", "--url", "https://h/p"], "--url https://h/p: expected"),
            (["ns", "--kustomize"], "--kustomize needs a value"),
            (["ns", "more"], "unexpected more"),
        ):
            with self.subTest(arguments):
                done = self.run_script("deploy", *arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(part, done.stderr)

    def test_wrong_arguments_of_a_preview_are_named(self) -> None:
        for arguments, part in (
            (["up"], "up needs the number of a pull request"),
            (["up", "0"], "0: expected the number of a pull request"),
            (["down", "../7"], "../7: expected the number of a pull request"),
            (["down", "7", "--hours", "1"], "unexpected --hours"),
            (["up", "7", "--image", "a"], "--image a: expected an image with a tag or a digest"),
            (["up", "7", "--image", "a:5000/b"], "--image a:5000/b: expected an image with a tag or a digest"),
            (["up", "7", "--domain", "a_b.c"], "--domain a_b.c: expected a domain"),
            (["up", "7", "--hours", "0"], "--hours 0: expected 1 to 999 hours"),
            (["up", "7", "--image"], "--image needs a value"),
            (["up", "7", "--image", "a:1", "--other", "x"], "unknown option --other"),
        ):
            with self.subTest(arguments):
                done = self.run_script("preview", *arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(part, done.stderr)

    def test_wrong_arguments_of_a_backup_are_named(self) -> None:
        for arguments, part in (
            (["save", "ns"], "backup save NAMESPACE DIRECTORY"),
            (["keep", "ns", "directory"], "keep: expected save or restore"),
            (["save", "ns", "directory", "--replace"], "--replace is for restore only"),
            (["save", "ns", "directory", "--redis"], "--redis needs a value"),
            (["save", "ns", "directory", "--other"], "unknown option --other"),
        ):
            with self.subTest(arguments):
                done = self.run_script("backup", *arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(part, done.stderr)

    def test_the_files_of_a_release_are_the_same_twice_and_have_the_version_of_the_workspace(self) -> None:
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, "target")
            programs = ("wasi-http-host", "containerd-shim-wasi-http-v1", "wasi-http-image-verifier", "wasi-http-installer")
            own, other = ("arm64", "amd64") if os.uname().machine == "aarch64" else ("amd64", "arm64")
            directories = {own: "node/dist", other: f"node/dist/{other}"}
            built = [f"{directory}/{name}" for directory in directories.values() for name in programs] + ["wasm32-wasip2/dist/gists.wasm"]
            for name in built + [f"image/{image}.tar" for image in PARTS]:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_text(name)
            # In place of cosign: notes what it is asked to sign.
            cosign = Path(scratch, "bin/cosign")
            cosign.parent.mkdir()
            cosign.write_text('#!/bin/sh\necho "$@" >"$(dirname "$0")/asked"\n')
            cosign.chmod(0o755)
            variables = {"CARGO_TARGET_DIR": str(target), "PATH": f"{cosign.parent}:{os.environ['PATH']}"}
            sums = []
            for name in ("one", "two"):
                done = self.run_script("release-files", version, f"{scratch}/{name}", **variables)
                self.assertEqual(done.returncode, 0, done.stderr)
                sums.append(Path(scratch, name, "SHA256SUMS").read_text())
            self.assertEqual(sums[0], sums[1])
            self.assertEqual(len(sums[0].splitlines()), 2 + len(PARTS))
            for line in sums[0].splitlines():
                digest, name = line.split()
                self.assertEqual(hashlib.sha256(Path(scratch, "one", name).read_bytes()).hexdigest(), digest)
            for architecture, directory in directories.items():
                archive = f"gists-{version}-linux-{architecture}"
                with tarfile.open(Path(scratch, "one", f"{archive}.tar.gz")) as files:
                    host = files.extractfile(f"{archive}/wasi-http-host")
                    self.assertEqual(host.read() if host else None, f"{directory}/wasi-http-host".encode())
            self.assertIn("sign-blob", Path(scratch, "bin/asked").read_text())
            Path(target, directories[other], "wasi-http-host").unlink()
            incomplete = self.run_script("release-files", version, f"{scratch}/four", **variables)
            self.assertEqual(incomplete.returncode, 1)
            self.assertIn(f"{directories[other]}/wasi-http-host is missing: run 'make release'", incomplete.stderr)
            single = self.run_script("release-files", version, f"{scratch}/five", ARCHITECTURES=own, **variables)
            self.assertEqual(single.returncode, 0, single.stderr)
            refused = self.run_script("release-files", "9.9.9", f"{scratch}/three", **variables)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(f"the tag says 9.9.9, and Cargo.toml says {version}", refused.stderr)


if __name__ == "__main__":
    unittest.main()
