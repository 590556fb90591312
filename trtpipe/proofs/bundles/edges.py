"""Proves the edges of a bundle: what one member yields is what the next one takes.

For each edge: both tensors exist; type and number of dimensions agree after its reshape and cast; no sizes contradict
each other; and at every corner of every profile of the producer, some profile of the consumer takes everything that
the producer gives it. Works on the models' interfaces; reads no file and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import prod

from trtpipe.canonical.summary import Dim, TensorInfo
from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.bundles import LoadedBundle, edge_places
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import CORNERS, Corner, Infer, corner_of, shapes_at, values_at
from trtpipe.shapes import Shape, format_shape
from trtpipe.spec.bundle import EdgeSpec, port
from trtpipe.spec.pipeline import Profile
from trtpipe.spec.variant import VariantSpec

_FLOATS = ("float32", "float16", "bfloat16", "float64")
_COMPUTES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
Dims = tuple[Dim, ...]


@dataclass(frozen=True)
class Interface:
    """What a member takes and yields, and how its shapes follow from each other."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    profiles: Sequence[Profile]
    infer: Infer

    def outputs_at(self, profile: Profile, corner: Corner) -> Mapping[str, Dims | None]:
        """The shape of every output at a corner of a profile."""
        infos = self.inputs.values()
        found = self.infer(shapes_at(infos, profile, corner), values_at(profile, corner))
        return {name: found.shape(name) for name in self.outputs}


@dataclass(frozen=True)
class _Edge:
    """One edge with both of its tensors."""

    spec: EdgeSpec
    source: str
    path: SpecPath
    given: TensorInfo
    taken: TensorInfo

    @property
    def ends(self) -> tuple[str, str]:
        """Producer and consumer."""
        return port(self.source)[0], port(self.spec.to)[0]

    def words(self) -> str:
        """The edge as messages name it."""
        return f"{self.source!r} → {self.spec.to!r}"


@dataclass(slots=True)
class EdgeProof:
    """Problems of the edges, and what is proved of them."""

    problems: list[Problem] = field(default_factory=list)
    proved: list[str] = field(default_factory=list)
    """One line for each edge that holds."""


def prove_edges(bundle: LoadedBundle, members: Mapping[str, Interface]) -> EdgeProof:
    """Everything that is wrong with a bundle's edges, one problem for each of them, located in its file."""
    proof, sound = EdgeProof(), list[_Edge]()
    by_source = {(source, edge.to): edge for source, edge in bundle.spec.all_edges()}
    for source, path, to in edge_places(bundle.spec):
        edge = _edge(by_source[source, to], source, path, members)
        wrong = edge if isinstance(edge, Problem) else _misfit(edge, bundle)
        if wrong is not None:
            proof.problems.append(bundle.locate(wrong))
        else:
            assert isinstance(edge, _Edge)
            sound.append(edge)
    for edges in _together(sound):
        out_of_range = _ranges(edges, members)
        if out_of_range is not None:
            proof.problems.append(bundle.locate(out_of_range))
        else:
            proof.proved += [_line(edge) for edge in edges]
    proof.problems += [bundle.locate(one) for one in _unknown_outputs(bundle, members)]
    proof.problems = list(dict.fromkeys(proof.problems))
    return proof


def _line(edge: _Edge) -> str:
    after = changed_dims(edge.spec, edge.given.dims)
    kind = edge.spec.cast or edge.given.dtype
    shown = format_dims(after)
    return f"{edge.source} → {edge.spec.to} ({kind} {shown})"


def _edge(spec: EdgeSpec, source: str, path: SpecPath, members: Mapping[str, Interface]) -> _Edge | Problem:
    (producer, output), (consumer, taken) = port(source), port(spec.to)
    outputs, inputs = members[producer].outputs, members[consumer].inputs
    if output not in outputs:
        fact = f"member {producer!r} has no output {output!r}"
        return Problem(
            Code.UNKNOWN_TENSOR, fact, choose_from(output, outputs, "outputs"), path=("edges", source)
        )
    if taken not in inputs:
        fact = f"member {consumer!r} has no input {taken!r}"
        return Problem(Code.UNKNOWN_INPUT, fact, choose_from(taken, inputs, "inputs"), path=path)
    return _Edge(spec, source, path, outputs[output], inputs[taken])


def _misfit(edge: _Edge, bundle: LoadedBundle) -> Problem | None:
    """What contradicts in an edge's declared types and shapes."""
    return _wrong_type(edge, bundle) or _wrong_reshape(edge) or _wrong_rank(edge) or _wrong_sizes(edge)


def _wrong_type(edge: _Edge, bundle: LoadedBundle) -> Problem | None:
    producer, consumer = edge.ends
    given = {None: edge.spec.cast} if edge.spec.cast else _types(bundle, producer, edge.given)
    taken = _types(bundle, consumer, edge.taken)
    for variant, made in given.items():
        for other, wanted in taken.items():
            if made != wanted:
                of = f" (variant {variant})" if variant and len(set(given.values())) > 1 else ""
                at = f" (variant {other})" if len(set(taken.values())) > 1 else ""
                after = " after the cast" if edge.spec.cast else ""
                fact = f"{edge.words()}: {made}{after}{of}, but the input is {wanted}{at}"
                remedy = f"write {_written(edge.spec.model_copy(update={'cast': wanted}))}"
                if len(set(taken.values())) > 1:
                    remedy = (
                        "allow only variants whose inputs have one type: see `io` of the consumer's variants"
                    )
                return Problem(Code.INPUT_TYPE, fact, remedy, path=edge.path)
    return None


def _types(bundle: LoadedBundle, member: str, info: TensorInfo) -> dict[str | None, str]:
    """Each allowed variant → the type that its typed model has for an input or output."""
    spec = bundle.pipeline_of(member).spec
    return {name: border_type(spec.variants[name], info) for name in bundle.variants_of(member)}


def border_type(variant: VariantSpec, info: TensorInfo) -> str:
    """The type of an input or output in a variant's typed model."""
    choices = [
        choice for glob, choice in variant.io.items() if glob == info.name or fnmatchcase(info.name, glob)
    ]
    if info.dtype not in _FLOATS or not choices or choices[-1] != "convert":
        return info.dtype
    computes = variant.base or variant.precision
    return _COMPUTES.get(computes, "float16")


def _wrong_reshape(edge: _Edge) -> Problem | None:
    """A reshape that the output's sizes do not allow."""
    wanted, dims = edge.spec.reshape, edge.given.dims
    if wanted is None:
        return None
    if dims is None:
        fact = f"{edge.words()}: how many dimensions the output has is not known"
        return Problem(Code.NO_RANK, fact, path=edge.path)
    short = [axis for axis, size in enumerate(wanted) if size == 0 and axis >= len(dims)]
    if short:
        fact = f"{edge.words()}: the reshape keeps dimension {short[0]}, and the output has {len(dims)}"
        return Problem(Code.SHAPES_NOT_TAKEN, fact, "give a size in place of that 0", path=edge.path)
    sizes = [dim for dim in dims if isinstance(dim, int)]
    fixed = [dims[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    known = [size for size in fixed if isinstance(size, int) and size != -1]
    if len(sizes) == len(dims):
        whole, part = prod(sizes), prod(known)
        fits = part and whole % part == 0 if -1 in wanted else whole == part
        if not fits:
            return _count(edge, dims)
    elif -1 not in wanted and len(known) == len(fixed):
        fact = f"{edge.words()}: a fixed shape for an output of dynamic shape {format_dims(dims)}"
        return Problem(Code.SHAPES_NOT_TAKEN, fact, "write -1 for the size that varies", path=edge.path)
    return None


def _count(edge: _Edge, dims: Dims) -> Problem:
    shape = list(edge.spec.reshape or ())
    fact = f"{edge.words()}: {format_dims(dims)} cannot be reshaped to {shape}"
    remedy = "write a shape with as many elements, or -1 for what is left"
    return Problem(Code.SHAPES_NOT_TAKEN, fact, remedy, path=edge.path)


def changed_dims(spec: EdgeSpec, dims: Dims | None) -> Dims | None:
    """The dims of a tensor after an edge's reshape, as far as they are known."""
    wanted = spec.reshape
    if wanted is None or dims is None:
        return dims
    made: list[Dim] = [dims[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if -1 in wanted:
        rest = [one for axis, one in enumerate(made) if wanted[axis] != -1]
        made[wanted.index(-1)] = _what_is_left(dims, rest)
    return tuple(made)


def _what_is_left(dims: Dims, rest: Sequence[Dim]) -> Dim:
    """The size of a -1: a number, the only symbolic dim if the numbers cancel, else not known."""
    left, taken = list(dims), list(rest)
    for one in list(taken):
        if not isinstance(one, int) and one in left:
            left.remove(one)
            taken.remove(one)
    symbols = [one for one in left if not isinstance(one, int)]
    numbers = prod(one for one in left if isinstance(one, int))
    divisor = prod(one for one in taken if isinstance(one, int))
    if any(not isinstance(one, int) for one in taken) or not divisor or numbers % divisor:
        return None
    if not symbols:
        return numbers // divisor
    return symbols[0] if len(symbols) == 1 and numbers == divisor else None


def _wrong_rank(edge: _Edge) -> Problem | None:
    after, wanted = changed_dims(edge.spec, edge.given.dims), edge.taken.dims
    if after is None or wanted is None or len(after) == len(wanted):
        return None
    said = " after the reshape" if edge.spec.reshape else ""
    given, taken = (
        f"{format_dims(after)}{said} has {_axes(after)}",
        f"{format_dims(wanted)} has {_axes(wanted)}",
    )
    fact = f"{edge.words()}: {given}, but the input {taken}"
    shape = tuple(size if isinstance(size, int) else -1 for size in wanted)
    alike = _elements(after) == _elements(wanted) and shape.count(-1) < 2
    reshaped = _written(edge.spec.model_copy(update={"reshape": shape}))
    remedy = (
        f"write {reshaped}" if alike else "connect a tensor of that shape, or write a reshape that yields it"
    )
    return Problem(Code.SHAPES_NOT_TAKEN, fact, remedy, path=edge.path)


def _elements(dims: Dims) -> int:
    """The product of the sizes that are known."""
    return prod(size for size in dims if isinstance(size, int))


def _written(edge: EdgeSpec) -> str:
    """An edge as it is written in a spec."""
    shape = f", reshape: {list(edge.reshape)}" if edge.reshape is not None else ""
    return f"{{to: {edge.to}{shape}{f', cast: {edge.cast}' if edge.cast else ''}}}"


def _axes(dims: Dims) -> str:
    return f"{len(dims)} dimension{'' if len(dims) == 1 else 's'}"


def _wrong_sizes(edge: _Edge) -> Problem | None:
    """Fixed sizes that differ; and one symbol for sizes that the consumer says differ."""
    after, wanted = changed_dims(edge.spec, edge.given.dims), edge.taken.dims
    for axis, (size, other) in enumerate(zip(after or (), wanted or (), strict=False)):
        if isinstance(size, int) and isinstance(other, int) and size != other:
            fact = (
                f"{edge.words()}: dimension {axis} is {size} in {format_dims(after)}, "
                f"but the input takes {format_dims(wanted)}"
            )
            remedy = "connect tensors of one shape, or write a reshape"
            return Problem(Code.SHAPES_NOT_TAKEN, fact, remedy, path=edge.path)
    return None


def format_dims(dims: Dims | None) -> str:
    """Dims as text: `nx1x8x8`, with `?` for what is not known."""
    if dims is None:
        return "of unknown rank"
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


def _together(edges: Iterable[_Edge]) -> list[list[_Edge]]:
    """The edges of each producer into each consumer: their shapes come together, and one profile must take them."""
    found: dict[tuple[str, str], list[_Edge]] = {}
    for edge in edges:
        found.setdefault(edge.ends, []).append(edge)
    return list(found.values())


def _ranges(edges: Sequence[_Edge], members: Mapping[str, Interface]) -> Problem | None:
    """A corner of a profile of the producer that no profile of the consumer takes."""
    producer, consumer = (members[name] for name in edges[0].ends)
    for number, profile in enumerate(producer.profiles or ({},)):
        for corner in CORNERS if profile else CORNERS[:1]:
            yielded = producer.outputs_at(profile, corner)
            shapes = {edge: changed_dims(edge.spec, yielded[port(edge.source)[1]]) for edge in edges}
            wrong = _not_taken(shapes, consumer)
            if wrong is not None:
                edge, why = wrong
                at = f"at {corner} of profile {number} of {edge.ends[0]!r}" if profile else "always"
                fact = f"{edge.words()}: {format_dims(shapes[edge])} {at}, {why}"
                return Problem(
                    Code.NO_PROFILE_TAKES, fact, _wider(edge, shapes[edge], consumer), path=edge.path
                )
    return None


def _wider(edge: _Edge, dims: Dims | None, consumer: Interface) -> str:
    producer, name = edge.ends[0], port(edge.spec.to)[1]
    if any(not isinstance(dim, int) for dim in dims or (None,)):
        return f"give {edge.source!r} a shape that follows from its inputs' shapes"
    if not consumer.profiles:
        return f"narrow the profiles of {producer!r}"
    return f"widen a profile of {edge.ends[1]!r} for {name!r}, or narrow those of {producer!r}"


def _not_taken(shapes: Mapping[_Edge, Dims | None], consumer: Interface) -> tuple[_Edge, str] | None:
    """The first edge whose shape no profile takes together with the others', and why; None if one takes them all."""
    for edge, dims in shapes.items():
        if dims is None or any(not isinstance(dim, int) for dim in dims):
            return edge, "so it depends on data and cannot be proved to fit"
    sized = {edge: tuple(dim for dim in dims or () if isinstance(dim, int)) for edge, dims in shapes.items()}
    found = [_misfits(sized, profile) for profile in consumer.profiles or ({},)]
    if not all(found):
        return None
    edge, takes = min(found, key=len)[0]
    who = edge.ends[1]
    if len(consumer.profiles) > 1:
        return edge, f"but no profile of {who!r} takes that"
    return edge, f"but {who!r} takes {takes}"


def _misfits(shapes: Mapping[_Edge, Shape], profile: Profile) -> list[tuple[_Edge, str]]:
    return [(edge, takes) for edge, shape in shapes.items() if (takes := _outside(edge, shape, profile))]


def _outside(edge: _Edge, shape: Shape, profile: Profile) -> str:
    """What a profile takes for an input, if that is not this shape; else nothing."""
    name = port(edge.spec.to)[1]
    entry = profile.get(name)
    least, most = (corner_of(entry, "min"), corner_of(entry, "max")) if entry is not None else (None, None)
    if least is None or most is None:
        fixed = edge.taken.dims or ()
        fits = all(not isinstance(one, int) or one == size for one, size in zip(fixed, shape, strict=True))
        return "" if fits else format_dims(fixed)
    fits = all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))
    return "" if fits else f"{format_shape(least)} to {format_shape(most)}"


def _unknown_outputs(bundle: LoadedBundle, members: Mapping[str, Interface]) -> Iterator[Problem]:
    for index, text in enumerate(bundle.spec.outputs):
        member, name = port(text)
        if name not in members[member].outputs:
            fact = f"member {member!r} has no output {name!r}"
            remedy = choose_from(name, members[member].outputs, "outputs")
            yield Problem(Code.UNKNOWN_TENSOR, fact, remedy, path=("outputs", index))


def whole_outputs(bundle: LoadedBundle, members: Mapping[str, Interface]) -> list[str]:
    """What the whole yields: the outputs that no edge consumes, and those that the spec names, as `member.output`."""
    consumed = set(bundle.spec.edges) - set(bundle.spec.outputs)
    every = (f"{member}.{name}" for member, one in members.items() for name in one.outputs)
    return [text for text in every if text not in consumed]
