"""A component of `wasi:http@0.3`: one instance answers many requests at once, each a task of its own."""

import sys
from urllib.parse import parse_qs, urlsplit

from componentize_py_async_support import spawn
from componentize_py_async_support.futures import FutureReader
from componentize_py_async_support.streams import ByteStreamReader, ByteStreamWriter
from componentize_py_types import Err, Ok
import wit_world
from wit_world import exports
from wit_world.imports import atomics, client, environment, monotonic_clock
from wit_world.imports import wasi_config_store as config
from wit_world.imports import wasi_keyvalue_store as keyvalue
from wit_world.imports.wasi_http_types import Fields, Request, Response, Scheme_Http, Scheme_Https

CHUNK = 64 << 10


def no_trailers() -> FutureReader:
    return wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))[1]


def received() -> FutureReader:
    """What tells the sender of a body that it came whole."""
    return wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))[1]


def begin(status: int = 200, content_type: bytes = b"text/plain") -> tuple[Response, ByteStreamWriter]:
    """A response, and where its body is written, by a task that runs on behind it."""
    writer, reader = wit_world.byte_stream()
    response, _ = Response.new(Fields.from_list([("content-type", content_type)]), reader, no_trailers())
    response.set_status_code(status)
    return response, writer


async def write(writer: ByteStreamWriter, body: bytes) -> None:
    with writer:
        await writer.write_all(body)


def text(body: str, status: int = 200) -> Response:
    response, writer = begin(status)
    spawn(write(writer, body.encode()))
    return response


async def copy(reader: ByteStreamReader, writer: ByteStreamWriter) -> None:
    with reader, writer:
        while not reader.writer_dropped:
            await writer.write_all(await reader.read(CHUNK))


def echo(request: Request) -> Response:
    response, writer = begin(200, request.get_headers().get("content-type")[0])
    body, _ = Request.consume_body(request, received())
    spawn(copy(body, writer))
    return response


async def write_lines(writer: ByteStreamWriter, count: int) -> None:
    with writer:
        for line in range(count):
            await writer.write_all(f"line {line}\n".encode())


def lines(count: int) -> Response:
    response, writer = begin()
    spawn(write_lines(writer, count))
    return response


async def relay(url: str) -> Response:
    parts = urlsplit(url)
    request, _ = Request.new(Fields(), None, no_trailers(), None)
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path)
    try:
        answer = await client.send(request)
    except Err as error:
        return text(f"not fetched: {error.value}", 502)
    status, body = answer.get_status_code(), b""
    reader, _ = Response.consume_body(answer, received())
    with reader:
        while not reader.writer_dropped:
            body += await reader.read(CHUNK)
    return text(f"{status} {body.decode()}")


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        url = urlsplit(request.get_path_with_query() or "/")
        behaviour, _, argument = url.path[1:].partition("/")
        match behaviour:
            case "":
                return text("Hello from Python on WASI 0.3")
            case "echo":
                return echo(request)
            case "lines":
                return lines(int(argument))
            case "relay":
                return await relay(parse_qs(url.query)["url"][0])
            case "environment":
                return text(dict(environment.get_environment())["GREETING"])
            case "setting":
                return text(config.get("greeting") or "")
            case "count":
                return text(str(atomics.increment(keyvalue.open("default"), "visits", 1)))
            case "sleep":
                await monotonic_clock.wait_for(int(argument) * 1_000_000)
                return text("slept")
            case "log":
                print("said on stdout")
                print("said on stderr", file=sys.stderr)
                return text("logged")
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
                return text("no such behaviour", 404)
