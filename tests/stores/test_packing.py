"""How artifacts travel: compressed where it pays, bounded where somebody lies."""

from __future__ import annotations

import os

import pytest

from tests.stores.places import needs
from trtpipe.digests import digest_bytes
from trtpipe.stores import packs
from trtpipe.stores.packs import MAGIC, Wrong, packed, unpacked


@pytest.fixture(params=[pytest.param("zstd", marks=needs("backports.zstd")), "plain"])
def way(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(packs, "_zstd", lambda: None)
    return request.param


def sent(path, data: bytes) -> bytes:
    path.write_bytes(data)
    chunks, size = packed(path, digest_bytes(data))
    found = b"".join(chunks)
    assert size in (None, len(found))
    return found


@pytest.mark.parametrize("data", [b"", b"x", b"ab" * 2_000_000, os.urandom(3_000_000)], ids=len)
def test_what_is_packed_is_unpacked(tmp_path, way, data):
    travelling = sent(tmp_path / "x", data)

    for piece in (1 << 20, 7) if len(data) < 100 else (1 << 20, 4096):
        pieces = (travelling[at : at + piece] for at in range(0, len(travelling), piece))
        assert b"".join(unpacked(pieces, len(data))) == data


@needs("backports.zstd")
def test_what_does_not_shrink_travels_as_it_is(tmp_path):
    noise = os.urandom(1 << 20)

    assert sent(tmp_path / "x", noise) == MAGIC + b"-" + noise
    assert len(sent(tmp_path / "x", b"engine" * 200_000)) < 10_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "ends within its header"),
        (b"trtpip", "ends within its header"),
        (b"<html>not found</html>", "no header"),
        (MAGIC + b"?" + b"x" * 10, "no header"),
        (MAGIC + b"-" + b"x" * 9, "ends after 9 of 10 bytes"),
        (MAGIC + b"-" + b"x" * 11, "longer than the 10 bytes"),
    ],
)
def test_what_is_wrong_is_told(text, why):
    with pytest.raises(Wrong, match=why):
        list(unpacked(iter([text]), 10))


@needs("backports.zstd")
def test_a_bomb_is_cut_off_at_the_size_that_it_should_have():
    from backports import zstd

    bomb = MAGIC + b"z" + zstd.compress(b"\0" * (1 << 26), 1)
    brought = 0

    with pytest.raises(Wrong, match="longer than the 100 bytes"):
        for piece in unpacked(iter([bomb]), 100):
            brought += len(piece)
    assert brought <= 1 << 20


@needs("backports.zstd")
def test_a_frame_that_is_cut_or_damaged_is_told():
    from backports import zstd

    frame = zstd.compress(b"engine" * 10_000, 1)
    for text in (frame[:-5], b"\0" * 40, frame[:10] + b"\xff" * 30):
        with pytest.raises(Wrong):
            list(unpacked(iter([MAGIC + b"z" + text]), 60_000))


@needs("backports.zstd")
def test_a_reader_without_zstandard_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(packs, "_zstd", lambda: None)

    with pytest.raises(Wrong, match=r"pip install 'trtpipe\[remote\]'"):
        list(unpacked(iter([MAGIC + b"z123"]), 3))
