"""`check` and `init` do once what depends on no variant, no target and no proof that asks: work is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.building import facts
from trtpipe.canonical import inference
from trtpipe.checks.check import check_specs
from trtpipe.checks.variant_types import VariantTyping
from trtpipe.plan.task import Task
from trtpipe.precisions import Precision
from trtpipe.precisions.casts import free_types
from trtpipe.proofs import corners, targets
from trtpipe.proofs import model as proofs_model
from trtpipe.proofs.engine_limits import proof
from trtpipe.proofs.model import view_model
from trtpipe.proofs.typed_nodes import SourceTypes
from trtpipe.runners.cpu import graphs, onnxruntime
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.stages.first_runs import fit_model

SPEC = """\
schema: 1
pipeline: p
model: {source: models/m.onnx}
variants: VARIANTS
profiles: [{x: {min: 1x8, opt: 4x8, max: 8x8}}]
targets: {ada: {gpu: sm89}, both: {gpu: [sm86, sm89]}, ampere: {gpu: sm86}}
"""


def model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Softmax", ["m"], ["s"], "softmax"),
        helper.make_node("Relu", ["s"], ["r"], "relu"),
        helper.make_node("Identity", ["r"], ["y"], "end"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8]) for name in "xy"]
    weights = [numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in the working directory; variants are still to be written into its spec."""
    monkeypatch.chdir(tmp_path)
    for name in ("models", "pipelines"):
        (tmp_path / name).mkdir()
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")
    onnx.save(model(), tmp_path / "models/m.onnx")
    return tmp_path


def declare(project: Path, *variants: str) -> None:
    written = ", ".join(f"v{index}: {{{text}}}" for index, text in enumerate(variants))
    (project / "pipelines/p.yaml").write_text(SPEC.replace("VARIANTS", f"{{{written}}}"))


@pytest.fixture
def counted(monkeypatch):
    """`counted(owner, name)` counts calls of a function from now on; the counts are `counted.calls`."""

    def count(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments, **named):
            count.calls[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    count.calls = Counter()
    return count


def typing() -> VariantTyping:
    proto = model()
    return VariantTyping(proto, SourceTypes(proto, inference.infer_at(proto, {"x": (4, 8)})))


def variants(**written):
    return PipelineSpec.model_validate({
        "schema": 1,
        "pipeline": "p",
        "model": {"source": "m.onnx"},
        "variants": written,
        "targets": {"ada": {"gpu": "sm89"}},
    }).variants  # fmt: skip


def test_a_plan_is_made_for_each_set_of_options_and_the_graph_is_walked_once(counted):
    asked = variants(
        a={},
        b={"precision": "fp16"},
        c={"precision": "fp16", "keep": {"fp32": ["relu"]}},
        d={"precision": "fp16", "min_low_precision": 0.25},
        e={"precision": "fp16", "keep": {"fp32": ["softmax"]}},
    )
    counted(Precision, "plan_types")
    counted(free_types, "element_types")
    counted(free_types, "tensorrt_refuses")
    shared = typing()

    found = {name: shared.types_of(name, one) for name, one in asked.items()}

    assert counted.calls == {"plan_types": 4, "element_types": 1, "tensorrt_refuses": 4}
    assert found == {name: typing().types_of(name, one) for name, one in asked.items()}
    assert found["b"].model is found["d"].model
    assert len({found[name].model for name in "abc"}) == 3


def test_a_precision_that_puts_nodes_into_the_model_gets_a_copy_of_its_own():
    asked = variants(
        a={"precision": "int4"}, b={"precision": "fp16"}, c={"precision": "int4", "base": "fp32"}
    )
    shared = typing()

    found = {name: shared.types_of(name, one) for name, one in asked.items()}

    assert found == {name: typing().types_of(name, one) for name, one in asked.items()}


def test_what_is_wrong_with_equal_variants_is_told_of_each(project):
    declare(project, *['precision: fp16, keep: {fp32: ["rleu"]}'] * 2)

    report = check_specs([], [], parse=False)

    at = [str(one).split(": ")[0] for one in report.problems]
    assert [one.fact for one in report.problems] == ["no node of the model matches 'rleu'"] * 2
    assert len(set(at)) == 2


def test_a_corner_is_inferred_once_for_all_who_ask(counted):
    counted(corners, "infer_at")
    view = view_model(model())

    answers = [view.infer({"x": (4, 8)}, {}) for _ in range(3)]

    assert counted.calls["infer_at"] == 1
    assert answers[0].shape("y") == (4, 8) and answers[0] is answers[2]
    assert view.infer({"x": (8, 8)}, {}).shape("y") == (8, 8)


def test_facts_are_made_and_the_model_is_looked_at_once_for_all_cells(project, counted):
    declare(project, "", "precision: fp16", "precision: fp16, min_low_precision: 0.25")
    counted(facts.FactFinder, "facts_of")
    counted(targets, "missing_types")
    counted(proof, "engine_refusals")
    counted(proofs_model, "view_model")

    report = check_specs([], [])

    assert report.problems == []
    assert len(report.cells) == 9
    # two models, by three sets of GPUs; two models by one version
    assert counted.calls == {"facts_of": 1, "missing_types": 6, "engine_refusals": 2, "view_model": 1}


def test_a_model_is_inferred_once_for_its_run_and_once_for_that_in_half(tmp_path, counted):
    onnx.save(model(), tmp_path / "typed.onnx")
    files = {"typed.onnx": tmp_path / "typed.onnx"}
    options = {
        "data": {"random": {"shapes": {}, "seed": 0, "samples": 4}},
        "profiles": [{"x": {"min": [1, 8], "opt": [4, 8], "max": [8, 8]}}],
        "transform": {},
        "half": True,
    }
    out = tmp_path / "out"
    out.mkdir()
    counted(graphs, "infer_values")
    counted(onnxruntime, "_session")

    fit = fit_model(Task("fit", options, {"typed": files, "reference": files}, out))

    assert fit.ran == ["opt", "min", "max"]
    assert counted.calls == {"infer_values": 2, "_session": 2}  # the model and its half
