"""How a session runs blocks, and how it fails."""

import os
import subprocess
import tempfile
import time
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

from . import session
from .page import Block
from .session import BlockError, Ports, Session


class Sessions(unittest.TestCase):
    """`Session.run` with small pages."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        self.log = self.directory / "log"

    def run_page(self, *blocks: Block) -> str:
        Session(self.directory, os.environ, self.log).run("page.md", list(blocks), Ports())
        return self.log.read_text(encoding="utf-8")

    def failure(self, *blocks: Block) -> BlockError:
        with self.assertRaises(BlockError) as caught:
            self.run_page(*blocks)
        return caught.exception

    def assert_ended(self, file: str) -> None:
        pid = (self.directory / file).read_text(encoding="utf-8").strip()
        deadline = time.monotonic() + 30
        # A process that has ended, and that nobody has waited for, is a zombie.
        while self.state(pid)[:1] not in ("", "Z"):
            self.assertLess(time.monotonic(), deadline, "the process still runs")
            time.sleep(0.05)

    def state(self, pid: str) -> str:
        return subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout.strip()

    def test_blocks_share_variables_functions_and_the_directory(self) -> None:
        output = self.run_page(
            Block(3, 'mkdir sub && cd sub\nname=world\ngreet() { echo "hello $1"; }'),
            Block(9, "greet $name; basename $PWD", expect=("hello world", "sub")),
        )
        self.assertEqual(output, "== page.md:3\n\n== page.md:9\nhello world\nsub\n")

    def test_a_failed_command_is_named_by_the_line_of_the_page(self) -> None:
        failure = self.failure(Block(10, "true\nfalse\ntouch after"), Block(20, "touch later"))
        self.assertEqual((failure.line, str(failure)), (11, "a command failed with exit code 1"))
        self.assertEqual(self.failure(Block(4, "true"), Block(7, "\nfalse | true")).line, 8)
        self.assertEqual(self.failure(Block(4, "echo $missing")).line, 4)
        self.assertFalse((self.directory / "after").exists() or (self.directory / "later").exists())

    def test_output_that_lacks_what_the_page_expects_fails(self) -> None:
        failure = self.failure(Block(2, "echo one"), Block(5, "echo two", expect=("two", "one")))
        self.assertEqual((failure.line, str(failure)), (5, "the output lacks one"))

    def test_output_that_is_not_as_the_page_shows_it_fails(self) -> None:
        echo = Block(3, "echo 'size: 17 of 20'", shown=("size: 1 of 2",))
        self.run_page(echo)
        self.assertEqual(self.failure(replace(echo, shown=("size: 1",))).line, 3)

    def test_the_next_block_waits_until_a_server_answers(self) -> None:
        url = "http://127.0.0.1:8080/"
        start = 'address=127.0.0.1:8080; sleep 0.3; exec python3 -m http.server --bind "${address%:*}" "${address#*:}"'
        serve = Block(2, start, limit=30, background=url)
        # Python's server ends by SIGTERM itself, and not with 0.
        with self.assertRaisesRegex(BlockError, "exit code 143"):
            self.run_page(serve, Block(5, f"curl --fail {url}"))
        self.assertIn("Directory listing", self.log.read_text(encoding="utf-8"))
        failure = self.failure(replace(serve, commands="false"))
        self.assertEqual((failure.line, str(failure)), (2, "a command failed with exit code 1"))

    def test_a_block_that_takes_too_long_is_ended_with_all_that_it_started(self) -> None:
        failure = self.failure(Block(2, "sleep 1000 & echo $! >pid; wait", limit=1))
        self.assertEqual((failure.line, str(failure)), (2, "the block is not over after 1 s"))
        self.assert_ended("pid")

    def start_server(self, code: int) -> Block:
        """A block that leaves a program in the background, which ends with a code after SIGTERM."""
        lines = (
            "import os, pathlib, signal, sys",
            f"signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))",
            "pathlib.Path('pid').write_text(str(os.getpid()))",
            "signal.pause()",
        )
        (self.directory / "server.py").write_text("\n".join(lines), encoding="utf-8")
        # Below a shell, as the server of `make run` is below make.
        return Block(2, "sh -c 'python3 server.py; exit $?' &\nuntil [ -s pid ]; do sleep 0.05; done")

    def test_background_programs_end_with_the_page(self) -> None:
        self.run_page(self.start_server(0))
        self.assert_ended("pid")

    def test_a_background_program_that_ends_badly_fails(self) -> None:
        failure = self.failure(self.start_server(3))
        self.assertEqual(str(failure), "a background program ended with exit code 3 after SIGTERM, not with 0")

    def test_a_background_program_that_does_not_end_is_killed(self) -> None:
        deaf = "bash -c 'trap \"\" TERM; echo $$ >pid; while :; do sleep 1; done' &\nuntil [ -s pid ]; do sleep 0.05; done"
        with mock.patch.object(session, "ENDING", 0.5):
            failure = self.failure(Block(2, deaf))
        self.assertIn("still runs", str(failure))
        self.assert_ended("pid")

    def test_nothing_waits_for_input(self) -> None:
        self.run_page(Block(2, "! read -r line"))


class FreePorts(unittest.TestCase):
    """`Ports`."""

    def test_a_named_port_is_replaced_by_the_same_free_one_everywhere(self) -> None:
        ports = Ports()
        port, other = ports.free("8080"), ports.free("9090")
        self.assertNotEqual(port, other)
        self.assertEqual(
            ports.translate("serve --listen 127.0.0.1:8080 && curl localhost:8080/x http://localhost:9090"),
            f"serve --listen 127.0.0.1:{port} && curl localhost:{port}/x http://localhost:{other}",
        )
        ports.release()

    def test_ports_of_other_machines_stay(self) -> None:
        for commands in ("curl fake.dev.svc:8099", "containerPort: 8080", "curl localhost/8080", "--resolve x:443:127.0.0.1"):
            self.assertEqual(Ports().translate(commands), commands)


if __name__ == "__main__":
    unittest.main()
