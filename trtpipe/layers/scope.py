"""The interface of a lowering function: its inputs and weights, and the nodes that it creates.

Nodes are added to the graph only once the layer is complete and its shapes are inferred. Errors are raised as a
ModelError whose problem names the layer and has its place in the spec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from trtpipe.canonical.summary import Dim
from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.layers.parameters import Parameter, Parameters, numpy_type
from trtpipe.layers.values import FLOATS, Value, shape_text
from trtpipe.problem_codes import Code
from trtpipe.spec.network.fields import Declared

if TYPE_CHECKING:
    import numpy.typing as npt

    from trtpipe.arrays import Array
    from trtpipe.canonical.builder import Attribute
    from trtpipe.json_values import Json


@dataclass(frozen=True, slots=True)
class Node:
    """A node under construction; its outputs' names are not final."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    domain: str = ""


@dataclass(slots=True)
class Scope:
    """The context of one layer while it is lowered."""

    layer: Declared
    place: SpecPath
    reads: Mapping[SpecPath, Value]
    """What the layer reads, by the place in the layer where it is named; `("input",)` also when it is left out."""
    parameters: Parameters
    opset: int
    nodes: list[Node] = field(default_factory=list)
    held: dict[str, Parameter] = field(default_factory=dict)
    """The constants that the layer makes."""

    weight_count: int = 0
    """How many elements the layer's weights have."""
    declared: dict[str, Value] = field(default_factory=dict)
    """What is said of the tensors that the layer makes, where ONNX cannot infer it."""
    ranks: dict[str, int] = field(default_factory=dict)
    """How many axes the tensors that the layer makes have, for where nothing more can be inferred."""

    @property
    def input(self) -> Value:
        """The only input of a layer."""
        return self.reads[("input",)]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs of a layer with several; inline constants have the first tensor's type."""
        written = getattr(self.layer, "inputs")  # noqa: B009  only layers of several inputs ask
        tensors = [self.reads[("inputs", i)] for i, one in enumerate(written) if isinstance(one, str)]
        like = tensors[0].dtype if tensors else None
        return tuple(
            self.reads[("inputs", index)] if isinstance(one, str) else self.inline(one, f"input{index}", like)
            for index, one in enumerate(written)
        )

    def expect_inputs(self, *names: str) -> tuple[Value, ...]:
        """The inputs; raises ModelError unless there are as many as named here."""
        given = len(getattr(self.layer, "inputs"))  # noqa: B009
        if given != len(names):
            self.refuse(f"has {given} inputs instead of {len(names)}", f"give {', '.join(names)}", "inputs")
        return self.inputs

    def tensor(self, name: str) -> Value | None:
        """The tensor that a field names; None when it is left out."""
        return self.reads.get((name,))

    def refuse(self, fact: str, remedy: str = "", *where: str | int) -> NoReturn:
        """Reports an error of the layer. Raises ModelError."""
        raise ModelError(Problem(Code.LAYER_REFUSED, self.about(fact), remedy, path=(*self.place, *where)))

    def about(self, fact: str) -> str:
        """A fact about this layer as a sentence."""
        return f"layer '{self.layer.name}' ({self.layer.kind}) {fact}"

    def rank(self, value: Value) -> int:
        """How many axes a tensor has. Raises ModelError when that is not known."""
        return len(self.dims(value))

    def dims(self, value: Value) -> tuple[Dim, ...]:
        """A tensor's dims. Raises ModelError when not even its rank is known."""
        if value.dims is None:
            self.refuse(
                f"needs the rank of '{value.name}', which is unknown",
                "declare static dims where the shape is defined",
            )
        return value.dims

    def size(self, value: Value, axis: int, what: str) -> int:
        """The size of an axis, which must be fixed. Raises ModelError."""
        dim = self.dims(value)[axis]
        if not isinstance(dim, int):
            self.refuse(
                f"needs the size of {what}, which is dynamic in '{value.name}' {value.text}",
                "declare that dimension's size",
            )
        return dim

    def axis(self, axis: int, rank: int, *where: str | int) -> int:
        """An axis counted from the front. Raises ModelError when there is none."""
        if not -rank <= axis < rank:
            self.refuse(f"has axis {axis}, but there are {rank} axes", f"give {-rank} to {rank - 1}", *where)
        return axis % rank

    def axes(self, axes: Sequence[int], rank: int, name: str = "axes") -> list[int]:
        """Axes counted from the front, each once. Raises ModelError."""
        found = [self.axis(axis, rank, name, index) for index, axis in enumerate(axes)]
        if len(set(found)) != len(found):
            self.refuse(f"has an axis twice in {name}: {list(axes)}", "name each once", name)
        return found

    def emit(self, operator: str, *inputs: str | None, **attributes: Attribute) -> str:
        """Adds a node of one output, whose name it gives. Attributes that are None are left out."""
        return self.emit_many(operator, inputs, 1, **attributes)[0]

    def emit_many(
        self, operator: str, inputs: Sequence[str | None], count: int, **attributes: Attribute
    ) -> tuple[str, ...]:
        """Adds a node of several outputs; their names."""
        return self.emit_node(operator, inputs, count, "", attributes)

    def emit_node(
        self,
        operator: str,
        inputs: Sequence[str | None],
        count: int,
        domain: str,
        attributes: Mapping[str, Attribute],
    ) -> tuple[str, ...]:
        """Adds a node of any domain; the names of its outputs."""
        number = len(self.nodes)
        outputs = tuple(
            f"{self.layer.name}/{operator}_{number}" + (f":{index}" if index else "")
            for index in range(count)
        )
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(Node(operator, tuple(one or "" for one in inputs), outputs, given, domain))
        return outputs

    def declare(self, tensor: str, dtype: str, dims: tuple[Dim, ...] | None) -> None:
        """Declares the type and shape of a tensor of the layer, if ONNX cannot infer them."""
        self.declared[tensor] = Value(tensor, dtype, dims)

    def constant(self, value: npt.ArrayLike, hint: str, dtype: str = "int64") -> str:
        """Adds a constant of the layer; returns its name."""
        import numpy as np

        array = np.asarray(value).astype(numpy_type(dtype))
        name = f"{self.layer.name}/{hint}"
        while name in self.held:
            name += "_"
        self.held[name] = Parameter(name, dtype, array.shape, array)
        return name

    def inline(self, value: Json, hint: str, dtype: str | None) -> Value:
        """An inline constant as a tensor; of its own type when none is given. Raises ModelError."""
        array = self.array(value, hint)
        chosen = dtype or _own_type(array)
        if array.dtype.kind == "f" and chosen not in FLOATS:
            self.refuse(f"has {value} where {chosen} is needed", "write whole numbers", hint)
        return Value(
            self.constant(array, hint, chosen), chosen, array.shape, array.astype(numpy_type(chosen))
        )

    def array(self, value: Json, *where: str | int) -> Array:
        """An inline constant's values. Raises ModelError for ragged lists."""
        import numpy as np

        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
        if array.dtype == object:
            self.refuse("has a list with rows of different lengths", "", *where)
        return array

    def weights(self, name: str, dims: Sequence[int], dtype: str | None = None) -> str | None:
        """The weights that a field names or holds, in these dims; None when it is left out. Raises ModelError."""
        written = getattr(self.layer, name)
        if written is None:
            return None
        return self.taken(self._parameter(written, dims, dtype or self.input.dtype, name), name)

    def taken(self, parameter: Parameter, hint: str) -> str:
        """A parameter as a constant of the layer."""
        name = f"{self.layer.name}.{hint}"
        self.held[name] = parameter
        return name

    def weights_array(self, written: Json, dims: Sequence[int], dtype: str, *where: str | int) -> Array:
        """The values of weights, for a layer that must rearrange them. Raises ModelError."""
        taken = self._parameter(written, dims, dtype, *where)
        return self.parameters.array(taken.name, dims, dtype) if taken.array is None else taken.array

    def dims_of_weights(self, written: Json, *where: str | int) -> tuple[int, ...]:
        """The dims that weights have by themselves; flat ones have one. Raises ModelError."""
        if not isinstance(written, str):
            return tuple(self.array(written, *where).shape)
        try:
            own = self.parameters.dims(written)
            return (self.parameters.count(written),) if own is None else own
        except ModelError as error:
            self._refuse_as(error, *where)

    def _parameter(self, written: Json, dims: Sequence[int], dtype: str, *where: str | int) -> Parameter:
        self.weight_count += _count(dims)
        if isinstance(written, str):
            try:
                return self.parameters.take(written, dims, dtype)
            except ModelError as error:
                self._refuse_as(error, *where)
        array = self.array(written, *where)
        if array.size != _count(dims) or (array.ndim > 1 and array.shape != tuple(dims)):
            self.refuse(
                f"has a {where[0]} of {shape_text(array.shape)} instead of {shape_text(dims)}", "", *where
            )
        if array.dtype.kind == "f" and dtype not in FLOATS:
            self.refuse(
                f"has fractions in {where[0]}, where {dtype} is needed", "write whole numbers", *where
            )
        return Parameter("", dtype, tuple(dims), array.reshape(dims).astype(numpy_type(dtype)))

    def _refuse_as(self, error: ModelError, *where: str | int) -> NoReturn:
        problem = error.problems[0]
        around = (
            f"; its input '{self.reads[('input',)].name}' is {self.input.text}"
            if ("input",) in self.reads
            else ""
        )
        about = f"layer '{self.layer.name}' ({self.layer.kind}): {problem.fact}" + (
            around if "instead of" in problem.fact else ""
        )
        raise ModelError(Problem(problem.code, about, problem.remedy, path=(*self.place, *where))) from error


def _count(dims: Sequence[int]) -> int:
    total = 1
    for dim in dims:
        total *= dim
    return total


def _own_type(array: Array) -> str:
    return {"f": "float32", "b": "bool"}.get(array.dtype.kind, "int64")
