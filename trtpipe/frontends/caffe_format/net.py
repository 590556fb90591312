"""Reads a prototxt's fields as the net to deploy: its inputs, and its layers in order.

Both generations of the format give the same result. Layers excluded by rules, data layers and losses are removed. Does
not interpret layer parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trtpipe.errors import Location, ModelError, Problem
from trtpipe.frontends.caffe_format.layer_types import (
    DATA_TYPES,
    DROPPED_TYPES,
    PARAMETERS,
    TRAINING_FIELDS,
    V1_TYPES,
)
from trtpipe.frontends.caffe_format.params import Params
from trtpipe.frontends.caffe_format.prototext import TextDocument
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM

MOST_PROBLEMS = 100
"""No more are looked for: finding the nearest name for each of a million would take hours."""

_MOST_AXES = 32  # Caffe's kMaxBlobAxes
_MOST_NAMES = 200  # different fields of one layer

_NET_FIELDS = ("debug_info", "force_backward", "global_grad_scale", "reduce_buckets")
_LAYER_FIELDS = ("bottom", "exclude", "include", "layer", "name", "top", "type")
_SOLVER_FIELDS = {"net", "train_net", "test_net", "base_lr", "solver_mode", "max_iter"}


@dataclass(frozen=True)
class NetState:
    """The state that include and exclude rules are compared with; the phase is always TEST."""

    level: int = 0
    stages: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NetInput:
    """An input blob; `dims` is None when only a data layer declares it."""

    name: str
    dims: tuple[int, ...] | None
    where: Location
    maker: str = ""
    """The data layer that makes it in training."""


@dataclass(frozen=True)
class NetLayer:
    """A layer as written in the prototxt."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    params: Params

    @property
    def where(self) -> Location:
        """Its first line."""
        return self.params.where()

    @property
    def called(self) -> str:
        """Its name, or where it has none that of its first top."""
        return self.name or (*self.tops, self.type)[0]

    def __str__(self) -> str:
        return f"layer {self.called!r} ({self.type})"


@dataclass
class Net:
    """A net to deploy."""

    name: str
    inputs: dict[str, NetInput] = field(default_factory=dict)
    layers: list[NetLayer] = field(default_factory=list)


def read_net(document: TextDocument, state: NetState) -> Net:
    """The net of a prototxt. Raises ModelError with every problem in its outline."""
    return _NetReader(document, state).net()


def stop_at(problems: list[Problem]) -> None:
    """Raises ModelError when there are problems; only the first ones are reported."""
    if len(problems) >= MOST_PROBLEMS:
        problems = [
            *problems[:MOST_PROBLEMS],
            Problem(
                Code.MORE_PROBLEMS, "there may be more problems, which are reported once these are fixed"
            ),
        ]
    if problems:
        raise ModelError(problems)


class _NetReader:
    def __init__(self, document: TextDocument, state: NetState) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.root = Params(document.root, document, "the net")
        self.state = state

    def net(self) -> Net:
        net = Net(self.root.text("name", "net") or "net")
        self.add_state()
        self.root.ignore(*_NET_FIELDS, *(name for name in self.root.names() if name.startswith("default_")))
        for one in self.legacy_inputs():
            self.add_input(net, one)
        for params in self.layers():
            if len(self.problems) >= MOST_PROBLEMS:
                break
            self.try_layer(net, params)
        self.problems += self.root.unknown()
        if not net.layers and not self.problems:
            self.problems.append(
                Problem(Code.CAFFE_NET, "the net has no layers", where=self.document.locate(0))
            )
        stop_at(self.problems)
        return net

    def add_state(self) -> None:
        written = self.root.message("state")
        written.choice("phase", "TEST", ("TRAIN", "TEST"))
        stages = self.state.stages | frozenset(written.texts("stage"))
        self.state = NetState(self.state.level or written.integer("level", 0), stages)

    def layers(self) -> Iterable[Params]:
        newer, older = self.root.messages("layer"), self.root.messages("layers")
        if newer and older:
            fact = "the net has layers of both formats, 'layer' and 'layers'"
            raise ModelError(
                Problem(Code.CAFFE_NET, fact, 'write all as layer { type: "…" }', older[0].where())
            )
        if not newer and not older and _SOLVER_FIELDS & set(self.root.names()):
            fact = "this is a solver's configuration, not a net"
            raise ModelError(
                Problem(
                    Code.CAFFE_NET, fact, "give the prototxt of the deployed net", self.document.locate(0)
                )
            )
        return newer or older

    def try_layer(self, net: Net, params: Params) -> None:
        try:
            self.add_layer(net, params)
        except ModelError as error:
            self.problems += error.problems

    def add_layer(self, net: Net, params: Params) -> None:
        name = params.text("name")
        called = name or (*params.texts("top"), "")[0]
        params = Params(params.message_itself, self.document, f"layer {called!r}")
        if len(params.names()) > _MOST_NAMES:
            raise params.refuse("", f"it has more than {_MOST_NAMES} different fields")
        kind = _v1_type(params) if self.is_v1(params) else params.text("type")
        if not kind:
            raise params.refuse("type", "no type is given", 'write type: "Convolution", for example')
        params = Params(params.message_itself, self.document, f"layer {called!r} ({kind})")
        included = self.included(params)
        layer = NetLayer(name, kind, tuple(params.texts("bottom")), tuple(params.texts("top")), params)
        if not included or kind in DROPPED_TYPES:
            return
        params.ignore(*_LAYER_FIELDS, *TRAINING_FIELDS)
        if kind == "Input" or kind in DATA_TYPES:
            for one in _inputs_of(layer):
                self.add_input(net, one)
        else:
            self.problems += _unknown_fields(params)
            net.layers.append(layer)

    def is_v1(self, params: Params) -> bool:
        if "layer" in params:
            fact = "this net is in the V0 format of 2013"
            raise params.refuse("layer", fact, "upgrade it with Caffe's own tool upgrade_net_proto_text")
        return "layers" in self.root

    def included(self, params: Params) -> bool:
        """Caffe's Net::StateMeetsRule: any include rule met, or no exclude rule."""
        include, exclude = params.messages("include"), params.messages("exclude")
        if include and exclude:
            raise params.refuse("exclude", "include and exclude rules cannot be combined")
        met = [self.meets(rule) for rule in include or exclude]
        return not met or any(met) == bool(include)

    def meets(self, rule: Params) -> bool:
        level = self.state.level
        required, forbidden = set(rule.texts("stage")), set(rule.texts("not_stage"))
        met = (
            rule.choice("phase", "TEST", ("TRAIN", "TEST")) == "TEST"
            and rule.integer("min_level", level) <= level <= rule.integer("max_level", level)
            and required <= self.state.stages
            and not forbidden & self.state.stages
        )
        self.problems += rule.unknown()
        return met

    def add_input(self, net: Net, one: NetInput) -> None:
        if one.name in net.inputs:
            self.problems.append(
                Problem(Code.CAFFE_NET, f"input {one.name!r} is declared twice", where=one.where)
            )
        net.inputs[one.name] = one

    def legacy_inputs(self) -> Iterator[NetInput]:
        """`input:` with `input_dim:` four by four, or with `input_shape`."""
        names = self.root.texts("input")
        dims = self.root.integers("input_dim")
        shapes = [tuple(shape.integers("dim")) for shape in self.root.messages("input_shape")]
        if dims:
            shapes = [tuple(dims[at : at + 4]) for at in range(0, len(dims), 4)]
        if len(shapes) != len(names) or (dims and len(dims) % 4):
            fact = f"there are {len(names)} inputs and {len(shapes)} shapes"
            remedy = "write an input_shape { dim: … } for each input, or four input_dim"
            self.problems.append(
                Problem(Code.CAFFE_NET, fact, remedy, self.root.where("input" if names else "input_dim"))
            )
            return
        for name, shape in zip(names, shapes, strict=True):
            yield NetInput(name, _checked(shape, self.root, "input"), self.root.where("input"))


def _v1_type(params: Params) -> str:
    names = {name: new for name, (_, new) in V1_TYPES.items()}
    numbers = {str(number): new for number, new in V1_TYPES.values()}
    written = params.word("type")
    found = names.get(written, numbers.get(written))
    if found is None:
        remedy = choose_from(written, sorted(names), "types")
        raise params.refuse("type", f"V1 has no layer type {written!r}", remedy)
    return found


def _unknown_fields(params: Params) -> Iterator[Problem]:
    own = [name for name in params.names() if name in PARAMETERS or name.endswith("_param")]
    params.ignore(*(name for name in own if name in PARAMETERS or not _misspelt(name)))
    yield from params.unknown()


def _misspelt(name: str) -> bool:
    """Whether a parameter block of no known layer is one letter away from one of a known layer."""
    from difflib import get_close_matches

    return bool(get_close_matches(name, PARAMETERS, n=1, cutoff=0.9))


def _inputs_of(layer: NetLayer) -> Iterator[NetInput]:
    """The tops of an Input or data layer."""
    shapes: list[tuple[int, ...]] = []
    if layer.type in ("Input", "DummyData"):
        own = layer.params.message("input_param" if layer.type == "Input" else "dummy_data_param")
        shapes = [_checked(tuple(shape.integers("dim")), shape, "dim") for shape in own.messages("shape")]
        if len(shapes) not in (0, 1, len(layer.tops)):
            raise own.refuse("shape", f"there are {len(layer.tops)} tops and {len(shapes)} shapes")
    maker = "" if layer.type == "Input" else str(layer)
    for index, top in enumerate(layer.tops):
        dims = shapes[index if len(shapes) > 1 else 0] if shapes else None
        yield NetInput(top, dims, layer.where, maker)


def _checked(dims: tuple[int, ...], params: Params, name: str) -> tuple[int, ...]:
    if not 0 < len(dims) <= _MOST_AXES or any(not 1 <= dim <= LARGEST_DIM for dim in dims):
        shown = "x".join(map(str, dims[: _MOST_AXES + 1])) or "empty"
        remedy = "there must be 1 to 32 dimensions, each 1 or more; set dynamic sizes in model.options.inputs"
        raise params.refuse(name, f"the shape of an input cannot be {shown}", remedy)
    return dims
