"""Small awkward models, as a user meets them: each builds, or is refused with one clear error."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.endtoend import zoo

pytestmark = pytest.mark.skipif(
    not (zoo.SHARED / "polygraphy").is_dir(), reason="the shared test data are not here"
)

STRIPPED = r"tensor '\w+' has no values: the model was stripped of its weights\n"
AT_INIT = {
    "bad_graph_with_dup_value_info": r"graph must be in single static assignment \(SSA\) form, however 'inp'",
    "bad_graph_with_no_import_domains": r"model with IR version >= 3 must specify opset_import",
    "empty": r"the model has no outputs, so there is nothing to build",
    "ext_weights": r"the data of tensor 'a' is missing: '\S+/ext_weights.data' does not exist",
    "weightless.conv": STRIPPED,
    "weightless.matmul.bf16": STRIPPED,
    "weightless.matmul.fp16": STRIPPED,
    "weightless.qdq_conv": STRIPPED,
    "weightless.sparse.conv": STRIPPED,
    "weightless.sparse.matmul": STRIPPED,
    "weightless.transpose_matmul": STRIPPED,
}
"""Model → why no spec is written for it."""

AT_CHECK = {
    "bad_graph_with_multi_level_errors": r"the model's own input shapes do not fit: node '\w+' \(MatMul\)",
    "bad_graph_with_parallel_invalid_nodes": r"node 'MatMul_3' \(MatMul\) does not accept these shapes",
    "capability": r"does not build FAKE!: a custom operator, and it takes no plugins \('Fake1', 'Fake2'\)",
    "custom_op_node": r"TensorRT-RTX does not build NegPos: a custom operator of domain 'ai.onnx.contrib'",
    "nonzero": r"TensorRT-RTX does not build NonZero: its parser needs a plugin",
    "roialign": r"TensorRT-RTX does not build RoiAlign: its plugin ends the process \('RoiAlign_0'\)",
    "toy_subgraph": r"TensorRT-RTX does not build D: a custom operator, and it takes no plugins \('n5'\)",
}
"""Model → what `check`, and `build` before it builds, says of the spec that `init` wrote."""

OF_ENGINES = {"loop": r"node 'while_loop' \(Loop\): its rounds are counted and not limited"}
"""Model → what `check` knows of TensorRT; a build asks TensorRT itself."""

AT_BUILD = {
    "empty_tensor_expand": r"array 'data' is empty \(8x2x0x3x0\)",
    "loop": r"node 'while_loop' \(Loop\): its rounds are counted and not limited",
    "pow_scalar": r"output 'z' holds NaN in \d+ elements",
}
"""Model → what only the build can tell."""

SAMPLE = (
    "attention_same_qkv",
    "custom_op_node",
    "empty",
    "matmul.bf16",
    "needs_constraints",
    "qdq_conv",
    "roialign",
    "unbounded_dds",
)
LONG = ("attention_same_qkv", "matmul.bf16", "needs_constraints", "unbounded_dds")
"""Those of the sample that are left out unless slow tests are asked for."""


def names():
    folder = zoo.SHARED / "polygraphy"
    return sorted(path.stem for path in folder.glob("*.onnx")) if folder.is_dir() else []


def add(project, name):
    (project.root / "models").mkdir(exist_ok=True)
    path = project.root / "models" / f"{name}.onnx"
    shutil.copy(zoo.SHARED / "polygraphy" / path.name, path)
    return f"models/{path.name}"


def refusal(ran, expected):
    """One clear error: the exit code, the reason, and nothing of Python's."""
    assert ran.code in (1, 2)
    assert "Traceback" not in ran.err
    assert re.search(expected, ran.err), ran.err
    return True


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in LONG else ()) for one in SAMPLE]
)
def test_a_model_builds_or_is_refused_with_one_clear_error(new_project, tmp_path, name):
    project = new_project(tmp_path / "project")

    init = project.run("init", add(project, name), timeout=120)
    if name in AT_INIT:
        assert refusal(init, AT_INIT[name])
        return
    assert init.code == 0, init.err
    build = project.run("build", "--only", "*@sm89", timeout=120)

    expected = AT_CHECK.get(name) or AT_BUILD.get(name)
    if expected:
        assert refusal(build, expected)
        assert build.code == (2 if name in AT_CHECK else 1)
    else:
        assert build.code == 0, build.err
        assert list(project.root.glob("build/*/fp32@sm89/model.engine"))


@pytest.fixture(scope="module")
def all_of_them(new_project, tmp_path_factory):
    """A project with a spec for each model that `init` takes, and what `init` said."""
    project = new_project(tmp_path_factory.mktemp("all") / "project")
    return project, {name: project.run("init", add(project, name), timeout=120) for name in names()}


@pytest.mark.slow
def test_init_writes_a_spec_or_says_why_not(all_of_them):
    _, ran = all_of_them

    assert {name for name, init in ran.items() if init.code} == set(AT_INIT)
    for name, expected in AT_INIT.items():
        assert refusal(ran[name], expected)


@pytest.mark.slow
def test_check_refuses_all_that_can_be_refused_in_one_pass(all_of_them):
    project, _ = all_of_them

    check = project.run("check", timeout=120)

    assert check.code == 2
    assert "Traceback" not in check.err
    places = re.findall(r"^pipelines/(\S+)\.yaml:\d+:\d+: ", check.err, re.MULTILINE)
    assert set(places) == AT_CHECK.keys() | OF_ENGINES.keys()
    for name, expected in (AT_CHECK | OF_ENGINES).items():
        assert re.search(
            rf"^pipelines/{re.escape(name)}\.yaml:\d+:\d+: .*{expected}", check.err, re.MULTILINE
        ), name


@pytest.mark.slow
def test_all_others_build_or_name_what_failed(all_of_them, tmp_path):
    project, ran = all_of_them
    shutil.copytree(project.root, tmp_path / "copy")
    copy = type(project)(tmp_path / "copy")
    for name in AT_CHECK:
        (copy.root / "pipelines" / f"{name}.yaml").unlink()

    build = copy.run("build", "--only", "*@sm89", "--keep-going", timeout=600)

    assert build.code == 1
    assert "Traceback" not in build.err
    built = {path.parts[-3] for path in copy.root.glob("build/*/fp32@sm89/model.engine")}
    assert built == ran.keys() - AT_INIT.keys() - AT_CHECK.keys() - AT_BUILD.keys()
    for name, expected in AT_BUILD.items():
        assert re.search(expected, build.err), name
    assert copy.leftovers() == []


@pytest.mark.slow
def test_weights_in_a_file_beside_the_model_are_found(new_project, tmp_path):
    project = new_project(tmp_path / "project")
    shutil.copytree(zoo.SHARED / "polygraphy" / "ext_weights_same_dir", project.root / "models")

    init = project.run("init", "models/ext_weights.onnx")
    build = project.run("build", "--only", "*/fp32@sm89")

    assert (init.code, build.code) == (0, 0), build.err


def test_another_frameworks_model_is_known_for_what_it_is(new_project, tmp_path):
    project = new_project(tmp_path / "project")
    shutil.copy(zoo.SHARED / "polygraphy" / "tf_identity.pb", project.root)

    done = project.run("init", "tf_identity.pb")

    assert done.code == 0, done.err
    assert "parser: tensorflow" in (project.root / "pipelines" / "tf_identity.yaml").read_text()
