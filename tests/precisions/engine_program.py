"""What an engine of TensorRT-RTX 1.7 really computes in: its graph compiler writes its program into the plan as text.

Each tensor stands there with its type, each kernel with the tensors that it reads and makes. Undocumented, and so for
tests alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TENSOR = re.compile(r"^ *tensor=\{ (.*?)\}\s*$", re.MULTILINE)
_KERNEL = re.compile(r'^ *(\w+)=\{ name="?([^"\s]+)"? (.*)$', re.MULTILINE)
_READS = re.compile(r"(?:input|input_args|args)=\{ ?([^}]*)\}")


class Kernel(NamedTuple):
    """A kernel: what it is (`fully_connected`, `corrltn`: a convolution, `function`), and the types that it reads."""

    kind: str
    name: str
    reads: tuple[str, ...]


def kernels_of(plan: bytes) -> list[Kernel]:
    """The kernels of a plan in the order that they are written there; types that are not given are `?`."""
    text = plan.decode("latin-1")
    types = {}
    for found in _TENSOR.finditer(text):
        name, dtype = re.search(r'name="([^"]+)"', found[1]), re.search(r" type=(\w+)", found[1])
        if name and dtype:
            types[name[1]] = dtype[1]
    kernels = []
    for found in _KERNEL.finditer(text):
        reads = _READS.search(found[3])
        if found[1] not in ("tensor", "region") and reads:
            named = re.findall(r'"([^"]+)"', reads[1])
            kernels.append(Kernel(found[1], found[2], tuple(types.get(one, "?") for one in named)))
    return kernels
