"""The results as a table to read and as JSON to compare."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


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
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()[0]


def markdown(result: dict) -> str:
    lines = ["# Results of `make bench`", "", "Ratios first: they hold from machine to machine, the figures do not.", ""]
    for route, cells in result["routes"].items():
        title = f"{route} ({result['answer_bytes']:,} bytes)" if route == "cached" else route
        lines += [f"## {title}", "", "| | of native | times FastAPI | CPU of native | req/s | CPU µs a request | p50 ms | p99 ms |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for name, cell in cells.items():
            ratios = [number(cell[key], 2) for key in ("of_native", "times_fastapi", "cpu_of_native")]
            figures = [number(cell["per_second"], 0), *(number(cell[key], 2) for key in ("cpu_micros", "p50_ms", "p99_ms"))]
            lines.append("| " + " | ".join([name, *ratios, *figures]) + " |")
        lines.append("")
    lines += equal_load(result["equal_load"]) + hello(result["hello"])
    lines += ["## Start, memory, size", "", "| | first answer ms | RSS idle MiB | RSS after load MiB |", "| --- | --- | --- | --- |"]
    for name, cells in result["processes"].items():
        lines.append("| " + " | ".join([name, *(number(cells.get(key), 1) for key in ("first_answer_ms", "idle_mib", "loaded_mib"))]) + " |")
    lines += ["", "; ".join(f"{name} {size / 1e6:.2f} MB" for name, size in result["sizes"].items()) + ".", ""]
    lines += ["## How", "", result["how"], ""]
    lines += [f"- {note}" for note in result["notes"]] + [""] * bool(result["notes"])
    lines += [f"{result['date']}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in result["machine"].items()) + ".", ""]
    return "\n".join(lines)


def equal_load(routes: dict) -> list[str]:
    lines = []
    for route, cells in routes.items():
        lines += [f"## {route}, {cells['rate']:,} requests a second for each", "", "| | req/s | CPU µs a request | p50 ms | p99 ms | p99.9 ms |", "| --- | --- | --- | --- | --- | --- |"]
        for name, cell in cells.items():
            if name != "rate":
                figures = [number(cell["per_second"], 0), *(number(cell[key], 2) for key in ("cpu_micros", "p50_ms", "p99_ms", "p999_ms"))]
                lines.append("| " + " | ".join([name, *figures]) + " |")
        lines.append("")
    return lines


def hello(result: dict) -> list[str]:
    if not result:
        return ["`wasmtime serve` was not measured: no `wasmtime` on the PATH.", ""]
    lines = [f"## A component without a store, beside {result['version']}", "", "| | times wasmtime serve | req/s | CPU µs a request | p50 ms | p99 ms |", "| --- | --- | --- | --- | --- | --- |"]
    for name, cell in result["cells"].items():
        figures = [number(cell["times_wasmtime"], 2), number(cell["per_second"], 0), *(number(cell[key], 2) for key in ("cpu_micros", "p50_ms", "p99_ms"))]
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
    print("\n" + text)
