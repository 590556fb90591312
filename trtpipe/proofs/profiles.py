"""Checks optimization profiles against a model's inputs: everything that TensorRT would reject or silently accept.

TensorRT silently accepts a profile for an unknown input, notices other mistakes only in the middle of a build, and
stops at the first one; here all are reported in one pass. The inputs are those after the spec's transform. Independent
of YAML: a Problem's path is its place in the spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.scalars import flow_yaml
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import Infer, prove_corners, shapes_at
from trtpipe.proofs.dim_names import describe_dims
from trtpipe.proofs.paste import plain_entry, yaml_profiles
from trtpipe.proofs.profile_shapes import prove_shapes, prove_shared
from trtpipe.proofs.profile_values import prove_values, values_length
from trtpipe.proofs.proposals import Hints, is_open, propose_profile
from trtpipe.proofs.repairs import working_profile
from trtpipe.proofs.value_inputs import ShapeUse
from trtpipe.spec.pipeline import Profile, TransformSpec

Uses = Mapping[str, ShapeUse]


def prove_profiles(
    inputs: Sequence[TensorInfo],
    profiles: tuple[Profile, ...],
    *,
    infer: Infer,
    value_inputs: Uses,
    outputs: Sequence[TensorInfo] = (),
    transform: TransformSpec | None = None,
) -> list[Problem]:
    """Everything that is wrong with the profiles of a model, all in one pass; empty when they are proved.

    `inputs` are the model's after `transform`, which is only used for messages; `value_inputs` are those whose
    values set shapes; `outputs` count for the memory at max. The result includes warnings and notes.
    """
    constants = {name: use for name, use in value_inputs.items() if use.only_constant}
    problems = [_only_constant(use) for use in constants.values()]
    served = [info for info in inputs if info.name not in constants]
    unranked = [_no_rank(info) for info in served if info.dims is None]
    problems += unranked
    if not profiles and not unranked:
        problems += _without_profiles(served, value_inputs, infer, outputs)
    bound = frozenset(transform.bind if transform else ())
    for index, profile in enumerate(profiles):
        ranges = {name: entry for name, entry in profile.items() if name not in constants}
        wrong = _written(index, ranges, served, value_inputs, bound, infer)
        if not unranked and not any(problem.severity == "error" for problem in wrong):
            impossible = prove_corners(index, served, ranges, infer, [info.name for info in outputs])
            wrong += _with_way_out(impossible, ranges, served, infer, value_inputs)
        problems += wrong
    needless = profiles and not problems and not needs_profile(served, value_inputs)
    return [_needless()] if needless else problems


def _with_way_out(
    problems: list[Problem], profile: Profile, inputs: Sequence[TensorInfo], infer: Infer, uses: Uses
) -> list[Problem]:
    """Adds a working profile to the problem of the first failing corner, if one was found."""
    first = problems[0] if problems else None
    if first is None or first.code is not Code.PROFILE_IMPOSSIBLE:
        return problems
    working = working_profile(profile, inputs, infer, uses)
    if working is None:
        return problems
    way_out = f"with the model as it is, this profile works:\n{yaml_profiles((working,))}"
    remedy = "\n".join(filter(None, (first.remedy, way_out)))
    return [replace(first, remedy=remedy), *problems[1:]]


def needs_profile(inputs: Sequence[TensorInfo], value_inputs: Uses) -> bool:
    """Whether TensorRT wants a profile: some input is dynamic, or is a shape tensor."""
    return any(is_open(info, value_inputs) for info in inputs)


def _only_constant(use: ShapeUse) -> Problem:
    name = flow_yaml(use.input)
    return Problem(
        Code.CONSTANT_SHAPE_TENSOR,
        f"the values of '{use.input}' set a shape at {use}, which TensorRT takes only as a constant",
        f"bind it, with your values: transform: {{bind: {{{name}: [1]}}}}", path=("transform", "bind", use.input),
    )  # fmt: skip


def _no_rank(info: TensorInfo) -> Problem:
    return Problem(
        Code.NO_RANK,
        f"input '{info.name}' declares no shape, not even a rank",
        f"declare it, e.g. transform: {{set_shapes: {{{flow_yaml(info.name)}: [-1, 3, 224, 224]}}}}",
        path=("model", "source"),
    )


def _needless() -> Problem:
    return Problem(
        Code.PROFILE_NEEDLESS,
        "every input is static, so TensorRT is given no profile",
        "leave 'profiles' out", path=("profiles",), severity="warning",
    )  # fmt: skip


def _without_profiles(
    inputs: Sequence[TensorInfo], value_inputs: Uses, infer: Infer, outputs: Sequence[TensorInfo]
) -> list[Problem]:
    if needs_profile(inputs, value_inputs):
        return [_undeclared(inputs, value_inputs, infer, outputs)]
    problems = infer(shapes_at(inputs, {}, "opt"), {}).problems
    return [
        Problem(
            problem.code,
            f"the model's own input shapes do not fit: {problem.fact}",
            problem.remedy,
            path=("model", "source"),
        )
        for problem in problems
    ]


def _undeclared(
    inputs: Sequence[TensorInfo], value_inputs: Uses, infer: Infer, outputs: Sequence[TensorInfo]
) -> Problem:
    facts = ", ".join(_why_open(info, value_inputs) for info in inputs if is_open(info, value_inputs))
    proposal = propose_profile(inputs, infer=infer, value_inputs=value_inputs, outputs=outputs)
    return Problem(
        Code.PROFILE_NEEDED,
        f"the model needs a profile: {facts}",
        f"add this to the spec, with the sizes that you serve:\n{yaml_profiles((proposal.profile,))}",
        path=("profiles",),
    )


def _why_open(info: TensorInfo, value_inputs: Uses) -> str:
    if info.name in value_inputs:
        return f"the values of '{info.name}' set a shape"
    return f"'{info.name}' is {describe_dims(info)}"


def _written(
    index: int,
    profile: Profile,
    inputs: Sequence[TensorInfo],
    value_inputs: Uses,
    bound: frozenset[str],
    infer: Infer,
) -> list[Problem]:
    """The problems of a profile as written, before any shape is inferred."""
    by_name = {info.name: info for info in inputs}
    return [
        *_entries(index, profile, by_name, value_inputs, bound),
        *prove_shared(by_name, profile, ("profiles", index)),
        *_left_out(index, profile, inputs, value_inputs, infer),
    ]


def _entries(
    index: int, profile: Profile, inputs: Mapping[str, TensorInfo], value_inputs: Uses, bound: frozenset[str]
) -> Iterator[Problem]:
    """The problems of each input's entry by itself."""
    for name, entry in profile.items():
        path = ("profiles", index, name)
        info = inputs.get(name)
        if info is None:
            fact, remedy = _unknown(name, inputs, bound)
            yield Problem(Code.NO_EFFECT if name in bound else Code.UNKNOWN_INPUT, fact, remedy, path=path)
        elif info.dims is not None:
            yield from prove_shapes(info, entry, path)
            yield from prove_values(info, entry, value_inputs, path)


def _unknown(name: str, inputs: Mapping[str, TensorInfo], bound: frozenset[str]) -> tuple[str, str]:
    if name in bound:
        return f"input '{name}' is bound to a constant by transform.bind", "take it out of the profile"
    return f"the model has no input '{name}'", choose_from(name, inputs, "inputs")


def _left_out(
    index: int, profile: Profile, inputs: Sequence[TensorInfo], value_inputs: Uses, infer: Infer
) -> Iterator[Problem]:
    absent = [info for info in inputs if info.name not in profile and is_open(info, value_inputs)]
    if not absent:
        return
    proposal = propose_profile(
        inputs, infer=infer, value_inputs=value_inputs, hints=Hints(given=profile)
    ).profile
    for info in absent:
        if info.name in value_inputs and values_length(info) is None:
            remedy = f"fix its length first: transform: {{set_shapes: {{{flow_yaml(info.name)}: [4]}}}}"
        else:
            remedy = f"add {flow_yaml(info.name)}: {flow_yaml(plain_entry(proposal[info.name]))}"
        yield Problem(
            Code.PROFILE_LEAVES_OUT,
            f"profile {index} leaves out an input: {_why_open(info, value_inputs)}",
            remedy,
            path=("profiles", index),
        )
