"""What the YAML reader refuses, word for word, and what it takes."""
# ruff: noqa: E501 (whole outputs, as they are printed)

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from trtpipe.errors import SpecError
from trtpipe.loader import yaml_reader
from trtpipe.loader.yaml_reader import MAX_ALIASED, MAX_BYTES, MAX_DEPTH, document_from_text, read_document


def said_of(text: str) -> str:
    """Everything that is wrong with a text."""
    try:
        problems = document_from_text(text, "f.yaml").problems
    except SpecError as error:
        problems = error.problems
    return "".join(f"{problem}\n" for problem in problems)


REFUSED = {
    "duplicate key": (
        "a: 1\nb: 2\na: 3\n",
        """\
        f.yaml:3:1: key 'a' is given twice, first on line 1
            a: 3
            ^
          keep one of them
        """,
    ),
    "python tag": (
        "a: !!python/object/apply:os.system [ls]\n",
        """\
        f.yaml:1:4: tag '!!python/object/apply:os.system' is not allowed
            a: !!python/object/apply:os.system [ls]
               ^
          specs are plain data: remove the tag
        """,
    ),
    "own tag": (
        "a: !x 1\n",
        """\
        f.yaml:1:4: tag '!x' is not allowed
            a: !x 1
               ^
          specs are plain data: remove the tag
        """,
    ),
    "standard tag": (
        "a: !!str 1\n",
        """\
        f.yaml:1:4: tag '!!str' is not allowed
            a: !!str 1
               ^
          specs are plain data: remove the tag
        """,
    ),
    "empty tag": (
        "a: ! 1\n",
        """\
        f.yaml:1:4: tag '!' is not allowed
            a: ! 1
               ^
          specs are plain data: remove the tag
        """,
    ),
    "merge key": (
        "a: &a {x: 1}\nb:\n  <<: *a\n",
        """\
        f.yaml:3:3: merge key '<<' is not allowed
              <<: *a
              ^
          write the keys out
        """,
    ),
    "unknown alias": (
        "keep: [*.weight]\n".replace(".", ""),
        """\
        f.yaml:1:8: alias '*weight' names no anchor
            keep: [*weight]
                   ^
          put text that starts with '*' in quotes
        """,
    ),
    "unquoted glob": (
        "outputs: *.weight\n",
        """\
        f.yaml:1:11: not YAML: did not find expected alphabetic or numeric character while scanning an alias, which starts on line 1
            outputs: *.weight
                      ^
          put text that starts with '*' in quotes
        """,
    ),
    "alias within itself": (
        "a: &a {b: *a}\n",
        """\
        f.yaml:1:11: alias '*a' is inside the value that it refers to
            a: &a {b: *a}
                      ^
          write the value out in place of the alias
        """,
    ),
    "number as key": (
        "variants: {1: {}}\n",
        """\
        f.yaml:1:12: a key must be text, not the number 1
            variants: {1: {}}
                       ^
          put it in quotes: '1'
        """,
    ),
    "no key": (
        "?\n: 1\n",
        """\
        f.yaml:1:2: a key must be text, not nothing
            ?
             ^
          write the key before the ':'
        """,
    ),
    "list as key": (
        "? [a, b]\n: 1\n",
        """\
        f.yaml:1:3: a key must be text, not a list
            ? [a, b]
              ^
          write the key as text
        """,
    ),
    "infinity": (
        "max: .inf\n",
        """\
        f.yaml:1:6: not a finite number: '.inf'
            max: .inf
                 ^
          write a finite number, or put it in quotes to make it text
        """,
    ),
    "two documents": (
        "a: 1\n---\nb: 1\n",
        """\
        f.yaml:2:1: a second document starts here
            ---
            ^
          use one document per file, without '---' between
        """,
    ),
    "empty file": (
        "",
        """\
        f.yaml:1:1: the file is empty
          start with 'schema: 1'
        """,
    ),
    "only a comment": (
        "# later\n",
        """\
        f.yaml:1:1: the file is empty
            # later
            ^
          start with 'schema: 1'
        """,
    ),
    "list at the root": (
        "# a list\n- a\n",
        """\
        f.yaml:2:1: the file must hold a mapping, not a list
            - a
            ^
          start with 'schema: 1'
        """,
    ),
    "text at the root": (
        "hello\n",
        """\
        f.yaml:1:1: the file must hold a mapping, not the text 'hello'
            hello
            ^
          start with 'schema: 1'
        """,
    ),
    "tab": (
        "a:\n\tb: 1\n",
        """\
        f.yaml:2:1: a tab in the indentation
             b: 1
            ^
          indent with spaces
        """,
    ),
    "control character": (
        "a: x\x1b[31m\n",
        """\
        f.yaml:1:5: character U+001B is not allowed in YAML
            a: x?[31m
                ^
          remove it
        """,
    ),
    "colon in a value": (
        "a: b: c\n",
        """\
        f.yaml:1:5: not YAML: mapping values are not allowed in this context
            a: b: c
                ^
          quote text that holds ': ', and start all keys of a mapping in one column
        """,
    ),
    "open bracket": (
        "a: [1, 2\nb: 3\n",
        """\
        f.yaml:2:2: not YAML: did not find expected ',' or ']' while parsing a flow sequence, which starts on line 1
            b: 3
             ^
          close the '[', or put text that holds ',' in quotes
        """,
    ),
    "open quotes": (
        "a: 'b\n",
        """\
        f.yaml:2:1: not YAML: found unexpected end of stream while scanning a quoted scalar, which starts on line 1
          close the quotes
        """,
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_with_place_and_remedy(text: str, said: str) -> None:
    if not yaml.__with_libyaml__ and "not YAML" in said:
        pytest.skip("the wording of syntax errors is libyaml's, which this PyYAML lacks")

    assert said_of(text) == dedent(said)


def test_problems_that_do_not_stop_the_reading_come_together() -> None:
    text = "a: 1\na: 2\n3: x\nb: !t y\nc: .nan\n<<: {}\nd: *e\n"

    lines = [line for line in said_of(text).splitlines() if line.startswith("f.yaml")]

    assert [line.split(": ")[0] for line in lines] == [
        "f.yaml:2:1", "f.yaml:3:1", "f.yaml:4:4", "f.yaml:5:4", "f.yaml:6:1", "f.yaml:7:4",
    ]  # fmt: skip


def test_a_refused_key_keeps_the_first_value() -> None:
    assert document_from_text("a: 1\na: {x: 2}\n5: y\n", "f.yaml").data == {"a": 1, "5": "y"}


def test_aliases_stand_for_their_anchors() -> None:
    document = document_from_text("a: &shape [1, 3]\nb: {x: *shape}\nc: &n name\nd: *n\n", "f.yaml")

    assert document.data == {"a": [1, 3], "b": {"x": [1, 3]}, "c": "name", "d": "name"}
    assert document.problems == ()


def test_a_billion_laughs_are_stopped() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 10)]

    said = said_of("\n".join(lines))

    assert said.startswith(f"f.yaml:3:50: aliases expand to more than {MAX_ALIASED} values")
    assert said.endswith("  write the values out if they are few, or remove the alias\n")


def test_aliases_cannot_nest_deeper_than_the_text_may() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]

    assert "levels" in said_of("\n".join(lines))


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "], ids=["flow", "block", "mapping", "key"])
def test_deep_nesting_is_stopped_before_the_stack_is(opening: str) -> None:
    said = said_of("a:\n  " + opening * 100_000)

    assert f"nested more than {MAX_DEPTH} deep" in said


def test_nesting_up_to_the_limit_is_taken() -> None:
    depth = MAX_DEPTH - 1

    assert said_of("a: " + "[" * depth + "]" * depth) == ""


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("big.yaml").write_text("# " + "x" * MAX_BYTES)

    with pytest.raises(SpecError) as caught:
        read_document(Path("big.yaml"))

    assert str(caught.value) == (
        "big.yaml:1:1: the file is larger than 1 MiB\n  a spec refers to models and data, it does not contain them"
    )


def test_bytes_that_are_not_utf8_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.yaml").write_bytes("a: 1\nb: naïve\n".encode("latin-1"))

    with pytest.raises(SpecError) as caught:
        read_document(Path("latin.yaml"))

    assert str(caught.value) == (
        "latin.yaml:2:6: not UTF-8: byte 0xef\n    b: na\N{REPLACEMENT CHARACTER}ve\n         ^\n"
        "  save the file as UTF-8"
    )


def test_a_byte_order_mark_and_windows_lines_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes("\ufeffa: 1\r\nb:\r\n  c: ünï\r\n".encode())

    document = read_document(path)

    assert document.data == {"a": 1, "b": {"c": "ünï"}}
    assert document.locate(("b", "c")).source_line == "  c: ünï"


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda path: None, "cannot read 'x.yaml': no such file or directory"),
        (lambda path: path.mkdir(), "x.yaml:1:1: not a file\n  name a YAML file"),
    ],
    ids=["missing", "directory"],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], fact: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x.yaml"))

    with pytest.raises(SpecError) as caught:
        read_document(Path("x.yaml"))

    assert str(caught.value) == fact


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    with pytest.raises(SpecError, match="not a file"):
        read_document(tmp_path / "pipe.yaml")


def test_many_problems_on_one_long_line_stay_cheap() -> None:
    document = document_from_text("a: [" + "!x 1," * 50_000 + "]", "f.yaml")

    assert len(document.problems) == 50_000
    assert {problem.where.source_line for problem in document.problems if problem.where} == {""}


def test_places_are_those_of_keys_and_values() -> None:
    text = "a:\n  b: {c: 1, d: [x, y]}\n  e:\n- "[:-2]
    document = document_from_text(text, "f.yaml")

    def place(*path: str | int, key: bool = False) -> tuple[int, int]:
        where = document.locate(path, key=key)
        return where.line, where.column

    assert place("a", "b", "c") == (2, 10)
    assert place("a", "b", "c", key=True) == (2, 7)
    assert place("a", "b", "d", 1) == (2, 20)
    assert place("a") == (1, 1), "a block starts at its key"
    assert place("a", "b") == (2, 6), "a flow mapping starts at its bracket"
    assert place("a", "e") == (3, 3), "an empty value is shown by its key"
    assert place("a", "b", "missing", "deeper") == (2, 3), "what is not there is shown by what is around it"
    assert place("nowhere") == (1, 1)


def test_without_the_c_parser_the_same_is_read_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "_Loader", yaml.SafeLoader)

    document = document_from_text("a: &x [1, yes, 8.9]\nb: *x\na: 2\n", "f.yaml")

    assert document.data == {"a": [1, "yes", 8.9], "b": [1, "yes", 8.9]}
    assert str(document.problems[0]).startswith("f.yaml:3:1: key 'a' is given twice, first on line 1")
    assert "nested more than" in said_of("[" * 1000)
    assert "half of a surrogate pair" in said_of('a: "\\ud800"')


def test_reading_imports_nothing_heavy() -> None:
    code = (
        "import sys, trtpipe.loader.specs, trtpipe.loader.schema\n"
        "print([name for name in ('numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'rich', 'tensorrt') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"
