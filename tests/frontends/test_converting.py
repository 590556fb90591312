"""A converter runs in a child: what it gives, and one clear error for each way in which it can end badly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from trtpipe.errors import ModelError
from trtpipe.frontends.conversion import converters
from trtpipe.frontends.conversion.converters import ConversionRefused, Converter, run_converter
from trtpipe.frontends.conversion.renames import rename_interface, strip_notes


def converter(folder: Path, body: str) -> Converter:
    """A stand-in whose `convert(request)` has this body."""
    file = folder / "stand_in.py"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    file.write_text(f"import os, sys\ndef convert(request):\n{lines}\n")
    return Converter(file, "standin", "pytorch")


def run(tmp_path: Path, body: str, **given) -> dict:
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    return run_converter(converter(tmp_path, body), {"number": 20}, workplace, **given)


def test_it_gives_facts_and_leaves_files_in_the_workplace(tmp_path):
    facts = run(tmp_path, "open('made', 'w').write('x')\nreturn {'twice': 2 * request['number']}")

    assert facts == {"twice": 40}
    assert (tmp_path / "workplace" / "made").read_text() == "x"


def test_it_sees_nothing_of_the_users_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("SECRET", "word")

    facts = run(tmp_path, "return {'env': dict(os.environ), 'flags': sys.flags.no_user_site}")

    assert "SECRET" not in facts["env"]
    assert (facts["env"]["PYTHONHASHSEED"], facts["flags"]) == ("0", 1)
    assert Path(facts["env"]["HOME"]).parent == (tmp_path / "workplace").resolve()


def test_what_it_raises_is_told_with_its_cause_and_its_last_words(tmp_path):
    body = """\
print('reading node 7')
try:
    raise ValueError('no such operator: Frobnicate.\\nand more')
except ValueError as error:
    raise RuntimeError('conversion failed') from error"""

    with pytest.raises(ConversionRefused) as caught:
        run(tmp_path, body)

    (problem,) = caught.value.problems
    assert problem.fact == "standin cannot convert the model: no such operator: Frobnicate"
    assert caught.value.raised == "RuntimeError"
    assert "reading node 7" in problem.details


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        ("import no_such_package_here", "standin needs the module 'no_such_package_here', which is missing"),
        ("from json import nothing_such", "standin cannot be imported: cannot import name 'nothing_such'"),
        ("raise MemoryError", "standin ran out of memory"),
        ("os.kill(os.getpid(), 9)", "standin was ended by SIGKILL: it may have run out of memory"),
        ("os.kill(os.getpid(), 11)", "standin was ended by SIGSEGV: a library that it uses crashed"),
        ("print('std::bad_alloc', flush=True)\nos.abort()", "standin ran out of memory"),
        ("os._exit(3)", "standin ended with code 3 and no result"),
    ],
    ids=["missing", "broken", "memory", "killed", "crash", "allocation", "exit"],
)
def test_each_bad_end_has_its_words(tmp_path, body, fact):
    with pytest.raises(ModelError) as caught:
        run(tmp_path, body)

    (problem,) = caught.value.problems
    assert problem.fact.startswith(fact)


def test_a_missing_package_is_answered_with_what_to_install(tmp_path):
    with pytest.raises(ModelError, match=r"pip install 'trtpipe\[pytorch\]'"):
        run(tmp_path, "import no_such_package_here")


def test_one_that_hangs_is_ended(tmp_path):
    began = time.monotonic()

    with pytest.raises(ModelError, match="standin took longer than 1 seconds"):
        run(tmp_path, "import time\ntime.sleep(600)", time_limit=1)

    assert time.monotonic() - began < 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not run: Linux alone tells a child")
def test_it_dies_with_its_parent(tmp_path):
    made = converter(tmp_path, "import time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
    (tmp_path / "workplace").mkdir()
    code = (
        "from pathlib import Path\n"
        "from trtpipe.frontends.conversion.converters import Converter, run_converter\n"
        f"run_converter(Converter(Path({str(made.file)!r}), 'a', 'b'), {{}}, Path({str(tmp_path / 'workplace')!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    pid = tmp_path / "workplace" / "pid"
    until(lambda: pid.exists() and pid.read_text())

    parent.kill()
    parent.wait()

    until(lambda: not runs(int(pid.read_text())))
    assert not runs(int(pid.read_text()))


def until(true) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_result_that_is_no_file_of_sane_size_counts_as_none(tmp_path, monkeypatch):
    monkeypatch.setattr(converters, "_LARGEST_RESULT", 100)

    with pytest.raises(ModelError, match="no result"):
        run(tmp_path, "return {'much': 'x' * 1000}")


def model() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Neg", ["a"], ["b"], "b"), helper.make_node("Abs", ["b"], ["c"], "c", "a note")],
        "g",
        [value("a", TensorProto.FLOAT, [2])],
        [value("c", TensorProto.FLOAT, [2]), value("a", TensorProto.FLOAT, [2])],
        value_info=[value("b", TensorProto.FLOAT, [3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_inputs_and_outputs_are_renamed_and_what_has_the_name_already_gives_way():
    renamed = model()

    rename_interface(renamed, ["b"], ["y", "same"], ("model", "options"))
    strip_notes(renamed)

    onnx.checker.check_model(renamed, full_check=True)
    first, second, same = renamed.graph.node
    assert (first.input[0], first.output[0], second.input[0], second.output[0]) == ("b", "b_1", "b_1", "y")
    assert (same.op_type, same.input[0], same.output[0]) == ("Identity", "b", "same")
    assert not renamed.graph.value_info
    assert not second.doc_string


def test_names_that_do_not_fit_are_refused_where_they_stand():
    with pytest.raises(ModelError) as caught:
        rename_interface(model(), ["p", "q"], ["y", "y"], ("model", "options"))

    said = {problem.path: (problem.fact, problem.remedy) for problem in caught.value.problems}
    assert said == {
        ("model", "options", "inputs"): ("2 names for 1 inputs", "the model's inputs are: a"),
        ("model", "options", "outputs"): ("'y' stands twice in 'outputs'", "names must differ"),
    }


def test_the_request_is_plain_json(tmp_path):
    run(tmp_path, "return {}")

    request = json.loads((tmp_path / "workplace" / "request.json").read_text())
    assert request["request"] == {"number": 20}
