"""Commands for what is shipped: package, select."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, app, run

Form = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="dir|tar|triton|oci",
        help="A directory, a tar archive of it, a model repository for NVIDIA Triton, or an OCI image layout.",
    ),
]
Backend = Annotated[
    str | None,
    typer.Option(
        metavar="tensorrt|onnxruntime",
        help="With --to triton: what serves the models; default: what their specs say, else tensorrt.",
    ),
]
Push = Annotated[
    str | None,
    typer.Option(metavar="REGISTRY/REPOSITORY:TAG", help="With --to oci: push the image, too (extra: oci)."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="With --push: over http, in a network that you trust.")
]
Sign = Annotated[
    Path | None, typer.Option(metavar="KEY.pem", help="Sign it with this private key (extra: sign).")
]
Verify = Annotated[
    Path | None,
    typer.Option(metavar="PACKAGE", help="Verify a package instead of making one."),
]
Key = Annotated[
    Path | None,
    typer.Option(metavar="PUBLIC.pem", help="With --verify: it must be signed by the owner of this key."),
]
Unpack = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="With --verify: unpack the archive to this directory."),
]


@app.command()
def package(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PIPELINE|BUNDLE|CELL]...",
            help="What is to be in it: pipelines with all their cells, bundles, or cells (globs allowed).",
        ),
    ] = None,
    form: Form = "dir",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Where to write it; default: dist/NAME."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The package's name; default: that of what is in it.")
    ] = None,
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback/--no-fallback", help="Add the typed models, for machines that no engine fits."
        ),
    ] = True,
    sign: Sign = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the package at that place.")] = False,
    backend: Backend = None,
    push: Push = None,
    insecure: Insecure = False,
    verify: Verify = None,
    key: Key = None,
    unpack: Unpack = None,
    as_json: Json = False,
) -> None:
    """Package what is built, with an index that a loader understands, or verify such a package."""

    def body() -> int:
        from trtpipe.cli.shipping.package import (
            PackageRequest,
            VerifyRequest,
            package_command,
            refuse_mixed,
            verify_command,
        )

        making = PackageRequest(
            names or [], form, output, name, fallback, sign, force, backend, push, insecure
        )
        refuse_mixed(making, verify, key, unpack)
        if verify is not None:
            return verify_command(VerifyRequest(verify, key, unpack, force), as_json=as_json)
        return package_command(making, as_json=as_json)

    run(body)


@app.command()
def select(
    package_: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE", help="A package: its directory, its archive, or its OCI image layout."
        ),
    ],
    gpu: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="GPU", help="Ask for another machine with this GPU: sm89, rtx4090, 'NVIDIA L4'."
        ),
    ] = None,
    trt: Annotated[
        list[str] | None,
        typer.Option(
            "--trt", metavar="VERSION", help="With --for: a TensorRT that is there; any will do if left out."
        ),
    ] = None,
    driver: Annotated[str | None, typer.Option(metavar="580", help="With --for: its driver.")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="8GiB", help="With --for: the memory of its GPU.")
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--os", metavar="linux|windows|linux-aarch64", help="With --for: its system."),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Only engines of this variant.")] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Say whether this installed engine is of the package and still fits."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which engine of a package a machine can run, and why not the others. 1 if there is none."""

    def body() -> int:
        from trtpipe.cli.shipping.select import SelectRequest, select_command

        return select_command(
            SelectRequest(package_, gpu, tuple(trt or ()), driver, memory, system, variant, check, as_json)
        )

    run(body)
