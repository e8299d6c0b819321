"""Reads the imports and exports of a WebAssembly component, for the configuration of an OCI artifact.

The format: the component model's `Binary.md`.
"""

from dataclasses import dataclass

PREAMBLE = b"\0asm\x0d\0\x01\0"
IMPORTS, EXPORTS = 10, 11
# Bytes that name an item's kind: a core module is followed by one more byte, a value and a type by a bound.
CORE, BOUNDED = 0x00, (0x02, 0x03)


class InvalidComponentError(ValueError):
    """The bytes are not a component, or the component is truncated."""


@dataclass(frozen=True)
class World:
    """The names of a component's imports and exports, in the order of the binary."""

    imports: list[str]
    exports: list[str]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) != count:
            raise InvalidComponentError("the component ends in the middle of a section")
        self.at += count
        return taken

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 35:
                raise InvalidComponentError("a number is longer than 32 bits")

    def name(self) -> str:
        kind = self.byte()
        text = self.take(self.number()).decode()
        if kind == 0x02:  # options follow, for example a version suffix
            for _ in range(self.number()):
                self.byte()
                self.take(self.number())
        return text

    def kind(self) -> int:
        kind = self.byte()
        if kind == CORE:
            self.byte()
        return kind

    def description(self) -> None:
        kind = self.kind()
        if kind not in BOUNDED or self.byte() == 0x00:
            self.number()


def world(wasm: bytes) -> World:
    """Reads the imports and exports of a component. Raises `InvalidComponentError`."""
    if not wasm.startswith(PREAMBLE):
        raise InvalidComponentError("it does not begin as a WebAssembly component does")
    reader, found = _Reader(wasm), World([], [])
    reader.at = len(PREAMBLE)
    while reader.at < len(wasm):
        section, body = reader.byte(), _Reader(reader.take(reader.number()))
        if section == IMPORTS:
            for _ in range(body.number()):
                found.imports.append(body.name())
                body.description()
        elif section == EXPORTS:
            for _ in range(body.number()):
                found.exports.append(body.name())
                body.kind()
                body.number()
                if body.byte():
                    body.description()
    return found
