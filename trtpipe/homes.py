"""The user's own directories: the configuration, the cache with the store, and the secret that seals trtpipe's files.

    $XDG_CONFIG_HOME/trtpipe      the configuration; ~/.config where the variable is not set
    $XDG_CACHE_HOME/trtpipe       the cache; ~/.cache where it is not set, ~/Library/Caches on macOS
    %LOCALAPPDATA%\\trtpipe        both on Windows, the cache in `cache` below it

A project may have been unpacked from somebody else's archive. Files that trtpipe keeps in a project are therefore
sealed with a secret that only this user has: a file without this user's seal was written by somebody else. If the
secret cannot be stored, because there is no home directory or it is not writable, files are sealed without one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from blake3 import blake3

_NAME = "trtpipe"
_SECRET = "secret"
_BYTES = 32
_secrets: dict[Path, bytes] = {}


def config_home() -> Path | None:
    """The directory of the user's configuration; None for a user without a home directory."""
    try:
        if sys.platform == "win32":
            return _local_app_data() / _NAME
        return (_named("XDG_CONFIG_HOME") or Path.home() / ".config") / _NAME
    except RuntimeError:
        return None


def user_file() -> Path | None:
    """Where the user's configuration is, or would be; None for a user without a home directory."""
    home = config_home()
    return home / "config.yaml" if home is not None else None


def cache_home() -> Path | None:
    """The directory for data that can be recreated; None for a user without a home directory."""
    try:
        if sys.platform == "win32":
            return _local_app_data() / _NAME / "cache"
        if sys.platform == "darwin":
            return (_named("XDG_CACHE_HOME") or Path.home() / "Library" / "Caches") / _NAME
        return (_named("XDG_CACHE_HOME") or Path.home() / ".cache") / _NAME
    except RuntimeError:
        return None


def seal_of(data: bytes | memoryview) -> str:
    """A keyed digest of these bytes that only this user can compute: 64 hex digits."""
    return blake3(data, key=_secret() or bytes(_BYTES)).hexdigest()


def can_seal() -> bool:
    """Whether this user has a secret to seal with; without one, anybody can make a seal."""
    return bool(_secret())


def is_sealed(data: bytes, seal: str) -> bool:
    """Whether this user sealed these bytes."""
    import hmac  # imported here, because a build with nothing to do only needs its state

    return hmac.compare_digest(seal_of(data).encode(), seal.encode())


def _secret() -> bytes:
    home = cache_home()
    if home is None:
        return b""
    if home not in _secrets:
        found = _read(home / _SECRET) or _made(home / _SECRET)
        if not found:
            return b""
        _secrets[home] = found
    return _secrets[home]


def _read(path: Path) -> bytes:
    try:
        found = path.read_bytes()
    except OSError:
        return b""
    return found if len(found) == _BYTES else b""


def _made(path: Path) -> bytes:
    """A new secret, or that of another process which was faster; empty if none can be stored."""
    temporary = path.with_name(f"{_SECRET}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(_BYTES))
        try:
            _keep(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError:
        return b""
    return _read(path)


def _keep(temporary: Path, path: Path) -> None:
    """Moves the secret to its place, unless a complete one is there by now."""
    with contextlib.suppress(FileExistsError):
        try:
            # link() fails if the target exists, so of several processes the first one's secret stays.
            os.link(temporary, path)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            temporary.replace(path)  # the file system has no hard links
            return
    if not _read(path):  # an incomplete file, for example after a full disk
        temporary.replace(path)


def _named(variable: str) -> Path | None:
    """The directory that a variable names; relative paths are ignored, as the XDG standard requires."""
    text = os.environ.get(variable, "")
    return Path(text) if text and Path(text).is_absolute() else None


def _local_app_data() -> Path:
    return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
