"""Matches the entries of a cache with the tensors of a model: by name, or by part of the name where it changed.

In this order, each step on what the previous steps left unmatched:

    exact       the names are the same, after `rename`
    quotes      the same except for quotes and blanks around them
    output 0    the same except for a `:0` at the end, TensorFlow's first output of a node
    characters  the same except for the punctuation, which exporters replace
    node        it is the name of a node, with or without `_output`: the node's only output
    fused       `conv1 + relu1`: the output of the last of the fused layers
    layer       a layer number that TensorRT generated: see `layer_numbers`

A step accepts a pair only if the entry and the tensor are each other's only candidate. Nothing is guessed: an entry
with two candidates, or with one that another entry matches better, is left out and reported. Works on names, without a
graph library.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.calibration.caches.entries import Cache
from trtpipe.calibration.caches.graph_names import ModelNames
from trtpipe.calibration.caches.layer_numbers import tensors_of_layers, unnamed_layer
from trtpipe.calibration.caches.renames import renamed, rule_problems
from trtpipe.errors import ModelError

_SIGNS = re.compile(r"[^0-9A-Za-z]+")
_OUTPUT = re.compile(r"(?:_output(?:_0)?)?$")
_MOST_FUSED = 64


@dataclass(frozen=True, slots=True)
class Found:
    """The entry from which a tensor got its scale, and how it was found."""

    entry: str
    how: str
    amax: float


@dataclass
class Match:
    """The result for every entry, and for every tensor that needs a scale."""

    wanted: tuple[str, ...]
    found: dict[str, Found] = field(default_factory=dict)
    """Tensor → its entry, in the cache's order; tensors that want no scale today among them."""
    stale: dict[str, str] = field(default_factory=dict)
    """Entry → why it is not a tensor of the model."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Entry whose value cannot be used → why."""
    missing: dict[str, str] = field(default_factory=dict)
    """Wanted tensor without a scale → why."""

    @property
    def matched(self) -> int:
        """How many entries are tensors of the model."""
        return len(self.found)

    @property
    def repaired(self) -> dict[str, Found]:
        """The tensors whose entry has another name."""
        return {name: one for name, one in self.found.items() if one.entry != name}

    @property
    def coverage(self) -> float:
        """The share of the wanted tensors that have a scale; 1 when no tensor is wanted."""
        return 1 - len(self.missing) / len(self.wanted) if self.wanted else 1.0


def match_cache(
    cache: Cache, model: ModelNames, wanted: Sequence[str], rename: Mapping[str, str] | None = None
) -> Match:
    """The match. Raises ModelError when `rename` does not fit the cache or the model, with paths below `rename`."""
    problems = list(rule_problems(rename or {}, cache.names, model))
    if problems:
        raise ModelError(problems)
    matcher = _Matcher(cache, model, renamed(cache.names, rename or {}))
    matcher.exact()
    for how, form in _FORMS.items():
        matcher.by_form(how, form)
    matcher.by_node()
    matcher.by_layer()
    return matcher.result(tuple(wanted))


def _bare(name: str) -> str:
    return name.strip().strip("'\"`").strip()


def _first_output(name: str) -> str:
    return _bare(name).removesuffix(":0")


def _letters(name: str) -> str:
    return _SIGNS.sub("_", _first_output(name)).strip("_")


_FORMS: Mapping[str, Callable[[str], str]] = {
    "quotes": _bare,
    "output 0": _first_output,
    "characters": _letters,
}
"""How a repair is called → what is left of a name for it."""


class _Matcher:
    def __init__(self, cache: Cache, model: ModelNames, new_names: Mapping[str, str]) -> None:
        self.cache, self.model = cache, model
        self.amax = {entry.name: entry.amax for entry in cache.entries}
        self.meant = {name: new_names.get(name, name) for name in cache.names}
        self.renamed = {name for name, new in new_names.items() if new != name}
        self.left = dict.fromkeys(cache.names)
        self.found: dict[str, Found] = {}
        self.broken: dict[str, str] = {}
        """Tensor → the entry that means it, whose value cannot be used."""
        self.why: dict[str, str] = {}
        self.disputed: dict[str, str] = {}
        """Tensor → why none of the entries that may mean it was taken."""

    @property
    def taken(self) -> set[str]:
        """The tensors that already have an entry."""
        return {*self.found, *self.broken}

    def exact(self) -> None:
        """Names that are the same."""
        self._pair(
            ((name, self.meant[name]) for name in list(self.left) if self.meant[name] in self.model.tensors),
            "exact",
        )

    def by_form(self, how: str, form: Callable[[str], str]) -> None:
        """Names that are the same in some form, when no other name of the model or the cache is."""
        tensors, entries = self._grouped(self.model.tensors, form), defaultdict(list)
        for name in self.left:
            entries[form(self.meant[name])].append(name)
        for key, names in entries.items():
            there = tensors.get(key, [])
            if not key or not there:
                continue
            if len(there) > 1 or len(names) > 1:
                self._dispute(names, there)
            else:
                self._pair([(names[0], there[0])], how)

    def by_node(self) -> None:
        """Names of nodes, alone or of several that became one layer."""
        outputs = self.model.outputs_of_nodes()
        known = {**outputs, **{name: name for name in self.model.tensors}}
        pairs, fused = [], []
        for name in self.left:
            parts = self.meant[name].split(" + ")
            parts[-1] = parts[-1] if parts[-1] in known else _OUTPUT.sub("", parts[-1], count=1)
            if len(parts) == 1 and parts[0] in outputs:
                pairs.append((name, outputs[parts[0]]))
            elif 1 < len(parts) <= _MOST_FUSED and all(part in known for part in parts):
                fused.append((name, known[parts[-1]]))
        self._pair(pairs, "node")
        self._pair(fused, "fused")

    def by_layer(self) -> None:
        """Names that TensorRT generated."""
        numbered = [name for name in self.left if unnamed_layer(self.meant[name]) is not None]
        found, refused = tensors_of_layers([self.meant[name] for name in numbered], self.model, self.taken)
        self._pair(
            ((name, found[self.meant[name]]) for name in numbered if self.meant[name] in found), "layer"
        )
        self.why |= {name: refused[self.meant[name]] for name in numbered if self.meant[name] in refused}

    def result(self, wanted: tuple[str, ...]) -> Match:
        """The results for all entries and tensors."""
        stale = {name: self._stale(name) for name in self.left if name not in self.cache.unusable}
        unusable = dict(self.cache.unusable)
        missing = {name: self._missing(name) for name in wanted if name not in self.found}
        order = {name: index for index, name in enumerate(self.cache.names)}
        found = dict(sorted(self.found.items(), key=lambda item: order[item[1].entry]))
        return Match(wanted, found, stale, unusable, missing)

    def _pair(self, pairs: Iterable[tuple[str, str]], how: str) -> None:
        """Accepts the pairs whose tensor is in no other pair and has no entry yet."""
        meaning: dict[str, list[str]] = defaultdict(list)
        for name, tensor in pairs:
            meaning[tensor].append(name)
        taken = self.taken
        for tensor, names in meaning.items():
            if tensor in taken:
                why = f"it could be '{tensor}', which has an entry of its own"
                self.why |= dict.fromkeys(names, why)
            elif len(names) > 1:
                self._dispute(names, [tensor])
            else:
                self._take(names[0], tensor, how)

    def _take(self, name: str, tensor: str, how: str) -> None:
        del self.left[name]
        self.why.pop(name, None)
        self.disputed.pop(tensor, None)
        if name in self.cache.unusable:
            self.broken[tensor] = name
        else:
            self.found[tensor] = Found(name, "rename" if name in self.renamed else how, self.amax[name])

    def _dispute(self, names: Sequence[str], tensors: Sequence[str]) -> None:
        if len(tensors) > 1:
            shown = " or ".join(f"'{name}'" for name in sorted(tensors)[:3])
            self.why |= dict.fromkeys(names, f"it could be {shown}")
        else:
            self.why |= {name: f"it is one of {len(names)} that could be '{tensors[0]}'" for name in names}
        shown = " and ".join(f"'{name}'" for name in names[:3])
        self.disputed |= dict.fromkeys(tensors, f"more than one name fits: {shown}")

    @staticmethod
    def _grouped(names: Iterable[str], form: Callable[[str], str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for name in names:
            groups[form(name)].append(name)
        return groups

    def _stale(self, name: str) -> str:
        if name in self.why:
            return self.why[name]
        if self.meant[name] in self.model.constants:
            return "it is a constant, and scales of weights come from their values"
        return "the model has no such tensor"

    def _missing(self, tensor: str) -> str:
        if tensor in self.broken:
            name = self.broken[tensor]
            return f"its entry cannot be used: {self.cache.unusable[name]}"
        return self.disputed.get(tensor, "the cache has no entry for it")
