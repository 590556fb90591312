"""The environment variables that a child process of trtpipe gets: a fixed list of those known to be needed.

A stage reads models and data from other people, and may run code of a project that the user allowed. It must not see
tokens, keys or anything else in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_SYSTEM = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV",
)  # fmt: skip
_COMPUTING = (
    "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_CACHE_PATH", "CUDA_MODULE_LOADING",
    "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ORT_DISABLE_TELEMETRY",
)  # fmt: skip
_PYTHON = (
    "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONDEVMODE", "PYTHONWARNINGS", "PYTHONUTF8", "PYTHONIOENCODING",
    "PYTHONNOUSERSITE", "COVERAGE_PROCESS_START", "COVERAGE_FILE",
)  # fmt: skip
_OURS = ("TRTPIPE_FETCH_TIMEOUT", "TRTPIPE_STORE", "TRTPIPE_TOOLCHAINS")
_FETCHING = ("HF_TOKEN", "HF_ENDPOINT", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy",
             "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")  # fmt: skip
_FETCHING_BEGIN = ("AWS_", "GOOGLE_", "GCS_", "AZURE_")
_NAMED = frozenset((*_SYSTEM, *_COMPUTING, *_PYTHON, *_OURS))


def passed_on(source: Mapping[str, str] = os.environ, *, fetching: bool = False) -> dict[str, str]:
    """The variables that a child gets; `fetching` adds credentials for remote sources."""
    return {name: value for name, value in source.items() if _goes_on(name, fetching)}


def _goes_on(name: str, fetching: bool) -> bool:
    theirs = fetching and (name in _FETCHING or name.startswith(_FETCHING_BEGIN))
    return name in _NAMED or theirs
