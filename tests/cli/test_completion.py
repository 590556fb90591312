"""Completion: what a shell is told, by the protocol that typer's scripts for bash, zsh and fish speak."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.completion import TABLE, table

SPEC = """\
schema: 1
pipeline: digits
model:
  source: digits.onnx
variants:
  fp32: {}
  fp16:
    precision: fp16
targets:
  ada: {gpu: sm89}
"""
SHARED = (
    "schema: 1\ntargets: {desktop: {gpu: [sm86, sm89]}, laptop: {gpu: sm89}}\ntoolchains:\n  rtx-1.6: {}\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "p"
    for folder, name, text in (
        ("pipelines", "digits", SPEC),
        (
            "pipelines",
            "faces",
            "schema: 1\npipeline: faces\nvariants: {fp32: {}, 'int8': {keep: {fp32: [a]}}}\n",
        ),
        ("calibration", "photos", "schema: 1\n"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}.yaml").write_text(text)
    (root / "trtpipe.yaml").write_text(SHARED)
    return root


def asked(cwd: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "trtpipe"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        check=False,
    )


def told(cwd: Path, line: str, shell: str = "bash") -> list[str]:
    """The answer to a command line that ends at the cursor; nothing may be said beside it."""
    if shell == "bash":
        # as readline takes a line apart, for which `@` is a break
        words = re.sub(r"@", " @ ", line).rstrip(" ").split() if "@" in line else line.split()
        words += [""] if line.endswith(" ") else []
        variables = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    else:
        variables = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = asked(cwd, {"_TRTPIPE_COMPLETE": f"complete_{shell}", **variables})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_table_is_that_of_the_commands() -> None:
    """After a change of commands or options: `PYTHONPATH=. python docs/completion.py`."""
    assert json.loads(TABLE.read_text()) == table()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trtpipe bu", ["build"]),
        ("trtpipe cache pu", ["push", "pull"]),
        ("trtpipe build --o", ["--only", "--offline"]),
        ("trtpipe build --executor ", ["local", "dask"]),
        ("trtpipe build pipelines/", ["pipelines/digits.yaml", "pipelines/faces.yaml"]),
        ("trtpipe build --jobs 4 digits/", ["digits/fp32@ada", "digits/fp16@ada"]),
        ("trtpipe build pipelines/digits.yaml faces/int8", ["faces/int8@desktop", "faces/int8@laptop"]),
        ("trtpipe explain digits/fp16@ada pipelines/f", ["pipelines/faces.yaml"]),
        ("trtpipe data preview ", ["photos"]),
        ("trtpipe toolchain verify ", ["rtx-1.6"]),
        ("trtpipe schema f", ["fleet"]),
        ("trtpipe doctor x", []),
    ],
)
def test_commands_options_and_the_names_of_the_project_are_offered(
    project: Path, line: str, expected: list[str]
) -> None:
    for shell in ("bash", "fish"):
        assert sorted(one.partition("\t")[0] for one in told(project, line, shell)) == sorted(expected)


def test_bash_takes_a_cell_apart_and_is_told_what_follows(project: Path) -> None:
    assert told(project, "trtpipe build faces/fp32@") == ["desktop", "laptop"]
    assert told(project, "trtpipe build faces/fp32@lap") == ["laptop"]


def test_zsh_is_told_in_its_own_syntax(project: Path) -> None:
    assert told(project, "trtpipe data ", "zsh")[0].startswith('_arguments \'*: :(("ls":"List the data sets')
    assert told(project, "trtpipe data preview ", "zsh") == ["_arguments '*: :((\"photos\"))'"]
    assert told(project, "trtpipe init ", "zsh") == ["_files"]


def test_fish_asks_first_whether_there_is_anything(project: Path) -> None:
    variables = {"_TRTPIPE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "is-args"}

    assert asked(project, {**variables, "_TYPER_COMPLETE_ARGS": "trtpipe data preview "}).returncode == 0
    assert asked(project, {**variables, "_TYPER_COMPLETE_ARGS": "trtpipe init "}).returncode == 1


def test_it_works_below_the_root(project: Path) -> None:
    assert told(project / "pipelines", "trtpipe check d") == [
        "digits.yaml",
        *told(project, "trtpipe check digits/"),
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe\x00", b"{{{{", b"pipeline: [\n", b"targets: &a [*a]\n", b"[" * 100_000, b"pipeline:\n" * 9],
)
def test_a_broken_project_offers_less_and_says_nothing(project: Path, shell: str, text: bytes) -> None:
    for path in (project / "trtpipe.yaml", project / "pipelines/digits.yaml"):
        path.write_bytes(text)

    answer = told(project, "trtpipe plan ", shell)

    assert any("pipelines/faces.yaml" in line for line in answer)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_in_place_of_a_spec_is_not_waited_for(project: Path) -> None:
    os.mkfifo(project / "pipelines/pipe.yaml")
    (project / "trtpipe.yaml").unlink()
    os.mkfifo(project / "trtpipe.yaml")

    assert "digits.yaml" in told(project / "pipelines", "trtpipe plan d")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_that_a_shell_would_take_for_commands_are_not_told(project: Path, shell: str) -> None:
    evil = ["$(touch x)", "`touch x`", "a;b", "a'b", 'a"b', "a b", "a\nb", "a)b", "\x1b[2J"]
    for name in evil:
        (project / "pipelines" / f"{name}.yaml").write_text(f"pipeline: '{name}'\nvariants: {{fp32: {{}}}}\n")

    answer = told(project, "trtpipe plan ", shell)

    assert not any(character in "\n".join(answer) for character in "$`;\x1b")
    assert any("pipelines/digits.yaml" in line for line in answer)


def test_nothing_is_imported_that_is_not_needed(project: Path) -> None:
    code = (
        "import sys; sys.argv = ['trtpipe']\nimport trtpipe.__main__ as m\n"
        "try: m.main()\nexcept SystemExit: pass\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'typer', 'pydantic', 'yaml', 'rich', 'blake3'}))"
    )
    variables = {"_TRTPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "trtpipe build ", "COMP_CWORD": "2"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        cwd=project,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_typers_script_in_a_real_bash_gets_the_answer(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "trtpipe").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trtpipe "$@"\n')
    (folder / "trtpipe").chmod(0o755)
    script = (
        'eval "$(trtpipe --show-completion bash)"\n'
        "COMP_WORDS=(trtpipe build faces/fp32 @ d); COMP_CWORD=4\n"
        'name=$(complete -p trtpipe | sed "s/.*-F \\([^ ]*\\) .*/\\1/"); $name trtpipe\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }

    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        cwd=project,
        check=False,
    )

    assert done.stdout.splitlines() == ["desktop"], done.stderr
