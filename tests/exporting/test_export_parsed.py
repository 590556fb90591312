"""What TensorRT parsed of a cell, exported as declared layers: proved before it is written, and written whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

from tests.projects import make_project
from trtpipe.app.author import declared_types, export_parsed
from trtpipe.building.silent import Unheard
from trtpipe.checks import parsed_networks
from trtpipe.checks.cell_steps import open_cell
from trtpipe.checks.parsed_networks import NotParsedHere
from trtpipe.cli.check import check_command
from trtpipe.cli.export import parsed_command
from trtpipe.errors import ModelError, SpecError
from trtpipe.networks.raised import network as raising
from trtpipe.problem_codes import Code
from trtpipe.toolchains.installed import installed_toolchain

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(installed_toolchain("tensorrt_rtx") is None, reason="needs TensorRT-RTX"),
]

SPEC = """\
# Digits, in many types.
schema: 1
pipeline: digits
model: {source: models/digits.onnx}

# The model as it is.
transform: {simplify: true}
variants:
  fp32: {}
  half: {precision: fp16, keep: {fp32: [/c2/Conv]}} # the second layer stays wide
  bf16: {precision: bf16}
  int8: {precision: int8, calibration: digits-val}
  int4: {precision: int4, block_size: 16}
  nvfp4: {precision: nvfp4, calibration: digits-val}
profiles:
  - image: {min: 1x1x8x8, opt: 4x1x8x8, max: 64x1x8x8}
targets: {blackwell: {gpu: sm120}} # takes every type
validate: {data: digits-val, samples: 40}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A project with the digits network; what one test has made of it, others find."""
    root = make_project(tmp_path_factory.mktemp("digits"), SPEC).root
    shutil.copytree(ROOT / "calibration", root / "calibration")
    return root


@pytest.fixture
def at_digits(digits, monkeypatch):
    """The project, without what another test exported."""
    monkeypatch.chdir(digits)
    for path in (digits / "pipelines").iterdir():
        if path.name != "digits.yaml":
            path.unlink()
    return digits


def export(cell, **options):
    with open_cell(cell, ["pipelines/digits.yaml"], Unheard()) as steps:
        return export_parsed.export_parsed(steps, None, **options)


def typed_model(cell, spec, folder):
    """The typed model that a build makes for a cell, as a session."""
    with open_cell(cell, [str(spec)], Unheard()) as steps:
        assert steps.run("quantize") is None
        model = steps.steps.inputs_of(steps.action("build_engine"), folder)["model"]
        path = next(iter(model.values()))
        return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def checks(spec):
    """Whether `trtpipe check` finds nothing wrong with a spec."""
    return check_command([str(spec)], [], as_json=False) == 0


CELLS = {
    "fp32": {"fp32": {}},
    "half": {"half": {"precision": "fp16", "keep": {"fp32": ["/c2/Conv"]}, "min_low_precision": 0}},
    "bf16": {"bf16": {"precision": "bf16", "min_low_precision": 0}},
    "int8": {"int8": {"precision": "fp16", "min_low_precision": 0}},
    "int4": {"int4": {"precision": "fp16", "min_low_precision": 0}},
}


@pytest.mark.parametrize("variant", CELLS)
def test_a_cell_is_exported_with_a_variant_that_keeps_its_types(at_digits, variant):
    made = export(f"digits/{variant}@blackwell")

    written = yaml.safe_load(made.spec.read_text())
    assert written["variants"] == CELLS[variant]
    assert made.difference <= made.bound
    before = yaml.safe_load(SPEC)
    kept = ("schema", "profiles", "targets", "validate")
    assert {key: written[key] for key in kept} == {key: before[key] for key in kept}
    assert "transform" not in written
    assert checks(made.spec)


def test_the_exported_spec_builds_a_model_that_computes_the_same(at_digits, tmp_path):
    made = export("digits/half@blackwell")

    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    before = typed_model("digits/half@blackwell", "pipelines/digits.yaml", tmp_path / "before")
    after = typed_model("digits-half-parsed/half@blackwell", made.spec, tmp_path / "after")
    for one, other in zip(
        before.run(None, {"image": images}), after.run(None, {"image": images}), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_the_text_says_what_it_is_and_keeps_what_was_written(at_digits):
    made = export("digits/half@blackwell")

    lines = made.spec.read_text().splitlines()
    assert lines[:3] == ["# Digits, in many types.", "schema: 1", "pipeline: digits-half-parsed"]
    assert lines[3].startswith("# Declared layer by layer from what tensorrt_rtx ")
    assert lines[3].endswith(" parsed of digits/half@blackwell: edit it by hand.")
    assert "    weights: pipelines/digits-half-parsed.safetensors" in lines
    assert (
        "      - {layer: activation, name: /Relu, outputs: [/Relu_output_0], input: /c1/Conv_output_0, type: relu}"
        in lines
    )
    assert "targets: {blackwell: {gpu: sm120}} # takes every type" in lines


def test_exporting_again_gives_the_same_bytes(at_digits):
    first = export("digits/int8@blackwell")
    before = [first.spec.read_bytes(), first.weights.read_bytes()]

    again = export("digits/int8@blackwell", force=True)

    assert [again.spec.read_bytes(), again.weights.read_bytes()] == before


def test_an_export_can_be_exported(at_digits):
    first = export("digits/half@blackwell")

    with open_cell("digits-half-parsed/half@blackwell", [str(first.spec)], Unheard()) as steps:
        second = export_parsed.export_parsed(steps, None)

    assert second.difference == 0
    assert second.counts["convolution"] == first.counts["convolution"] == 3


def test_the_command_says_what_it_wrote_and_how_it_was_proved(at_digits, capsys):
    assert parsed_command("digits/fp32@blackwell", Path("out"), force=False) == 0

    printed = capsys.readouterr()
    assert printed.out == "trtpipe build out/digits-fp32-parsed.yaml\n"
    told = [line for line in printed.err.splitlines() if not line.startswith(("start", "done"))]
    assert told[:2] == ["wrote out/digits-fp32-parsed.safetensors", "wrote out/digits-fp32-parsed.yaml"]
    assert told[2].startswith("layers: activation 3, cast 1, concatenation 1, constant 4, convolution 3, ")
    assert told[3] == (
        "equal to what TensorRT parsed, on random inputs in ONNX Runtime: "
        "outputs differ by at most 0 (rounding: 0.0001)"
    )


# -- what is refused


def test_layers_without_a_declared_one_are_all_named_and_nothing_is_written(at_digits):
    with pytest.raises(ModelError) as caught:
        export("digits/nvfp4@blackwell")

    facts = [problem.fact for problem in caught.value.problems]
    assert [fact.split(", made for")[0] for fact in facts] == [
        "layer '/Flatten_output_0/quantize' (DYNAMIC_QUANTIZE)",
        "layer '/Flatten_output_0/dequantize' (DEQUANTIZE)",
        "layer 'f.weight/dequantize' (DEQUANTIZE)",
    ]
    assert {problem.remedy.split(",")[0] for problem in caught.value.problems} == {
        "export the cell of a variant that quantizes nothing"
    }
    assert [path.name for path in Path("pipelines").iterdir()] == ["digits.yaml"]


def test_the_remedy_for_types_works(at_digits):
    """What could not be exported in its types is exported in float32, and typed by the variant that it had."""
    made = export("digits/fp32@blackwell")
    variant = yaml.safe_load(SPEC)["variants"]["nvfp4"]
    text = made.spec.read_text()
    made.spec.write_text(
        text.replace("  fp32: {}", f"  nvfp4: {yaml.safe_dump(variant, default_flow_style=True).strip()}")
    )

    assert checks(made.spec)
    with open_cell("digits-fp32-parsed/nvfp4@blackwell", [str(made.spec)], Unheard()) as steps:
        found = parsed_networks.describe_network(steps)
    assert found["totals"]["by_type"]["DYNAMIC_QUANTIZE"] == 1


def test_what_is_there_is_replaced_when_told_so_only(at_digits):
    Path("pipelines/digits-fp32-parsed.safetensors").write_bytes(b"mine")

    with pytest.raises(SpecError, match=r"digits-fp32-parsed.safetensors exists already"):
        export("digits/fp32@blackwell")

    assert Path("pipelines/digits-fp32-parsed.safetensors").read_bytes() == b"mine"
    assert export("digits/fp32@blackwell", force=True).weights.stat().st_size > 4


def test_a_network_that_computes_something_else_is_not_written(at_digits, monkeypatch):
    true = raising.raise_network

    def wrong(network):
        found = true(network)
        layers = tuple(
            {**one, "type": "sigmoid"} if one["name"] == "/Relu_1" else one
            for one in found.declaration.layers
        )
        return replace(found, declaration=replace(found.declaration, layers=layers))

    monkeypatch.setattr(raising, "raise_network", wrong)

    with pytest.raises(ModelError) as caught:
        export("digits/fp32@blackwell")

    (problem,) = caught.value.problems
    assert problem.code == Code.NOT_DECLARABLE
    assert problem.fact.startswith("the declared layers could not be proved: output 'logits' differs by ")
    assert problem.fact.endswith("the first to differ is '/Relu_1_output_0', of layer '/Relu_1' (ACTIVATION)")
    assert [path.name for path in Path("pipelines").iterdir()] == ["digits.yaml"]


def test_a_layer_that_does_not_lower_is_said_of_tensorrt_s_layer(at_digits, monkeypatch):
    true = raising.raise_network

    def wrong(network):
        found = true(network)
        layers = tuple(
            {**one, "num_output_maps": 17} if one["name"] == "/c2/Conv" else one
            for one in found.declaration.layers
        )
        return replace(found, declaration=replace(found.declaration, layers=layers))

    monkeypatch.setattr(raising, "raise_network", wrong)

    with pytest.raises(ModelError) as caught:
        export("digits/fp32@blackwell")

    assert caught.value.problems[0].fact.startswith(
        "layer '/c2/Conv' (CONVOLUTION), made for node '/c2/Conv', has no declared layer: "
    )


def test_types_that_no_variant_keeps_are_refused_with_a_remedy(at_digits, monkeypatch):
    monkeypatch.setattr(declared_types, "_kept", lambda canonical, precision: iter(()))

    with pytest.raises(ModelError) as caught:
        export("digits/half@blackwell")

    (problem,) = caught.value.problems
    assert problem.fact.startswith("no variant keeps a network of float16, float32, int64 in its types: ")
    assert problem.remedy.startswith(
        "export the cell of an fp32 variant, and give the exported spec the variant"
    )
    assert [path.name for path in Path("pipelines").iterdir()] == ["digits.yaml"]


def test_a_cell_that_is_validated_against_another_variant_is_refused(at_digits):
    spec = Path("pipelines/digits.yaml")
    spec.write_text(SPEC.replace("samples: 40", "samples: 40, reference: {variant: fp32}"))
    try:
        with pytest.raises(SpecError, match=r"validated against the variant 'fp32'"):
            export("digits/half@blackwell")
    finally:
        spec.write_text(SPEC)


def test_what_is_no_cell_is_refused(at_digits):
    for given in ("pipelines/digits.yaml", "digits"):
        with pytest.raises(SpecError, match="--parsed exports the network of a cell"):
            parsed_command(given, None, force=False)


def test_where_tensorrt_cannot_parse_it_is_said_and_not_taken_for_equal(at_digits, monkeypatch, capsys):
    def refuse(steps):
        raise NotParsedHere("there is no GPU here")

    monkeypatch.setattr(export_parsed, "parse_cell", refuse)

    assert parsed_command("digits/fp32@blackwell", None, force=False) == 1
    assert capsys.readouterr().out == "not run: the network: there is no GPU here\n"
