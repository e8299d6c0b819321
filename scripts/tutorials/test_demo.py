"""What `make demo` starts and prints. Programs in place of the fake GitHub and the host print their arguments."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
# The demo ends the fake when the host ends, so the host waits for the fake's line.
FAKE = """#!/bin/sh
echo "${0##*/} $*"
touch fake-has-printed
"""
HOST = """#!/bin/sh
until [ -e fake-has-printed ]; do sleep 0.01; done
echo "${0##*/} $* GITHUB_API_URL=$GITHUB_API_URL"
"""


class Demo(unittest.TestCase):
    """`scripts/demo` in a directory of its own."""

    def demo(self, **variables: str) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            for script in ("demo", "run", "dotenv"):
                copy = Path(scratch, "scripts", script)
                copy.parent.mkdir(exist_ok=True)
                shutil.copy(SCRIPTS / script, copy)
            for program, text in (("fake-github", FAKE), ("wasi-http-host", HOST)):
                stub = Path(scratch, "target/release", program)
                stub.parent.mkdir(parents=True, exist_ok=True)
                stub.write_text(text, encoding="utf-8")
                stub.chmod(0o755)
            ports = ("PORT", "ADMIN_PORT", "FAKE_PORT", "GITHUB_API_URL")
            inherited = {name: value for name, value in os.environ.items() if name not in ports}
            command = [Path(scratch, "scripts/demo")]
            return subprocess.run(command, env=inherited | variables, capture_output=True, text=True, check=True, timeout=60).stdout

    def test_the_commands_to_try_have_the_port_of_the_service(self) -> None:
        output = self.demo(PORT="18300", FAKE_PORT="18399")
        self.assertIn("fake-github --demo --listen 127.0.0.1:18399 --service http://localhost:18300\n", output)
        self.assertRegex(output, r"wasi-http-host serve spin\.toml --listen 127\.0\.0\.1:18300 .*=http://127\.0\.0\.1:18399\n")

    def test_the_default_ports(self) -> None:
        output = self.demo()
        self.assertIn("fake-github --demo --listen 127.0.0.1:8099 --service http://localhost:8080\n", output)
        self.assertRegex(output, r"wasi-http-host .* --listen 127\.0\.0\.1:8080 ")


if __name__ == "__main__":
    unittest.main()
