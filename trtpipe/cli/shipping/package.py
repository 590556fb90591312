"""`trtpipe package`: makes a package of what is built, or verifies one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size

if TYPE_CHECKING:
    from trtpipe.packages.contents import Contents
    from trtpipe.packages.directory import Signer, Written
    from trtpipe.packages.index import Index
    from trtpipe.packages.verification import Verified
    from trtpipe.spec.packaging import TritonBackend

DISTRIBUTIONS = "dist"
"""The directory that packages are written to unless a place is named."""


@dataclass(frozen=True)
class PackageRequest:
    """The options of `trtpipe package`, but those of `--verify`."""

    names: Sequence[str]
    form: str = "dir"
    output: Path | None = None
    name: str | None = None
    fallbacks: bool = True
    sign: Path | None = None
    force: bool = False
    backend: str | None = None
    """Of a Triton repository, instead of the specs'."""
    push: str | None = None
    """Where an OCI image is pushed to."""
    insecure: bool = False


@dataclass(frozen=True)
class VerifyRequest:
    """The options of `trtpipe package --verify`."""

    package: Path
    key: Path | None = None
    unpack: Path | None = None
    force: bool = False


def _directory(contents: Contents, out: Path, asked: PackageRequest, sign: Signer | None) -> Written:
    from trtpipe.packages.directory import write_directory

    return write_directory(contents, out, sign=sign, force=asked.force)


def _tar(contents: Contents, out: Path, asked: PackageRequest, sign: Signer | None) -> Written:
    from trtpipe.packages.archive import write_archive

    return write_archive(contents, out, sign=sign, force=asked.force)


def _triton(contents: Contents, out: Path, asked: PackageRequest, sign: Signer | None) -> Written:
    from trtpipe.packages.triton.writing import write_repository

    backend = _backend(asked.backend)
    return write_repository(contents, out, backend=backend, sign=sign, force=asked.force)


def _oci(contents: Contents, out: Path, asked: PackageRequest, sign: Signer | None) -> Written:
    from trtpipe.packages.oci.reference import parse_reference
    from trtpipe.packages.oci.writing import pushed_words, write_image

    assert sign is None, "refuse_unfit refuses a key"
    reference = parse_reference(asked.push, insecure=asked.insecure) if asked.push else None
    found = write_image(contents, out, force=asked.force, push=reference, tell=note)
    if reference is None or found.pushed is None:
        return found.written
    return replace(found.written, pushed=tuple(pushed_words(found.pushed, reference)))


Writer = Callable[["Contents", Path, PackageRequest, "Signer | None"], "Written"]
FORMS: Mapping[str, tuple[str, Writer]] = {
    "dir": ("", _directory),
    "tar": (".tar", _tar),
    "triton": ("-triton", _triton),
    "oci": ("-oci", _oci),
}
"""Form → the ending of its file's name, and what writes it."""


def package_command(asked: PackageRequest, *, as_json: bool) -> int:
    """Write a package and say where it is."""
    ending, write = _form(asked.form)
    refuse_unfit(asked)
    if not asked.names:
        raise SpecError(Code.BAD_ARGUMENT, "nothing is named to package: name pipelines, bundles or cells")
    sign = None
    if asked.sign is not None:
        from trtpipe.packages.signatures import signer

        sign = signer(asked.sign)
    from trtpipe.packages.contents import Options, collect

    contents = collect(asked.names, Options(asked.name, asked.fallbacks))
    out = asked.output or contents.root / DISTRIBUTIONS / f"{contents.index.package}{ending}"
    found = write(contents, out, asked, sign)
    if as_json:
        say_json(_record(found))
    else:
        for line in _written_lines(found):
            say(line)
    return EXIT_DONE


def _form(name: str) -> tuple[str, Writer]:
    if name not in FORMS:
        raise SpecError(
            Code.UNKNOWN_VALUE, f"--to {name!r} is no form of package: it is one of {', '.join(FORMS)}"
        )
    return FORMS[name]


def refuse_unfit(asked: PackageRequest) -> None:
    """Raises SpecError for options of another form of package."""
    wrong = {
        "--backend": asked.backend is not None and asked.form != "triton",
        "--push": asked.push is not None and asked.form != "oci",
        "--insecure": asked.insecure and asked.push is None,
    }
    needs = {"--backend": "--to triton", "--push": "--to oci", "--insecure": "--push"}
    for option, unfit in wrong.items():
        if unfit:
            raise SpecError(Code.OPTIONS_EXCLUDE, f"{option} applies only to {needs[option]}")
    if asked.sign is not None and asked.form == "oci":
        fact = "--sign signs the files of a directory or an archive; an image is signed by its digest, with cosign"
        raise SpecError(Code.OPTIONS_EXCLUDE, fact)


def _backend(name: str | None) -> TritonBackend | None:
    known: dict[str | None, TritonBackend | None] = {
        None: None,
        "tensorrt": "tensorrt",
        "onnxruntime": "onnxruntime",
    }
    if name not in known:
        fact = f"--backend {name!r} is none that models are served with: it is tensorrt or onnxruntime"
        raise SpecError(Code.UNKNOWN_VALUE, fact)
    return known[name]


def verify_command(asked: VerifyRequest, *, as_json: bool) -> int:
    """Verify a package, unpack it if that is asked for, and say what it is."""
    from trtpipe.packages.unpacking import unpack, verify_package

    if not asked.package.exists():
        raise SpecError(Code.NO_SUCH_FILE, f"there is no package '{asked.package}'")
    if asked.unpack is not None:
        found = unpack(asked.package, asked.unpack, asked.key, force=asked.force)
    else:
        found = verify_package(asked.package, asked.key)
    if as_json:
        say_json(_verified_record(found, asked))
    else:
        for line in _verified_lines(found, asked):
            say(line)
    return EXIT_DONE


def refuse_mixed(making: PackageRequest, verify: Path | None, key: Path | None, unpack: Path | None) -> None:
    """Raises SpecError for options that do not go together."""
    if verify is None and (key is not None or unpack is not None):
        fact = f"{'--key' if key is not None else '--unpack'} applies only to --verify PACKAGE"
        raise SpecError(Code.OPTIONS_EXCLUDE, fact)
    if verify is not None and (making.names or making.output or making.sign):
        raise SpecError(
            Code.OPTIONS_EXCLUDE, "--verify makes no package, so nothing else can be named or written"
        )


def _written_lines(found: Written) -> Iterator[str]:
    yield f"packaged {found.index.package}: {_what(found.index)}, {_size(found.files, found.bytes)}"
    yield f"  {found.path}"
    yield f"  blake3 {found.digest.hex}{', signed' if found.signed else ''}"
    for text in found.notes:
        yield f"  note: {text}"
    if found.start:
        yield "  start the server, with `repository` of the package mounted:"
        yield "    " + " \\\n      ".join(found.start)
    yield from found.pushed


def _size(files: int, nbytes: int) -> str:
    return f"{files} files, {format_size(nbytes)}"


def _what(index: Index) -> str:
    from trtpipe.text.differences import counted

    engines = [engine for model in index.models for engine in model.engines]
    if not engines:
        typed = sum(len(model.fallbacks) for model in index.models)
        return f"{counted(typed, 'typed model')} and no engine"
    targets = " ".join(dict.fromkeys(engine.target for engine in engines))
    return f"{counted(len(engines), 'engine')} for {targets}"


def _record(found: Written) -> dict[str, Json]:
    return {
        "schema": 1,
        "package": found.index.package,
        "form": found.form,
        "path": str(found.path),
        "blake3": found.digest.hex,
        "files": found.files,
        "bytes": found.bytes,
        "signed": found.signed,
        "notes": list(found.notes),
        "start": list(found.start),
    }


def _verified_lines(found: Verified, asked: VerifyRequest) -> Iterator[str]:
    index = found.index
    engines = sum(len(model.engines) for model in index.models)
    size = sum(file.bytes for file in index.files.values())
    yield f"verified {asked.package}: package '{index.package}', {engines} engines, {_size(len(index.files) + 1, size)}"
    yield f"  blake3 {found.digest.hex}"
    yield f"  {_signature_words(found, asked)}"
    if asked.unpack is not None:
        yield f"  unpacked to {asked.unpack}"


def _signature_words(found: Verified, asked: VerifyRequest) -> str:
    if asked.key is not None:
        return f"signed, as {asked.key} proves"
    return "signed, which --key PUBLIC.pem would prove" if found.signed else "not signed"


def _verified_record(found: Verified, asked: VerifyRequest) -> dict[str, Json]:
    return {
        "schema": 1,
        "package": found.index.package,
        "path": str(asked.package),
        "blake3": found.digest.hex,
        "files": len(found.index.files) + 1,
        "signed": found.signed,
        "signature_proved": asked.key is not None,
        "unpacked": None if asked.unpack is None else str(asked.unpack),
    }
