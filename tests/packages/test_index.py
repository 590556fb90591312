"""`index.json`: its bytes, what is read back, and what is refused of an index that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3

from tests.packages.small_packages import engine, index, model
from trtpipe.errors import PackageError
from trtpipe.packages.index import as_json
from trtpipe.packages.index_file import LARGEST_INDEX, digest_of, index_bytes, parse_index, read_index, sealed
from trtpipe.problem_codes import Code


def refused(text: bytes) -> str:
    """The one sentence that refuses it."""
    with pytest.raises(PackageError) as caught:
        parse_index(text, "p")
    (problem,) = caught.value.problems
    assert "\n" not in str(problem)
    return str(problem)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    record = json.loads(index_bytes(index()))
    change(record)
    return sealed(record)


def test_what_is_written_is_read_back_the_same():
    made = index(
        model(
            "a", [engine("a/fp32@ada"), engine("a/fp16@ada", gpu="NVIDIA L4", flavour="tensorrt", os="linux")]
        ),
        model("b", [engine("b/fp16@ada")], fallbacks=False),
    )

    assert parse_index(index_bytes(made), "p") == made


def test_the_text_has_sorted_keys_and_ends_with_a_newline():
    text = index_bytes(index()).decode()
    record = json.loads(text)

    assert text == json.dumps(record, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert list(record) == sorted(record)


def test_the_digest_depends_on_every_file():
    other = index()
    (path, file) = next(iter(other.files.items()))
    files = {**other.files, path: type(file)(file.sha256, file.sha256, file.bytes)}

    assert digest_of(index()) != digest_of(type(other)(**{**vars_of(other), "files": files}))


def vars_of(made: object) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__dataclass_fields__}  # type: ignore[attr-defined]


def test_keys_that_are_not_known_are_left_alone():
    """A later trtpipe may add a field without a new schema."""
    assert parse_index(changed(lambda record: record.update(later=1)), "p") == index()


@pytest.mark.parametrize(
    ("schema", "says"), [(2, "a newer trtpipe wrote it"), (0, "before there were packages")]
)
def test_another_schema_is_refused_by_its_number(schema, says):
    text = refused(changed(lambda record: record.update(schema=schema)))

    assert f"index of schema {schema}" in text and "reads schema 1" in text and says in text


FILE = "models/net/fp16@ada/model.engine"


def rename(path: str) -> Callable[[dict[str, Any]], object]:
    def change(record: dict[str, Any]) -> None:
        record["files"][path] = record["files"].pop(FILE)
        record["models"][0]["engines"][0]["file"] = path

    return change


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../up", "a/../b", "a//b", "a/./b", "a\\b", "c:x", "a/\x00b", "a/", "", "nul", "a/con.txt",
        "x" * 401, "/".join("abcdefghijklmn"), "a./b", "a /b", "index.json/x", "tab\t",
    ],
)  # fmt: skip
def test_a_path_that_leads_out_or_that_some_system_cannot_have_is_refused(path):
    text = refused(changed(rename(path)))

    assert "no path inside a package" in text or "too long" in text or "both a file and a folder" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.pop("files"), "files is missing"),
        (lambda r: r["files"].pop(FILE), "is not among its files"),
        (lambda r: r["files"].update({FILE.upper(): r["files"][FILE]}), "one file on some systems"),
        (lambda r: r["files"].update({"INDEX.json": r["files"][FILE]}), "one file on some systems"),
        (lambda r: r["files"].update({"models/net": r["files"][FILE]}), "both a file and a folder"),
        (lambda r: r["files"][FILE].update(blake3="0"), "is none"),
        (lambda r: r["files"][FILE].update(bytes=-1), "is none"),
        (lambda r: r["files"][FILE].update(bytes=1 << 50), "is none"),
        (lambda r: r["files"][FILE].update(bytes=1.5), "bytes is not an integer"),
        (lambda r: r["targets"]["ada"].update(net="net/other@ada"), "which is not there"),
        (lambda r: r["models"].append(r["models"][0]), "two models have one name"),
        (lambda r: r["models"].extend([r["models"][0]] * 1001), "more than 1000"),
        (lambda r: r["models"][0]["engines"][0].update(tensorrt=17), "tensorrt is not a text"),
        (lambda r: r["models"][0]["engines"][0].pop("gpu"), "gpu is missing"),
        (lambda r: r.update(schema="1"), "schema is not an integer"),
    ],
)
def test_what_no_package_of_ours_contains_is_refused(change, says):
    assert says in refused(changed(change))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"schema": NaN}', b'{"schema": 1e999}']
)
def test_what_is_not_json_is_refused(text):
    assert "index.json of package 'p' is damaged" in refused(text)


def test_an_index_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "index.json").open("wb") as file:
        file.truncate(LARGEST_INDEX + 1)

    with pytest.raises(PackageError, match="larger than 16 MiB"):
        read_index(tmp_path)


def test_a_directory_without_an_index_is_no_package(tmp_path):
    with pytest.raises(PackageError, match=r"has no index\.json, so it is no package") as caught:
        read_index(tmp_path)

    assert caught.value.problems[0].code == Code.PACKAGE_DAMAGED


def test_every_field_of_the_index_is_in_its_json():
    record = json.loads(index_bytes(index()))

    assert as_json(index()) == {name: value for name, value in record.items() if name != "checksum"}


def test_the_checksum_is_that_of_the_text_with_zeros_in_its_place():
    text = index_bytes(index())
    found = json.loads(text)["checksum"]

    assert blake3(text.replace(found.encode(), b"0" * 64)).hexdigest() == found


def test_any_other_byte_in_the_text_is_noticed():
    text = bytearray(index_bytes(index()))

    for place in range(0, len(text), 7):
        text[place] ^= 1
        assert "damaged" in refused(bytes(text)) or "schema" in refused(bytes(text)), place
        text[place] ^= 1
