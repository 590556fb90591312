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
    version: Annotated[str, typer.Argument(help="An exact version, such as 1.6.1.120.")],
    flavour: Annotated[str, typer.Option(help="tensorrt_rtx or tensorrt.")] = "tensorrt_rtx",
) -> None:
    """Provision a private environment with a TensorRT version."""

    def body() -> int:
        from trtpipe.cli.toolchains import install_command

        return install_command(flavour, version)

    run(body)


@toolchain_app.command("remove")
def toolchain_remove(
    name: Annotated[str, typer.Argument(help="A name that `toolchain ls` prints.")],
) -> None:
    """Remove a provisioned toolchain."""

    def body() -> int:
        from trtpipe.cli.toolchains import remove_command

        return remove_command(name)

    run(body)
