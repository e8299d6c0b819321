"""Finds the series that a PromQL expression selects.

This reads only as much of the grammar as that needs, and only valid expressions: promtool checks whether they are valid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<number>(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[a-z0-9]*)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<match>=~|!~|!=|==|<=|>=)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# Keywords that a list of labels in parentheses follows.
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = GROUPING | {"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan", "start", "end"}


@dataclass(frozen=True)
class Selector:
    """A metric's name and matchers: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def accepts(self, labels: dict[str, str]) -> bool:
        """Tells whether the selector selects a series with these labels."""
        return all(holds(labels.get(label, ""), operator, value) for label, operator, value in self.matchers)

    def __str__(self) -> str:
        inside = ",".join(f'{label}{operator}"{escape(value)}"' for label, operator, value in self.matchers)
        return f"{self.name}{{{inside}}}" if inside else self.name


def escape(value: str) -> str:
    """Escapes a value for a quoted string."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def unescape(text: str) -> str:
    """Returns the value of a quoted string."""
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def holds(actual: str, operator: str, value: str) -> bool:
    """Tells whether a matcher accepts a label's value."""
    match operator:
        case "=":
            return actual == value
        case "!=":
            return actual != value
        case "=~":
            return re.fullmatch(value, actual) is not None
        case _:
            return re.fullmatch(value, actual) is None


def tokens(expression: str) -> list[tuple[str, str]]:
    """Returns kind and text of each token, without space and comments."""
    found = ((match.lastgroup or "", match.group()) for match in TOKEN.finditer(expression))
    return [(kind, text) for kind, text in found if kind != "space"]


def selectors(expression: str) -> list[Selector]:
    """Returns the selectors of an expression, in their order."""
    all_tokens, at, found = tokens(expression), 0, []
    while at < len(all_tokens):
        kind, text = all_tokens[at]
        following = all_tokens[at + 1][1] if at + 1 < len(all_tokens) else ""
        at += 1
        if text == "[":  # a range: its units are not names
            at = skip(all_tokens, at, "]")
        elif kind == "name" and text.lower() in GROUPING and following == "(":
            at = skip(all_tokens, at, ")")
        elif kind == "name" and text.lower() not in WORDS and following != "(" and following.lower() not in GROUPING:
            matchers = []
            if following == "{":
                end = skip(all_tokens, at, "}")
                matchers = [
                    (all_tokens[i][1], all_tokens[i + 1][1], unescape(all_tokens[i + 2][1]))
                    for i in range(at + 1, end - 1)
                    if all_tokens[i][0] == "name"
                ]
                at = end
            found.append(Selector(text, tuple(matchers)))
    return found


def skip(all_tokens: list[tuple[str, str]], at: int, closing: str) -> int:
    """Returns the position after the next closing token."""
    while at < len(all_tokens) and all_tokens[at][1] != closing:
        at += 1
    return at + 1
