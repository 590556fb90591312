"""What stands in front of a member of a bundle: the reshapes and casts of the edges into it, as declared layers.

Computes the graft, and the profiles for the inputs as the producers yield them. Works on the models' interfaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem, SpecError
from trtpipe.json_values import Json
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.problem_codes import Code
from trtpipe.proofs.bundles.edges import Dims, border_type, changed_dims, format_dims
from trtpipe.proofs.corners import CORNERS, corner_of
from trtpipe.shapes import Shape
from trtpipe.spec.bundle import EdgeSpec, port
from trtpipe.spec.pipeline import Profile, ProfileInput

Ports = Mapping[str, TensorInfo]
"""`member.tensor` → what is known of it."""


def graft_for(bundle: LoadedBundle, member: str, ports: Ports) -> dict[str, Json]:
    """The graft of a member, as `transform.graft` is written. Raises SpecError, located in the bundle's file."""
    return {"prepend": dict(_prepended(bundle, member, ports))}


def _prepended(bundle: LoadedBundle, member: str, ports: Ports) -> Iterator[tuple[str, Json]]:
    for source, edge in bundle.changes_into(member):
        name = port(edge.to)[1]
        given = _info(bundle, source, ports)
        layers: list[Json] = []
        if edge.reshape is not None:
            layers.append(
                {"layer": "shuffle", "name": f"{edge.to}/reshape", "reshape_dims": list(edge.reshape)}
            )
        if edge.cast is not None:
            layers.append({"layer": "cast", "name": f"{edge.to}/cast", "to_type": edge.cast})
        shape: list[Json] = [dim if isinstance(dim, int) else -1 for dim in given.dims or ()]
        yield name, {"dtype": _type_of(bundle, source, given), "shape": shape, "layers": layers}


def _info(bundle: LoadedBundle, source: str, ports: Ports) -> TensorInfo:
    if source not in ports or ports[source].dims is None:
        fact = f"the shape of {source!r} is not known, so the model behind the edge cannot be built"
        problem = Problem(Code.NO_RANK, fact, path=("edges", source))
        raise SpecError(bundle.locate(problem))
    return ports[source]


def _type_of(bundle: LoadedBundle, source: str, given: TensorInfo) -> str:
    """The type that the producer yields; all of its allowed variants must agree on it."""
    producer = port(source)[0]
    spec = bundle.pipeline_of(producer).spec
    found = {name: border_type(spec.variants[name], given) for name in bundle.variants_of(producer)}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{kind} in {name}" for name, kind in found.items())
        fact = f"{source!r} is {listed}, and the model behind the edge is built for one type"
        remedy = f"allow fewer variants for member {producer!r}, or make their `io` alike"
        raise SpecError(bundle.locate(Problem(Code.INPUT_TYPE, fact, remedy, path=("edges", source))))
    return next(iter(found.values()))


def profiles_for(bundle: LoadedBundle, member: str, ports: Ports) -> tuple[Profile, ...]:
    """The member's profiles, with the shapes that its inputs have before the edges' reshapes. Raises SpecError."""
    found = []
    for profile in bundle.pipeline_of(member).spec.profiles:
        own = dict(profile)
        for source, edge in bundle.changes_into(member):
            name = port(edge.to)[1]
            if edge.reshape is not None and name in own:
                own[name] = _before(bundle, source, edge, own[name], ports)
        found.append(own)
    return tuple(found)


def _before(
    bundle: LoadedBundle, source: str, edge: EdgeSpec, entry: ProfileInput, ports: Ports
) -> ProfileInput:
    dims = _info(bundle, source, ports).dims or ()
    shapes: dict[str, Shape] = {}
    for corner in CORNERS:
        after = corner_of(entry, corner)
        shape = shape_before(dims, edge, after) if after is not None else None
        if shape is None:
            fact = f"{source!r} → {edge.to!r}: the profile says nothing of the sizes in {format_dims(dims)}"
            raise SpecError(bundle.locate(Problem(Code.PROFILE_MISFIT, fact, path=("edges", source))))
        shapes[corner] = shape
    return ProfileInput(min=shapes["min"], opt=shapes["opt"], max=shapes["max"])


def shape_before(dims: Dims, edge: EdgeSpec, after: Shape) -> Shape | None:
    """The shape with these dims that the reshape makes into `after`; None if several are possible."""
    changed = changed_dims(edge, dims) or ()
    sizes = {dim: size for dim, size in zip(changed, after, strict=True) if isinstance(dim, str)}
    known = [dim if isinstance(dim, int) else sizes.get(dim or "") for dim in dims]
    unknown = [axis for axis, size in enumerate(known) if size is None]
    if len(unknown) > 1:
        return None
    rest = prod(size for size in known if size is not None)
    if unknown:
        if not rest or prod(after) % rest:
            return None
        known[unknown[0]] = prod(after) // rest
    return tuple(size for size in known if size is not None)
