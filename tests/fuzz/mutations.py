"""Damages files, the same way for the same seed: flipped bits, lost ends, lying lengths, splices, nesting."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

_HUGE = (
    b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xff" * 10, b"\x80" * 30,
    struct.pack("<I", 0x7FFFFFFF), struct.pack("<I", 0xFFFFFFFF), struct.pack("<Q", 1 << 40), b"\xff" * 8,
)  # fmt: skip
"""Lengths of 2 GB and more, as protobuf and as plain integers write them; numbers that never end."""

_NESTING = (b"[", b"{", b"(", b'{"a":', b"layer { ", b"a { ", b"\x0a\x7e", b"<")
_NUMBERS = (b"-1", b"0", b"2147483648", b"99999999999999999999", b"1e999", b"nan", b"4294967295")

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def mutated(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """`data` after one to four mutations."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_ALL)(rng, data, corpus)
    return data


def _flip_bits(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20)) if out else 0):
        out[_place(rng, len(out) - 1)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _set_bytes(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 2)) if out else 0):
        out[_place(rng, len(out) - 1)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(out)


def _cut_short(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    return data[: _place(rng, len(data))]


def _drop_a_part(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    begin = _place(rng, len(data))
    return data[:begin] + data[begin + rng.choice((1, 4, 16, 256)) :]


def _repeat_a_part(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    begin = _place(rng, len(data))
    part = data[begin : begin + rng.choice((1, 8, 64, 1024))]
    return data[:begin] + part * rng.choice((2, 3, 50)) + data[begin:]


def _splice(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    begin, start = _place(rng, len(data)), _place(rng, len(other))
    part = other[start : start + rng.choice((4, 64, 4096))]
    return data[:begin] + part + data[begin + rng.choice((0, len(part))) :]


def _claim_much(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    begin, claim = _place(rng, len(data)), rng.choice(_HUGE)
    return data[:begin] + claim + data[begin + rng.choice((0, 1, len(claim))) :]


def _change_a_number(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Some digits of a text become another number; a binary file's little-endian one is moved a little."""
    digits = [i for i in range(min(len(data), 4096)) if data[i : i + 1].isdigit()]
    if digits and rng.random() < 0.7:
        begin = end = rng.choice(digits)
        while data[end : end + 1].isdigit():
            end += 1
        return data[:begin] + rng.choice(_NUMBERS) + data[end:]
    if len(data) < 4:
        return data
    begin = _place(rng, len(data) - 4)
    (number,) = struct.unpack_from("<I", data, begin)
    moved = (number + rng.choice((-1, 1, 255, -256, 1 << 20))) & 0xFFFFFFFF
    return data[:begin] + struct.pack("<I", moved) + data[begin + 4 :]


def _nest(rng: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    begin = _place(rng, len(data))
    return data[:begin] + rng.choice(_NESTING) * rng.choice((50, 2000, 100_000)) + data[begin:]


def _place(rng: random.Random, last: int) -> int:
    """A place between 0 and `last`, often near an end: headers stand there."""
    if last <= 0:
        return 0
    near = min(last, 200)
    return rng.choice((rng.randint(0, last), rng.randint(0, near), last - rng.randint(0, near)))


_ALL: tuple[Mutation, ...] = (
    _flip_bits, _flip_bits, _set_bytes, _cut_short, _drop_a_part, _repeat_a_part, _splice, _claim_much,
    _change_a_number, _nest,
)  # fmt: skip
