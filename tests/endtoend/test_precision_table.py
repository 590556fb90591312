"""Every precision for every architecture: an engine, or a refusal at `check`, as the table says; TensorRT agrees."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import yaml
from onnx import numpy_helper

from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.files import rewrite_file
from trtpipe.precisions.quantization.places import tensors_to_scale

SMS = ("sm75", "sm80", "sm86", "sm89", "sm120")
MODELS = {
    "convolution": (
        "g (float[1,32,8,8] x) => (float[1,32,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }",
        {"w": (32, 32, 3, 3)},
    ),
    "product": (
        "g (float[8,64] x) => (float[8,64] y) { a = MatMul(x, w)  b = Relu(a)  y = Gemm(b, v, c) }",
        {"w": (64, 64), "v": (64, 64), "c": (64,)},
    ),
}
VARIANTS = {
    "fp32": "{}",
    "fp16": "{precision: fp16}",
    "bf16": "{precision: bf16}",
    "int8": "{precision: int8, calibration: noise}",
    "int8-wide": "{precision: int8, calibration: noise, base: fp32}",
    "int8-bf16": "{precision: int8, calibration: noise, base: bf16}",
    "fp8": "{precision: fp8, calibration: noise}",
    "fp8-wide": "{precision: fp8, calibration: noise, base: fp32}",
    "int4": "{precision: int4}",
    "int4-wide": "{precision: int4, base: fp32, block_size: 16}",
    "fp4": "{precision: fp4}",
    "nvfp4": "{precision: nvfp4, calibration: noise}",
    "nvfp4-wide": "{precision: nvfp4, calibration: noise, base: fp32}",
    "mxfp8": "{precision: mxfp8}",
    "mxfp8-bf16": "{precision: mxfp8, base: bf16}",
}
WEAKEST = {
    "convolution": {
        "fp32": "sm75",
        "fp16": "sm75",
        "bf16": "sm80",
        "int8": "sm75",
        "int8-wide": "sm75",
        "int8-bf16": "sm80",
        "fp8": "sm89",
        "fp8-wide": "sm89",
    },
    "product": {
        "fp32": "sm80",
        "fp16": "sm75",
        "bf16": "sm80",
        "int8": "sm75",
        "int8-wide": "sm80",
        "int8-bf16": "sm80",
        "fp8": "sm89",
        "fp8-wide": "sm89",
        "int4": "sm80",
        "int4-wide": "sm80",
        "fp4": "sm120",
        "nvfp4": "sm120",
        "nvfp4-wide": "sm120",
        "mxfp8": "sm89",
        "mxfp8-bf16": "sm89",
    },
}
"""The first architecture that each variant builds for; all later ones build it too (TensorRT-RTX 1.7)."""
BUILT = ("int8-wide", "fp8", "int4", "fp4", "nvfp4", "mxfp8")

BUILD = """
import json, sys
import tensorrt_rtx as trt

class Heard(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.errors = []
    def log(self, severity, message):
        if severity == trt.ILogger.ERROR:
            self.errors.append(message)

logger, told = Heard(), []
for path, sm in json.load(sys.stdin):
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network.name = "table"
    assert trt.OnnxParser(network, logger).parse_from_file(path)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, sm.upper()), 0)
    logger.errors.clear()
    built = builder.build_serialized_network(network, config)
    told.append("" if built is not None else "; ".join(logger.errors))
print(json.dumps(told))
"""


def expected():
    """Cell → whether it builds."""
    return {
        f"{model}/{variant}@{sm}": SMS.index(sm) >= SMS.index(weakest)
        for model, variants in WEAKEST.items()
        for variant, weakest in variants.items()
        for sm in SMS
    }


def row_of(cell):
    return cell.partition("@")[0]


def quantized(table, row, folder):
    """The typed model of a row, made as the step `quantize` makes it."""
    model, _, name = row.partition("/")
    asked = yaml.safe_load(VARIANTS[name])
    precision = find_precision(asked.get("precision", "fp32"))
    source, out = table.root / "models" / f"{model}.onnx", folder / f"{model}-{name}.onnx"
    amax = dict.fromkeys(tensors_to_scale(ir.load(source)), 4.0) if precision.needs_calibration else None
    choices = Choices(base=asked.get("base"), amax=amax, block=asked.get("block_size"))
    rewrite_file(precision, source, out, choices=choices)
    return out


@pytest.fixture(scope="module")
def table(new_project, tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("table") / "project")
    rng = np.random.default_rng(0)
    for model, (text, shapes) in MODELS.items():
        proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]>\n{text}')
        for name, shape in shapes.items():
            weight = rng.standard_normal(shape).astype(np.float32)
            proto.graph.initializer.append(numpy_helper.from_array(weight, name))
        for index, node in enumerate(proto.graph.node):
            node.name = f"{node.op_type}_{index}"
        project.write(f"models/{model}.onnx", "").write_bytes(proto.SerializeToString())
        shape = "x".join(str(d.dim_value) for d in proto.graph.input[0].type.tensor_type.shape.dim)
        project.write(f"calibration/{model}.yaml", f"schema: 1\nrandom: {{shapes: {{x: {shape}}}}}\n")
        variants = [f"  {name}: {VARIANTS[name].replace('noise', model)}\n" for name in WEAKEST[model]]
        targets = [f"  {sm}: {{gpu: {sm}}}\n" for sm in SMS]
        project.write(
            f"pipelines/{model}.yaml",
            f"schema: 1\npipeline: {model}\nmodel: {{source: models/{model}.onnx}}\nbuilder: {{workspace: 1GiB}}\n"
            f"variants:\n{''.join(variants)}targets:\n{''.join(targets)}",
        )
    return project


def test_check_predicts_the_table(table):
    done = table.run("check", "--json")

    report = json.loads(done.out)
    assert {cell["cell"]: cell["buildable"] for cell in report["cells"]} == expected()
    refused = [cell for cell, builds in expected().items() if not builds]
    for cell in refused:
        told = [one for one in report["problems"] if one["fact"].startswith(f"{cell}: ")]
        assert told
        assert all("'fp16'" in one["remedy"] for one in told), told  # the variant of this spec that would do


@pytest.mark.slow
def test_trtpipe_builds_for_the_weakest_architecture(table):
    cells = [f"product/{name}@{WEAKEST['product'][name]}" for name in BUILT]

    done = table.run("build", *(part for cell in cells for part in ("--only", cell)))

    assert done.code == 0, done.err
    assert done.out.startswith(f"built {len(cells)} engines")


def test_tensorrt_agrees_on_every_cell(table, tmp_path):
    """It is asked for each typed model and architecture, with nothing of trtpipe between."""
    typed = {row: str(quantized(table, row, tmp_path)) for row in dict.fromkeys(map(row_of, expected()))}
    asked = [(typed[row_of(cell)], cell.partition("@")[2]) for cell in expected()]

    done = subprocess.run(
        [sys.executable, "-c", BUILD], input=json.dumps(asked), capture_output=True, text=True, check=True
    )

    told = dict(zip(expected(), json.loads(done.stdout), strict=True))
    assert {cell: not errors for cell, errors in told.items()} == expected()
    assert all("Cannot compile" in errors for errors in told.values() if errors), told
