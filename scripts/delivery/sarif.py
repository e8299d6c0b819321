"""Converts cargo's JSON messages on standard input to SARIF 2.1.0 on standard output."""

import json
import sys
from collections.abc import Iterable
from typing import Any

LEVELS = {"error": "error", "warning": "warning", "note": "note", "help": "note"}
# Results that GitHub accepts for one run.
RESULTS_MAX = 5000


def convert(lines: Iterable[str]) -> dict[str, Any]:
    """Returns a log with a result for each message that has a place in the code."""
    results: list[dict[str, Any]] = []
    rules: dict[str, dict[str, str]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # what a build script prints
        message = entry.get("message") if entry.get("reason") == "compiler-message" else None
        span = next((span for span in (message or {}).get("spans", []) if span["is_primary"]), None)
        if message is None or span is None or len(results) == RESULTS_MAX:
            continue
        rule = (message.get("code") or {}).get("code") or "rustc"
        rules[rule] = {"id": rule}
        region = {"startLine": span["line_start"], "startColumn": span["column_start"]}
        result = {
            "ruleId": rule,
            "level": LEVELS.get(message["level"], "none"),
            "message": {"text": message["message"]},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": span["file_name"]}, "region": region}}],
        }
        # The same file is compiled for several targets.
        if result not in results:
            results.append(result)
    driver = {"name": "clippy", "informationUri": "https://doc.rust-lang.org/clippy/", "rules": [rules[rule] for rule in sorted(rules)]}
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


if __name__ == "__main__":
    json.dump(convert(sys.stdin), sys.stdout, indent=1)
