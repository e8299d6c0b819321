"""Prints fastapi.jsonl: FastAPI's answers to the request targets below. The component's validation is tested against them.

    python3 -m venv VENV && VENV/bin/pip install fastapi==0.116.2 pydantic==2.14.3 uvicorn h11
    VENV/bin/python component/testdata/reference.py > component/testdata/fastapi.jsonl

uvicorn serves the app on a free loopback port. The requests go over a socket, so that no client library rewrites a target. Each line is
[target, status, body].
"""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Path, Query

app = FastAPI(openapi_url=None)


@app.get("/{username}")
@app.get("/users/{username}/gists")
async def gists(
    username: Annotated[str, Path(max_length=39)],
    page: Annotated[int, Query(ge=1, le=100)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 30,
    use_cache: bool = True,
) -> dict[str, object]:
    return {"username": username, "page": page, "per_page": per_page, "use_cache": use_cache}


# fmt: off
INTEGERS = """
1 +1 %201 1%20 %091%0A %C2%A01 %E2%80%831 %0B1 %0C1 %1C1 %1F1 %C2%851 %E3%80%801 %E2%80%A81 %E2%80%8B1 %EF%BB%BF1 %E1%A0%8E1
%2B5 %2B%205 -5 -%205 --5 %2B-5 -%2B5 %2B%2B5 1.0 1.00 1. 1.0_0 .0 0.0 -0 -0.0 1_0 _1 1_ 1__0 007 0_7 00_7 0__7 0__7_ %2B007 -007
%2B_7 1.5 abc %2B - 1e2 0x10 %EF%BC%91 1%200 1_00.0 1_0.0_ 1._0 1.0%20 %20%2B5.0%20 0 100 101 99 -1 1000 0100 100.0 100.5 101.0
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 99999999999999999999999
1%00 %00 %001 0_ 0_0 0__0 _0 -_1 00 -00 %2B0 1.0000_ 1.0e0 True true 1,0 %D9%A1 0b1 1.0.0 0. 00.0 000_1 0_1 00__1 %2B0_1 -0_1 -.0 %2B.0 .
_ 0o7 1%0A%0A 0.00 007.0 0_07 -07 -0_7 %2B1_0 %2B1.0 -1.0 1_0.00 0_.0 0_0.0 00_ 0__ 0_1_ 0.0_ %22 %5C %22%5C%2F %7F %01%08%0B%1F %0D%0A%09%0C
%C3%A9 %F0%9F%98%80 %E2%82 %FF %C3 %ED%A0%80 %F0%9F%98 %C0%80 %E2%82%28 % %1 %zz %%31 %2531 1%2 1;2 1%26 1%3D 1=2 =1 NaN inf Infinity null
""".split()
# Long values, as runs of a repeated text. Their lines have the runs in place of the target, and the value or the error's type in place of
# the body.
LONG: list[list[tuple[str, int]]] = [
    [("1", 4300)], [("1", 4301)], [("0", 4301), ("1", 1)], [("%20", 5000), ("1", 1)], [("1.", 1), ("0", 5000)], [("x", 4301)], [("1_", 3000), ("1", 1)],
    [("-", 1), ("1", 4300)], [("-", 1), ("1", 4301)], [("1_", 4299), ("1", 1)], [("1_", 4300), ("1", 1)], [("1", 4301), (".0", 1)], [("1", 4301), (".5", 1)],
    [("1", 4301), ("_", 1)], [("1", 4300), ("x", 1)], [("0", 4400)], [("1", 4301), ("x", 1)], [("1", 9000)], [("1", 4300), ("%20", 1)], [("0_", 5000), ("7", 1)],
    [("%2B", 1), ("1", 4301)], [("%20", 1), ("1", 4301)], [("0", 1), ("1", 4301)], [("1", 2000), ("_", 1), ("1", 2301)],
]
BOOLEANS = """1 true t yes y on 0 false f no n off TRUE True tRuE T YES Y ON On FALSE F NO N OFF oFF maybe 2 -1 01 00 1.0 0.0 tr yess
%20true true%20 +true null None nil enabled %E2%84%AA %C5%BF""".split()
NAMES = ["octocat", "a", "A-b_c", "x" * 39, "x" * 40, "%78" * 39, "%78" * 40, "%C3%A9" * 39, "%C3%A9" * 40, "%F0%9F%98%80" * 40, "%FF" * 39,
         "%FF" * 40, "x" * 39 + "%20", "%22" * 40, "%00" * 40, "dependabot%5Bbot%5D", "dependabot[bot]", "x" * 35 + "[bot]", "%", "%zz", "a%2", "a+b", "a%2Bb",
         "%E2%82", "%C3%28", "%F0%9F%98", "a;b=c", "a:b", "~a", "a.b", "%25", "%2541"]
QUERIES = """? ?& ?&& ?page ?page= ?page=&page=3 ?page=3&page= ?page=2&page=3 ?page=x&page=3 ?page=3&page=x ?page=2&per_page=3&use_cache=no
?per_page=0&page=0 ?use_cache=maybe&per_page=101&page=x ?use_cache ?use_cache= ?p%61ge=0 ?page%20=0 ?+page=0 ?PAGE=0 ?Page=0 ?page[]=0
?unknown=1 ?unknown ?=1 ?page=1;per_page=0 ?page=1%26per_page=0 ?page=1&amp;per_page=0 ?page==1 ?page=1= ?a=b=c&page=0 ??page=0 ?page=1?per_page=0
?per%5Fpage=0 ?per+page=0 ?page=+7+ ?page=%2B7 ?page=%2b7 ?&page=0& ?&&page=0&& ?%70%61%67%65=0 ?page=1&PAGE=0 ?page%00=0 ?page=%30""".split()
# fmt: on


def targets() -> Iterator[str]:
    for field in ("page", "per_page"):
        yield from (f"/octocat?{field}={text}" for text in ["", *INTEGERS])
    yield from (f"/octocat?use_cache={text}" for text in ["", *BOOLEANS])
    for name in NAMES:
        yield f"/{name}"
        yield f"/users/{name}/gists?page=0&per_page=x&use_cache=2"
    yield from (f"/octocat{query}" for query in QUERIES)
    chance = random.Random(1)
    for _ in range(300):
        parts = ["0", "1", "7", "_", ".", "-", "%2B", "+", "%20", ".0", "x"]
        text = "".join(chance.choices(parts, [6, 6, 3, 4, 2, 1, 1, 1, 1, 3, 1], k=chance.randint(1, 6)))
        yield f"/octocat?page={text}"


def ask(address: tuple[str, int], target: str) -> tuple[int, str]:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("ascii"))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        config = uvicorn.Config(app, http="h11", log_level="warning", h11_max_incomplete_event_size=1 << 20)
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, args=([listener],), daemon=True).start()
        while not server.started:
            time.sleep(0.01)
        for target in dict.fromkeys(targets()):
            print(json.dumps([target, *ask(address, target)]))
        for runs in LONG:
            status, body = ask(address, "/octocat?page=" + "".join(text * times for text, times in runs))
            document = json.loads(body)
            print(json.dumps([runs, status, document["page"] if status == 200 else document["detail"][0]["type"]]))
        server.should_exit = True


main()
