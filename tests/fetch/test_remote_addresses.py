"""Whatever is written as an address is taken or refused; what is shown and kept of one holds no credential."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtpipe.errors import SpecError, masked
from trtpipe.loader.remotes import remote_file
from trtpipe.spec.remote import SCHEMES, RemoteFile, is_plain_relative

PIN = "4c3f" * 16
TEXT = st.text(st.characters(codec="utf-8"), max_size=60) | st.text("/.:@?#%\\[]aA1 ", max_size=60)


@given(scheme=st.sampled_from(SCHEMES), rest=TEXT, pin=st.sampled_from(["", PIN]))
def test_any_text_is_an_address_or_refused_in_words(scheme: str, rest: str, pin: str) -> None:
    try:
        found = remote_file(f"{scheme}://{rest}", pin)
    except SpecError as error:
        assert len(error.problems) == 1
        assert error.problems[0].remedy
        return
    assert found.scheme == scheme
    assert is_plain_relative(found.name)
    assert ".." not in found.path.split("/")
    assert RemoteFile.from_json(found.to_json()) == found
    assert remote_file(found.url, pin) == found


@given(
    user=st.text("abc:", min_size=1, max_size=8),
    secret=st.text("XYZ0", min_size=8, max_size=20),
    name=st.text("abc", min_size=1),
)
def test_what_is_masked_holds_neither_users_nor_queries(user: str, secret: str, name: str) -> None:
    said = masked(f"cannot read 'https://{user}{secret}@example.com/{name}?sig={secret}&x=1' and more")

    assert secret not in said
    assert f"example.com/{name}?…' and more" in said


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=A&X-Amz-Credential=geheim&X-Amz-Signature=geheim",
        "X-Goog-Credential=geheim&X-Goog-Signature=geheim",
        "Expires=1&Signature=geheim&Key-Pair-Id=K",
        "sv=2022&se=2030&sr=b&sp=r&sig=geheim",
        "token=geheim",
        "access_token=geheim",
        "api_key=geheim",
    ],
)
def test_a_fresh_signature_is_the_same_file(query: str) -> None:
    signed = remote_file(f"https://example.com/net.onnx?{query}")

    assert signed.has_credential
    assert signed.identity() == remote_file("https://example.com/net.onnx").identity()
    assert "geheim" not in signed.shown


def test_another_query_is_another_file() -> None:
    one, other = (remote_file(f"https://example.com/net.onnx?v={version}") for version in (1, 2))

    assert not one.has_credential
    assert one.identity() != other.identity()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://example.com/a/net.onnx?x=/y", "net.onnx"),
        ("s3://bucket/models/.hidden name.onnx", "hidden_name.onnx"),
        ("https://example.com/%E2%82%AC", "file"),
        ("hf://org/repo/" + "x" * 300 + ".onnx", "x" * 95 + ".onnx"),
    ],
)
def test_a_file_s_own_name_is_harmless(text: str, name: str) -> None:
    assert remote_file(text).name == name


def test_what_lies_beside_a_file_is_in_its_folder() -> None:
    at = remote_file("https://example.com/models/net.onnx?token=x").beside("w/my data.bin", PIN)

    assert (at.url, at.sha256) == ("https://example.com/models/w/my%20data.bin?token=x", PIN)
    assert remote_file("s3://bucket/net.onnx").beside("my data.bin").url == "s3://bucket/my data.bin"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "C:a", "a\\b", "a\0", "a\nb", "x" * 256, "a*"],
)
def test_a_name_that_could_leave_its_folder_is_none(name: str) -> None:
    assert not is_plain_relative(name)


def test_plain_http_is_for_this_machine_or_for_what_is_pinned() -> None:
    assert remote_file("http://localhost:8000/net.onnx").scheme == "http"
    assert remote_file("http://example.com/net.onnx", PIN).sha256 == PIN
    for text, pin in (("http://example.com/net.onnx", ""), ("http://localhost.example.com/net.onnx", ""),
                      ("http://example.com/net.onnx?token=x", PIN)):  # fmt: skip
        with pytest.raises(SpecError):
            remote_file(text, pin)
