"""Writes validation.json: FastAPI's exact answers to valid and invalid parameters.

The bodies come from FastAPI itself, never from our service:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install 'fastapi==0.116.*'
    /tmp/venv/bin/python e2e/golden/validation.py

In paths and bodies, `<9*4300>` stands for 4300 times the character 9.
"""

import asyncio
import json
import pathlib
import re
from collections.abc import MutableMapping
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import FastAPI, Path, Query

app = FastAPI()


@app.get("/{username}")
def gists(
    username: Annotated[str, Path(max_length=39)],  # noqa: ARG001 - FastAPI validates it
    page: Annotated[int, Query(ge=1, le=100)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 30,
    use_cache: bool = True,
) -> dict[str, object]:
    return {"page": page, "per_page": per_page, "use_cache": use_cache}


# fmt: off
INTEGERS = [
    "0", "-1", "101", "1000", "1", "100", "%201", "1%20", "+1", "1+", "%2B5", "%2B+5", "-5", "-0", "%2B0", "5-",
    "1.0", "1.00", "1.", ".5", ".0", "1.5", "0.0", "1.0.0", "1e2", "1E2", "1_0", "1__0", "_1", "1_", "1_.0", "1.0_0", "1_0.0",
    "007", "00", "abc", "", "%20", "0x10", "0b1", "0o7", "inf", "nan", "true", "None", "null", "1,0", "1%00", "%001",
    "%EF%BC%91", "%D9%A1", "%C2%A01", "1%C2%A0", "%E2%80%831", "%091", "%0A1%0D", "%0C1", "%0B1", "%1C1", "%FF", "%E2%82", "%zz",
    "%22", "%5C", "%3Cscript%3E", "%F0%9F%A6%80", "%C3%A9", "%7F", "%01", "%C2%85", "%E2%80%A8", "--1", "%2B-1", "-%2B1", "-101", "-1.0",
    "99999999999999999999", "-99999999999999999999", "18446744073709551616", "99999999999999999999.0",
    "<0*4400>1", "%20%20%207", "101.0", "0_0", "+1.0+", "1.0%20", "%2B1.0", "1.%20", "%20%2B7", "0_1", "-_1", "+_1", "00_7", "0.", "01.0", "1.0e0",
]
LONG = ["<9*4299>", "<9*4300>", "<9*4301>", "-<9*4299>", "-<9*4300>", "-<9*4301>", "1.<0*4400>", "<0*4300>1", "<a*4301>", "<1*4300>x", "<1*4301>x", "<1*4301>.5", "<1*4301>_", "<1*4301>_x", "1_<1*4301>x", "<1*4300>_1x", "+<1*4301>x", "<0*99><1*4300>x", "+<9*4301>", "%2B<9*4301>", "%2B<9*4301>x", "1_<1*4301>", "<0*99><1*4301>x", "<0*99><1*4301>", "-<1*4301>x", "<1*4301>.0", "%20<1*4301>x", "-%2B<1*4301>"]
BOOLEANS = [
    "1", "0", "t", "f", "T", "F", "y", "n", "yes", "no", "on", "off", "true", "false", "TRUE", "False", "tRuE", "YES", "oN",
    "maybe", "", "2", "-1", "1.0", "00", "01", "%20true", "true%20", "+true", "yess", "enabled", "null", "None", "%C3%A9", "%FF",
    "%22", "%01", "oui", "%E2%84%AA", "%C5%BFo",
]
PATHS = [
    "/octocat?page=0&per_page=0", "/octocat?page=x&per_page=101&use_cache=maybe", "/octocat?use_cache=maybe&per_page=x&page=0",
    "/octocat?page=5&page=0", "/octocat?page=0&page=5", "/octocat?page=&page=2", "/octocat?use_cache=x&use_cache=1",
    "/octocat?unknown=1", "/octocat?PAGE=0", "/octocat?Page=abc", "/octocat?page", "/octocat?page&per_page", "/octocat?&&page=0&&",
    "/octocat?page=1;per_page=x", "/octocat?=0", "/octocat?p%61ge=0", "/octocat?page%20=0", "/octocat?+page=0", "/octocat?page=0=1", "/octocat?page==1",
    "/octocat?per%5Fpage=0", "/octocat?page[]=0", "/octocat?page=1%26per_page=0", "/octocat?page=1%3D",
    "/<a*39>", "/<a*40>", "/<a*41>?page=0", "/<a*40>?page=x&per_page=x&use_cache=x",
    "/<%C3%A9*40>", "/<%F0%9F%A6%80*40>", "/<%61*40>", "/a%20<b*40>", "/<%22*40>", "/<%5C*40>",
]
# fmt: on


def expand(text: str) -> str:
    return re.sub(r"<([^<>*]+)\*(\d+)>", lambda m: m[1] * int(m[2]), text)


def contract(text: str) -> str:
    """Shortens runs of 500 or more of one character."""
    return re.sub(r"([0-9a-z])\1{499,}", lambda m: f"<{m[1]}*{len(m[0])}>", text)


def ask(path: str, query: str) -> tuple[int, str]:
    """Sends one GET through the ASGI interface, with the path decoded as uvicorn decodes it."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent).decode()


def main() -> None:
    cases = [f"/octocat?{name}={value}" for value in INTEGERS for name in ("page", "per_page")]
    cases += [f"/octocat?page={value}" for value in LONG]
    cases += [f"/octocat?use_cache={value}" for value in BOOLEANS]
    lines = []
    for case in cases + PATHS:
        path, _, query = expand(case).partition("?")
        status, body = ask(path, query)
        lines.append(json.dumps({"path": case, "status": status, "body": contract(body)}))
    target = pathlib.Path(__file__).with_name("validation.json")
    target.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} cases in {target.name}")


main()
