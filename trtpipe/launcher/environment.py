"""The environment variables that each kind of child process gets: a fixed table of those known to be needed.

A stage reads models and data from other people, and may run code of a project that the user allowed. It must not see
tokens, keys or anything else in the environment. An engine and a converted model must not depend on the user's shell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Literal

Kind = Literal["stage", "fetch", "engine", "converter"]
"""A stage, and the programs that trtpipe asks (git, nvidia-smi); a stage that downloads; a process that uses TensorRT;
a converter of models."""

_ALL: tuple[Kind, ...] = ("stage", "fetch", "engine", "converter")
_ENGINE: tuple[Kind, ...] = ("stage", "fetch", "engine")
_STAGE: tuple[Kind, ...] = ("stage", "fetch")
_FETCH: tuple[Kind, ...] = ("fetch",)
_ROWS: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    # programs and libraries
    ("PATH LD_LIBRARY_PATH SYSTEMROOT", _ALL),
    ("CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER", _ENGINE),
    # the system
    ("HOME USER LOGNAME LANG LC_ALL LC_CTYPE TZ TMPDIR TEMP TMP XDG_CACHE_HOME XDG_CONFIG_HOME", _STAGE),
    ("SYSTEMDRIVE WINDIR COMSPEC PATHEXT USERPROFILE APPDATA LOCALAPPDATA PROGRAMDATA", _STAGE),
    ("LD_PRELOAD DYLD_LIBRARY_PATH VIRTUAL_ENV", _STAGE),
    # computing
    (
        "CUDA_HOME CUDA_PATH CUDA_CACHE_PATH CUDA_MODULE_LOADING NVIDIA_VISIBLE_DEVICES",
        _STAGE,
    ),
    ("OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS ORT_DISABLE_TELEMETRY", _STAGE),
    # Python
    ("PYTHONHASHSEED PYTHONMALLOC PYTHONDEVMODE PYTHONWARNINGS PYTHONUTF8 PYTHONIOENCODING", _STAGE),
    ("PYTHONNOUSERSITE COVERAGE_PROCESS_START COVERAGE_FILE", _STAGE),
    # trtpipe
    ("TRTPIPE_FETCH_TIMEOUT TRTPIPE_STORE TRTPIPE_TOOLCHAINS", _STAGE),
    # remote sources: credentials, certificates, proxies
    ("HF_TOKEN HF_ENDPOINT SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE", _FETCH),
    ("NO_PROXY no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy", _FETCH),
    ("AWS_* GOOGLE_* GCS_* AZURE_*", _FETCH),
)
"""Names, where `*` stands for any ending, and the kinds of child that see them."""

_FIXED: Mapping[Kind, Mapping[str, str]] = {
    "stage": {},
    "fetch": {},
    "engine": {"LANG": "C.UTF-8"},
    "converter": {
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # constants are folded with plain kernels, alike on every CPU
    },
}
"""What a kind of child gets whatever the user has set."""

_NOT_FOR_INSTALLERS = frozenset(
    ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "PYTHONPATH")
)
"""What contradicts pip's `--target`."""


def environment_of(kind: Kind, source: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that a child of this kind gets. NVIDIA_TF32_OVERRIDE, for one, would change engines."""
    names, beginnings = _seen_by(kind)
    seen = {
        name: value for name, value in source.items() if name in names or name.startswith(tuple(beginnings))
    }
    return {**seen, **_FIXED[kind]}


def installer_environment() -> dict[str, str]:
    """What pip and uv get: the user's own, as it names indexes and proxies, with English messages."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_INSTALLERS}
    return {**kept, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "LC_ALL": "C.UTF-8"}


def _seen_by(kind: Kind) -> tuple[Iterable[str], Iterable[str]]:
    """The whole names, and the beginnings of names."""
    patterns = [name for row, kinds in _ROWS if kind in kinds for name in row.split()]
    return (
        {name for name in patterns if not name.endswith("*")},
        [name.removesuffix("*") for name in patterns if name.endswith("*")],
    )
