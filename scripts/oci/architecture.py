"""Processor architectures, by the names that images give them, and what programs are built for."""

import platform
import struct
from dataclasses import dataclass

# e_machine of ELF (System V ABI). Images for other architectures are not built.
MACHINES = {62: "amd64", 183: "arm64"}
ARCHITECTURES = tuple(MACHINES.values())
UNAME = {"x86_64": "amd64", "aarch64": "arm64"}

PT_INTERP = 3
HEADER, SEGMENT = struct.Struct("<4sBB10xHH12xQ14xHH6x"), struct.Struct("<I52x")


def own_architecture() -> str:
    """Returns this machine's architecture. It may be none of `ARCHITECTURES`."""
    machine = platform.machine().lower()
    return UNAME.get(machine, machine)


@dataclass(frozen=True)
class Program:
    """What the header of an ELF file says. Only a program with shared libraries has an interpreter, which loads them."""

    architecture: str
    interpreted: bool


def read_header(data: bytes) -> Program | None:
    """Returns None for a file that is no 64-bit little-endian ELF file, or one that ends within its program headers."""
    if len(data) < HEADER.size:
        return None
    magic, bits, order, _kind, machine, offset, size, count = HEADER.unpack_from(data)
    if (magic, bits, order) != (b"\x7fELF", 2, 1) or (count and size != SEGMENT.size) or offset + size * count > len(data):
        return None
    kinds = [SEGMENT.unpack_from(data, offset + size * number)[0] for number in range(count)]
    return Program(MACHINES.get(machine, f"ELF machine {machine}"), PT_INTERP in kinds)
