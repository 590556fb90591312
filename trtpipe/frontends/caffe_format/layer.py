"""A Caffe layer being converted to ONNX: what a lowering function reads, and the methods that build nodes.

The same class serves Caffe's own layers and those that a project defines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trtpipe.canonical.builder import Dim, GraphBuilder
from trtpipe.canonical.wire import LARGE
from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.caffe_format.caffemodel import Blob, Weights
from trtpipe.frontends.caffe_format.layer_types import needs_weights
from trtpipe.frontends.caffe_format.params import Params
from trtpipe.frontends.caffe_format.wires import WiredLayer
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import numpy.typing as npt

    from trtpipe.arrays import Array
    from trtpipe.canonical.builder import Attribute
    from trtpipe.json_values import Json

Dims = tuple[Dim, ...]

_NO_MEANING = ("bias_filler", "conv_algos_override", "cudnn_convolution_algo_seeker", "engine", "filler",
               "force_nd_im2col", "scale_filler", "stable_prod_grad", "weight_filler")  # fmt: skip
"""Fields of parameter blocks that speak of training or of how Caffe computes."""

_THESE_WEIGHTS = "give the weights that were trained with this prototxt"
_USUAL_RANK = 4


class Tensor(NamedTuple):
    """A tensor of the graph: float32, with its dims where they are known.

    A dim is a size, the name of a dynamic one, or None; `dims` is None when not even the rank is known.
    """

    name: str
    dims: Dims | None = None

    def shaped(self, dims: Sequence[Dim] | None) -> Tensor:
        """The same tensor, known to have these dims."""
        return Tensor(self.name, None if dims is None else tuple(dims))


Lowered = Tensor | Sequence[Tensor]
Lowering = Callable[["Layer"], Lowered]
"""Builds a layer's nodes and gives the tensor of each of its tops."""


class BehindUnknown(Exception):
    """Raised for a layer after an unsupported one, when it cannot be checked without the shapes of its bottoms."""


class Layer:
    """One layer: `name` (its first top's where it has none), `type`, `inputs` (tensors), `tops` (names of blobs).

    It also has the layer's parameters and its weights.

    `behind` says that it depends on a layer that cannot be lowered. It is then only checked for its own mistakes, and
    nothing that it builds is used. `wanted` lists the weights it lacks when no caffemodel is given.
    """

    def __init__(
        self,
        wired: WiredLayer,
        inputs: Sequence[Tensor],
        weights: Weights | None,
        builder: GraphBuilder,
        taken: set[str],
        *,
        behind: bool = False,
    ) -> None:
        self.name = wired.layer.called
        self.type = wired.layer.type
        self.inputs = tuple(inputs)
        self.tops = wired.layer.tops
        self.builder = builder
        self.blobs: list[Blob] = list(weights.layers.get(wired.layer.name, ())) if weights else []
        self._wired = wired
        self._weights = weights
        self._taken = taken
        self.wanted = ""
        self._behind = behind
        self._used: set[int] = set()
        self._given: list[Params] = []
        self._unfitting: list[Problem] = []

    def __str__(self) -> str:
        return str(self._wired.layer)

    def params(self, block: str) -> Params:
        """A parameter block (`convolution_param`), empty when missing; fields that nobody reads are rejected later."""
        found = self._wired.layer.params.message(block)
        found.ignore(*_NO_MEANING)
        self._given.append(found)
        return found

    @property
    def parameters(self) -> dict[str, Json]:
        """All that is written in the layer, as plain values: {"name": …, "mish_param": {"scale": 2}}."""
        return self._wired.layer.params.to_dict()

    def refuse(self, fact: str, remedy: str = "") -> ModelError:
        """The error to raise when this layer cannot be built; it names the layer and its line."""
        return ModelError(self._problem(fact, remedy))

    def _problem(self, fact: str, remedy: str) -> Problem:
        return Problem(Code.CAFFE_LAYER, f"{self}: {fact}", remedy, self._wired.layer.where)

    def only_input(self) -> Tensor:
        """The input of a layer that has exactly one. Raises ModelError when there are more."""
        self.expect_inputs(1)
        return self.inputs[0]

    def expect_inputs(self, least: int, most: int | None = None) -> None:
        """Raises ModelError when there are fewer or more inputs."""
        most = least if most is None else most
        if not least <= len(self.inputs) <= most:
            wanted = (
                f"{least}" if least == most else f"{least} or more" if most > 99 else f"{least} to {most}"
            )
            raise self.refuse(f"it needs {wanted} bottoms, not {len(self.inputs)}")

    def dims(self, index: int = 0, *, ranks: Sequence[int] = ()) -> Dims:
        """The dims of an input, which must have one of these ranks."""
        dims = self.inputs[index].dims
        if self._behind and dims is None:
            return (None,) * (ranks[0] if ranks else _USUAL_RANK)
        blob = self._wired.layer.bottoms[index]
        if dims is None:
            remedy = "declare it for the custom layer that makes it: plugin: {outputs: [1x8x32x32]}"
            raise self.refuse(f"the shape of its bottom {blob!r} is unknown", remedy)
        if ranks and len(dims) not in ranks:
            wanted = " or ".join(map(str, ranks))
            raise self.refuse(f"its bottom {blob!r} must have {wanted} axes, and is {shown(dims)}")
        return dims

    def axis(self, written: int, rank: int, *, end: bool = False) -> int:
        """An axis from 0 on, which may be written from the end; `end` allows the one behind the last."""
        most = rank + end
        if not -most <= written < most:
            raise self.refuse(f"axis {written} does not exist: its bottom has {rank} axes")
        return written + most if written < 0 else written

    def fixed(self, dims: Dims, first: int, last: int, why: str) -> int:
        """The product of dims `first` to `last` - 1, which must not be dynamic."""
        count = product(dims[first:last])
        if count is None and self._behind:
            raise BehindUnknown
        if count is None:
            remedy = "give the input a fixed size there, in model.options.inputs"
            raise self.refuse(f"{why} needs fixed sizes, and its bottom is {shown(dims)}", remedy)
        return count

    def node(
        self,
        operator: str,
        inputs: Sequence[Tensor | str],
        part: str = "",
        *,
        domain: str = "",
        **attributes: Attribute,
    ) -> Tensor:
        """Adds a node with one output. `part` names it after the layer: LAYER/PART, or LAYER when left out."""
        return self.nodes(operator, inputs, 1, part, domain=domain, **attributes)[0]

    def nodes(
        self,
        operator: str,
        inputs: Sequence[Tensor | str],
        count: int,
        part: str = "",
        *,
        domain: str = "",
        **attributes: Attribute,
    ) -> list[Tensor]:
        """Adds a node with `count` outputs; `domain` is that of its operator."""
        name = f"{self.name}/{part}" if part else self.name
        outputs = [self.free(f"{name}:{number}" if number else name) for number in range(count)]
        read = [one.name if isinstance(one, Tensor) else one for one in inputs]
        made = self.builder.node(operator, read, outputs, name=name, domain=domain, attributes=attributes)
        return [Tensor(one) for one in made]

    def free(self, wanted: str) -> str:
        """A name, unused by any blob, for a tensor inside the layer."""
        while wanted in self._taken:
            wanted += "_"
        return wanted

    def constant(self, value: npt.ArrayLike, part: str) -> str:
        """A constant, float32 unless it is an array of another type; its name."""
        import numpy as np

        array = np.asarray(value)
        if array.dtype.kind == "f":
            with np.errstate(all="ignore"):  # values beyond float32 become infinite, as in Caffe
                array = array.astype(np.float32)
        return self.builder.constant(array, self.free(f"{self.name}/{part}"))

    def weight(self, index: int, dims: Sequence[int], part: str, *, as_dims: Sequence[int] = ()) -> str:
        """Blob `index`, which must have these dims, as a constant of dims `as_dims`; it stays in its file."""
        blob = self.blob(index, dims, part)
        name, made = self.free(f"{self.name}/{part}"), list(as_dims or dims)
        if blob is None:
            return name
        if blob.mapped is not None and blob.count * 4 >= LARGE:
            return self.builder.mapped_constant(name, "float32", made, blob.file, blob.mapped)
        return self.builder.constant(blob.array().reshape(made), name)

    def array(self, index: int, dims: Sequence[int], part: str) -> Array:
        """Blob `index`, which must have these dims, as an array; zeros where a problem was noted instead."""
        import numpy as np

        blob = self.blob(index, dims, part)
        if blob is None:
            return np.broadcast_to(np.zeros((), np.float32), list(dims))
        return blob.array().reshape(list(dims))

    def arrays(self) -> list[Array]:
        """All blobs as arrays of the shapes that the file gives them."""
        self._used.update(range(len(self.blobs)))
        return [blob.array().reshape(blob.dims) for blob in self.blobs]

    def blob(self, index: int, dims: Sequence[int], part: str) -> Blob | None:
        """Blob `index`, which must have these dims; axes of size 1 do not matter, as old files have four axes.

        None when it is missing or has other dims. The problem is then noted and not raised: the output shapes are known
        without the weights, so that the following layers can be checked too.
        """
        if self._weights is None:
            self.wanted = self.wanted or f"{part} of {shown(dims)}"
            return None
        if index >= len(self.blobs):
            self._unfitting.append(self._without(index, dims, part, self._weights))
            return None
        self._used.add(index)
        blob = self.blobs[index]
        if [dim for dim in blob.dims if dim != 1] == [dim for dim in dims if dim != 1]:
            return blob
        fact = f"its {part} must be {shown(dims)}, and is {shown(blob.dims)} in {self._weights.name}"
        self._unfitting.append(self._problem(fact, _THESE_WEIGHTS))
        return None

    def _without(self, index: int, dims: Sequence[int], part: str, weights: Weights) -> Problem:
        wanted = f"{part} of {shown(dims)}"
        if self.blobs:
            fact = f"{weights.name} has {len(self.blobs)} blobs for it, and its {wanted} are not among them"
            return self._problem(fact, _THESE_WEIGHTS)
        fact = f"{weights.name} has no weights for it; it needs {wanted}"
        return self._problem(fact, nearest_layer(self.name, weights))

    def without_weights(self) -> Iterator[Problem]:
        """Reports that all weights are missing, for a layer whose shapes are not known."""
        if self.blobs or not needs_weights(self.type, len(self.inputs)):
            return
        if self._weights is None:
            self.wanted = "weights"
            return
        remedy = nearest_layer(self.name, self._weights)
        yield self._problem(f"{self._weights.name} has no weights for it", remedy)

    def leftovers(self) -> Iterator[Problem]:
        """Problems: weights that are missing or do not fit, fields that were not read, blobs that were not used."""
        yield from self._unfitting
        for params in self._given:
            yield from params.unknown()
        unused = len(self.blobs) - len(self._used)
        if unused and self._weights is not None and not self._unfitting:
            fact = f"{self._weights.name} has {len(self.blobs)} blobs for it, and it takes {len(self._used)}"
            yield Problem(Code.CAFFE_WEIGHTS, f"{self}: {fact}", _THESE_WEIGHTS, self._wired.layer.where)


def nearest_layer(name: str, weights: Weights) -> str:
    """The layer in the file that was probably meant."""
    from trtpipe.loader.grammar import choose_from

    return choose_from(name, list(weights.layers)[:1000], f"layers with weights in {weights.name}")


def product(dims: Sequence[Dim]) -> int | None:
    """The product of dims; None when one is dynamic."""
    return math.prod(dim for dim in dims if isinstance(dim, int)) if all_fixed(dims) else None


def all_fixed(dims: Sequence[Dim]) -> bool:
    """Whether no dim is dynamic."""
    return all(isinstance(dim, int) for dim in dims)


def shown(dims: Sequence[Dim]) -> str:
    """Dims as text: `batchx3x224x?`."""
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"
