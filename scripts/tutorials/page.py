"""The blocks of a Markdown page that are to be run.

The info string of a fenced block says what happens to the block:

    sh run                         the commands run in the page's session
    sh run expect='"page":1'       the output must contain this text, too; may be given several times
    sh run limit=900               the seconds that the block may take; DEFAULT_LIMIT otherwise
    sh run background=URL          the commands serve: the next block runs once URL answers, and they end with the page
    sh norun reason="needs Docker" the block is not run, and the report says why
    console run                    the commands after `$ ` run, and their output has every line that the block shows.
                                   A shown number stands for any number, and `…` for any text

In a strict page, every block in `sh` or `bash` says `run` or `norun`. All other blocks are left alone.
"""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

DEFAULT_LIMIT = 600
SHELLS = ("sh", "bash")
CONSOLE = "console"
PROMPT = "$ "
FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")


class PageError(ValueError):
    """A page cannot be run as it is written."""


@dataclass(frozen=True)
class Block:
    """A block of commands. `line` is the number of the first command's line in the page."""

    line: int
    commands: str
    expect: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT
    # Lines that the output must have (`pattern`).
    shown: tuple[str, ...] = ()
    # What answers once the commands, which run in the background, serve.
    background: str | None = None
    # Why the block is not run; None for a block that is.
    reason: str | None = None


def read(path: Path, strict: bool = True) -> list[Block]:
    """Reads the blocks of a page, in order. Raises PageError with the page and the line."""
    return parse(path.read_text(encoding="utf-8"), path.name, strict)


def parse(text: str, name: str, strict: bool = True) -> list[Block]:
    """Reads the blocks of a page's text; `name` is for messages."""
    blocks = []
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        opening = FENCE.match(line)
        # An info string after backticks has no backticks: such a line is a code span.
        if not opening or (opening[2][0] == "`" and "`" in opening[3]):
            continue
        indent, fence, info = opening.groups()
        content = []
        for _, inner in lines:
            if re.fullmatch(rf" {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*", inner):
                break
            content.append(inner.removeprefix(indent))
        else:
            raise PageError(f"{name}:{number}: the block has no end")
        language, _, options = info.partition(" ")
        marked = re.match(r"(run|norun)\b", options) is not None
        if language in SHELLS and (marked or strict):
            blocks.append(_shell(number, options, content, f"{name}:{number}"))
        elif language == CONSOLE and marked:
            blocks += _console(number, options, content, f"{name}:{number}")
    return blocks


def _shell(number: int, info: str, content: list[str], place: str) -> Block:
    try:
        words = shlex.split(info)
    except ValueError as error:
        raise PageError(f"{place}: the info string cannot be read: {error}") from None
    if not words or words[0] not in ("run", "norun"):
        raise PageError(f"{place}: a block of commands says 'run', or 'norun' with a reason")
    commands = "\n".join(content)
    options = [_option(word, place) for word in words[1:]]
    values = dict(options)
    allowed = {"expect", "limit", "background"} if words[0] == "run" else {"reason"}
    if values.keys() - allowed:
        raise PageError(f"{place}: '{words[0]}' takes no {', '.join(sorted(values.keys() - allowed))}")
    if words[0] == "norun":
        if "reason" not in values:
            raise PageError(f"{place}: 'norun' needs a reason")
        return Block(number + 1, commands, reason=values["reason"])
    limit = values.get("limit", str(DEFAULT_LIMIT))
    if not limit.isdecimal() or limit == "0":
        raise PageError(f"{place}: limit is a number of seconds, not '{limit}'")
    if not commands.strip():
        raise PageError(f"{place}: the block has no commands")
    expect = tuple(value for name, value in options if name == "expect")
    return Block(number + 1, commands, expect, int(limit), background=values.get("background"))


def _console(number: int, info: str, content: list[str], place: str) -> list[Block]:
    """A block for each command, with what the page shows below the command."""
    if info != "run":
        raise PageError(f"{place}: 'console run' takes no options")
    blocks: list[Block] = []
    for line, text in enumerate(content, start=number + 1):
        if text.startswith(PROMPT):
            blocks.append(Block(line, text.removeprefix(PROMPT)))
        elif text.strip() and not blocks:
            raise PageError(f"{place}: the block shows output before the first command")
        elif text.strip():
            blocks[-1] = replace(blocks[-1], shown=(*blocks[-1].shown, text.strip()))
    if not blocks:
        raise PageError(f"{place}: the block has no commands")
    return blocks


def pattern(shown: str) -> str:
    """The regular expression of a line of output that a page shows."""
    parts = re.split(r"(\d+|…)", shown)
    return "".join(".*" if part == "…" else r"\d+" if part.isdecimal() else re.escape(part) for part in parts)


def _option(word: str, place: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not value:
        raise PageError(f"{place}: '{word}' is not NAME=VALUE")
    return name, value
