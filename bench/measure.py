"""The measurement: first a check that all servers give equal answers, then rounds of load in which the servers take turns."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from statistics import median

from contenders import LOAD, ROOT, Contender, fail, free_port

CONNECTIONS = 32
ANSWER_BYTES = 20_000
DOCUMENT = "/openapi.json"  # constant, and cacheable for an hour
USER = "grace-hopper"  # a user of the demo with many gists, none of them secret
STARTS = 15

CORES = os.sched_getaffinity(0)
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass
class Sample:
    """One turn of one server on one route."""

    requests: int
    per_second: float
    cpu_micros: float
    p50_ms: float
    p99_ms: float


@dataclass
class Cell:
    """One server on one route: the medians over the rounds."""

    per_second: float
    cpu_micros: float
    p50_ms: float
    p99_ms: float
    of_native: float | None
    cpu_of_native: float | None
    times_fastapi: float | None


def cached_path(contender: Contender) -> str:
    """Returns the path of the page whose body is nearest to 20 kB."""
    sizes = {n: len(contender.get(f"/{USER}?per_page={n}")[2]) for n in range(20, 61)}
    best = min(sizes, key=lambda n: abs(sizes[n] - ANSWER_BYTES))
    return f"/{USER}?per_page={best}"


def check_equal(contenders: list[Contender], path: str) -> list[str]:
    """Fills each cache and compares the cached answers. Bodies must be equal; differences between headers are returned."""
    notes: list[str] = []
    first: tuple[bytes, bytes, set[str], set[str]] | None = None
    constant = contenders[0].get(DOCUMENT)
    for contender in contenders:
        contender.get(path)
        for asked in (path, "/health"):
            if contender.get(asked)[0] != 200:
                fail(f"{contender.name} answers {asked} with status {contender.get(asked)[0]}")
        _, headers, body = contender.get(path)
        if b'"cache":{"hit":true,"ttl_seconds":3600}' not in body:
            fail(f"{contender.name} does not serve {path} from its cache: {body[-80:]!r}")
        health = contender.get("/health")
        document = contender.get(DOCUMENT)
        seen = (body, health[2], set(headers), set(health[1]))
        if first is None:
            first = seen
            continue
        if seen[:2] != first[:2]:
            fail(f"{contender.name} has another body than {contenders[0].name}: {body[:200]!r}")
        if contender.name not in ("FastAPI", "Spin") and document[2] != constant[2]:
            fail(f"{contender.name} has another {DOCUMENT} than {contenders[0].name}: {document[0]} {document[2][:200]!r}")
        for asked, mine, theirs in ((path, seen[2], first[2]), ("/health", seen[3], first[3])):
            differ = sorted(f"+{name}" for name in mine - theirs) + sorted(f"-{name}" for name in theirs - mine)
            if differ:
                notes.append(f"headers of {contender.name} on `{asked}` against {contenders[0].name}: {' '.join(differ)}")
    return notes


def wrk(contender: Contender, path: str, seconds: float) -> Sample:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency", f"http://{contender.address}{path}"]
    before = contender.cpu_seconds()
    out = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False).stdout
    cpu = contender.cpu_seconds() - before
    if errors := re.search(r"Socket errors.*|Non-2xx.*", out):
        fail(f"{contender.name} on {path}: {errors[0]}\n{contender.tail()}")
    requests = int(found(r"(\d+) requests in", out))
    if requests == 0:
        fail(f"{contender.name} answered no request on {path}")
    percentile = {p: milliseconds(found(rf"^\s+{p}%\s+(\S+)", out)) for p in (50, 99)}
    per_second = float(found(r"Requests/sec:\s+([\d.]+)", out))
    return Sample(requests, per_second, cpu / requests * 1e6, percentile[50], percentile[99])


def found(pattern: str, output: str) -> str:
    """Returns the pattern's group in wrk's output."""
    match = re.search(pattern, output, re.MULTILINE)
    if match is None:
        fail(f"wrk printed no {pattern!r}:\n{output}")
    return match[1]


def load(contender: Contender, path: str, *arguments: str, timeout: float = 3600) -> dict:
    """Runs `bench-load run` for one turn. Returns its result with the server's CPU time in µs for each request."""
    command = [str(LOAD), "run", "--address", contender.address, "--path", path, *arguments]
    before = contender.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        fail(f"{contender.name} on {path}: {done.stderr.strip()}\n{contender.tail()}")
    result = json.loads(done.stdout)
    if result["failed"] or not result["requests"]:
        failures = f"{result['failed']} of {result['requests']} requests failed: {result['first_failure']}"
        fail(f"{contender.name} on {path}: {failures}\n{contender.tail()}")
    return result | {"cpu_micros": (contender.cpu_seconds() - before) / result["asked"] * 1e6}


def at_rate(contenders: list[Contender], path: str, rate: int, count: int, seconds: int) -> dict[str, dict]:
    """Returns latencies at an equal rate for all servers: the medians over the rounds.

    Where there are two cores, the load generator has one of its own. Otherwise its own waiting would count as latency.
    """
    own, others = set(list(CORES)[:1]), set(list(CORES)[1:]) or CORES
    taken: dict[str, list[dict]] = {contender.name: [] for contender in contenders}
    try:
        for contender in contenders:
            contender.run_on(others)
        os.sched_setaffinity(0, own)
        for number in range(count):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                taken[contender.name].append(load(contender, path, "--rate", str(rate), "--seconds", str(seconds)))
    finally:
        os.sched_setaffinity(0, CORES)
        for contender in contenders:
            contender.run_on(CORES)
    keys = ("per_second", "p50_ms", "p99_ms", "p999_ms", "cpu_micros")
    return {name: {key: median(turn[key] for turn in turns) for key in keys} for name, turns in taken.items()}


def milliseconds(text: str) -> float:
    """Converts a time as wrk prints it."""
    number = text.rstrip("".join(UNITS))
    return float(number) * UNITS[text.removeprefix(number)] * 1e3


def rounds(turns: dict[str, tuple[str, list[Contender]]], count: int, seconds: float) -> dict[str, dict[str, list[Sample]]]:
    """Returns samples by route and server, for the path and the servers of each route. Each round begins with another server."""
    samples: dict[str, dict[str, list[Sample]]] = {
        route: {contender.name: [] for contender in contenders} for route, (_, contenders) in turns.items()
    }
    for path, contenders in turns.values():
        for contender in contenders:
            wrk(contender, path, 1.0)  # warm
    for number in range(count):
        print(f"==> round {number + 1} of {count}", flush=True)
        for route, (path, contenders) in turns.items():
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                samples[route][contender.name].append(wrk(contender, path, seconds))
    return samples


def alone_micros(contender: Contender) -> float:
    """Returns the median time to the answer of /health in µs, for one request after another on one connection."""
    return load(contender, "/health", "--connections", "1", "--seconds", "2")["p50_ms"] * 1e3


def summarise(samples: dict[str, dict[str, list[Sample]]]) -> dict[str, dict[str, dict]]:
    """Returns medians. A ratio is the median of the rounds' ratios: a disturbance slows both servers of its round."""
    return {
        route: {name: asdict(cell(taken, by_name.get("native axum"), by_name.get("FastAPI"))) for name, taken in by_name.items()}
        for route, by_name in samples.items()
    }


def cell(taken: list[Sample], native: list[Sample] | None, fastapi: list[Sample] | None) -> Cell:
    middle = {key: median(getattr(sample, key) for sample in taken) for key in ("per_second", "cpu_micros", "p50_ms", "p99_ms")}

    def ratio(others: list[Sample] | None, key: str) -> float | None:
        return median(getattr(a, key) / getattr(b, key) for a, b in zip(taken, others, strict=True)) if others else None

    return Cell(
        **middle,
        of_native=ratio(native, "per_second"),
        cpu_of_native=ratio(native, "cpu_micros"),
        times_fastapi=ratio(fastapi, "per_second"),
    )


def first_answers_ms(contender: Contender) -> list[float]:
    """Returns the times from exec to the first answer, of some starts with compiled code in the cache."""
    port = free_port()
    command = contender.filled(port)
    start = [str(LOAD), "start", "--address", f"127.0.0.1:{port}", "--path", contender.probe, "--times", str(STARTS), "--", *command]
    done = subprocess.run(start, cwd=ROOT, env=os.environ | contender.environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{contender.name}: {done.stderr.strip()}")
    return json.loads(done.stdout)
