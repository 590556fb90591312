"""Resolves the name that a user gives a GPU to its compute capability. Pure; does not look at this machine's GPU.

Names are compared in three passes, each less strict than the one before, and the first pass with a match decides: as
the driver writes it (blanks, dashes, case, `NVIDIA`, `GeForce`, `Tesla`, `GPU` and `Generation` aside), then without
the words that say how a board is packaged (`Laptop`, `Max-Q`, `80GB`, `Server Edition`), then without the words that
tell product lines apart (`Quadro`, `Ada`, `PRO`). A name that matches several capabilities is rejected: `RTX 4000` may
be a Turing, an Ada Lovelace or a Blackwell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.targets.compute_capability import TURING, ComputeCapability, known_capabilities

Found = tuple[tuple[str, ComputeCapability], ...]

THIS = "this"
"""What a spec says for "the GPU in this machine"."""

_OLDEST = TURING
_WORD = re.compile(r"[a-z0-9]+")
_MIG = re.compile(r"\s+MIG\s+\d+g\.\d+gb.*$", re.IGNORECASE)  # a slice of a GPU, as nvidia-smi names it
_SILENT = frozenset({"nvidia", "corporation", "geforce", "tesla", "gpu", "generation", "graphics"})
_PACKAGING = re.compile(
    r"laptop|mobile|embedded|with|max|q|maxq|design|pcie?|sxm\d?|hbm\d?e?|blackwell|workstation|server|edition"
    r"|active|oem|lc|nvl|agx|dgx|hgx|desktop|\d+gb?"
)
_LINE = frozenset({"quadro", "ada", "pro", "sff", "rtx", "gtx", "jetson", "drive"})
_SILENT_RUNS = re.compile(r"nvidia|geforce|tesla|corporation|graphics|generation|gpu|[^a-z0-9]+")
_BRAND = re.compile(r"nvidia|geforce|tesla|quadro|jetson|rtx|gtx")


def resolve_gpu(text: str) -> ComputeCapability | Problem:
    """The compute capability of `NVIDIA GeForce RTX 4090`, `rtx4090`, `sm89`, `sm_89`, `8.9` or `89`.

    Otherwise a problem: an unknown name comes with the nearest ones, an ambiguous one with what it may be, a GPU
    that is too old with its architecture. `this` is not a name; it is resolved where GPUs are detected.
    """
    name = text.strip()
    try:
        return _known(name, ComputeCapability.parse(name))
    except ValueError:
        return _by_name(_MIG.sub("", name))


def called(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of these GPUs' names that a text means, by the first pass that finds any; none if it is no GPU's name."""
    known = tuple(names)
    for strength in (_driver_form, _board_form, _family_form):
        form = strength(_MIG.sub("", text.strip()))
        found = tuple(name for name in known if form and strength(_MIG.sub("", name)) == form)
        if found:
            return found
    return ()


def gpu_names() -> tuple[str, ...]:
    """Every supported GPU's name as the driver reports it, oldest generation first."""
    return tuple(name for name, _ in _supported())


def gpus_with(capability: ComputeCapability) -> tuple[str, ...]:
    """The names of the GPUs that have this capability."""
    return tuple(name for name, found in _supported() if found == capability)


def _known(text: str, capability: ComputeCapability) -> ComputeCapability | Problem:
    if capability == ComputeCapability(10, 1):
        return Problem(
            Code.UNKNOWN_GPU, "sm101 is what CUDA 12 called Thor", "write sm110, its number since CUDA 13"
        )
    if capability < _OLDEST:
        return _too_old(text, capability)
    if capability not in known_capabilities():
        known = ", ".join(one.sm for one in known_capabilities() if one >= _OLDEST)
        return Problem(Code.UNKNOWN_GPU, f"no GPU has the compute capability {text!r}", f"known: {known}")
    return capability


def _by_name(name: str) -> ComputeCapability | Problem:
    for strength in (_driver_form, _board_form, _family_form):
        found = _index(strength).get(strength(name), ())
        capabilities = {capability for _, capability in found}
        if len(capabilities) == 1:
            capability = capabilities.pop()
            return capability if capability >= _OLDEST else _too_old(name, capability)
        if found:
            return _ambiguous(name, found)
    return _unknown(name)


def _too_old(name: str, capability: ComputeCapability) -> Problem:
    fact = f"{name!r} is {capability.architecture or 'too old'} ({capability.sm}), older than Turing"
    return Problem(
        Code.GPU_TOO_OLD,
        fact,
        "TensorRT no longer builds for it: sm75 (GeForce GTX 16 and RTX 20) or newer is needed",
    )


def _ambiguous(name: str, found: Found) -> Problem:
    shortest = {capability: one for one, capability in sorted(found, key=lambda pair: -len(pair[0]))}
    choices = ", ".join(f"{shortest[capability]!r} ({capability.sm})" for capability in sorted(shortest))
    return Problem(
        Code.AMBIGUOUS_GPU,
        f"{name!r} is the name of several GPUs",
        f"write one of: {choices}; or its compute capability",
    )


def _unknown(name: str) -> Problem:
    from difflib import get_close_matches  # imported here, because only an error message needs it

    forms = {_driver_form(known): known for known in gpu_names()}
    near = [forms[form] for form in get_close_matches(_driver_form(name), list(forms), n=3, cutoff=0.6)]
    advice = "write a GPU's name as its driver reports it, or its compute capability, such as sm89"
    return Problem(
        Code.UNKNOWN_GPU,
        f"unknown GPU {name!r}",
        f"did you mean {' or '.join(repr(one) for one in near)}? or {advice}" if near else advice,
    )


def _driver_form(name: str) -> str:
    return _SILENT_RUNS.sub("", name.lower())


def _board_form(name: str) -> str:
    return _joined(name, lambda word: word in _SILENT or bool(_PACKAGING.fullmatch(word)))


def _family_form(name: str) -> str:
    return _joined(
        name,
        lambda word: word in _SILENT or word in _LINE or bool(_PACKAGING.fullmatch(word)),
    )


def _joined(name: str, silent: Callable[[str], bool]) -> str:
    """The significant words of a name, joined without spaces; `geforcertx4090` is split first."""
    words = _WORD.findall(_BRAND.sub(r"\g<0> ", name.lower()))
    return "".join(word for word in words if not silent(word))


@cache
def _index(strength: Callable[[str], str]) -> dict[str, Found]:
    index: dict[str, Found] = {}
    for name, capability in (*_supported(), *_older()):
        form = strength(name)
        index[form] = (*index.get(form, ()), (name, capability))
    return index


@cache
def _supported() -> Found:
    from trtpipe.targets.gpu_names import GPUS

    return tuple(_spelled_out(GPUS))


@cache
def _older() -> Found:
    from trtpipe.targets.gpu_names import OLDER_GPUS

    return tuple(_spelled_out(OLDER_GPUS))


def _spelled_out(groups: Iterable[tuple[int, int, str, str]]) -> Iterator[tuple[str, ComputeCapability]]:
    for major, minor, start, rest in groups:
        for one in rest.split(", "):
            yield start + one, ComputeCapability(major, minor)
