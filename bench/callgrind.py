"""Counts the instructions that a server executes in user space, by callgrind, and tells them apart by part and by function."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from contenders import Contender, fail

PARTS = ["component's code", "wasmtime", "host's own", "allocator", "memcpy and kin", "hyper", "tokio", "rest"]
COMPONENT, WASMTIME, OWN, ALLOCATOR, MEMORY, HYPER, TOKIO, REST = PARTS

# `--dump-instr` because the component's functions are known by their addresses alone. `--smc-check`, because wasmtime writes code.
CALLGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--smc-check=all-non-file", "--dump-instr=yes"]
# Valgrind shows programs a processor of its own. Code that is compiled for that processor must be compiled under Valgrind, too.
ON_VALGRINDS_PROCESSOR = ["valgrind", "--tool=none", "--quiet", "--smc-check=all-non-file"]

ALLOCATORS = re.compile(r"_?mi_|(malloc|calloc|realloc|free|cfree|posix_memalign|aligned_alloc)$|__?r(ust|dl|g)_|__rustc::")
# `memcpy`, and what glibc makes of it for a processor: `__memmove_avx_unaligned_erms`.
MEMORY_FUNCTIONS = re.compile(r"_*(mem(cpy|move|set|cmp|chr|rchr|pcpy)|bcmp|strlen)")
# The crate at the start of a path, as in `tokio::…`, `<tokio::… as …>` and `drop_in_place<tokio::…>`.
CRATE = re.compile(r"(?<![\w:])([a-z_][a-z0-9_]*)::")
# These say nothing about whose code it is.
LIBRARIES = {"core", "alloc", "std", "hashbrown", "self"}
CRATES = [
    (OWN, re.compile(r"wasi_http_host|bench_native")),
    (WASMTIME, re.compile(r"wasmtime|cranelift|cap_std|rustix|wit_")),
    (HYPER, re.compile(r"hyper|httparse|http$|http_body|httpdate|h2$")),
    (TOKIO, re.compile(r"tokio|mio$")),
]


@dataclass
class Profile:
    """The instructions of one dump: by object and function, and by address where callgrind knows no object."""

    functions: Counter[tuple[str, str]]
    addresses: Counter[int]
    requests: int = 1
    # How long the requests took, all together.
    seconds: float = 0

    def parts(self) -> dict[str, float]:
        """Returns the instructions a request by part, and `all` of them."""
        found = dict.fromkeys(["all", *PARTS], 0.0)
        for (file, function), count in self.functions.items():
            found["all"] += count / self.requests
            found[part_of(file, function)] += count / self.requests
        return found


def of_requests_alone(quick: Profile, slow: Profile) -> dict[str, float]:
    """Returns the instructions a request by part, without those that a server executes as time passes, such as to write counters.

    The two profiles are of the same requests at different speeds. What grows with the time between them is not the requests'.
    """
    times = [profile.seconds / profile.requests for profile in (quick, slow)]
    share = times[0] / (times[1] - times[0])
    slow_parts = slow.parts()
    return {part: max(0.0, count - (slow_parts[part] - count) * share) for part, count in quick.parts().items()}


def part_of(file: str, function: str) -> str:
    """Returns the part that a function belongs to. Code without a file is what wasmtime compiled of the component."""
    if file == "":
        return COMPONENT
    if ALLOCATORS.match(function):
        return ALLOCATOR
    if MEMORY_FUNCTIONS.match(function):
        return MEMORY
    for crate in CRATE.findall(function):
        if crate not in LIBRARIES:
            return next((part for part, pattern in CRATES if pattern.match(crate)), REST)
    return REST


def read(dump: Path) -> Profile:
    """Reads a dump that was made with `--dump-instr=yes` (the manual's "Callgrind Format Specification")."""
    profile = Profile(Counter(), Counter())
    names: dict[str, dict[str, str]] = {"ob": {}, "fn": {}}
    at = {"ob": "", "fn": ""}
    address, is_call = 0, False
    for line in dump.read_text().splitlines():
        if line[:1] in "0123456789+-*" and line:
            position, _, *costs = line.split()
            address = moved(address, position)
            # The line after `calls=` has the cost of the called function, which has lines of its own.
            if costs and not is_call:
                profile.functions[at["ob"], at["fn"]] += int(costs[0])
                if at["ob"] == "":
                    profile.addresses[address] += int(costs[0])
            is_call = False
        elif line.startswith("calls="):
            is_call = True
        elif match := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line):
            called, kind, number, name = match.groups()
            if name is not None:
                names[kind][number] = "" if name == "???" else name
            if not called:
                at[kind] = names[kind].get(number, "")
    return profile


def moved(address: int, position: str) -> int:
    """Returns the address that `position` names: a number, or its distance from `address`."""
    if position == "*":
        return address
    return (address if position[0] in "+-" else 0) + int(position, 0)


def symbols(code: Path) -> list[tuple[int, str]]:
    """Returns the addresses and names of the functions in a file of compiled code, in order."""
    found = subprocess.run(["readelf", "--wide", "--symbols", str(code)], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 7) for line in found.splitlines())
    return sorted((int(row[1], 16), row[7]) for row in rows if len(row) == 8 and row[3] == "FUNC")


class Counted:
    """A server under callgrind, and one connection to it."""

    def __init__(self, contender: Contender, directory: Path) -> None:
        self.contender = contender
        self.dumps = directory / re.sub(r"\W+", "-", contender.name)
        contender.command[:0] = [*CALLGRIND, f"--callgrind-out-file={self.dumps}"]

    def start(self, logs: Path) -> None:
        self.contender.start(logs)
        host, port = self.contender.address.split(":")
        self.connection = socket.create_connection((host, int(port)), timeout=60)
        self.answers = self.connection.makefile("rb")

    def code(self) -> tuple[Path, int] | None:
        """Returns the file of the component's compiled code, and the address where it starts in memory."""
        for line in Path(f"/proc/{self.contender.pid()}/maps").read_text().splitlines():
            if line.endswith(".cwasm") and " r-xp " in line:
                addresses, _, _, _, _, file = line.split(None, 5)
                return Path(file), int(addresses.split("-")[0], 16)
        return None

    def ask(self, path: str, times: int, pause: float = 0) -> bytes:
        """Sends a request again and again, and returns the last body. As `wrk`, it sends no header but `Host`."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self.contender.address}\r\n\r\n".encode()
        body = b""
        for _ in range(times):
            self.connection.sendall(request)
            status, length = self.answers.readline(), 0
            while (line := self.answers.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = self.answers.read(length)
            if b" 200 " not in status:
                fail(f"{self.contender.name} answers {path} with {status.decode().strip()!r}\n{self.contender.tail()}")
            if pause:
                time.sleep(pause)
        return body

    def count(self, path: str, times: int, pause: float = 0) -> Profile:
        """Counts the instructions of `times` requests, with a pause of so many seconds after each."""
        self.control("instrumentation", "on")
        began = time.monotonic()
        self.ask(path, times, pause)
        seconds = time.monotonic() - began
        before = set(self.dumps.parent.iterdir())
        self.control("dump")
        self.control("instrumentation", "off")
        made = [file for file in self.dumps.parent.iterdir() if file not in before]
        if len(made) != 1:
            fail(f"callgrind wrote {len(made)} dumps for {self.contender.name} on {path}, not 1\n{self.contender.tail()}")
        profile = read(made[0])
        profile.requests, profile.seconds = times, seconds
        return profile

    def control(self, *command: str) -> None:
        done = subprocess.run(["vgdb", f"--pid={self.contender.pid()}", *command], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            fail(f"vgdb {' '.join(command)} fails for {self.contender.name}: {done.stderr.strip()}")


def missing() -> str | None:
    """Returns why nothing can be counted here; `None` if it can."""
    if absent := [program for program in ("valgrind", "vgdb") if shutil.which(program) is None]:
        return f"{' and '.join(absent)} missing: `apt-get install valgrind` (Debian, Ubuntu)"
    flags = re.search(r"^flags\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    # From these, Valgrind decides which processor programs see. With all of them, it is always the same one.
    wanted = {"avx2", "bmi1", "bmi2", "fma", "f16c", "movbe", "abm", "rdrand"}
    if lacks := sorted(wanted - set(flags[1].split() if flags else [])):
        return f"the processor lacks {', '.join(lacks)}, so Valgrind shows programs another one than where the figures were kept"
    return None


def by_function(profile: Profile, code: tuple[Path, int] | None) -> Counter[str]:
    """Returns the instructions by function, with the names of the component's functions as far as they are known."""
    named = Counter({f"{part_of(*key)}: {key[1]}": count for key, count in profile.functions.items() if key[0]})
    table = symbols(code[0]) if code else []
    starts = [start for start, _ in table]
    for address, count in profile.addresses.items():
        index = bisect_right(starts, address - code[1]) - 1 if code else -1
        named[f"{COMPONENT}: {table[index][1] if index >= 0 else hex(address)}"] += count
    return named
