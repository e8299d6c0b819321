"""The scripts that set up a cluster, with programs of their own in place of Docker, kind and kubectl."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# macOS has bash 3.2 at this path. With the variable, the tests run with another old bash.
BASH = os.environ.get("TEST_BASH", "bash")


class Kind(unittest.TestCase):
    def test_a_failed_build_of_the_programs_ends_the_script(self) -> None:
        for failing, system in (("make", "Linux"), ("docker", "Darwin")):
            with tempfile.TemporaryDirectory() as directory:
                called = Path(directory, "called")
                for program in ("docker", "kind", "kubectl", "helm", "make", "uname"):
                    body = f'echo "{program} $*" >>"{called}"\n'
                    if program == "uname":
                        body = f"echo {system}\n"
                    elif program == "helm":
                        body += 'echo \'[{"name": "istio"}, {"name": "metrics-server"}]\'\n'
                    elif program == failing:
                        body += "exit 3\n"
                    Path(directory, program).write_text(f"#!/bin/sh\n{body}")
                    Path(directory, program).chmod(0o755)
                path = f"{directory}:{os.environ['PATH']}"
                done = subprocess.run([BASH, SCRIPTS / "kind", "up"], env={**os.environ, "PATH": path}, capture_output=True, check=False)
                told = called.read_text()
                self.assertNotEqual(done.returncode, 0, told)
                self.assertNotIn("kind create cluster", told)
                self.assertNotIn("runtime-class/kind", told)


class TlsSecret(unittest.TestCase):
    # A kubectl that keeps one Secret in a file.
    KUBECTL = """#!/bin/sh
case "$*" in
*"get secret"*) [ ! -f "$STORE" ] || base64 <"$STORE" ;;
*"create secret"*) while [ $# -gt 0 ]; do [ "$1" != --cert ] || cp "$2" "$STORE"; shift; done ;;
*) cat >/dev/null ;;
esac
"""

    def test_names_are_kept_and_an_empty_list_is_no_error(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "kubectl").write_text(self.KUBECTL)
            Path(directory, "kubectl").chmod(0o755)
            env = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "STORE": str(Path(directory, "store"))}

            def run(*arguments: str) -> str:
                command = [BASH, str(SCRIPTS / "tls-secret"), *arguments]
                done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout

            self.assertIn("for gists.local gists.kishore.local,", run())
            self.assertIn("is good until", run())
            self.assertIn(
                "for a.local b.local,", run("--host", "b.local", "--host", "a.local").replace("b.local a.local", "a.local b.local")
            )
            # Without --host, the names are those of the certificate.
            self.assertIn("for a.local b.local,", run("--renew"))
            self.assertTrue(run("--show").startswith("-----BEGIN CERTIFICATE-----"))

    def test_nothing_that_bash_3_2_lacks(self) -> None:
        newer = re.compile(
            r"\b(mapfile|readarray|declare -[An]|local -n|coproc)\b|\$\{\w+(,,|\^\^|@[QEPAa])|\|&|&>>|inherit_errexit|=~ [^\s$]*\("
        )
        for name in ("kind", "tls-secret"):
            code = "\n".join(line for line in (SCRIPTS / name).read_text().splitlines() if not line.lstrip().startswith("#"))
            self.assertEqual([found[0] for found in newer.finditer(code)], [], name)


if __name__ == "__main__":
    unittest.main()
