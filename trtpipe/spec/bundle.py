"""The bundle spec: several models that are checked against each other, built, locked and shipped as one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import PYTHON_PATTERN
from trtpipe.spec.fields import AsTuple, Name, NameOr, OneOrMany, SchemaVersion, SpecModel
from trtpipe.spec.packaging import Labels, PackageSpec
from trtpipe.spec.pipeline import RandomData, Threshold

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_MEMBER = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_PORT = rf"^{_MEMBER}\..+$"
CastType = Literal["float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]
MOST_MEMBERS = 64
MOST_EDGES = 1024
MOST_DIMS = 8
"""What TensorRT's tensors have at most."""


def _member_name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(_MEMBER, value):
        raise WrongValue(
            Code.NOT_A_NAME,
            f"not a member's name: {value[:64]!r}; use up to 64 letters, digits, '_' and '-', starting with a letter",
        )
    return value


def _port(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(_PORT, value, re.DOTALL):
        raise WrongValue(
            Code.WRONG_FORM,
            f"{value[:100]!r} names no tensor of a member; write MEMBER.TENSOR, for example det.boxes",
        )
    return value


MemberName = Annotated[
    str, BeforeValidator(_member_name), Field(json_schema_extra={"pattern": f"^{_MEMBER}$"})
]
"""A member's name; it has no dot, so that `member.tensor` can be told apart whatever the tensor's name."""

Port = Annotated[str, BeforeValidator(_port), Field(json_schema_extra={"pattern": _PORT})]
"""A tensor of a member: `member.tensor`."""


def port(text: str) -> tuple[str, str]:
    """A port's member and tensor."""
    member, _, tensor = text.partition(".")
    return member, tensor


class MemberSpec(SpecModel):
    """A member of a bundle: a pipeline of the project, and which of its cells may be taken."""

    pipeline: Name
    """The pipeline's name. Several members may share one pipeline."""
    variants: Annotated[tuple[Name, ...], OneOrMany, Field(min_length=1)] = ()
    """The variants that are allowed, the preferred first; default: all of the pipeline's, in its order."""
    target: Name | None = None
    """The pipeline's target that serves all of the bundle's targets; default: the target of the same name."""

    @model_validator(mode="after")
    def _refuse_twice(self) -> MemberSpec:
        twice = [name for name in self.variants if self.variants.count(name) > 1]
        if twice:
            raise WrongValue(Code.LISTED_TWICE, f"variant {twice[0]!r} is listed twice; list it once")
        return self


def _member(value: object) -> object:
    """`PIPELINE`, `PIPELINE/VARIANT` or `PIPELINE/VARIANT@TARGET`."""
    if not isinstance(value, str):
        return value
    cell, at, target = value.partition("@")
    pipeline, slash, variant = cell.partition("/")
    if (at and not target) or (slash and not variant):
        raise WrongValue(
            Code.WRONG_FORM,
            f"{value[:100]!r} is no cell; write PIPELINE, PIPELINE/VARIANT or PIPELINE/VARIANT@TARGET",
        )
    whole: dict[str, object] = {"pipeline": pipeline}
    return whole | ({"variants": [variant]} if slash else {}) | ({"target": target} if at else {})


Member = Annotated[MemberSpec, BeforeValidator(_member), NameOr()]


class EdgeSpec(SpecModel):
    """Where an output goes, and what is done to it on the way."""

    to: Port
    """The input that it becomes: `member.input`."""
    reshape: Annotated[
        Annotated[tuple[Annotated[int, Field(ge=-1)], ...], Field(max_length=MOST_DIMS)] | None, AsTuple
    ] = None
    """The shape that it is given first, as ONNX's Reshape reads it: -1 is what is left, 0 the output's dimension."""
    cast: CastType | None = None
    """The type that it is converted to then."""

    @model_validator(mode="after")
    def _one_rest(self) -> EdgeSpec:
        if self.reshape is not None and self.reshape.count(-1) > 1:
            raise WrongValue(
                Code.NOT_A_SHAPE, "a reshape has one -1 at most; give the other dimensions, or 0"
            )
        return self

    @property
    def changes(self) -> bool:
        """Whether the tensor is changed on the way."""
        return self.reshape is not None or self.cast is not None


def _edges(value: object) -> object:
    """One consumer or a list of them, each written as a port or a mapping."""
    many = value if isinstance(value, (list, tuple)) else (value,)
    return tuple({"to": one} if isinstance(one, str) else one for one in many)


class _PortOr:
    """Says in the JSON Schema that an edge may be a port, a mapping, or a list of these."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema)
        one = [{"type": "string", "pattern": _PORT}, many["items"]]
        return {"anyOf": [*one, {**many, "items": {"anyOf": one}}]}


Edges = Annotated[
    tuple[EdgeSpec, ...],
    BeforeValidator(_edges),
    Field(min_length=1, max_length=MOST_EDGES),
    _PortOr(),
]
"""The consumers of an output."""


class BundleValidateSpec(SpecModel):
    """How the whole is validated, from the free inputs to the outputs."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["data", "random"]}})

    data: str | None = None
    """A data set's name; its inputs are the bundle's free inputs, `member.input`, or `input` alone where one member
    only has a free input of that name."""
    random: RandomData | None = None
    """Random inputs instead of a data set."""
    samples: Annotated[int | None, Field(ge=1)] = None
    """At most this many samples of the data set."""
    golden: str | None = None
    """An .npz file inside the project with inputs as `in:member.input` and outputs as `out:member.output`: what the
    whole must give. `build/BUNDLE/golden.npz` is such a recording. Default: what the members' canonical models give."""
    thresholds: Annotated[tuple[Threshold, ...], AsTuple] = ()
    """Thresholds for the bundle's outputs, `member.output`; by default those of the least precise member."""

    @model_validator(mode="after")
    def _one_source(self) -> BundleValidateSpec:
        given = [name for name in ("data", "random", "golden") if getattr(self, name) is not None]
        if len(given) > 1:
            raise WrongValue(
                Code.KEYS_EXCLUDE, f"{' and '.join(given)} exclude each other; leave out {' or '.join(given)}"
            )
        if not given:
            raise WrongValue(
                Code.KEY_NEEDED,
                "nothing to validate on is given; write data, random or golden: for example data: NAME",
            )
        return self


class BundleSpec(SpecModel):
    """One bundle file."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    bundle: Name
    """The bundle's name; no pipeline may have the same."""
    members: dict[MemberName, Member] = Field(min_length=1, max_length=MOST_MEMBERS)
    """The members by name: a pipeline, `PIPELINE/VARIANT`, `PIPELINE/VARIANT@TARGET`, or a mapping."""
    targets: Annotated[tuple[Name, ...], OneOrMany, Field(min_length=1)] = ()
    """What the bundle is made for; default: every target name that all members' pipelines have."""
    edges: dict[Port, Edges] = Field(default_factory=dict, max_length=MOST_EDGES)
    """Output of a member → the inputs that it becomes, `member.input` each; names may differ."""
    outputs: Annotated[tuple[Port, ...], OneOrMany] = ()
    """Outputs that the bundle yields besides those that no edge consumes."""
    python: Annotated[str | None, Field(pattern=PYTHON_PATTERN)] = None
    """`package.module:function` of the project, for loops and for what happens before, between and after the models:
    `function(models, inputs)` is given the models by the members' names and the free inputs, and returns the outputs
    by name. It runs in a process of its own, and only where `trtpipe allow` has allowed it. Without it, members run
    in the order of the edges."""
    files: Annotated[tuple[str, ...], AsTuple] = ()
    """The files that the function of `python` reads and imports: files, folders and globs in the project."""
    labels: Labels = Field(default_factory=dict)
    """Short for `package: {labels: …}`."""
    validate_: BundleValidateSpec | None = Field(default=None, alias="validate")
    """How the whole is validated."""
    package: PackageSpec = Field(default_factory=PackageSpec)
    """What a package of the bundle holds besides engines."""

    @model_validator(mode="after")
    def _driver_keys(self) -> BundleSpec:
        if self.files and self.python is None:
            raise WrongValue(Code.KEYS_EXCLUDE, "files apply only to a python function; leave them out")
        if self.labels and self.package.labels:
            raise WrongValue(
                Code.KEYS_EXCLUDE, "labels are given here and in package; leave out labels or package.labels"
            )
        return self

    def all_edges(self) -> Iterator[tuple[str, EdgeSpec]]:
        """Every edge with the output that it begins at."""
        for source, edges in self.edges.items():
            for edge in edges:
                yield source, edge
