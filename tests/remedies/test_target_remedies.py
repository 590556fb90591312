"""Targets, toolchains and the builder's options: what a remedy says is written, and the rule is asked again."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.remedies.remedy_places import SPEC, Place, Row, apply, rewrite
from tests.remedies.small_models import relu
from tests.remedies.spec_rows import FILES, QUANTIZED, TARGETS, VARIANTS, spec
from trtpipe.problem_codes import Code
from trtpipe.targets.capabilities import buildable, buildable_here
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.types_by_gpu import block_refusals
from trtpipe.toolchains import detect, resolve
from trtpipe.toolchains.detect import DetectedGpu, this_gpu

ADA, HOPPER = ComputeCapability(8, 9), ComputeCapability(9, 0)


def gpu(name: str, capability: ComputeCapability, index: int = 0) -> DetectedGpu:
    return DetectedGpu(index, name, capability, uuid=f"GPU-{name}")


def seeing(*found: DetectedGpu) -> Callable[[Place], None]:
    """A machine with these GPUs."""
    return lambda place: place.patch.setattr(detect, "detect_gpus", lambda *_: found)


GPUS = [
    spec("an unknown GPU", Code.UNKNOWN_GPU, (TARGETS, "targets: {t: {gpu: rtx4900}}"), r"did you mean '([^']+)'",
         r"targets: {t: {gpu: \1}}"),
    spec("a GPU that is like none", Code.UNKNOWN_GPU, (TARGETS, "targets: {t: {gpu: voodoo}}"), r"such as (sm\d+)",
         r"targets: {t: {gpu: \1}}"),
    spec("a capability of no GPU", Code.UNKNOWN_GPU, (TARGETS, "targets: {t: {gpu: sm99}}"), r"known: .*(sm89)",
         r"targets: {t: {gpu: \1}}"),
    spec("several GPUs", Code.AMBIGUOUS_GPU, (TARGETS, "targets: {t: {gpu: RTX 4000}}"), r"one of: '([^']+)'",
         r"targets: {t: {gpu: \1}}"),
    spec("several GPUs, by capability", Code.AMBIGUOUS_GPU, (TARGETS, "targets: {t: {gpu: RTX 4000}}"),
         r"\((sm\d+)\).*or its compute capability", r"targets: {t: {gpu: \1}}"),
    spec("too old", Code.GPU_TOO_OLD, (TARGETS, "targets: {t: {gpu: GTX 1080}}"), r"(sm75) .* or newer",
         r"targets: {t: {gpu: \1}}", {"net.onnx": relu(1, 3)}),
    Row("Thor's old number", Code.UNKNOWN_GPU, r"write (sm110)", lambda _, m: lambda _: [resolve_gpu_problem(m[1])],
        ask=lambda _: [resolve_gpu_problem("sm101")]),
    spec("a GPU that RTX does not build for", Code.CANNOT_BUILD_FOR, (TARGETS, "targets: {t: {gpu: H100}}"),
         r"it builds for .*(sm89)", r"targets: {t: {gpu: \1}}"),
    Row("this machine without a GPU", Code.NO_GPU, r"name the GPU to build for: (\w+)", rewrite(("this", r"\1")),
        {**FILES, "pipelines/net.yaml": SPEC.replace("sm86", "this")}, before=seeing()),
    Row("this machine with two kinds", Code.AMBIGUOUS_GPU, "name one", rewrite(("this", "sm89")),
        {**FILES, "pipelines/net.yaml": SPEC.replace("sm86", "this")},
        before=seeing(gpu("NVIDIA L4", ADA), gpu("NVIDIA H100", HOPPER))),
    spec("a type that the GPU has not", Code.TYPE_NOT_ON_GPU,
         (VARIANTS, "variants: {q: {precision: fp8, calibration: val}}"), r"use (\w+) or \w+",
         r"variants: {q: {precision: \1, calibration: val}}", QUANTIZED),
    spec("a type that needs a newer GPU", Code.TYPE_NOT_ON_GPU,
         (VARIANTS, "variants: {q: {precision: fp8, calibration: val}}"), r"fp8 needs (sm\d+) or newer",
         lambda place, m: place.edit("pipelines/net.yaml", "sm86", m[1]), QUANTIZED),
    spec("float32 products on Turing", Code.TYPE_NOT_ON_GPU, (TARGETS, "targets: {t: {gpu: sm75}}"),
         r"a variant with `(precision: fp16)`", lambda place, m: place.edit("pipelines/net.yaml", "fp32: {}", f"h: {{{m[1]}}}"),
         QUANTIZED),
    spec("float32 products on Turing, left out", Code.TYPE_NOT_ON_GPU, (TARGETS, "targets: {t: {gpu: [sm75, sm86]}}"),
         "leave sm75 out", TARGETS, QUANTIZED),
    spec("levels that RTX has not", Code.TARGET_OPTION,
         (TARGETS, "targets: {t: {gpu: sm86, hardware_compatibility: ampere_plus}}"), r"list the GPUs instead: (gpu: \[.*\])",
         r"targets: {t: {\1}}"),
    spec("versions that RTX has not", Code.TARGET_OPTION, (TARGETS, "targets: {t: {gpu: sm86, version_compatible: true}}"),
         "leave it out", TARGETS),
    spec("no workspace", Code.BUILDER_OPTION, ("", "builder: {workspace: 1KiB}\n"), r"(2GiB) is the default",
         r"builder: {workspace: \1}" "\n"),
    spec("too much shared memory", Code.BUILDER_OPTION, ("", "builder: {tactic_shared_memory: 2GiB}\n"),
         "leave it out for 1 GiB", ""),
    spec("an option that RTX ignores", Code.BUILDER_OPTION, ("", "builder: {optimization_level: 5}\n"), "leave it out", ""),
]  # fmt: skip


def resolve_gpu_problem(text: str) -> object:
    from trtpipe.targets.gpus import resolve_gpu

    return resolve_gpu(text)


RULES = [
    Row("blocks of the flavour tensorrt", Code.BLOCK_SIZE, r"write `block_size: (\d+)` or (\d+)",
        lambda _, m: lambda _: [*block_refusals("tensorrt", ["int4"], int(m[1])),
                                *block_refusals("tensorrt", ["int4"], int(m[2]))],
        ask=lambda _: block_refusals("tensorrt", ["int4"], 32)),
    Row("one engine for several GPUs", Code.CANNOT_BUILD_FOR, "write a target for each, or use the flavour (tensorrt_rtx)",
        lambda _, m: lambda _: [buildable_here("tensorrt", [ADA], [ADA]), buildable_here("tensorrt", [HOPPER], [HOPPER]),
                                buildable_here(m[1], [ADA, HOPPER], [ADA])],
        ask=lambda _: [buildable_here("tensorrt", [ADA, HOPPER], [ADA])]),
    Row("a capability of the other flavour", Code.CANNOT_BUILD_FOR,
        r"TensorRT ([\d.]+) or later builds for (sm\d+), on that GPU itself \(flavour: (\w+)\)",
        lambda _, m: lambda _: [buildable(m[3], m[1], ComputeCapability.parse(m[2]))],
        ask=lambda _: [buildable("tensorrt_rtx", "1.7", HOPPER)]),
    Row("this among several", Code.AMBIGUOUS_GPU, "set CUDA_VISIBLE_DEVICES to the UUID of one",
        lambda _, __: lambda _: [this_gpu(detect._visible((gpu("L4", ADA), gpu("H100", HOPPER, 1)),
                                                          {"CUDA_VISIBLE_DEVICES": "GPU-L4"}))],
        ask=lambda _: [this_gpu((gpu("L4", ADA), gpu("H100", HOPPER, 1)))]),
]  # fmt: skip


def toolchain(name: str, code: object, wrong: str, remedy: str, right: str, before: object = None) -> Row:
    """A spec whose toolchain is described wrongly; the right one is installed here, so that `check` goes through."""
    text = SPEC.replace(TARGETS, "targets: {t: {gpu: sm86, toolchain: o}}") + "toolchains: {o: {%s}}\n"
    return Row(
        name,
        code,
        remedy,
        rewrite((wrong, right)),
        {**FILES, "pipelines/net.yaml": text % wrong},
        before=before,
    )


TOOLCHAINS = [
    toolchain("a version cut short", Code.WHOLE_VERSION_NEEDED, "flavour: tensorrt_rtx, version: '1.6'",
              r"write all of it, such as '([\d.]+)'", r"flavour: tensorrt_rtx, version: '\1'"),
    toolchain("a prefix of nothing here", Code.NO_TOOLCHAIN, "flavour: tensorrt_rtx, version: '1.2.*'",
              r"write an exact version, such as '([\d.]+)'", r"flavour: tensorrt_rtx, version: '\1'"),
    toolchain("a flavour that is not here", Code.NO_TOOLCHAIN, "flavour: tensorrt_rtx",
              r"exact version, such as '([\d.]+)', to have it provisioned", r"flavour: tensorrt_rtx, version: '\1'",
              lambda place: place.patch.setattr(resolve, "installed_toolchain", lambda _: None)),
    toolchain("no interpreter", Code.INTERPRETER, "flavour: tensorrt_rtx, python: /no/such/python",
              "name an interpreter of Python 3.8 or newer that has TensorRT",
              f"flavour: tensorrt_rtx, python: {sys.executable}"),
    toolchain("an interpreter that is none", Code.INTERPRETER, "flavour: tensorrt_rtx, python: /bin/true",
              "name an interpreter of Python 3.8 or newer that has TensorRT",
              f"flavour: tensorrt_rtx, python: {sys.executable}"),
    toolchain("an interpreter with another version", Code.OTHER_VERSION,
              f"flavour: tensorrt_rtx, version: '1.2.3.4', python: {sys.executable}", r"write (version: '[\d.]+')",
              rf"flavour: tensorrt_rtx, \1, python: {sys.executable}"),
    toolchain("an interpreter without TensorRT", Code.OTHER_VERSION,
              f"flavour: tensorrt, python: {sys.executable}", "name an interpreter that has it",
              f"flavour: tensorrt_rtx, python: {sys.executable}"),
]  # fmt: skip

ROWS = [*GPUS, *RULES, *TOOLCHAINS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
