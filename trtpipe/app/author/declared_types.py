"""Chooses the variant that keeps a declared network in its declared types, and builds its typed model.

Every variant types its model: fp32 computes all floats in float32, fp16 everything that can in half. A float32 network
needs only fp32; for any other, `keep` lists the nodes for which the precision would choose another type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx_ir as ir

    from trtpipe.json_values import Json
    from trtpipe.networks.network import ParsedNetwork
    from trtpipe.spec.network.network import NetworkOptions

_SHOWN = 3
REMEDY = (
    "export the cell of an fp32 variant, and give the exported spec the variant that this one has: "
    "its types are then put in by the build"
)


@dataclass(frozen=True)
class Retyped:
    """A variant, and the typed model that it yields."""

    variant: Mapping[str, Json]
    """As a spec has it."""
    model: Path
    canonical: Path
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def retype(options: NetworkOptions, weights: Path | None, network: ParsedNetwork, folder: Path) -> Retyped:
    """Builds the typed model of a declared network as a build would, in `folder`.

    Raises ModelError when the network is rejected, or when no variant keeps its types.
    """
    from trtpipe.frontends import ModelFiles, frontend_called, lower_model
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.casts.files import rewrite_file

    canonical, typed = folder / "canonical.onnx", folder / "typed.onnx"
    files = ModelFiles(None, {} if weights is None else {"weights": weights}, folder)
    lower_model(frontend_called("network"), files, options, canonical)
    name = _precision_of(network)
    found = find_precision(name)
    assert found is not None, "a precision of trtpipe's own"
    keep = {} if name == "fp32" else dict(_kept(canonical, name))
    rewrite_file(found, canonical, typed, keep=keep)
    _check_types(typed, network)
    if name == "fp32":
        return Retyped({}, typed, canonical)
    variant: dict[str, Json] = {"precision": name}
    if keep:
        variant["keep"] = {one: list(globs) for one, globs in keep.items()}
    return Retyped({**variant, "min_low_precision": 0}, typed, canonical, keep)


def _precision_of(network: ParsedNetwork) -> str:
    """The precision that does not change the network's narrowest float type."""
    types = {tensor.dtype for tensor in network.tensors.values()}
    return "bf16" if "bfloat16" in types else "fp16" if "float16" in types else "fp32"


def _kept(canonical: Path, precision: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The `keep` with which each node computes in its own type: precision → globs."""
    from trtpipe.canonical.reader import ir_model, read_skeleton
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.casts.element_types import element_types
    from trtpipe.precisions.casts.free_types import dtype_name
    from trtpipe.precisions.casts.kept_nodes import SPEC_NAMES, glob_of, named_nodes
    from trtpipe.precisions.casts.signatures import FLOATS

    model = ir_model(read_skeleton(canonical))
    found = find_precision(precision)
    assert found is not None, "a precision of trtpipe's own"
    planned, types = found.plan_types(model).nodes, element_types(model)

    def own(node: ir.Node) -> str:
        values = (*node.outputs, *node.inputs)
        return next(
            (dtype_name(types[one]) for one in values if one is not None and types.get(one) in FLOATS), ""
        )

    nodes = named_nodes(model)
    for name, dtype in SPEC_NAMES.items():
        globs = tuple(
            glob_of(called)
            for called, one in planned.items()
            if one.dtype not in ("none", "source", dtype) and own(nodes[called]) == dtype
        )
        if globs and name in found.keeps:
            yield name, globs


def _check_types(typed: Path, network: ParsedNetwork) -> None:
    """Raises ModelError when a tensor has another type than TensorRT reports."""
    from trtpipe.canonical.folding import infer_values
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.networks.lowering.scope import dtype_of

    known = infer_values(read_skeleton(typed).proto)
    wrong = [
        f"'{name}' is {info.dtype} instead of {dtype_of(network.tensors[name].dtype)}"
        for name, info in known.items()
        if name in network.tensors and info.dtype not in (dtype_of(network.tensors[name].dtype), "undefined")
    ]
    if wrong:
        types = ", ".join(sorted(Counter(one.dtype for one in network.tensors.values())))
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        fact = f"no variant keeps a network of {types} in its types: {'; '.join(wrong[:_SHOWN])}{more}"
        raise ModelError(Code.NOT_DECLARABLE, fact, REMEDY)
