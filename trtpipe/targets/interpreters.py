"""Which Python interpreters build byte-identical engines: `equal_interpreters.json`, loaded on first use.

`tests/conformance/prove_interpreters.py` makes the file: each version of TensorRT-RTX builds ResNet-50 and its
quarter-width form under several interpreters. A result holds for the minor version (`cpython 3.12`) on the platform
that the file names. An interpreter without such a proof is part of an engine's key.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trtpipe.json_values import object_in, read_object, text_in

_FILE = Path(__file__).with_name("equal_interpreters.json")
_EQUAL = "equal"


def is_proved_equal(flavour: str, version: str, python: str) -> bool:
    """Whether this interpreter (`cpython 3.12.1`) is proved to build what the others in the table build."""
    return _minor(python) in _proved().get((flavour, version), ())


def _minor(python: str) -> str:
    """`cpython 3.12.1` → `cpython 3.12`."""
    return ".".join(python.split(".")[:2])


@lru_cache(maxsize=1)
def _proved() -> dict[tuple[str, str], frozenset[str]]:
    """Flavour and version → minor versions of interpreters that all built equal engines; other versions are absent."""
    import platform  # imported here, because `select` needs no interpreters

    table = read_object(_FILE.read_bytes())
    if text_in(table, "platform") != f"{platform.system()} {platform.machine()}".lower():
        return {}
    flavour = "tensorrt_rtx"
    versions = object_in(table, flavour)
    found = {}
    for version in versions:
        tried = object_in(versions, version)
        results: dict[str, set[str]] = {}
        for python in tried:
            results.setdefault(_minor(python), set()).add(text_in(tried, python))
        found[flavour, version] = frozenset(one for one, said in results.items() if said == {_EQUAL})
    return found
