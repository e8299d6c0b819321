"""Runs blocks one after the other in one bash session, as a reader does in one terminal.

A block fails when a command fails (`set -euo pipefail`), when its output lacks a text that the page expects, or when it takes longer
than its limit. What still runs at the end of the page gets SIGTERM, as a service manager would send it, and must end with exit code 0.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .page import Block, pattern

# How often the session is looked at, and how long background programs may take to end, in seconds.
POLL = 0.05
ENDING = 60.0
ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):(\d{2,5})\b")


class BlockError(Exception):
    """A block failed. `line` is the line of the page, where one is known."""

    def __init__(self, message: str, line: int | None = None):
        super().__init__(message)
        self.line = line


class Ports:
    """Free ports in place of those that a page names on this machine: another program may have taken 8080."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []
        self._free: dict[str, int] = {}

    def free(self, named: str) -> int:
        """The port that stands for a named one."""
        if named not in self._free:
            held = socket.create_server(("127.0.0.1", 0))
            # Held until the page starts, so that no port is given out twice.
            self._held.append(held)
            self._free[named] = held.getsockname()[1]
        return self._free[named]

    def translate(self, commands: str) -> str:
        """The commands with free ports after `localhost` and `127.0.0.1`."""
        return ADDRESS.sub(lambda match: f"{match[1]}:{self.free(match[2])}", commands)

    def release(self) -> None:
        """Gives the ports to the page."""
        for held in self._held:
            held.close()
        self._held.clear()


@dataclass
class Session:
    """Where the blocks of a page run. `log` gets everything that they print."""

    directory: Path
    environment: Mapping[str, str]
    log: Path

    def run(self, name: str, blocks: list[Block], ports: Ports) -> None:
        """Runs the blocks. Raises BlockError."""
        with tempfile.TemporaryDirectory(prefix="tutorial-") as scratch:
            files = _Files(Path(scratch), name)
            files.write(blocks, ports)
            ports.release()
            bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc", str(files.script)],
                cwd=self.directory,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                for index, block in enumerate(blocks):
                    _await(bash, files, index, block)
                _end(bash, files)
            finally:
                # Whatever happened, nothing of the page stays behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(bash.pid, signal.SIGKILL)
                bash.wait()
                self.log.write_text(files.outputs(blocks), encoding="utf-8")


@dataclass
class _Files:
    """The files of a session: a script that sources one file for each block, and what it reports.

    The lines of `status` are `end` after each block, `failed LINE` after a failed command, `over` when only background jobs are left,
    and `job CODE` for a job that ended badly.
    """

    directory: Path
    name: str

    @property
    def script(self) -> Path:
        return self.directory / "script"

    @property
    def _status(self) -> Path:
        return self.directory / "status"

    def _output(self, index: int) -> Path:
        return self.directory / f"{index}.log"

    def write(self, blocks: list[Block], ports: Ports) -> None:
        """Writes the script. In the file of a block, lines have their numbers of the page."""
        self._status.touch()
        status = shlex.quote(str(self._status))
        lines = ["set -Eeuo pipefail", f"trap 'echo \"failed $LINENO\" >>{status}' ERR"]
        for index, block in enumerate(blocks):
            file = self.directory / str(index) / self.name
            file.parent.mkdir()
            file.write_text("\n" * (block.line - 1) + ports.translate(block.commands) + "\n", encoding="utf-8")
            output = shlex.quote(str(self._output(index)))
            source = f". {shlex.quote(str(file))} >{output} 2>&1"
            if block.background:
                source += f" &\n{_until(ports.translate(block.background), block.line, status)}"
            lines += [source, f"echo end >>{status}"]
        lines += [
            "trap - ERR",
            # Before `over`: then nothing but the jobs runs below this shell.
            "background=$(jobs -p)",
            f"echo over >>{status}",
            f'for job in $background; do wait "$job" || echo "job $?" >>{status}; done',
        ]
        self.script.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def status(self) -> list[str]:
        """What the session has reported so far."""
        return self._status.read_text(encoding="utf-8").split("\n")

    def output(self, index: int) -> str:
        """What a block, and what it left in the background, has printed so far."""
        file = self._output(index)
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def outputs(self, blocks: list[Block]) -> str:
        """All of it, with headings."""
        parts = [f"== {self.name}:{block.line}\n{self.output(index)}" for index, block in enumerate(blocks)]
        return "\n".join(parts)


def _until(url: str, line: int, status: str) -> str:
    """Commands that wait until the program that was started last answers, or has ended."""
    return (
        f"until curl --silent --fail --output /dev/null {shlex.quote(url)}; do\n"
        f'  kill -0 $! 2>/dev/null || {{ echo "failed {line}" >>{status}; exit 1; }}\n'
        "  sleep 0.1\n"
        "done"
    )


def _await(bash: subprocess.Popen[bytes], files: _Files, index: int, block: Block) -> None:
    """Waits until the block with this index is over, and looks at its output."""
    deadline = time.monotonic() + block.limit
    while True:
        # Looked at first: what the session reported before it ended is then there.
        code = bash.poll()
        status = files.status()
        if status.count("end") > index:
            break
        if code is not None:
            failed = [int(word.removeprefix("failed ")) for word in status if word.startswith("failed ")]
            raise BlockError(f"a command failed with exit code {code}", failed[-1] if failed else block.line)
        if time.monotonic() > deadline:
            raise BlockError(f"the block is not over after {block.limit} s", block.line)
        time.sleep(POLL)
    output = files.output(index)
    for text in block.expect:
        if text not in output:
            raise BlockError(f"the output lacks {text}", block.line)
    for shown in block.shown:
        if not any(re.fullmatch(pattern(shown), line.strip()) for line in output.splitlines()):
            raise BlockError(f"no line of the output is like {shown}", block.line)


def _end(bash: subprocess.Popen[bytes], files: _Files) -> None:
    """Sends SIGTERM to what runs in the background, and looks at how it ends."""
    deadline = time.monotonic() + ENDING
    told: set[int] = set()
    while bash.poll() is None:
        if "over" in files.status():
            for pid in leaves(bash.pid) - told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise BlockError(f"a background program still runs {ENDING:.0f} s after SIGTERM")
        time.sleep(POLL)
    codes = [word.removeprefix("job ") for word in files.status() if word.startswith("job ")]
    if codes:
        raise BlockError(f"a background program ended with exit code {codes[0]} after SIGTERM, not with 0")


def leaves(root: int) -> set[int]:
    """The processes below `root` that have no processes below them: of `make run` the server, and not make."""
    children: dict[int, list[int]] = {}
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found, waiting = set(), list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        if pid not in children:
            found.add(pid)
    return found
