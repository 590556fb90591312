"""Every value that a key is made of comes from a line, a file or another step, or it is said why from none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plan.rich_specs import Rich, rich_plans
from trtpipe.building.causes import Places
from trtpipe.plan.fingerprint import RecordPath, leaves, shown_path
from trtpipe.plan.graph import Action, Step
from trtpipe.plan.options import FetchOptions
from trtpipe.plan.origins import CONSTANT, PACKAGE, PLUGIN, FromMaker, InDataSet, InFile, InSpec, Nowhere

LEFT_OUT = {"remote": (), "declared": ("profiles",)}
"""Sections of the specs that their defaults stand for: these lead to the file, not to a line."""


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> dict[str, Rich]:
    return rich_plans(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def places(plans) -> Places:
    return Places({name: one.pipeline for name, one in plans.items()})


def all_leaves(one: Rich) -> list[tuple[Action, Step, RecordPath]]:
    return [
        (action, one.plan.steps[action.address], path)
        for action in one.actions()
        for path, _ in leaves(action.fingerprint.record())
    ]


@pytest.mark.parametrize("name", ["remote", "declared"])
def test_every_value_of_every_key_has_a_place_that_is_there(plans, places, name):
    found = all_leaves(plans[name])
    for _, step, path in found:
        origin = step.origin(path)
        at = places.of(name, origin)
        match origin:
            case InSpec(spec_path):
                assert at is not None and at[0].name in (f"{name}.yaml", "trtpipe.yaml")
                assert at[1] > 0 or spec_path[0] in LEFT_OUT[name], (step.address, path)
            case InDataSet(data):
                assert at is not None and at[0].name == f"{data}.yaml"
            case InFile(file):
                assert at == (file, 0)
            case FromMaker(address):
                assert address in plans[name].plan.steps
            case Nowhere(why):
                assert why
    assert len(found) > 100


def lines(plans: dict[str, Rich], places: Places, address: str, field: str) -> str:
    """File and line of a field, as `FILE: TEXT`; in brackets why it has none."""
    pipeline = address.partition("/")[0].partition(":")[0]
    for action, step, path in all_leaves(plans[pipeline]):
        if (str(action.address), shown_path(path)) == (address, field):
            origin = step.origin(path)
            if isinstance(origin, Nowhere):
                return f"({origin.why})"
            if isinstance(origin, FromMaker):
                return f"({origin.address})"
            found = places.of(pipeline, origin)
            assert found is not None
            file, line = found
            return f"{file.name}: {file.read_text().splitlines()[line - 1].strip()}" if line else file.name
    raise AssertionError(f"{address} has no {field}")


@pytest.mark.parametrize(
    ("address", "field", "where"),
    [
        ("remote:fetch", "options.beside", "remote.yaml: model:"),
        ("remote:fetch", "options.files.source/model.onnx.url", "remote.yaml: source: https://example.org/"),
        ("remote:fetch", "options.files.source/model.onnx.sha256", 'remote.yaml: sha256: "aaaa'),
        ("remote:fetch", "options.pins.net.onnx.data", 'remote.yaml: net.onnx.data: "bbbb'),
        ("remote:import", "options.options.opset", "remote.yaml: opset: 20"),
        ("remote:import", "options.parser_version", f"({PLUGIN.why})"),
        ("remote:import", "inputs.source.model.onnx", "(remote:fetch)"),
        ("remote:import", "tools.onnx", f"({PACKAGE.why})"),
        ("remote:transform", "options.bind.sr", "remote.yaml: bind: {sr: 16000}"),
        ("remote:transform", "options.set_shapes.image", "remote.yaml: image: [-1, 3, 8, 8]"),
        (
            "declared:import",
            "options.options.layers[1].type",
            "declared.yaml: - {layer: activation, name: tanh",
        ),
        ("declared:import", "inputs.files.weights", "net.safetensors"),
        (
            "declared:transform",
            "options.graft.append[0].name",
            "declared.yaml: - {layer: activation, name: last",
        ),
        ("remote/photos+percentile+99.5+32:calibrate", "options.method", "remote.yaml: method: percentile"),
        ("remote/photos+percentile+99.5+32:calibrate", "options.samples", "remote.yaml: samples: 32"),
        ("remote/photos+percentile+99.5+32:calibrate", "options.provider", "remote.yaml: provider: cpu"),
        ("remote/photos+percentile+99.5+32:calibrate", "options.backend", "remote.yaml: calibration:"),
        ("remote/photos+ranges+16:calibrate", "options.ranges", "remote.yaml: overflow: refuse"),
        (
            "remote/photos+ranges+16:calibrate",
            "options.data.spec.inputs.image.resize.mode",
            "photos.yaml: mode: letterbox",
        ),
        ("remote/photos+ranges+16:calibrate", "options.data.packages.Pillow", f"({PACKAGE.why})"),
        ("remote/photos+ranges+16:calibrate", "options.data.readers.images", f"({PLUGIN.why})"),
        ("remote/photos+ranges+16:calibrate", "inputs.data.photos/a.png", "a.png"),
        ("remote/old.cache+cache:calibrate", "options.cache.min_coverage", "remote.yaml: min_coverage: 0.8"),
        ("remote/old.cache+cache:calibrate", "inputs.cache.cache", "old.cache"),
        ("remote/half:quantize", "options.keep.fp32", 'remote.yaml: fp32: ["/head/**", "op:Softmax"]'),
        ("remote/half:quantize", "options.io[0]", 'remote.yaml: io: {"*": convert, logits: keep}'),
        ("remote/half:quantize", "options.precision_version", f"({PLUGIN.why})"),
        ("remote/found:search", "options.try", "remote.yaml: try: [int8, fp16]"),
        ("remote/found:search", "options.budget.min", "remote.yaml: budget: {metric: cosine"),
        ("remote/found:search", "options.compute_capabilities", "remote.yaml: targets:"),
        ("remote/found:search", "options.quantize.precision", "remote.yaml: precision: auto"),
        ("remote/found:search", "options.validate.samples", "remote.yaml: budget: {metric: cosine"),
        ("remote/found:search", "options.validate.reference", "remote.yaml: reference: float64"),
        ("remote/found:search", "options.validate.transform.bind.sr", "remote.yaml: bind: {sr: 16000}"),
        ("remote/int8:validate", "options.samples", "remote.yaml: samples: 6"),
        ("remote/int8:validate", "options.corners", "remote.yaml: corners: false"),
        ("remote/int8:validate", "options.data.spec.inputs.image.scale", "photos.yaml: scale: 0.5"),
        (
            "declared/fp16:validate",
            "options.data.random.seed",
            "declared.yaml: random: {seed: 3, samples: 2}",
        ),
        ("declared/fp16:validate", "inputs.reference.model.onnx", "(declared/fp32:quantize)"),
        ("remote/int8@own:build_engine", "options.network_name", f"({CONSTANT.why})"),
        ("remote/int8@own:build_engine", "options.profiles[1].image.opt", "remote.yaml: opt: 8x3x8x8"),
        ("remote/int8@own:build_engine", "options.builder.tf32", "remote.yaml: tf32: true"),
        ("remote/int8@own:build_engine", "options.builder.workspace", "remote.yaml: builder:"),
        ("declared/fp32@ada:build_engine", "options.builder.workspace", "trtpipe.yaml: workspace: 1GiB"),
        ("remote/int8@own:build_engine", "options.compute_capabilities", "remote.yaml: gpu: [sm89, sm120]"),
        ("remote/int8@shared:build_engine", "options.compute_capabilities", "trtpipe.yaml: gpu: sm86"),
        ("remote/int8@own:build_engine", "tools.toolchain.version", "remote.yaml: own:"),
        ("remote/int8@shared:build_engine", "tools.toolchain.version", "trtpipe.yaml: shared:"),
        ("remote/int8@large:build_engine", "tools.toolchain.version", "trtpipe.yaml: version: 11.4.*"),
        (
            "remote/int8@large:build_engine",
            "options.version_compatible",
            "remote.yaml: version_compatible: true",
        ),
        ("remote/int8@large:build_engine", "options.gpu.driver_cuda_major", "(the driver of this machine)"),
        ("remote/int8@own:build_engine", "inputs.plugins.plugin", "plugin.so"),
        ("declared/fp32@ada:build_engine", "options.profiles", "declared.yaml"),
    ],
)
def test_a_field_leads_to_its_line(plans, places, address, field, where):
    assert lines(plans, places, address, field).startswith(where)


def test_no_field_can_be_given_without_its_place():
    with pytest.raises(AssertionError, match="pins"):
        FetchOptions(files={}, beside=False, pins={}, origins={"files": CONSTANT, "beside": CONSTANT})


def test_what_a_step_had_before_and_has_no_more_is_said_to_be_gone(plans):
    for step in plans["remote"].plan.steps.values():
        assert isinstance(step.origin(("options", "never", "there")), Nowhere)


def test_a_data_set_that_is_gone_has_no_line(plans, places):
    assert places.of("remote", InDataSet("gone")) is None
    assert places.of("remote", InFile(Path("/x"))) == (Path("/x"), 0)
