"""Models of ONNX's backend suite with one attribute changed by chance, that ONNX Runtime still runs.

Runs as a child (`children.py`): a name is `CASE~SEED`, and the mutant of that name is always the same. What breaks the
rules of ONNX, or does not run on the case's own inputs, is no model that anybody has, and is left out.

    mutants.py CASES OUT
"""

from __future__ import annotations

import json
import pickle
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.defs

from tests.conformance.backend_cases import Case, bound, load_case

_INTEGERS = (-2, -1, 0, 1, 1, 2, 3, 4)
_FLOATS = (-1.0, 0.0, 0.25, 0.5, 1.0, 2.0, 10.0)
_TEXTS = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "mode": ("nearest", "linear", "cubic", "bilinear", "constant", "reflect", "edge", "wrap", "DCR", "CRD", "circular"),
    "coordinate_transformation_mode": (
        "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "half_pixel_symmetric",
    ),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
    "padding_mode": ("zeros", "border", "reflection"),
    "reduction": ("none", "add", "mul", "max", "min"),
    "direction": ("forward", "reverse", "bidirectional"),
    "approximate": ("none", "tanh"),
    "equation": ("ij,jk->ik", "ij->ji", "ii->i", "ij->", "bij,bjk->bik", "...ij,...jk->...ik", "ij,ij->ij"),
}  # fmt: skip


def mutant(case: Case, seed: int) -> Case | None:
    """The case with one attribute of one node changed, removed or written out; None where nothing can be."""
    rng = random.Random(f"{case.name}~{seed}")
    model = onnx.load_model_from_string(bound(case).model)
    chosen = [
        node for node in model.graph.node if node.domain in ("", "ai.onnx") and _attributes(model, node)
    ]
    if not chosen:
        return None
    node = rng.choice(chosen)
    name, kind = rng.choice(sorted(_attributes(model, node).items()))
    old = next((one for one in node.attribute if one.name == name), None)
    if not _changed(node, name, kind, old, rng):
        return None
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.Clear()
    try:
        made = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(made)
    except Exception:
        return None
    if any(value.type.WhichOneof("value") is None for value in made.graph.output):
        return None
    left = dict(bound(case).inputs)
    return replace(case, name=f"{case.name}~{seed}", model=made.SerializeToString(), inputs=left, outputs={})


def _attributes(model: onnx.ModelProto, node: onnx.NodeProto) -> dict[str, int]:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 1)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return {}
    kinds = {name: int(one.type) for name, one in schema.attributes.items()}
    able = {int(onnx.AttributeProto.INT), int(onnx.AttributeProto.INTS), int(onnx.AttributeProto.FLOAT),
            int(onnx.AttributeProto.STRING)}  # fmt: skip
    return {name: kind for name, kind in kinds.items() if kind in able}


def _changed(
    node: onnx.NodeProto, name: str, kind: int, old: onnx.AttributeProto | None, rng: random.Random
) -> bool:
    """Changes the attribute in place; whether there is anything to change it to."""
    value: Any
    if old is not None and rng.random() < 0.15:
        node.attribute.remove(old)
        return True
    if kind == onnx.AttributeProto.INT:
        value = rng.choice(_INTEGERS)
    elif kind == onnx.AttributeProto.FLOAT:
        value = rng.choice(_FLOATS)
    elif kind == onnx.AttributeProto.STRING:
        if name not in _TEXTS:
            return False
        value = rng.choice(_TEXTS[name])
    else:
        before = list(old.ints) if old is not None else [1] * rng.choice((1, 2, 2, 3))
        if not before:
            return False
        value = [rng.choice((one, one + 1, max(one - 1, 0), 1, 2)) for one in before]
    if old is not None:
        node.attribute.remove(old)
    node.attribute.append(onnx.helper.make_attribute(name, value))
    return True


def runs(case: Case) -> bool:
    """Whether ONNX Runtime runs the model on the case's inputs."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
        wanted = {item.name for item in session.get_inputs()}
        made: Sequence[Any] = session.run(
            None, {name: one for name, one in case.inputs.items() if name in wanted}
        )
    except Exception:
        return False
    return all(not isinstance(one, np.ndarray) or one.size for one in made)


def main() -> None:
    store, out = Path(sys.argv[1]), Path(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    for line in sys.stdin:
        request = json.loads(line)
        name, _, seed = request["name"].rpartition("~")
        made = None if request["skip"] else _made(load_case(store, name), int(seed), say)
        if made is not None:
            (out / f"{made.name}.case").write_bytes(pickle.dumps(made))
        say("result " + json.dumps({"name": request["name"], "made": made is not None}))


def _made(case: Case, seed: int, say: Callable[[str], None]) -> Case | None:
    say("phase mutate")
    made = mutant(case, seed)
    if made is None:
        return None
    say("phase run")
    return made if runs(made) else None


if __name__ == "__main__":
    main()
