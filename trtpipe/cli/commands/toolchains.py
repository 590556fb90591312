"""Commands about the TensorRT versions that engines are built with."""

from __future__ import annotations

from typing import Annotated

import typer

from trtpipe.cli.app import Json, run, toolchain_app


@toolchain_app.command("ls")
def toolchain_ls(as_json: Json = False) -> None:
    """List the toolchains that are installed or provisioned."""

    def body() -> int:
        from trtpipe.cli.toolchains import list_command

        return list_command(as_json=as_json)

    run(body)


@toolchain_app.command("install")
def toolchain_install(
    versions: Annotated[
        list[str], typer.Argument(metavar="VERSION...", help="Exact versions, such as 1.6.1.120.")
    ],
    flavour: Annotated[str, typer.Option(help="tensorrt_rtx or tensorrt.")] = "tensorrt_rtx",
) -> None:
    """Provision a private environment with each TensorRT version."""

    def body() -> int:
        from trtpipe.cli.toolchains import install_command

        return install_command(flavour, versions)

    run(body)


@toolchain_app.command("remove")
def toolchain_remove(
    name: Annotated[str, typer.Argument(help="A name from `toolchain ls`.")],
) -> None:
    """Remove a provisioned toolchain."""

    def body() -> int:
        from trtpipe.cli.toolchains import remove_command

        return remove_command(name)

    run(body)


@toolchain_app.command("verify")
def toolchain_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Names from `toolchain ls`; default: all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hash every file of the toolchains, and report files that differ from the installed ones."""

    def body() -> int:
        from trtpipe.cli.toolchains import verify_command

        return verify_command(names or [], as_json=as_json)

    run(body)
