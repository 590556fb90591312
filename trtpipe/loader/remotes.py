"""Parses remote addresses in a spec into RemoteFile; every address is checked before any network access.

Knows the syntax of each kind of address; opens no connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeGuard

from trtpipe.errors import Problem, SpecError, SpecPath, masked
from trtpipe.loader.scalars import shortened
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import PinnedText
from trtpipe.spec.remote import RemoteFile, is_local_host, is_plain_relative, is_remote

EXAMPLES = {
    "https": "https://example.com/models/net.onnx",
    "http": "https://example.com/models/net.onnx",
    "s3": "s3://bucket/models/net.onnx",
    "gs": "gs://bucket/models/net.onnx",
    "hf": "hf://org/repo@COMMIT/onnx/model.onnx",
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%-]{0,199}")
_HOST = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_LONGEST = 4000
_PINS: SpecPath = ("model", "files")


class _Wrong(ValueError):
    """An error in an address, with a remedy more specific than an example."""

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(fact)
        self.remedy = remedy


def remote_file(text: str, sha256: str = "", path: SpecPath = ()) -> RemoteFile:
    """The remote file that `text` names, with its pin. Raises SpecError with a Problem at `path` in the spec."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    try:
        if len(text) > _LONGEST or not text.isprintable():
            raise _Wrong("it contains control characters, or is too long")
        file = _PARSERS[scheme](scheme, rest)
        _refuse_plain_http(file, sha256)
    except _Wrong as wrong:
        remedy = wrong.remedy or f"for example {EXAMPLES[scheme]}"
        fact = f"not an address that can be fetched: {shortened(masked(text))!r}: {wrong}"
        raise SpecError(Problem(Code.BAD_ADDRESS, fact, remedy, path=path)) from None
    return file.pinned(sha256.lower())


def _refuse_plain_http(file: RemoteFile, sha256: str) -> None:
    """Rejects plain HTTP without a pin: it can be altered in transit, which a pin detects, and read by anyone."""
    if file.scheme != "http" or is_local_host(file.host):
        return
    if file.has_credential:
        raise _Wrong("its credential could be read in transit", "write https://")
    if not sha256:
        raise _Wrong("plain http can be altered in transit", "write https://, or pin the file: sha256: 4c3f…")


def _server(scheme: str, rest: str) -> RemoteFile:
    from urllib.parse import quote, unquote

    if " " in rest:
        raise _Wrong("it contains a blank", "write %20 for it")
    if "#" in rest:
        raise _Wrong("it holds a '#'", "leave out everything from '#' on, or write %23 for a '#' in a name")
    address, _, query = rest.partition("?")
    host, _, path = address.partition("/")
    if "@" in host:
        raise _Wrong(
            "it contains a user name or password",
            "remove it; credentials of s3://, gs:// and hf:// come from the environment",
        )
    if not _HOST.fullmatch(host) or int(host.rsplit(":", 1)[-1] if re.search(r":\d+$", host) else 1) > 65535:
        raise _Wrong("it has no host" if not host else f"{shortened(host)!r} is not a host")
    _refuse_folder(unquote(path))
    return RemoteFile(
        scheme, host, quote(path, safe="/%:@!$&'()*+,;=~"), quote(query, safe="/%:@!$&'()*+,;=~?")
    )


def _bucket(scheme: str, rest: str) -> RemoteFile:
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        raise _Wrong(
            "it contains a key or a password",
            "remove it: credentials come from the environment, as for other tools",
        )
    if not _BUCKET.fullmatch(bucket):
        raise _Wrong("it has no bucket" if not bucket else f"{shortened(bucket)!r} is not a bucket")
    if "?" in key or "#" in key:
        raise _Wrong("an object's name with '?' or '#' cannot be distinguished from a query")
    _refuse_folder(key)
    return RemoteFile(scheme, bucket, key)


def _repository(scheme: str, rest: str) -> RemoteFile:
    org, _, rest = rest.partition("/")
    repo, _, path = rest.partition("/")
    repo, at, revision = repo.partition("@")
    if "@" in org or ":" in org:
        raise _Wrong("it contains a user name or password", "remove it: the token comes from $HF_TOKEN")
    if not _REPO.fullmatch(f"{org}/{repo}") or ".." in f"{org}/{repo}":
        raise _Wrong("it does not begin with ORG/REPO")
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise _Wrong(
            f"{shortened(revision)!r} is not a revision",
            "a commit, a tag or a branch; write %2F for a '/' in its name",
        )
    if "?" in path or "#" in path:
        raise _Wrong("a file's name with '?' or '#' cannot be distinguished from a query")
    _refuse_folder(path)
    return RemoteFile(scheme, f"{org}/{repo}", path, revision=revision)


def _refuse_folder(path: str) -> None:
    if not path or path.endswith("/"):
        raise _Wrong("it names no file")
    if any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path or "\0" in path:
        raise _Wrong("its path contains an empty part, '.', '..' or a backslash")


_PARSERS: dict[str, Callable[[str, str], RemoteFile]] = {
    "https": _server,
    "http": _server,
    "s3": _bucket,
    "gs": _bucket,
    "hf": _repository,
}


def named_remotely(text: object) -> TypeGuard[str]:
    """Whether a value in a spec names a remote file."""
    return isinstance(text, str) and is_remote(text)


def unfetchable(
    named: Iterable[tuple[SpecPath, object]], remotes: dict[SpecPath, RemoteFile]
) -> Iterator[Problem]:
    """The problems of the addresses that cannot be fetched; the others are put into `remotes`."""
    for path, text in named:
        if named_remotely(text):
            pin = text.sha256 if isinstance(text, PinnedText) else ""
            found = _file_or_problems(text, pin, path)
            if isinstance(found, RemoteFile):
                remotes[path] = found
            else:
                yield from found


def _file_or_problems(text: str, sha256: str, path: SpecPath) -> RemoteFile | tuple[Problem, ...]:
    try:
        return remote_file(text, sha256, path)
    except SpecError as error:
        return error.problems


def misplaced_pins(model: object, default_parser: str) -> Iterator[Problem]:
    """The problems of `model.files`, which applies to files next to a remote ONNX model."""
    if not isinstance(model, dict):
        return
    pins = model.get("files")
    if not isinstance(pins, dict) or not pins:
        return
    remedy = "write the name that the model uses, relative to its folder, for example model.onnx.data"
    for name in pins:
        if not (isinstance(name, str) and is_plain_relative(name)):
            fact = f"{shortened(str(name))!r} is not a plain relative name"
            yield Problem(Code.MISPLACED_PIN, fact, remedy, path=(*_PINS, name))
    if not named_remotely(model.get("source")) or (model.get("parser") or default_parser) != "onnx":
        fact = "'files' pins data files of a remote ONNX model, but this model is not one"
        yield Problem(
            Code.MISPLACED_PIN, fact, "leave it out, because this model has no such files", path=_PINS
        )
