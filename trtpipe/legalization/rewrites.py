"""Rewrites operators that TensorRT has no importer for as equivalent ones, before type inference.

These rules depend only on constants and on the types that earlier nodes imply, so `check` applies them to a model as it
was read, just as an import does. The main result keeps its node's name and its own, because keeps, cuts and messages
refer to them. Operators that have a body in ONNX are in `expansion`; those of ONNX Runtime's quantizer in
`quantized_operators`, and the others of its own domain in `runtime_operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, replace_nodes, subgraphs
from trtpipe.canonical.legacy_operators import BROADCASTING_SINCE
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.node_types import NodeTypes, constants_in
from trtpipe.canonical.opsets import CHOSEN, normalize_domains, opset_of, upgrade
from trtpipe.canonical.tensors import array_of, graphs_of, has_size, nbytes_of, nodes_of, number_of_dtype
from trtpipe.legalization.added_nodes import AddedNodes
from trtpipe.legalization.known_sequences import SEQUENCES, drop_unread, hand_on
from trtpipe.legalization.quantized_moves import dequantize_twin, learn_scales, move_between
from trtpipe.legalization.quantized_tables import dequantize_tables

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_FLOATS = frozenset({"float32", "float16", "bfloat16"})
LARGEST = 64 << 20
"""Constants of more bytes are not read: what is computed of them would have to be held in memory."""


class Rewriting(AddedNodes):
    """One pass over a model: the facts that rules need, and the nodes that they create."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.opset = opset_of(model)
        self.types = NodeTypes({item.domain: item.version for item in model.opset_import})
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.dims: dict[str, tuple[int, ...]] = {}
        self.twins: dict[str, str] = {}
        """Tensors of whole numbers that rules have made, and floats of the same values."""
        self.scales: dict[str, tuple[str, str]] = {}
        """Quantized tensors, and their scales and zero points."""
        self.sequences: dict[str, tuple[str, ...]] = {}
        """Sequences of known length, and the tensors in them."""
        taken = {name for node in nodes_of(model) for name in (*node.input, *node.output)}
        ends = (value.name for graph in graphs_of(model) for value in (*graph.input, *graph.initializer))
        super().__init__(FreshNames(taken | set(ends)), FreshNames(node.name for node in nodes_of(model)))

    @contextmanager
    def inside(self, graph: onnx.GraphProto) -> Iterator[None]:
        """Makes a graph's inputs and constants known within the context; other graphs may use the same names."""
        outer = (self.tensors, self.dims, self.twins, self.scales, self.sequences, self.types)
        self.tensors, self.dims = dict(self.tensors), dict(self.dims)
        self.twins, self.scales = dict(self.twins), dict(self.scales)
        self.sequences = dict(self.sequences)
        self.types = self.types.copy()
        self.types.enter(graph)
        for name, tensor in constants_in(graph):
            self._hold(name, tensor)
        yield
        self.tensors, self.dims, self.twins, self.scales, self.sequences, self.types = outer

    def _hold(self, name: str, tensor: onnx.TensorProto) -> None:
        self.tensors[name] = tensor
        self.dims[name] = tuple(tensor.dims)

    def rank(self, name: str) -> int | None:
        """The rank of a constant; None if it is not a constant."""
        return len(self.dims[name]) if name in self.dims else None

    def apply(self, rule: Rule, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes that a rule writes in place of a node; None when it leaves it alone.

        A node with missing inputs or attributes of a wrong kind is left for the model check to report.
        """
        self.begin(node)
        try:
            return self._made if rule(self, node) else None
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None

    def learn(self, node: onnx.NodeProto) -> None:
        """Makes the types of an added node's outputs known."""
        self.types.learn(node)

    def add_split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Adds a Split into parts of these sizes, opset 13 or later; the parts' names."""
        return self.add_several("Split", [value, self.constant(sizes, "sizes")], len(sizes), axis=axis)

    def nested(
        self, inputs: Mapping[str, Sequence[int | None]], body: Callable[[Sequence[str]], Sequence[str]]
    ) -> onnx.GraphProto:
        """A graph for a node's attribute: `body` adds its nodes; input names in, output names out.

        The inputs are float32 with these sizes; their names are derived from the given ones.
        """
        import onnx

        outer, self._made = self._made, []
        given = [
            onnx.helper.make_tensor_value_info(
                self._fresh(f"{self._source_name()}_{name}"), onnx.TensorProto.FLOAT, list(sizes)
            )
            for name, sizes in inputs.items()
        ]
        self.types.enter(onnx.GraphProto(input=given))
        outputs = body([value.name for value in given])
        yielded = [self.types.described(name) for name in outputs]
        graph: onnx.GraphProto = onnx.helper.make_graph(self._made, "body", given, yielded)
        self._made = outer
        return graph

    def constant(self, values: int | Sequence[int], name: str = "shape") -> str:
        """Adds a constant of whole numbers; its name."""
        import numpy as np

        return self.array(np.asarray(values, np.int64), name)

    def number(self, value: float, like: str) -> str:
        """Adds a scalar of the type that a known value has; its name."""
        import numpy as np
        import onnx

        number = number_of_dtype(self.types.dtype(like))
        return self.array(np.asarray(value, onnx.helper.tensor_dtype_to_np_dtype(number)), "number")

    def array(self, array: Array, name: str = "constant") -> str:
        """Adds a constant; its name."""
        import onnx

        tensor = onnx.numpy_helper.from_array(array)
        made = self.add("Constant", [], self._fresh(f"{self._source_name()}_{name}"), value=tensor)
        self._hold(made, tensor)
        return made

    def values(self, name: str, most_bytes: int = LARGEST) -> Array | None:
        """A constant's values; None if it is not a constant or has more bytes."""
        tensor = self.tensors.get(name)
        if tensor is None or not has_size(tensor) or nbytes_of(tensor) > most_bytes:
            return None
        return array_of(tensor)

    def floating(self, *names: str) -> bool:
        """Whether all these values are known to be floats of a kind that TensorRT computes in."""
        return all(self.types.dtype(name) in _FLOATS for name in names)


Rule = Callable[[Rewriting, "onnx.NodeProto"], bool]
"""Writes a node out by `Rewriting.add`; False when it cannot, and what it added is dropped."""


def rewrite_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Rewrites the nodes that rules match, in place, at any depth; how many nodes of each operator."""
    rules = _rules()
    if not any(_key(node) in rules and _key(node) not in _EARLY for node in nodes_of(model)):
        return {}
    counts: dict[str, int] = {}
    _rewrite(model.graph, Rewriting(model), rules, counts)
    drop_unread(model)
    return counts


def rewrite_as_imported(model: onnx.ModelProto) -> None:
    """Applies the rewrites of an import to a model as it was read, after raising an old opset if they need that."""
    if opset_of(model) < BROADCASTING_SINCE:
        upgrade(model)
    dequantize_tables(model)
    rewrite_operators(model)
    if bring_forward(model):
        rewrite_operators(model)


def bring_forward(model: onnx.ModelProto) -> str:
    """Raises the opset if rules skipped nodes that they support in a later one; returns a description, "" if unchanged.

    ONNX Runtime saves LayerNormalization even in opsets that did not have it, which the converter rejects, so these
    nodes are replaced temporarily.
    """
    before, rules = opset_of(model), _rules()
    if before >= CHOSEN or not any(_key(node) in rules for node in nodes_of(model)):
        return ""
    early = [node for node in nodes_of(model) if _key(node) in _EARLY]
    for node in early:
        node.domain = _ASIDE
    normalize_domains(model)
    note = upgrade(model, oldest=CHOSEN)
    for node in nodes_of(model):
        if node.domain == _ASIDE:
            node.domain = ""
    normalize_domains(model)
    return note if opset_of(model) > before else ""


_EARLY = frozenset({("", "LayerNormalization")})
_ASIDE = "trtpipe.aside"


def _rules() -> Mapping[tuple[str, str], Rule]:
    from trtpipe.legalization.folded_patches import PATCHES
    from trtpipe.legalization.linear_models import LINEAR
    from trtpipe.legalization.quantized_operators import QUANTIZED
    from trtpipe.legalization.runtime_operators import RUNTIME
    from trtpipe.legalization.tensorflow_operators import TENSORFLOW

    return {
        ("", "GroupNormalization"): _group_normalization,
        **LINEAR,
        **PATCHES,
        **QUANTIZED,
        **RUNTIME,
        **SEQUENCES,
        **TENSORFLOW,
    }


def _rewrite(
    graph: onnx.GraphProto,
    work: Rewriting,
    rules: Mapping[tuple[str, str], Rule],
    counts: dict[str, int],
) -> None:
    nodes: list[onnx.NodeProto] = []
    changed = False
    with work.inside(graph):
        for node in graph.node:
            for inner in subgraphs(node):
                _rewrite(inner, work, rules, counts)
            rule = rules.get(_key(node))
            made = work.apply(rule, node) if rule is not None else None
            if made is not None:
                counts[node.op_type] = counts.get(node.op_type, 0) + 1
            settled = [one for part in made or [node] for one in _settled(work, part)]
            changed = changed or made is not None or settled[0] is not node
            nodes += settled
    if changed:
        replace_nodes(graph, nodes)


def _settled(work: Rewriting, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A node, or its replacement if it reads a quantized tensor."""
    moved = work.apply(move_between, node) if node.op_type != "DequantizeLinear" else None
    made = moved if moved is not None else (work.apply(dequantize_twin, node) or [node])
    for one in made:
        work.types.learn(one)
        learn_scales(work, one)
        hand_on(work, one)
    return made


def _key(node: onnx.NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain), node.op_type


def _group_normalization(work: Rewriting, node: onnx.NodeProto) -> bool:
    """GroupNormalization of opset 18 to 20, with a scale and a bias per group, which TensorRT does not support.

    It is an InstanceNormalization after flattening the channels of each group into one.
    """
    groups = attribute_of(node, "num_groups")
    if not 18 <= work.opset < 21 or not isinstance(groups, int):
        return False
    epsilon = attribute_of(node, "epsilon")
    shape = work.add("Shape", [node.input[0]])
    laid = work.add("Reshape", [node.input[0], work.constant([0, groups, -1], "groups")])
    normal = work.add(
        "InstanceNormalization",
        [laid, *node.input[1:]],
        name=node.name,
        epsilon=epsilon if isinstance(epsilon, float) else None,
    )
    work.add("Reshape", [normal, shape], node.output[0])
    return True
