"""The command line: what a remedy says is typed, or done to the file that it names, and the command does its work."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from importlib import metadata

import numpy as np
import pytest

from tests.remedies.remedy_places import SPEC, Cure, Place, Question, Row, apply, asking, rewrite
from tests.remedies.small_models import classifier, relu
from tests.remedies.spec_rows import FILES, SET
from tests.remedies.test_data_remedies import png
from trtpipe.problem_codes import Code, ProblemCode

CELL = "net/fp32@t"
HERE = metadata.version("tensorrt-rtx-cu13")


def npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array))
    return stream.getvalue()


ONE = npy(np.float32([[1, 2, 3]]))
RUN = {"net.onnx": relu(1, 3), "x.npy": ONE}


def command(name: str, code: ProblemCode, argv: Sequence[str], remedy: str, right: Sequence[str] | Cure,
            files: dict[str, object] | None = None, before: object = None) -> Row:  # fmt: skip
    cure = right if callable(right) else asking(*right)
    return Row(
        name,
        code,
        remedy,
        cure,
        {**FILES, "pipelines/net.yaml": SPEC, **(files or {})},
        ask=argv,
        before=before,
    )


def run(name: str, code: ProblemCode, argv: Sequence[str], remedy: str, right: Sequence[str] | Cure,
        files: dict[str, object] | None = None) -> Row:  # fmt: skip
    """Of `trtpipe run net.onnx`."""
    cure = right if callable(right) else asking("run", "net.onnx", *right)
    return Row(name, code, remedy, cure, {**RUN, **(files or {})}, ask=("run", "net.onnx", *argv))


def put(name: str, content: str | bytes) -> Cure:
    return lambda place, _: place.write(name, content) and None


def pair() -> bytes:
    from tests.remedies.test_model_remedies import pair as made

    return made()


X = ("--input", "x=x.npy")
BENCH = ("bench", "net.onnx", "--window", "0.01", "--within", "90", "--time-limit", "1", "--output", "b.json")
HALF = {
    "net.onnx": classifier,
    "calibration/val.yaml": "schema: 1\nrandom: {shapes: {x: 4x64}}\n",
    "pipelines/net.yaml": SPEC.replace("fp32: {}", "fp32: {}, h: {precision: fp16}")
    + "validate: {data: val}\n",
}
RUNS = [
    run("nothing to feed", Code.NOTHING_TO_FEED, (), r"or (--random)", (r"\1",)),
    run("nothing to feed, a file", Code.NOTHING_TO_FEED, (), r"use (--input) NAME=FILE\.npy.*the inputs are '?(\w+)", (r"\1", r"\2=x.npy")),
    run("two ways to exclude each other", Code.OPTIONS_EXCLUDE, ("--random", "--cpu", "--require-gpu"), "leave one out", ("--random", "--cpu")),
    run("a digest that is none", Code.BAD_ARGUMENT, ("--random", "--trust", "abc"), "BLAKE3 of the engine, 64 hex digits",
        ("--random", "--trust", "ab" * 32)),
    run("no input named", Code.BAD_ARGUMENT, ("--random", "--shape", "1x3"), "write NAME=1x3x224x224", ("--random", "--shape", "x=1x3")),
    run("a dynamic shape", Code.BAD_ARGUMENT, ("--random", "--shape", "x=-1x3"), "give its size", ("--random", "--shape", "x=1x3")),
    run("an unknown input", Code.UNKNOWN_INPUT, ("--input", "xx=x.npy"), r"did you mean '(\w+)'|inputs: (?P<i>\w+)", X),
    run("another type", Code.INPUT_TYPE, X, r"or use (--cast)", (*X, r"\1"), {"x.npy": npy([[1, 2, 3]])}),
    run("another type, converted", Code.INPUT_TYPE, X, r"convert it: array\.astype\('(float32)'\)", put("x.npy", ONE), {"x.npy": npy([[1, 2, 3]])}),
    run("no batch", Code.INPUT_MISFIT, X, r"array\[None\]", put("x.npy", ONE), {"x.npy": npy(np.float32([1, 2, 3]))}),
    run("an input left out", Code.MISSING_INPUT, X, r"give it with (--input) (\w+)=FILE\.npy", (*X, r"\1", r"\2=x.npy"), {"net.onnx": pair}),
    run("for which input", Code.WHICH_INPUT, ("--input", "x.npy"), r"say NAME=(x\.npy); the inputs are '?(\w+)",
        ("--input", r"\2=\1", "--input", "y=x.npy"), {"net.onnx": pair}),
    run("no file of a kind", Code.WRONG_FILE, ("--input", "x=x.txt"), r"give NAME=FILE\.npy", X, {"x.txt": b"1"}),
    run("no array of a kind", Code.NOT_NPY, X, "copy or download it again", put("x.npy", ONE), {"x.npy": ONE[:-4]}),
    run("an unknown profile", Code.NO_SUCH_PROFILE, ("--random", "--profile", "2"), "leave it out", ("--random",)),
    run("a shape of nothing", Code.INPUT_SHAPE_UNKNOWN, ("--random",), r"say (--shape) NAME=1x3x224x224", ("--random", r"\1", "x=1x3"),
        {"net.onnx": relu("n", 3)}),
    run("too much by chance", Code.DATA_TOO_LARGE, ("--random", "--shape", "x=2000000000x3"), "ask for smaller shapes",
        ("--random", "--shape", "x=1x3"), {"net.onnx": relu("n", 3)}),
    run("an image and no set", Code.DATA_SET_UNUSABLE, ("--input", "x=a.png"), r"name a data set: (--data) NAME",
        ("--input", "x=a.png", r"\1", "pictures"),
        {"a.png": png, "net.onnx": relu(1, 3, 4, 4), "calibration/pictures.yaml": "schema: 1\nimages: a.png\n"}),
    run("--data without an image", Code.OPTIONS_EXCLUDE, (*X, "--data", "val"), "leave it out", X, {"calibration/val.yaml": SET}),
    run("no output elsewhere", Code.WRONG_FILE, (*X, "--output", "y.npy"), r"outputs are saved by name: FILE\.npz", (*X, "--output", "y.npz")),
    run("no labels", Code.EMPTY_FILE, (*X, "--labels", "l.txt"), "one name per line", put("l.txt", "a\nb\nc\n"), {"l.txt": b""}),
    run("labels of no text", Code.NOT_UTF8, (*X, "--labels", "l.txt"), "one name per line", put("l.txt", "a\nb\nc\n"), {"l.txt": b"\xff"}),
    run("no output of that many", Code.UNKNOWN_TENSOR, (*X, "--labels", "l.txt"), r"the outputs are 'y' float32 \[1, (3)\]",
        put("l.txt", "a\nb\nc\n"), {"l.txt": "a\nb\n"}),
    run("rows that differ", Code.SAMPLE_COUNTS, ("--input", "x=x.npy", "--input", "y=y.npy", "--batch", "1"), "leave out --batch",
        ("--input", "x=x.npy", "--input", "y=x.npy"), {"net.onnx": pair, "y.npy": npy(np.float32([[1, 2, 3]] * 2))}),
]  # fmt: skip


def _initialised(place: Place, match: re.Match[str]) -> Question | None:
    """The remedy's command, as a shell runs it."""
    asked = place.ask([match[1], "net.onnx"])
    assert asked.code == 0, asked.err
    return None


INIT = [
    Row("no pipeline here", Code.NO_PIPELINE, r"write one: trtpipe (init) MODEL", _initialised,
        {"net.onnx": relu(1, 3)}, ask=("check", "--no-parse")),
    Row("no specs there", Code.NO_PIPELINE, r"a spec is a file named \*(\.yaml)",
        lambda place, m: ((place.root / "specs/net.yml2").rename(place.root / f"specs/net{m[1]}"), None)[1],
        {"specs/net.onnx": relu(1, 3), "specs/net.yml2": SPEC}, ask=("check", "--no-parse", "specs")),
    Row("which pipeline", Code.AMBIGUOUS_NAME, r"name one or more of (\S+), ", asking("check", "--no-parse", r"\1"),
        {**FILES, "a.yaml": SPEC, "b.yaml": SPEC.replace("pipeline: net", "pipeline: b")}, ask=("check", "--no-parse")),
    command("no such spec", Code.NO_SUCH_FILE, ("check", "pipelines/nett.yaml"), r"did you mean '(\S+)'", ("check", "--no-parse", r"\1")),
    command("no such model", Code.NO_SUCH_FILE, ("init", "nett.onnx"), "give the path or the address of a model", ("init", "net.onnx", "--stdout")),
    command("there already", Code.EXISTS_ALREADY, ("init", "net.onnx"), r"elsewhere with (--output)", ("init", "net.onnx", r"\1", "o.yaml")),
    command("there already, replaced", Code.EXISTS_ALREADY, ("init", "net.onnx"), r"replace it with (--force)", ("init", "net.onnx", r"\1")),
    command("no cell", Code.NO_MATCH, ("plan", "--only", "net/fp16@t"), r"(net/fp32@t)", ("plan", "--only", r"\1")),
    Row("several projects", Code.SEVERAL_PROJECTS, "run one command for each project", asking("plan", "one/pipelines/net.yaml"),
        {"one/net.onnx": relu(1, 3), "one/pipelines/net.yaml": SPEC, "two/net.onnx": relu(1, 3), "two/pipelines/net.yaml": SPEC.replace("pipeline: net", "pipeline: two"),
         "one/trtpipe.yaml": "schema: 1\n", "two/trtpipe.yaml": "schema: 1\n"},
        ask=("plan", "one/pipelines/net.yaml", "two/pipelines/net.yaml")),
    command("no graph of that kind", Code.UNKNOWN_VALUE, ("plan", "--graph", "dot"), r"the only one is (\w+)", ("plan", "--graph", r"\1")),
    command("no schema", Code.UNKNOWN_VALUE, ("schema", "spec"), r"the schemas are (\w+)", ("schema", r"\1")),
    command("no purpose", Code.UNKNOWN_VALUE, ("ci", "matrix", "--for", "x"), r"write (--for build)", ("ci", "matrix", "--for", "build")),
    command("two forms", Code.OPTIONS_EXCLUDE, ("diff", "net.onnx", "net.onnx", "--json", "--markdown"), "give one of them",
            ("diff", "net.onnx", "net.onnx", "--json")),
    command("a second file of a model of one", Code.OPTIONS_EXCLUDE, ("inspect", "net.onnx", "--with", "net.onnx"), "leave out --with",
            ("inspect", "net.onnx")),
    command("a second file of no model", Code.OPTIONS_EXCLUDE, ("inspect", "pipelines/net.yaml", "--with", "net.onnx"), "leave out --with",
            ("inspect", "pipelines/net.yaml")),
    command("a second file of weights", Code.OPTIONS_EXCLUDE, ("diff", "w.npy", "w.npy", "--with", "net.onnx"), "leave out --with",
            ("diff", "w.npy", "w.npy"), {"w.npy": ONE}),
    command("second files of three models", Code.BAD_ARGUMENT, ("diff", "net.onnx", "net.onnx", *("--with", "net.onnx") * 3),
            "give it once for OLD and once for NEW", ("diff", "net.onnx", "net.onnx")),
    command("specs are not compared", Code.NOT_COMPARABLE, ("diff", "pipelines/net.yaml", "pipelines/net.yaml"), "give the models",
            ("diff", "net.onnx", "net.onnx")),
    command("neither file nor revision", Code.NO_SUCH_FILE, ("diff", "abc:", "net.onnx"), "write REVISION:PATH", ("diff", "net.onnx", "net.onnx")),
    command("an input twice", Code.LISTED_TWICE, ("inspect", "net.onnx", "--shape", "x=1x3", "--shape", "x=2x3"), "give each input one shape",
            ("inspect", "net.onnx", "--shape", "x=1x3")),
    command("no shape", Code.BAD_ARGUMENT, ("inspect", "net.onnx", "--shape", "x"), r"for example (--shape) x=1x3x224x224",
            ("inspect", "net.onnx", r"\1", "x=1x3")),
    command("no GPU", Code.BAD_ARGUMENT, ("inspect", "net.onnx", "--for", ""), r"for example --for (sm89,sm120)", ("inspect", "net.onnx", "--for", r"\1")),
    command("an unknown input to inspect", Code.UNKNOWN_INPUT, ("inspect", "net.onnx", "--shape", "xx=1x3"), r"its inputs are '?(\w+)'?",
            ("inspect", "net.onnx", "--shape", r"\1=1x3")),
    command("a shape of another rank", Code.INPUT_MISFIT, ("inspect", "net.onnx", "--shape", "x=1x4"), "the others unchanged",
            ("inspect", "net.onnx", "--shape", "x=1x3")),
    command("no cell for a network", Code.BAD_ARGUMENT, ("inspect", "net.onnx", "--network"), "name a cell", ("inspect", CELL, "--network")),
    command("no age", Code.BAD_ARGUMENT, ("cache", "gc", "--older-than", "soon"), r"write it as (30d)", ("cache", "gc", "--older-than", r"\1")),
    command("no project", Code.NO_SUCH_FILE, ("cache", "gc", "nowhere"), "give the roots of projects", ("cache", "gc", ".")),
    command("no artifact", Code.NO_ARTIFACT, ("cache", "path", "abcdef12"), "trtpipe (cache ls)", ("cache", "ls")),
    command("no remote", Code.NO_REMOTE_STORE, ("cache", "push"), r"(store: \{remote: )s3://BUCKET/PREFIX\}",
            lambda place, m: place.write("trtpipe.yaml", f"schema: 1\n{m[1]}remote, mode: read-write}}\n") and None),
    command("a remote that is only read", Code.NO_REMOTE_STORE, ("cache", "push"), r"write (store: \{mode: read-write\})",
            lambda place, m: place.write("trtpipe.yaml", f"schema: 1\n{m[1][:-1]}, remote: remote}}\n") and None,
            {"trtpipe.yaml": "schema: 1\nstore: {remote: remote}\n"}),
    command("a remote that is only read, by a variable", Code.NO_REMOTE_STORE, ("cache", "push"), r"or set (TRTPIPE_REMOTE_MODE)=(read-write)",
            lambda place, m: place.patch.setenv(m[1], m[2]), {"trtpipe.yaml": "schema: 1\nstore: {remote: remote}\n"}),
    command("a key there already", Code.EXISTS_ALREADY, ("cache", "keygen", "key"), "name another file", ("cache", "keygen", "other"), {"key": b"x"}),
    command("a mode that is none", Code.BAD_VARIABLE, ("plan",), r"write (read-only) or", lambda place, m: place.patch.setenv("TRTPIPE_REMOTE_MODE", m[1]),
            {"trtpipe.yaml": "schema: 1\nstore: {remote: remote}\n"}, lambda place: place.patch.setenv("TRTPIPE_REMOTE_MODE", "x")),
    command("no flavour", Code.UNKNOWN_VALUE, ("toolchain", "install", HERE, "--flavour", "rtx"), r"the flavours are .*(tensorrt_rtx)",
            ("toolchain", "install", HERE, "--flavour", r"\1")),
    command("no version", Code.BAD_ARGUMENT, ("toolchain", "install", "latest"), r"such as '([\d.]+)'", ("toolchain", "install", HERE)),
    command("no such toolchain", Code.NO_TOOLCHAIN, ("toolchain", "remove", "tensorrt_rtx-9.9.9.9"), "the provisioned ones are", ("toolchain", "ls")),
    command("an unknown toolchain to upgrade to", Code.UNKNOWN_NAME, ("upgrade", "next"), r"such as (tensorrt_rtx-[\d.]+)", ("upgrade", r"\1")),
    command("an unknown data set", Code.UNKNOWN_NAME, ("data", "preview", "vall"), r"did you mean '(\w+)'", ("data", "preview", r"\1")),
    command("validates nothing", Code.VALIDATES_NOTHING, ("golden", CELL), r"give the spec a `(validate)` with data",
            rewrite((SPEC[-10:], SPEC[-10:] + "\\1: {data: val}\n"))),
    command("one cell", Code.NOT_FOR_SEVERAL, ("validate", "--propose", "net/fp32@t", "net/fp32@t"), r"trtpipe validate (--propose) ",
            ("validate", r"\1", "net/fp32@t", "--seeds", "1"), {"pipelines/net.yaml": SPEC + "validate: {data: val}\n"}),
    command("nothing is lowered", Code.NOTHING_TO_MEASURE, ("sensitivity", CELL), "name a cell of another precision", ("sensitivity", "net/h@t"), HALF),
    Row("no digest", Code.NO_SUCH_FILE, "name an engine file, or a digest of at least 8 hex digits", asking("which", "net.onnx"), FILES,
        ask=("which", "nothing"), ends=1),
    Row("a directory", Code.NOT_A_FILE, "name an engine file in it", asking("which", "net.onnx"), FILES, ask=("which", "calibration"), ends=1),
    command("streams", Code.BAD_ARGUMENT, ("bench", "net.onnx", "--streams", "many"), r"write (1,2,4)", (*BENCH, "--streams", r"\1")),
    command("graphs", Code.UNKNOWN_VALUE, ("bench", "net.onnx", "--graph", "x"), r"valid graphs: (\w+)", (*BENCH, "--graph", r"\1")),
    command("nothing to bench", Code.NOTHING_TO_MEASURE, ("bench",), "name cells, globs or directories", BENCH),
    command("no file of bench", Code.WRONG_FILE, ("bench", "net.onnx", "--compare", "net.onnx"), "it is written as bench.json", lambda place, _: _benched(place)),
    command("a spec to run", Code.WRONG_FILE, ("run", "pipelines/net.yaml", "--random"), "name a cell: PIPELINE/VARIANT@TARGET", ("run", "net.onnx", "--random")),
    command("no engine here", Code.NO_ENGINE, ("run", "calibration", "--random"), r"holds model\.engine, (model\.onnx)",
            lambda place, m: (place.write(f"calibration/{m[1]}", relu(1, 3)()), None)[1]),
    command("no engine inspected", Code.NO_ENGINE, ("inspect", "calibration"), "name a file in it", ("inspect", "net.onnx")),
]  # fmt: skip


def _benched(place: Place) -> Question:
    """What bench writes is what bench compares with."""
    assert place.ask(BENCH).code == 0
    return [*BENCH[:-1], "c.json", "--compare", "b.json"]


ROWS = [*RUNS, *INIT]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    if row.ask[:2] == ("cache", "keygen"):
        pytest.importorskip("cryptography", reason="not run: needs the extra remote")
    apply(row, place)
