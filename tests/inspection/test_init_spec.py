"""`init` proposes specs that load and that the proofs have nothing against."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper, save

from trtpipe.app.author.proposal import first_spec, recognise
from trtpipe.canonical.reader import read_skeleton
from trtpipe.errors import ModelError, SpecError
from trtpipe.inspection.first_draft import _with_whole_windows, find_out
from trtpipe.inspection.init_spec import ModelHead, pipeline_name
from trtpipe.inspection.init_spec import init_spec as text_of
from trtpipe.loader.grammar import KnownNames
from trtpipe.loader.project import Project, load_project
from trtpipe.loader.specs import LoadedPipeline, load_pipeline
from trtpipe.proofs.model import prove_model, view_model
from trtpipe.spec.project import ProjectSpec

TESTDATA = Path(__file__).parents[2].parent / "shared/testdata/onnx"
REAL = ("magika_v3_3", "mtcnn_rnet", "ppocr_cls", "silero_vad_op18_ifless")
KNOWN = KnownNames(parsers=("onnx",), precisions=("fp16", "fp32"))
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def write_model(
    path: Path, inputs: dict[str, Any], nodes: list[Any], output: str = "y", inits: Any = ()
) -> Path:
    infos = [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()]
    outputs = [helper.make_tensor_value_info(output, FLOAT, None)]
    graph = helper.make_graph(nodes, "g", infos, outputs, list(inits))
    path.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def load(text: str, root: Path) -> LoadedPipeline:
    path = root / "pipelines/p.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_pipeline(path, load_project(root), KNOWN)


def init_spec(model: Path, *, project_root: Path, reach: tuple[str, ...] = (), targets: Any = None) -> str:
    """What `init` writes for a model of a project, by its name."""
    project = Project(project_root, ProjectSpec(schema=1, reach=reach))
    return first_spec(recognise(model, project), name=model.stem, targets=targets)


def problems_of(model: Path, root: Path) -> list[str]:
    loaded = load(init_spec(model, project_root=root), root)
    proto = read_skeleton(loaded.model_file, root=root).proto
    return [str(problem) for problem in prove_model(proto, loaded.spec.profiles, loaded.spec.transform)]


def test_a_whole_spec_of_a_dynamic_model(tmp_path: Path) -> None:
    model = write_model(
        tmp_path / "models/my net.onnx",
        {"x": (FLOAT, ["batch", 3, None, None])},
        [helper.make_node("Relu", ["x"], ["y"], name="r")],
    )
    assert (
        init_spec(model, project_root=tmp_path, targets=["sm120", "NVIDIA L4"])
        == """\
# Written from the model's graph, without testing anything.
schema: 1
pipeline: my-net
model: {source: "models/my net.onnx"}

# The shapes that the engine must serve. The model accepts these guesses; write the sizes that you need.
#   'x' is float32 [batch, 3, ?, ?]
profiles:
  - x: {min: 1x3x32x32, opt: 1x3x224x224, max: 8x3x448x448}

# One engine for each variant and target.
variants:
  fp32: {}
  fp16: {precision: fp16}  # keep: {fp32: ["op:Softmax"]} would keep nodes in fp32

# A GPU's name (rtx4090), its compute capability (sm89), or a list: one engine for them all.
targets:
  sm120: {gpu: sm120}  # NVIDIA GeForce RTX 5090, NVIDIA GeForce RTX 5090 D, NVIDIA GeForce RTX 5090 D v2, …
  NVIDIA-L4: {gpu: "NVIDIA L4"}

# Random inputs show that an engine's model computes what the source computes, not that it is accurate: replace them
# by a data set, `data: NAME`, described in calibration/NAME.yaml.
validate: {random: {seed: 0, samples: 8}}
"""
    )
    assert problems_of(model, tmp_path) == []


@pytest.mark.parametrize("name", REAL)
def test_real_models_get_a_spec_that_is_proved(name: str, tmp_path: Path) -> None:
    source = TESTDATA / f"real/{name}.onnx"
    if not source.exists():
        pytest.skip(f"{name}.onnx is not here")
    shutil.copy(source, tmp_path)
    assert problems_of(tmp_path / source.name, tmp_path) == []


@pytest.mark.slow
def test_polygraphys_models_get_a_spec_that_is_proved_or_one_refusal(tmp_path: Path) -> None:
    folder = TESTDATA / "polygraphy"
    if not folder.exists():
        pytest.skip("polygraphy's models are not here")
    wrong = {"bad_graph_with_multi_level_errors", "bad_graph_with_parallel_invalid_nodes"}
    refused = {"bad_graph_with_dup_value_info", "bad_graph_with_no_import_domains", "empty", "ext_weights"}
    outcome: dict[str, set[str]] = {"proved": set(), "wrong": set(), "refused": set()}
    for model in sorted(folder.glob("*.onnx")):
        shutil.copy(model, tmp_path)
        try:
            kind = "wrong" if problems_of(tmp_path / model.name, tmp_path) else "proved"
        except ModelError:
            kind = "refused"
        outcome[kind].add(model.stem)
    assert outcome["wrong"] == wrong
    assert {name for name in outcome["refused"] if not name.startswith("weightless")} == refused
    assert len(outcome["proved"]) >= 45


def test_height_and_width_of_one_made_up_name_are_proposed_apart(tmp_path: Path) -> None:
    nodes = [helper.make_node("MaxPool", ["x"], ["y"], name="p", kernel_shape=[3, 40])]
    model = write_model(tmp_path / "m.onnx", {"x": (FLOAT, [-1, 3, "?", "?"])}, nodes)
    profile = load(init_spec(model, project_root=tmp_path), tmp_path).spec.profiles[0]["x"]
    assert (profile.min, profile.opt, profile.max) == ((1, 3, 64, 64), (1, 3, 224, 224), (8, 3, 448, 448))


def test_a_size_that_the_graph_demands_is_found(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", FLOAT, [576, 2], [0.0] * 1152)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")]
    model = write_model(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "k"])}, nodes, inits=[weight])
    profile = load(init_spec(model, project_root=tmp_path), tmp_path).spec.profiles[0]["x"]
    assert (profile.min, profile.opt, profile.max) == ((1, 576), (1, 576), (8, 576))


def test_no_size_is_proposed_at_which_a_pooling_lacks_a_part_of_its_window(tmp_path: Path) -> None:
    """ONNX Runtime pools what is there; TensorRT's builder cannot prove what that leaves."""
    one = helper.make_tensor("one", INT64, [2], [1, 1])
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], name="p", kernel_shape=[7, 7], strides=[7, 7]),
        helper.make_node("Reshape", ["p", "one"], ["y"], name="r"),
    ]
    model = write_model(tmp_path / "m.onnx", {"x": (FLOAT, [1, 1, "h", "w"])}, nodes, inits=[one])
    view = view_model(read_skeleton(model).proto)
    strict = _with_whole_windows(view)
    assert strict is not None
    lacking, whole = {"x": (1, 1, 1, 2)}, {"x": (1, 1, 7, 9)}
    assert not view.infer(lacking, {}).problems  # the model runs there
    (problem,) = strict(lacking, {}).problems
    assert "its window 7x7 is larger than 1x2" in problem.fact
    assert not strict(whole, {}).problems
    draft = find_out(read_skeleton(model).proto)
    assert min(draft.proposal.profile["x"].min[2:]) >= 7


def test_a_scalar_that_decides_a_branch_is_bound_to_what_it_is_compared_with(tmp_path: Path) -> None:
    def branch(op: str) -> Any:
        out = helper.make_tensor_value_info(f"{op}_out", FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["x"], [f"{op}_out"], name=op)], op, [], [out])

    rate = helper.make_tensor("rate", INT64, [], [16000])
    nodes = [
        helper.make_node("Equal", ["sr", "rate"], ["is_16k"], name="eq"),
        helper.make_node(
            "If", ["is_16k"], ["y"], name="if", then_branch=branch("Relu"), else_branch=branch("Neg")
        ),
    ]
    model = write_model(tmp_path / "m.onnx", {"x": (FLOAT, [1, 4]), "sr": (INT64, [])}, nodes, inits=[rate])
    loaded = load(init_spec(model, project_root=tmp_path), tmp_path)
    assert loaded.spec.transform is not None
    assert loaded.spec.transform.bind == {"sr": 16000}
    assert loaded.spec.profiles == ()


def test_shape_tensors_get_values_and_axes_are_bound(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["s"], name="sum", keepdims=1),
        helper.make_node("Expand", ["s", "shape"], ["y"], name="expand"),
    ]
    inputs = {"x": (FLOAT, [2, 3]), "axes": (INT64, [1]), "shape": (INT64, [2])}
    opset13 = write_model(tmp_path / "m.onnx", inputs, nodes)
    loaded = load(init_spec(opset13, project_root=tmp_path), tmp_path)
    assert loaded.spec.transform is not None
    assert loaded.spec.transform.bind == {"axes": [0]}
    assert "shape: {values: {min: [1, 3], opt: [1, 3], max: [1, 3]}}" in loaded.path.read_text()
    assert problems_of(opset13, tmp_path) == []


def test_a_model_without_float32_gets_no_fp16(tmp_path: Path) -> None:
    nodes = [helper.make_node("And", ["a", "b"], ["y"], name="and")]
    inputs = {"a": (BOOL, [3]), "b": (BOOL, [3])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info("y", BOOL, [3])],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "m.onnx",
    )
    assert list(load(init_spec(tmp_path / "m.onnx", project_root=tmp_path), tmp_path).spec.variants) == [
        "fp32"
    ]


def test_a_model_outside_the_project_is_refused_unless_in_reach(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    model = write_model(
        tmp_path / "out/m.onnx", {"x": (FLOAT, [1])}, [helper.make_node("Relu", ["x"], ["y"])]
    )
    with pytest.raises(SpecError) as caught:
        init_spec(model, project_root=root)
    (problem,) = caught.value.problems
    assert problem.fact.endswith("is outside the project")
    assert problem.remedy == (
        f"copy it into the project, or allow its directory in trtpipe.yaml: reach: [{model.parent}]"
    )
    assert f"model: {{source: {model}}}" in init_spec(model, project_root=root, reach=(str(model.parent),))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my net (v2)", "my-net-v2"),
        ("_x", "x"),
        ("Modèle", "Mod-le"),
        ("日本", "model"),
        ("a" * 80, "a" * 64),
    ],
)
def test_names_are_made_of_what_a_name_may_hold(text: str, name: str) -> None:
    assert pipeline_name(text) == name


def test_a_model_that_rounds_and_one_with_large_tensors_get_what_they_need(tmp_path: Path) -> None:
    model = write_model(
        tmp_path / "models/net.onnx", {"x": (FLOAT, ["n", 4])}, [helper.make_node("Tanh", ["x"], ["y"])]
    )
    draft = find_out(read_skeleton(model).proto)
    head = ModelHead("models/net.onnx")
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")

    plain = load(text_of(head, draft, name="p"), tmp_path).spec
    spec = load(text_of(head, replace(draft, cosine=0.9998, largest=1 << 30), name="p"), tmp_path).spec

    assert plain.validate_ is not None and spec.validate_ is not None
    assert plain.validate_.thresholds == () and plain.builder.workspace == 2 << 30
    assert [(one.metric, one.min) for one in spec.validate_.thresholds] == [("cosine", 0.9998)]
    assert spec.validate_.random == plain.validate_.random
    assert spec.builder.workspace == 4 << 30
