"""What a bundle's writer is told: each remedy is applied to the YAML, and the bundle is right."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest
from onnx import TensorProto

from tests.remedies.remedy_places import Place, Row, apply, rewrite
from tests.remedies.small_models import net, node, relu
from trtpipe.problem_codes import Code, ProblemCode

PIPELINE = """\
schema: 1
pipeline: %s
model: {source: %s.onnx}
variants: {fp32: {}, fp16: {precision: fp16}}
targets: {t: {gpu: sm86}, u: {gpu: sm89}}
profiles: [{x: {min: 1x4, opt: 2x4, max: 8x4}}]
package: {triton: {max_batch_size: 8}}
"""
BUNDLE = """\
schema: 1
bundle: two
members: {p: a, q: b}
targets: [t]
edges: {p.y: q.x}
outputs: [p.y]
"""
HALF = partial(
    net,
    [node("Relu", ["x"], ["y"])],
    {"x": ["n", 4]},
    {"y": ["n", 4]},
    types={"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16},
)
CUBES = "profiles: [{x: {min: 1x2x2, opt: 2x2x2, max: 8x2x2}}]"
THIN = "profiles: [{x: {min: 1x3x2, opt: 2x3x2, max: 8x3x2}}]"
FLAT = "profiles: [{x: {min: 1x4, opt: 2x4, max: 8x4}}]"
FILES: Mapping[str, object] = {
    "a.onnx": relu("n", 4),
    "b.onnx": relu("n", 4),
    "pipelines/a.yaml": PIPELINE % ("a", "a"),
    "pipelines/b.yaml": PIPELINE % ("b", "b"),
    "calibration/val.yaml": "schema: 1\nrandom: {shapes: {x: 1x4}}\n",
    "drive.py": "def run(models, inputs):\n    return {}\n",
}
DATA = "validate: {data: val}\n"


def bundle(
    name: str,
    code: ProblemCode,
    wrong: tuple[str, str],
    remedy: str,
    right: str,
    files: Mapping[str, object] | None = None,
) -> Row:
    """A bundle in which `wrong[0]` stands as `wrong[1]`, or which ends in it; `right` is what the remedy makes of that."""
    assert not wrong[0] or wrong[0] in BUNDLE
    text = BUNDLE.replace(*wrong) if wrong[0] else BUNDLE + wrong[1]
    cure = rewrite((wrong[1], right), file="pipelines/two.yaml")
    return Row(name, code, remedy, cure, {**FILES, **(files or {}), "pipelines/two.yaml": text})  # type: ignore[dict-item]


def of_b(model: object, profile: str = FLAT, **more: object) -> dict[str, object]:
    """Another model for b, with its profile."""
    return {"b.onnx": model, "pipelines/b.yaml": (PIPELINE % ("b", "b")).replace(FLAT, profile), **more}


EDGE = "edges: {p.y: q.x}"
MEMBERS = "members: {p: a, q: b}"
FIXED = {"a.onnx": relu(2, 4), "pipelines/a.yaml": (PIPELINE % ("a", "a")).replace(FLAT, "")}
FORMS = [
    bundle("a pipeline that is a bundle", Code.KEYS_EXCLUDE, ("", "pipeline: two\n"), "take one of them out", ""),
    bundle("a bundle called like a pipeline", Code.NAME_TAKEN, ("bundle: two", "bundle: a"), "a name of its own", "bundle: two"),
    bundle("a member with a dot", Code.NOT_A_NAME, (MEMBERS, "members: {p: a, q: b, r.s: b}"), "starting with a letter", "members: {p: a, q: b, rs: b}"),
    bundle("a cell without its end", Code.WRONG_FORM, (MEMBERS, "members: {p: a/, q: b}"), "PIPELINE, PIPELINE/VARIANT", "members: {p: a/fp32, q: b}"),
    bundle("a variant twice", Code.LISTED_TWICE, (MEMBERS, "members: {p: {pipeline: a, variants: [fp32, fp32]}, q: b}"), "list it once", MEMBERS),
    bundle("a tensor of nobody", Code.WRONG_FORM, (EDGE, "edges: {p.y: x}"), "write MEMBER.TENSOR", EDGE),
    bundle("two rests", Code.NOT_A_SHAPE, (EDGE, "edges: {p.y: {to: q.x, reshape: [-1, -1]}}"), "give the other dimensions", "edges: {p.y: {to: q.x, reshape: [-1, 4]}}"),
    bundle("files of no driver", Code.KEYS_EXCLUDE, ("", "files: [drive.py]\n"), "leave them out", ""),
    bundle("labels in two places", Code.KEYS_EXCLUDE, ("", "labels: l.txt\npackage: {labels: l.txt}\n"), "leave out labels", "labels: l.txt\n", {"l.txt": "one\n"}),
    bundle("data and random", Code.KEYS_EXCLUDE, ("", "validate: {data: val, random: {}}\n"), "leave out data or random", DATA),
    bundle("validated on nothing", Code.KEY_NEEDED, ("", "validate: {samples: 3}\n"), "for example (data: NAME)", DATA),
    bundle("a GPU of a CPU", Code.KEYS_EXCLUDE, ("", "package: {triton: {instance_groups: [{kind: cpu, gpus: [0]}]}}\n"), "leave out gpus", "package: {triton: {instance_groups: [{kind: cpu}]}}\n"),
    bundle("batches of nothing", Code.KEYS_EXCLUDE, ("", "package: {triton: {max_batch_size: 0, dynamic_batching: true}}\n"), "a max_batch_size above 0", "package: {triton: {max_batch_size: 4, dynamic_batching: true}}\n"),
    bundle("a size above the largest", Code.INVALID_VALUE, ("", "package: {triton: {max_batch_size: 4, dynamic_batching: {preferred_sizes: [8]}}}\n"), "sizes up to (4)", "package: {triton: {max_batch_size: 4, dynamic_batching: {preferred_sizes: [4]}}}\n"),
]  # fmt: skip
NAMES = [
    bundle("a pipeline that is not there", Code.UNKNOWN_NAME, (MEMBERS, "members: {p: a, q: bb}"), "valid pipelines: a, b|valid pipelines: a", MEMBERS),
    bundle("a variant that is not there", Code.UNKNOWN_NAME, (MEMBERS, "members: {p: a/fp23, q: b}"), "did you mean '(fp32)'", "members: {p: a/fp32, q: b}"),
    bundle("a target that is not there", Code.UNKNOWN_NAME, (MEMBERS, "members: {p: a/fp32@v, q: b}"), "valid targets: (t), u", "members: {p: a/fp32@t, q: b}"),
    bundle("a target of no member", Code.UNKNOWN_NAME, ("targets: [t]", "targets: [v]"), "valid targets: (t), u", "targets: [t]"),
    bundle("a target twice", Code.LISTED_TWICE, ("targets: [t]", "targets: [t, t]"), "list it once", "targets: [t]"),
    bundle("an edge from nobody", Code.UNKNOWN_NAME, (EDGE, "edges: {s.y: q.x}"), "valid members: p, q", EDGE),
    bundle("two edges into one", Code.LISTED_TWICE, (EDGE, "edges: {p.y: [q.x, q.x]}"), "keep one of them", EDGE),
    bundle("edges in a circle", Code.STEPS_CYCLE, (EDGE, "edges: {p.y: q.x, q.y: p.x}"), "write a driver", EDGE + "\npython: drive:run"),
    bundle("a pipeline with a member's name", Code.NAME_TAKEN, (EDGE, "edges: {p.y: {to: q.x, cast: float32}}"), "another name", EDGE,
           {"pipelines/c.yaml": PIPELINE % ("two.q", "b")}),
    Row("no target in common", Code.UNKNOWN_NAME, "a target of the same name", rewrite(("targets: {v:", "targets: {t:"), file="pipelines/b.yaml"),
        {**FILES, "pipelines/two.yaml": BUNDLE.replace("targets: [t]\n", ""), "pipelines/b.yaml": (PIPELINE % ("b", "b")).replace("{t: {gpu: sm86}, u: {gpu: sm89}}", "{v: {gpu: sm86}}")}),  # type: ignore[dict-item]
    Row("one target for two GPUs", Code.TARGET_OPTION, "the same GPUs", rewrite(("{t: {gpu: sm120}", "{t: {gpu: sm86}"), file="pipelines/b.yaml"),
        {**FILES, "pipelines/two.yaml": BUNDLE, "pipelines/b.yaml": (PIPELINE % ("b", "b")).replace("{t: {gpu: sm86}", "{t: {gpu: sm120}")}),  # type: ignore[dict-item]
]  # fmt: skip
EDGES = [
    bundle("an output that is not there", Code.UNKNOWN_TENSOR, (EDGE, "edges: {p.yy: q.x}"), "did you mean '(y)'", EDGE),
    bundle("an input that is not there", Code.UNKNOWN_INPUT, (EDGE, "edges: {p.y: q.xx}"), "did you mean '(x)'", EDGE),
    bundle("a whole output that is not there", Code.UNKNOWN_TENSOR, ("outputs: [p.y]", "outputs: [p.z]"), "valid outputs: (y)", "outputs: [p.y]"),
    bundle("another type", Code.INPUT_TYPE, (EDGE, EDGE), r"write (\{to: q.x, cast: float16\})", r"edges: {p.y: \1}", of_b(HALF)),
    bundle("types that depend on the variant", Code.INPUT_TYPE, (EDGE, EDGE), "allow only variants", EDGE,
           {"pipelines/b.yaml": (PIPELINE % ("b", "b")).replace("precision: fp16", "precision: fp16, io: convert")}),
    bundle("another rank", Code.SHAPES_NOT_TAKEN, (EDGE, EDGE), r"write (\{to: q.x, reshape: \[-1, 2, 2\]\})", r"edges: {p.y: \1}", of_b(relu("n", 2, 2), CUBES)),
    bundle("another rank and too few elements", Code.SHAPES_NOT_TAKEN, (EDGE, EDGE), "connect a tensor of that shape", "edges: {}", of_b(relu("n", 3, 2), THIN)),
    bundle("another size", Code.SHAPES_NOT_TAKEN, (EDGE, EDGE), "write a reshape", "edges: {}", of_b(relu("n", 5), FLAT.replace("x4", "x5"))),
    bundle("a dimension that is not there", Code.SHAPES_NOT_TAKEN, (EDGE, "edges: {p.y: {to: q.x, reshape: [-1, 4, 0]}}"), "a size in place of that 0", "edges: {p.y: {to: q.x, reshape: [-1, 4]}}"),
    bundle("a fixed shape for what varies", Code.SHAPES_NOT_TAKEN, (EDGE, "edges: {p.y: {to: q.x, reshape: [2, 4]}}"), "write -1", "edges: {p.y: {to: q.x, reshape: [-1, 4]}}"),
    bundle("another number of elements", Code.SHAPES_NOT_TAKEN, (EDGE, "edges: {p.y: {to: q.x, reshape: [3, 4]}}"), "as many elements", "edges: {p.y: {to: q.x, reshape: [-1, 4]}}", FIXED),
    Row("a profile that is too narrow", Code.NO_PROFILE_TAKES, "widen a profile of 'q' for 'x'", rewrite(("max: 4x4", "max: 8x4"), file="pipelines/b.yaml"),
        {**FILES, "pipelines/two.yaml": BUNDLE, "pipelines/b.yaml": (PIPELINE % ("b", "b")).replace("max: 8x4", "max: 4x4")}),  # type: ignore[dict-item]
]  # fmt: skip


@pytest.mark.parametrize("row", [*FORMS, *NAMES, *EDGES], ids=str)
def test_a_remedy_about_a_bundle(row: Row, place: Place) -> None:
    cured = Row(
        row.name,
        row.code,
        row.remedy,
        _fewer_variants if "variant" in row.remedy and "only" in row.remedy else row.cure,
        row.files,
        row.ask,
    )

    apply(cured, place)


def _fewer_variants(place: Place, _: object) -> None:
    place.edit("pipelines/two.yaml", "q: b}", "q: b/fp32}")


def test_a_bundle_builds_a_member_behind_an_edge_for_one_type_only(place: Place) -> None:
    files = {
        **FILES,
        "pipelines/a.yaml": (PIPELINE % ("a", "a")).replace(
            "precision: fp16", "precision: fp16, io: convert"
        ),
    }
    text = BUNDLE.replace(EDGE, "edges: {p.y: {to: q.x, cast: float32}}")
    cure = rewrite(("p: a", "p: a/fp32"), file="pipelines/two.yaml")

    apply(
        Row(
            "an output of two types",
            Code.INPUT_TYPE,
            "allow fewer variants for member 'p'",
            cure,
            {**files, "pipelines/two.yaml": text},
            ("plan",),
        ),
        place,
    )  # type: ignore[dict-item]
