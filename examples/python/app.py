"""A component of `wasi:http@0.2`, whose bodies an event loop of componentize-py's moves."""

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

import poll_loop
from componentize_py_types import Err, Ok
from poll_loop import PollLoop, Sink, Stream
from wit_world import exports
from wit_world.imports import atomics, environment, monotonic_clock
from wit_world.imports import wasi_config_store as config
from wit_world.imports import wasi_keyvalue_store as keyvalue
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
    Scheme_Https,
)


def begin(out: ResponseOutparam, status: int = 200, content_type: bytes = b"text/plain") -> Sink:
    """Sends the head, and opens the body."""
    response = OutgoingResponse(Fields.from_list([("content-type", content_type)]))
    response.set_status_code(status)
    body: OutgoingBody = response.body()
    ResponseOutparam.set(out, Ok(response))
    return Sink(body)


async def answer(out: ResponseOutparam, body: str, status: int = 200) -> None:
    sink = begin(out, status)
    await sink.send(body.encode())
    sink.close()


async def echo(request: IncomingRequest, out: ResponseOutparam) -> None:
    types = request.headers().get("content-type")
    stream, sink = Stream(request.consume()), begin(out, 200, types[0])
    while (chunk := await stream.next()) is not None:
        await sink.send(chunk)
    sink.close()


async def lines(out: ResponseOutparam, count: int) -> None:
    sink = begin(out)
    for line in range(count):
        await sink.send(f"line {line}\n".encode())
    sink.close()


async def relay(out: ResponseOutparam, url: str) -> None:
    parts = urlsplit(url)
    request = OutgoingRequest(Fields())
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path)
    try:
        response = await poll_loop.send(request)
    except Err as error:
        await answer(out, f"not fetched: {error.value}", 502)
        return
    stream, body = Stream(response.consume()), b""
    while (chunk := await stream.next()) is not None:
        body += chunk
    await answer(out, f"{response.status()} {body.decode()}")


async def handle(request: IncomingRequest, out: ResponseOutparam) -> None:
    url = urlsplit(request.path_with_query() or "/")
    behaviour, _, argument = url.path[1:].partition("/")
    match behaviour:
        case "":
            await answer(out, "Hello from Python")
        case "echo":
            await echo(request, out)
        case "lines":
            await lines(out, int(argument))
        case "relay":
            await relay(out, parse_qs(url.query)["url"][0])
        case "environment":
            await answer(out, dict(environment.get_environment())["GREETING"])
        case "setting":
            await answer(out, config.get("greeting") or "")
        case "count":
            await answer(out, str(atomics.increment(keyvalue.open("default"), "visits", 1)))
        case "sleep":
            monotonic_clock.subscribe_duration(int(argument) * 1_000_000).block()
            await answer(out, "slept")
        case "log":
            print("said on stdout")
            print("said on stderr", file=sys.stderr)
            await answer(out, "logged")
        case "fail":
            raise RuntimeError("on purpose")
        case "spin":
            while True:
                pass
        case "allocate":
            kept = []
            while True:
                kept.append(bytearray(1 << 20))
        case _:
            await answer(out, "no such behaviour", 404)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(handle(request, response_out))
