"""The `trtpipe` command: what it takes. Each command's body is imported when it runs: start-up is a feature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trtpipe import __version__
from trtpipe.cli.data import data_app
from trtpipe.cli.output import EXIT_DONE, run_command, say

app = typer.Typer(
    name="trtpipe",
    help="A declarative YAML build system for NVIDIA TensorRT engines.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
toolchain_app = typer.Typer(
    help="The TensorRT versions that engines are built with.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(toolchain_app, name="toolchain")
export_app = typer.Typer(
    help="A pipeline's model in another form.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(export_app, name="export")
app.add_typer(data_app, name="data")
migrate_app = typer.Typer(
    help="What other tools left behind, taken over.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(migrate_app, name="migrate")

Specs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SPEC|CELL]...",
        help="Specs, directories of specs, or cells; every spec of pipelines/ if none.",
    ),
]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="GLOB", help="Only cells that match.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
VariantCell = Annotated[
    str, typer.Argument(metavar="CELL", help="A cell, PIPELINE/VARIANT@TARGET, or PIPELINE/VARIANT.")
]
Where = Annotated[list[str] | None, typer.Argument(metavar="[SPEC]...", help="Where it is declared.")]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]


def _version(wanted: bool) -> None:
    if wanted:
        say(f"trtpipe {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A declarative YAML build system for NVIDIA TensorRT engines."""


@app.command()
def init(
    model: Annotated[
        str,
        typer.Argument(help="A model inside the project, or an https://, s3://, gs:// or hf:// address."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write the spec; pipelines/NAME.yaml if left out."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The pipeline's name; the file's if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing spec.")] = False,
    to_stdout: Annotated[
        bool, typer.Option("--stdout", help="Print the spec instead of writing it.")
    ] = False,
) -> None:
    """Write a commented spec for a model, one that builds as it is."""

    def body() -> int:
        from trtpipe.cli.starting import init_command

        return init_command(model, output, name, force=force, to_stdout=to_stdout)

    _run(body)


@app.command()
def check(specs: Specs = None, only: Only = None, offline: Offline = False, as_json: Json = False) -> None:
    """Prove everything that can be proved without building."""

    def body() -> int:
        from trtpipe.cli.checking import check_command

        return check_command(specs or [], only or [], as_json=as_json, offline=offline)

    _run(body)


@app.command()
def plan(
    specs: Specs = None,
    only: Only = None,
    as_json: Json = False,
    graph: Annotated[
        str | None, typer.Option("--graph", metavar="mermaid", help="Print a graph instead.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="As if nothing had been built.")] = False,
) -> None:
    """Show every step with its decision and the reason for it."""

    def body() -> int:
        from trtpipe.cli.planning import plan_command

        return plan_command(specs or [], only or [], as_json=as_json, graph=graph, force=force)

    _run(body)


@app.command()
def explain(
    cell: Annotated[str, typer.Argument(help="A cell: PIPELINE/VARIANT@TARGET.")],
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]...", help="Where it is declared.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell the whole story of a cell's key: what it is made of, and what changed."""

    def body() -> int:
        from trtpipe.cli.planning import explain_command

        return explain_command(cell, specs or [], as_json=as_json)

    _run(body)


@app.command()
def build(
    specs: Specs = None,
    only: Only = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Steps at a time; the number of cores if left out."),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="After a failure, finish what does not depend on it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run every step, whatever is known.")] = False,
    search_again: Annotated[
        bool,
        typer.Option("--search-again", help="Search anew for the types of auto variants, lockfile or not."),
    ] = False,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Build and validate what is not up to date, and write the lockfile."""

    def body() -> int:
        from trtpipe.cli.building import BuildOptions, build_command

        asked = (specs or [], only or [], jobs, keep_going, force, offline, as_json, search_again)
        return build_command(BuildOptions(*asked))

    _run(body)


@app.command()
def sensitivity(
    cell: VariantCell,
    specs: Where = None,
    metric: Annotated[str, typer.Option(help="What the outputs are compared by.")] = "cosine",
    samples: Annotated[
        int | None, typer.Option(min=1, help="At most this many samples of the validation data.")
    ] = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="Also measure each unit kept while all others are lowered.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rank the layers of a variant by what their precision does to its outputs."""

    def body() -> int:
        from trtpipe.cli.diagnosing import sensitivity_command

        return sensitivity_command(
            cell, specs or [], metric=metric, samples=samples, kept=kept, as_json=as_json
        )

    _run(body)


@app.command()
def debug(cell: VariantCell, specs: Where = None, as_json: Json = False) -> None:
    """Find the fewest nodes whose precision makes a variant miss its thresholds."""

    def body() -> int:
        from trtpipe.cli.diagnosing import debug_command

        return debug_command(cell, specs or [], as_json=as_json)

    _run(body)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="An ONNX model, an engine, or a pipeline's spec.")],
    as_json: Json = False,
) -> None:
    """Show what a model, an engine or a pipeline's model is; an engine needs no GPU for it."""

    def body() -> int:
        from trtpipe.cli.inspecting import inspect_command

        return inspect_command(file, as_json=as_json)

    _run(body)


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(metavar="[pipeline|dataset|project]", help="Which file.")
    ] = "pipeline",
) -> None:
    """Print the JSON Schema of a spec, for editors."""

    def body() -> int:
        from trtpipe.cli.starting import schema_command

        return schema_command(kind)

    _run(body)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can build and run, and why not the rest."""

    def body() -> int:
        from trtpipe.cli.inspecting import doctor_command

        return doctor_command(as_json=as_json)

    _run(body)


@export_app.command("network")
def export_network(
    spec: Annotated[str, typer.Argument(help="The pipeline whose model is exported.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where to write; beside the spec if left out."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write the model as declared layers and a .safetensors file, to own it by hand."""

    def body() -> int:
        from trtpipe.cli.exporting import network_command

        return network_command(spec, output, force=force)

    _run(body)


@export_app.command("calibration-cache")
def export_calibration_cache(
    scales: Annotated[Path, typer.Argument(help="A scales.json, as a build delivers it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; stdout if left out."),
    ] = None,
    trt_version: Annotated[
        str | None,
        typer.Option(
            metavar="X.Y.Z",
            help="The TensorRT that shall read it; the one that wrote the scales if left out.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(help="The calibrator that shall read it: EntropyCalibration2, MinMaxCalibration."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write scales as a calibration cache of TensorRT, for versions up to 10."""

    def body() -> int:
        from trtpipe.cli.caches import export_command

        return export_command(scales, output, trt_version, algorithm, force=force)

    _run(body)


@migrate_app.command("calibration-cache")
def migrate_calibration_cache(
    cache: Annotated[Path, typer.Argument(help="A calibration cache of TensorRT, ONNX Runtime or TAO.")],
    model: Annotated[Path, typer.Argument(help="The ONNX model that it belongs to, or a pipeline's spec.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the scales as scales.json.")
    ] = None,
    qdq: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the model with its Q and DQ, for any strongly typed TensorRT."
        ),
    ] = None,
    base: Annotated[
        str, typer.Option(metavar="fp32|fp16|bf16", help="With --qdq: what is not quantized computes in.")
    ] = "fp32",
    cache_format: Annotated[
        str, typer.Option("--format", help="auto, tensorrt, onnxruntime, json or trtpipe.")
    ] = "auto",
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="The least share of tensors that the cache must know.")
    ] = 0.9,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="What a name in the cache means; * allowed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a calibration cache means for a model, and take it over."""

    def body() -> int:
        from trtpipe.cli.caches import MigrateOptions, migrate_command

        options = MigrateOptions(
            output, qdq, base, cache_format, min_coverage, tuple(rename or ()), force, as_json
        )
        return migrate_command(cache, model, options)

    _run(body)


@toolchain_app.command("ls")
def toolchain_ls(as_json: Json = False) -> None:
    """List the toolchains that are installed or provisioned."""

    def body() -> int:
        from trtpipe.cli.toolchains import list_command

        return list_command(as_json=as_json)

    _run(body)


@toolchain_app.command("install")
def toolchain_install(
    version: Annotated[str, typer.Argument(help="An exact version, such as 1.6.1.120.")],
    flavour: Annotated[str, typer.Option(help="tensorrt_rtx or tensorrt.")] = "tensorrt_rtx",
) -> None:
    """Provision a private environment with a TensorRT version."""

    def body() -> int:
        from trtpipe.cli.toolchains import install_command

        return install_command(flavour, version)

    _run(body)


@toolchain_app.command("remove")
def toolchain_remove(
    name: Annotated[str, typer.Argument(help="A name that `toolchain ls` prints.")],
) -> None:
    """Remove a provisioned toolchain."""

    def body() -> int:
        from trtpipe.cli.toolchains import remove_command

        return remove_command(name)

    _run(body)


def _run(body: Callable[[], int]) -> None:
    raise typer.Exit(run_command(body))


def main() -> int:
    """Read the arguments, run the command, return its exit code."""
    try:
        app(prog_name="trtpipe")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_DONE
    return EXIT_DONE
