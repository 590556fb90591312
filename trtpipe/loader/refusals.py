"""Turns validation errors of the models into Problems with a place in the file and a remedy.

Every error type of pydantic gets a message in the project's own words; independent of files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trtpipe.errors import Problem, SpecError, SpecPath, code_of
from trtpipe.loader.examples import EXAMPLES
from trtpipe.loader.grammar import (
    annotation_at,
    choose_from,
    example_of,
    inside,
    item_of,
    keys_of,
    literals_of,
    members_of,
    model_at,
    tag_of,
    tags_of,
    told_apart,
)
from trtpipe.loader.marks import Document
from trtpipe.loader.scalars import flow_yaml, kind_of, plain_value, shortened
from trtpipe.problem_codes import Code, ProblemCode

MAX_PROBLEMS = 50
"""How many problems of one file are shown."""
_LONGEST_FACT = 300

M = TypeVar("M", bound=BaseModel)
_QUOTED = re.compile("'([^']*)'")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """One of pydantic's errors, with its path in the document."""

    kind: str
    path: SpecPath
    value: object
    facts: Mapping[str, object]
    message: str
    model: type[BaseModel]
    document: Document
    data: object
    base: SpecPath = ()
    """Where in the document the model's own data begins; `path` goes on from there."""

    @property
    def key(self) -> str:
        """The key that the value belongs to, with its index in a list: `outputs[1]`."""
        name = next((str(step) for step in reversed(self.path) if isinstance(step, str)), "the file")
        return name + "".join(f"[{step}]" for step in self._trailing_indices())

    def _trailing_indices(self) -> list[int]:
        trailing: list[int] = []
        for step in reversed(self.path):
            if isinstance(step, str):
                break
            trailing.insert(0, step)
        return trailing

    @property
    def named(self) -> str:
        """The key as messages quote it."""
        return repr(shortened(self.key))

    @property
    def owner(self) -> type[BaseModel] | None:
        """The model of the mapping around the value."""
        return model_at(self.model, self.path[:-1], self.data)

    @property
    def annotation(self) -> object:
        """The annotation of the value."""
        return annotation_at(self.model, self.path, self.data)

    @property
    def example(self) -> str:
        """`for example key: value`, or nothing."""
        key = self.path[-1] if self.path else ""
        value = example_of(self.owner, key) if isinstance(key, str) else None
        return "" if value is None else f"for example {key}: {flow_yaml(value)}"

    def at(self, step: str) -> _Refusal:
        """The same refusal, about a key of the value."""
        return replace(self, path=(*self.path, step))

    def problem(self, code: ProblemCode, fact: str, remedy: str = "", *, key: bool = False) -> Problem:
        return self.document.problem(code, fact[:_LONGEST_FACT], remedy, (*self.base, *self.path), key=key)

    @property
    def written(self) -> str | None:
        """The value's text in the file."""
        return self.document.written((*self.base, *self.path))


def validated(
    model: type[M], document: Document, data: object, base: SpecPath = ()
) -> tuple[M | None, list[Problem]]:
    """`data` as an instance of `model`, or all its problems, in the file's order.

    `data` is the document's own at `base`, except for defaults at paths that are missing or null.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, in_file_order(
            _problems_of(error, model, document, data if base else document.data, base)
        )


def in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    """Problems sorted by their places, without duplicates."""
    once = {(problem.where, problem.fact): problem for problem in problems}
    return sorted(once.values(), key=_place)


def _place(problem: Problem) -> tuple[str, int, int]:
    where = problem.where
    return (where.file, where.line, where.column) if where else ("", 0, 0)


def stop_at(problems: Sequence[Problem]) -> None:
    """Raise SpecError with the first MAX_PROBLEMS problems when there are any."""
    if problems:
        raise SpecError(first_of(problems))


def first_of(problems: Sequence[Problem]) -> list[Problem]:
    """The first MAX_PROBLEMS problems of a file, and how many more there are."""
    if len(problems) <= MAX_PROBLEMS:
        return list(problems)
    note = Problem(Code.MORE_PROBLEMS, f"and {len(problems) - MAX_PROBLEMS} more", severity="note")
    return [*problems[:MAX_PROBLEMS], note]


def _problems_of(
    error: ValidationError, model: type[BaseModel], document: Document, data: object, base: SpecPath
) -> list[Problem]:
    found = []
    for detail in error.errors(include_url=False):
        path, meant = _path_in(data, detail["loc"], detail["type"], model)
        if meant:
            said = (detail["type"], path, detail["input"], detail.get("ctx", {}), detail["msg"])
            refusal = _Refusal(*said, model, document, data, base)
            found.append(_WORDINGS.get(detail["type"], _unforeseen)(refusal))
    return found


def _path_in(
    data: object, loc: tuple[str | int, ...], kind: str, model: type[BaseModel]
) -> tuple[SpecPath, bool]:
    """Pydantic's location as a path in the document, and whether it belongs to the form that the user chose.

    Its locations also hold a union's branches and tags, '[key]' marks, and keys of values written in a short form.
    """
    path: list[str | int] = []
    annotation: object = model
    for depth, step in enumerate(loc):
        told = told_apart(annotation, data)
        if told is not annotation:
            annotation = told
            continue  # the tag itself, which may have the same name as a key of its model
        if _holds(data, step):
            path.append(step)
            data = item_of(data, step)
            annotation = _annotation_at_step(annotation, step)
        elif _is_branch(step):
            if str(step).startswith("literal[") == isinstance(data, dict):
                return tuple(path), False
        elif kind == "missing" and depth == len(loc) - 1:
            path.append(step)
    return tuple(path), True


def _holds(data: object, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)


def _annotation_at_step(annotation: object, step: str | int) -> object:
    """The annotation of the value under a key or an index; Any if the grammar has none."""
    return next((inner for one in members_of(annotation) for inner in inside(one, step)), Any)


def _is_branch(step: str | int) -> bool:
    """A literal, a model, or a model with a validator of its own."""
    return isinstance(step, str) and (step.startswith(("literal[", "function-after[")) or step in EXAMPLES)


def _missing(refusal: _Refusal) -> Problem:
    key = str(refusal.path[-1])
    around = ".".join(str(step) for step in refusal.path[:-1])
    fact = f"missing key {key!r}" + (f" in {shortened(around)!r}" if around else "")
    return refusal.problem(Code.MISSING_KEY, fact, refusal.example)


def _unknown_key(refusal: _Refusal) -> Problem:
    key = str(refusal.path[-1])
    valid = keys_of(refusal.owner) if refusal.owner else ()
    return refusal.problem(
        Code.UNKNOWN_KEY, f"unknown key {shortened(key)!r}", choose_from(key, valid, "keys"), key=True
    )


def _unknown_literal(refusal: _Refusal) -> Problem:
    literals = (
        literals_of(refusal.annotation)
        or _shorthand_literals(refusal.annotation)
        or tuple(
            _QUOTED.findall(str(refusal.facts.get("expected", "")))
        )  # of a list's only entry, written alone
    )
    valid = [str(value) for value in literals]
    kinds = {type(value) for value in literals}
    if type(refusal.value) in kinds:
        text = refusal.value if isinstance(refusal.value, str) else None
        said = shortened(str(refusal.value)) if text is None else repr(shortened(text))
        remedy = choose_from(text, valid, "values")
        return refusal.problem(Code.UNKNOWN_VALUE, f"unknown {refusal.key} {said}", remedy)
    remedy = choose_from(None, valid, "values")
    expected = "text" if kinds == {str} else "a number" if kinds == {int} else "one of the valid values"
    return refusal.problem(
        Code.WRONG_TYPE, f"{refusal.named} must be {expected}, not {kind_of(refusal.value)}", remedy
    )


def _shorthand_literals(annotation: object) -> tuple[object, ...]:
    """The literals of a mapping's values, for a mapping that may be written as a single word."""
    return tuple(
        value
        for one in members_of(annotation)
        if get_origin(one) is dict
        for value in literals_of(get_args(one)[1])
    )


def _unknown_tag(refusal: _Refusal) -> Problem:
    tag, valid = tag_of(refusal.annotation), tags_of(refusal.annotation)
    assert tag is not None, "only unions with a tag refuse one"
    written = item_of(refusal.value, tag)
    remedy = choose_from(written, valid, f"{tag}s")
    if not isinstance(written, str):
        return refusal.at(tag).problem(
            Code.WRONG_TYPE, f"{tag!r} must be text, not {kind_of(written)}", remedy
        )
    return refusal.at(tag).problem(Code.UNKNOWN_VALUE, f"unknown {tag} {shortened(written)!r}", remedy)


def _no_tag(refusal: _Refusal) -> Problem:
    tag, valid = tag_of(refusal.annotation), tags_of(refusal.annotation)
    assert tag is not None, "only unions with a tag miss one"
    around = ".".join(str(step) for step in refusal.path)
    return refusal.problem(
        Code.MISSING_KEY, f"missing key {tag!r} in {shortened(around)!r}", choose_from("", valid, f"{tag}s")
    )


def _wrong_type(expected: str) -> Callable[[_Refusal], Problem]:
    def word(refusal: _Refusal) -> Problem:
        fact = f"{refusal.named} must be {expected}, not {kind_of(refusal.value)}"
        return refusal.problem(Code.WRONG_TYPE, fact, _rewritten(refusal, expected) or refusal.example)

    return word


_SWITCHES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def _rewritten(refusal: _Refusal, expected: str) -> str:
    """How to write the value so that it has the expected type; '' when that is unknown."""
    value, written = refusal.value, refusal.written
    if written is None or value is None:
        return ""
    if expected == "text":
        return f"put it in quotes: '{written}'"
    if expected == "a list":
        return f"write it as a list: [{flow_yaml(value)}]"
    if expected == "true or false":
        word = _SWITCHES.get(written.lower(), "")
        return f"write {word}" if word else ""
    if "number" in expected and isinstance(value, str) and _is_number(written):
        return f"write it without quotes: {written}"
    return ""


def _is_number(text: str) -> bool:
    try:
        return isinstance(plain_value(text), (int, float)) and text.lower() not in ("true", "false")
    except ValueError:
        return False


def _bound(sign: str, words: str) -> Callable[[_Refusal], Problem]:
    def word(refusal: _Refusal) -> Problem:
        fact = f"{refusal.named} must be {words} {refusal.facts[sign]:g}, not {refusal.value}"
        return refusal.problem(Code.OUT_OF_RANGE, fact, refusal.example)

    return word


def _empty(refusal: _Refusal) -> Problem:
    return refusal.problem(Code.WRONG_LENGTH, f"{refusal.named} is empty", refusal.example)


def _too_long(refusal: _Refusal) -> Problem:
    most = refusal.facts["max_length"]
    return refusal.problem(
        Code.WRONG_LENGTH,
        f"{refusal.named} has more than {most} {'item' if most == 1 else 'items'}",
        refusal.example,
    )


_PATTERNS = {
    "sha256": ("a SHA-256", "write its 64 hexadecimal digits"),
    "python": ("a function", "write package.module:function, such as calibration.samples:draw"),
    "version": ("a version", "write it in full, such as '1.7.1.116', or as a prefix such as '11.4.*'"),
}


def _wrong_form(refusal: _Refusal) -> Problem:
    noun, remedy = _PATTERNS.get(refusal.key, (f"a {refusal.key}", refusal.example))
    return refusal.problem(Code.WRONG_FORM, f"not {noun}: {shortened(str(refusal.value))!r}", remedy)


def _own_words(refusal: _Refusal) -> Problem:
    """The problem in a message of the models' own validators, which have the form `fact; remedy`."""
    fact, _, remedy = str(refusal.facts["error"]).partition("; ")
    return refusal.problem(
        code_of(refusal.facts["error"]), fact, remedy, key=refusal.value == (refusal.path or ("",))[-1]
    )


def _unforeseen(refusal: _Refusal) -> Problem:
    said = refusal.message[:1].lower() + refusal.message[1:].rstrip(".")
    return refusal.problem(Code.INVALID_VALUE, f"{refusal.named} is not valid: {said}")


_WORDINGS: dict[str, Callable[[_Refusal], Problem]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_key,
    "literal_error": _unknown_literal,
    "string_type": _wrong_type("text"),
    "int_type": _wrong_type("a whole number"),
    "float_type": _wrong_type("a number"),
    "bool_type": _wrong_type("true or false"),
    "tuple_type": _wrong_type("a list"),
    "dict_type": _wrong_type("a mapping"),
    "model_type": _wrong_type("a mapping"),
    "model_attributes_type": _wrong_type("a mapping"),
    "union_tag_invalid": _unknown_tag,
    "union_tag_not_found": _no_tag,
    "greater_than_equal": _bound("ge", "at least"),
    "greater_than": _bound("gt", "more than"),
    "less_than_equal": _bound("le", "at most"),
    "less_than": _bound("lt", "less than"),
    "too_short": _empty,
    "too_long": _too_long,
    "string_too_short": _empty,
    "string_pattern_mismatch": _wrong_form,
    "value_error": _own_words,
}
