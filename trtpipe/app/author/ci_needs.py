"""What a CI workflow must know of a project: what is installed, built and proved, with which runners and secrets.

Everything comes from the specs, `trtpipe.yaml` and the files beside them. No model is read and nothing is run, so the
same project always has the same needs.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trtpipe import __version__
from trtpipe.app.author.ci_matrix import NO_GPU, OPTION, Matrix, Runners, matrix_of, runners_of
from trtpipe.datasets import find_reader
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.frontends import frontend_called
from trtpipe.git.command import ask_git
from trtpipe.loader.specs import LoadedPipeline, load_dataset
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.remote import is_remote
from trtpipe.spec.store import StoreSpec
from trtpipe.workspace.project_code import code_in
from trtpipe.workspace.workspace import Workspace

REQUIREMENTS = "requirements.txt"
_PYTHON = re.compile(r"3\.\d+(\.\d+)?")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_DIRECTORY = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._/-]*")
_OURS = re.compile(r"^trtpipe\b", re.MULTILINE | re.IGNORECASE)
_LOCKED = "--require-hashes --only-binary :all: --no-binary tensorrt-rtx-cu13"
_BUCKETS = ("s3", "gs", "az", "http", "https")
_SECRETS: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY",),
    "https": ("TRTPIPE_REMOTE_TOKEN",),
}
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_REGION", "AWS_ENDPOINT_URL"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME",),
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user said on the command line."""

    system: str
    python: str
    branch: str
    gpu_runners: tuple[str, ...] = ()

    def heading(self) -> str:
        """Comment lines with the command that writes the same files again."""
        words = ["trtpipe ci init", self.system, "--python", self.python]
        words += [] if self.branch == "main" else ["--branch", self.branch]
        words += [f"{OPTION} {one}" for one in self.gpu_runners]
        return f"# Written by trtpipe. To write it anew:\n#   {' '.join(words)} --force\n"


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """The project's remote store, and the variables that hold its address and credentials."""

    address: str
    secrets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Variables that are no secret."""
    signing: str = ""
    """The variable that holds the signing key."""
    named: bool = False
    """Whether the token is only sent when TRTPIPE_REMOTE names the address."""


@dataclass(frozen=True, slots=True)
class CiNeeds:
    """What a workflow is written from."""

    choices: Choices
    root: Path
    """The root of the repository."""
    directory: str
    """The project's directory below it; empty for the root itself."""
    packages: str
    """What pip is told to install."""
    has_requirements: bool
    has_lockfile: bool
    has_large_files: bool
    """Whether Git LFS keeps some of the repository's files."""
    code: tuple[str, ...]
    """What the project would run, or touch outside itself, in words."""
    remote: RemoteAccess | None
    runners: Runners
    builds_anywhere: bool
    """Whether some engines can be built without their GPU."""
    unproved: Mapping[str, Sequence[str]]
    """GPU that no runner is named for -> cells that are not proved there."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that runners are named for."""
        return tuple(gpu for gpu in self.runners if gpu != NO_GPU)

    def inside(self, path: str) -> str:
        """A path of the project, from the repository's root."""
        return f"{self.directory}/{path}" if self.directory else path


def needs_of(workspace: Workspace, choices: Choices) -> CiNeeds:
    """What the workflow of a project needs. Raises SpecError for options that it has no use for."""
    _refuse_odd(choices)
    project, runners = workspace.project, runners_of(choices.gpu_runners)
    proofs = matrix_of(workspace, "run", runners={NO_GPU: (), **runners})
    _refuse_unused(runners, proofs)
    root = _repository(project.root)
    directory = project.root.resolve().relative_to(root).as_posix()
    directory = "" if directory == "." else _plain(directory)
    pinned = project.root / REQUIREMENTS
    store = project.spec.store if project.spec else StoreSpec()
    return CiNeeds(
        choices=choices,
        root=root,
        directory=directory,
        packages=_packages(workspace, store, pinned, f"{directory}/" if directory else ""),
        has_requirements=pinned.is_file(),
        has_lockfile=workspace.lockfile.is_file(),
        has_large_files=_has_large_files(root, project.root),
        code=tuple(one.code.words() for one in code_in(project, workspace.pipelines, workspace.bundles)),
        remote=_access(store) if store.remote else None,
        runners=runners,
        builds_anywhere=bool(matrix_of(workspace, "build").cells_for(NO_GPU)),
        unproved=proofs.left_out,
    )


def _refuse_odd(choices: Choices) -> None:
    if not _PYTHON.fullmatch(choices.python):
        raise SpecError(Code.BAD_ARGUMENT, f"no version of Python: {choices.python!r}", "write --python 3.12")
    if not _BRANCH.fullmatch(choices.branch):
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"no name of a branch: {choices.branch!r}",
            "write --branch main; its name may have letters, digits, '.', '_', '/' and '-'",
        )


def _refuse_unused(runners: Runners, proofs: Matrix) -> None:
    """Raise SpecError for a runner whose GPU no target is for."""
    targets = list(dict.fromkeys([*(str(job["gpu"]) for job in proofs.jobs), *proofs.left_out]))
    for gpu in runners:
        if gpu not in (*targets, NO_GPU):
            raise SpecError(
                Code.NO_MATCH,
                f"a runner is named for {gpu}, and no target is for that GPU",
                f"the targets are for {', '.join(targets)}",
            )


def _repository(project: Path) -> Path:
    """The root of the git repository around a project; the project's own if there is none."""
    try:
        told = ask_git(project, "rev-parse", "--show-toplevel", seconds=10)
    except (OSError, subprocess.TimeoutExpired):
        return project.resolve()
    found = told.stdout.decode(errors="replace").rstrip("\n")
    return Path(found).resolve() if told.returncode == 0 and found else project.resolve()


def _plain(directory: str) -> str:
    """The project's directory, if a CI file and a shell can hold it as it is. Raises SpecError."""
    if not _DIRECTORY.fullmatch(directory):
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"the project's directory {directory!r} has other characters than letters, digits, '.', '_' and '-': a CI "
            "file would have to quote them",
        )
    return directory


def _has_large_files(*folders: Path) -> bool:
    files = [folder / ".gitattributes" for folder in folders]
    return any("filter=lfs" in file.read_text(errors="replace") for file in files if file.is_file())


def _packages(workspace: Workspace, store: StoreSpec, pinned: Path, prefix: str) -> str:
    """The project's own list of packages if it names trtpipe, else this version with the extras that specs need."""
    text = pinned.read_text(errors="replace") if pinned.is_file() else ""
    own = f"-r {prefix}{REQUIREMENTS}"
    if _OURS.search(text):
        return f"{_LOCKED} {own}" if "--hash=" in text else own
    extras = sorted({"report", *_extras(workspace), *_store_extras(store)} - {""})
    ours = f"trtpipe[{','.join(extras)}]=={__version__}"
    return f"{ours} {own}" if text else ours


def _extras(workspace: Workspace) -> Iterator[str]:
    for pipeline in workspace.pipelines:
        yield frontend_called(pipeline.spec.model.parser).extra
        yield from _extras_of(pipeline)
    for file in workspace.project.datasets.values():
        try:
            kinds = load_dataset(file, workspace.project).spec.kinds()
        except TrtpipeError:  # `check` says what is wrong with it
            continue
        yield from (find_reader(kind).extra for kind in kinds)


def _extras_of(pipeline: LoadedPipeline) -> Iterator[str]:
    """The extras for a spec's addresses, toolchains and calibrators."""
    from trtpipe.calibration.calibrators import find_calibrator

    spec: PipelineSpec = pipeline.spec
    addresses = [spec.model.source or "", *map(str, spec.model.options.values())]
    if any(is_remote(one) and urlsplit(one).scheme.lower() in ("s3", "gs") for one in addresses):
        yield "remote"
    if any(one.flavour == "tensorrt" and one.version is None for one in spec.toolchains.values()):
        yield "tensorrt"
    for variant in spec.variants.values():
        found = find_calibrator(variant.calibration.backend) if variant.calibration else None
        yield found.extra if found else ""


def _store_extras(store: StoreSpec) -> Iterator[str]:
    scheme = _scheme(store)
    if scheme in _BUCKETS or store.sign or store.trust:
        yield "remote"
    if scheme and scheme not in (*_BUCKETS, "file"):
        yield from ("remote", "fsspec")


def _scheme(store: StoreSpec) -> str:
    return urlsplit(store.remote).scheme.lower() if store.remote and "://" in store.remote else ""


def _access(store: StoreSpec) -> RemoteAccess:
    scheme = _scheme(store)
    sign = store.sign or ""
    return RemoteAccess(
        store.remote or "",
        _SECRETS.get(scheme, ()),
        _SETTINGS.get(scheme, ()),
        signing=sign[1:].strip("{}") if sign.startswith("$") else "",
        named=scheme == "https",
    )
