"""Writes the results: tables in Markdown for people, JSON for comparisons."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

from measure import DOCUMENT

RESULTS = Path(__file__).resolve().parent / "results"
PERFORMANCE = RESULTS.parents[1] / "docs/performance.md"
BEGIN, END = "<!-- written by make bench -->", "<!-- to here -->"

# The servers whose results are compared with the goals.
HOST = "this host"
CACHE = "this host, response cache"
FRESH = "this host, fresh instances"


def machine() -> dict[str, str]:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        "kernel": platform.release(),
        "load_before": f"{os.getloadavg()[0]:.2f}",
        "rustc": version("rustc"),
        "wrk": version("wrk").split(" [")[0],
    }


def version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0]


def markdown(result: dict) -> str:
    lines = ["# Results of `make bench`", "", "Compare ratios: absolute figures differ between machines.", ""]
    lines += [*goals(result), "", *everyone(result), ""]
    for route, cells in result["routes"].items():
        title = f"{route} ({result['answer_bytes']:,} bytes)" if route == "cached" else route
        lines += [
            f"## {title}",
            "",
            "| | of native | times FastAPI | CPU of native | req/s | CPU µs a request | p50 ms | p99 ms |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name, cell in cells.items():
            ratios = [number(cell[key], 2) for key in ("of_native", "times_fastapi", "cpu_of_native")]
            figures = [number(cell["per_second"], 0), *(number(cell[key], 2) for key in ("cpu_micros", "p50_ms", "p99_ms"))]
            lines.append("| " + " | ".join([name, *ratios, *figures]) + " |")
        lines.append("")
    lines += equal_load(result["equal_load"]) + hello(result["hello"])
    lines += ["; ".join(f"{name} {size / 1e6:.2f} MB" for name, size in result["sizes"].items()) + ".", ""]
    lines += ["## How", "", result["how"], ""]
    lines += [f"- {note}" for note in result["notes"]] + [""] * bool(result["notes"])
    return "\n".join([*lines, when(result), ""])


def when(result: dict) -> str:
    machine = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result["machine"].items())
    return f"{result['date']}: {machine}."


def everyone(result: dict) -> list[str]:
    """Returns a table with all figures of this run, one row for each server."""
    cached, health = (result["routes"].get(route, {}) for route in ("cached", "/health"))
    hello_cells = result["hello"].get("cells", {})
    equal = result["equal_load"].get("cached", {})
    rate = f" at {equal['rate']:,} req/s" if equal else ""
    heading = (
        f"| | cached: of native | req/s | CPU µs | p99 ms{rate} | `/health`: of native | req/s | CPU µs"
        " | first answer ms | idle MiB | after load MiB | no store: req/s |"
    )
    lines = [heading, "| --- " * 12 + "|"]
    for name in [*cached, *(name for name in hello_cells if name not in cached)]:
        row = [name]
        for cells in (cached, health):
            cell = cells.get(name, {})
            row += [number(cell.get("of_native"), 2), number(cell.get("per_second"), 0), number(cell.get("cpu_micros"), 1)]
            if cells is cached:
                row.append(number(equal.get(name, {}).get("p99_ms"), 2))
        process = result["processes"].get(name, {})
        row += [number(process.get(key), 1) for key in ("first_answer_ms", "idle_mib", "loaded_mib")]
        row.append(number(hello_cells.get(name, {}).get("per_second"), 0))
        lines.append("| " + " | ".join(row) + " |")
    return lines


def goals(result: dict) -> list[str]:
    """Returns a table of the goals: the limit, the figure, and whether the figure meets the limit. What was not measured has no verdict."""
    cached, health, document = (result["routes"].get(route, {}) for route in ("cached", "/health", DOCUMENT))
    processes = result["processes"]
    beside: dict = next((cell for name, cell in result["hello"].get("cells", {}).items() if name != "wasmtime serve"), {})
    rows: list[str] = []

    def goal(what: str, value: float | None, bound: float, digits: int = 2, most: bool = False) -> None:
        met = value is not None and (value <= bound if most else value >= bound)
        limit = f"{'at most' if most else 'at least'} {bound:g}"
        rows.append(f"| {what} | {limit} | {number(value, digits)} | {'–' if value is None else 'yes' if met else 'no'} |")

    def ratio(cells: dict, one: str, other: str, key: str) -> float | None:
        return cells[one][key] / cells[other][key] if one in cells and other in cells else None

    goal("cached answer, of native's throughput", cached.get(HOST, {}).get("of_native"), 0.9)
    goal(
        "its p99 at an equal rate, of native's", ratio(result["equal_load"].get("cached", {}), HOST, "native axum", "p99_ms"), 1, most=True
    )
    goal("`/health`, of native's throughput", health.get(HOST, {}).get("of_native"), 0.95)
    goal("cached answer out of the host's response cache, of native's throughput", cached.get(CACHE, {}).get("of_native"), 1.1)
    goal(
        "its p99 at an equal rate, of native's", ratio(result["equal_load"].get("cached", {}), CACHE, "native axum", "p99_ms"), 1, most=True
    )
    goal(f"`{DOCUMENT}` out of that cache, of native's throughput", document.get(CACHE, {}).get("of_native"), 1.1)
    goal("a component without a store, times `wasmtime serve`", beside.get("times_wasmtime"), 1.5)
    goal("cached answer, times Spin", ratio(cached, HOST, "Spin", "per_second"), 5, 1)
    goal("cached answer, times FastAPI with one worker", cached.get(HOST, {}).get("times_fastapi"), 50, 1)
    goal("the same, a fresh instance a request", cached.get(FRESH, {}).get("times_fastapi"), 12, 1)
    goal("a new instance's answer, µs", processes.get(FRESH, {}).get("instance_micros"), 200, 0, most=True)
    goal("idle memory of the process, MiB", processes.get(HOST, {}).get("idle_mib"), 20, 1, most=True)
    goal("exec to first answer, compiled code cached, ms", processes.get(HOST, {}).get("first_answer_ms"), 8, 1, most=True)
    return [f"| {HOST} | goal | measured | met |", "| --- | --- | --- | --- |", *rows]


def equal_load(routes: dict) -> list[str]:
    lines = []
    for route, cells in routes.items():
        lines += [
            f"## {route}, {cells['rate']:,} requests a second for each",
            "",
            "| | req/s | CPU µs a request | p50 ms | p99 ms | p99.9 ms |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, cell in cells.items():
            if name != "rate":
                figures = [number(cell["per_second"], 0), *(number(cell[key], 2) for key in ("cpu_micros", "p50_ms", "p99_ms", "p999_ms"))]
                lines.append("| " + " | ".join([name, *figures]) + " |")
        lines.append("")
    return lines


def hello(result: dict) -> list[str]:
    if not result:
        return ["NOT MEASURED: `wasmtime serve` (no `wasmtime` on the PATH).", ""]
    lines = [
        f"## A component without a store, beside {result['version']}",
        "",
        "| | times wasmtime serve | req/s | CPU µs a request | p50 ms | p99 ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, cell in result["cells"].items():
        figures = [
            number(cell["times_wasmtime"], 2),
            number(cell["per_second"], 0),
            *(number(cell[key], 2) for key in ("cpu_micros", "p50_ms", "p99_ms")),
        ]
        lines.append("| " + " | ".join([name, *figures]) + " |")
    return [*lines, ""]


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def write(result: dict, directory: Path) -> None:
    result["date"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    directory.mkdir(parents=True, exist_ok=True)
    text = markdown(result)
    (directory / "latest.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (directory / "latest.md").write_text(text)
    if directory == RESULTS:
        tables = "\n".join([BEGIN, "", *goals(result), "", *everyone(result), "", when(result), "", END])
        document = PERFORMANCE.read_text()
        before, rest = document.split(BEGIN, 1)
        PERFORMANCE.write_text(before + tables + rest.split(END, 1)[1])
    print("\n" + text)
