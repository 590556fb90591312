"""From what a spec says of a toolchain to a Toolchain, without installing or importing anything."""

import json
import shlex
import subprocess
import sys

import pytest

from trtpipe.errors import Problem, ToolchainError
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains import lookup, resolve
from trtpipe.toolchains.installed import installed_toolchain
from trtpipe.toolchains.provision import folder_name, provision
from trtpipe.toolchains.resolve import locate_toolchain, ready_toolchain

RTX = tuple((f"tensorrt_rtx_cu13{part}", "1.7.1.116") for part in ("", "_bindings", "_libs"))
PATH = ("toolchains", "rtx")


def located(**spec):
    return locate_toolchain("rtx", ToolchainSpec(flavour="tensorrt_rtx", **spec), path=PATH)


def refused(**spec):
    problem = located(**spec)
    assert isinstance(problem, Problem), problem
    return problem


@pytest.fixture
def installed(monkeypatch, packages, toolchains_root):
    """TensorRT for RTX 1.7.1.116 installed in this interpreter, and nothing else."""
    site = packages(*RTX)
    monkeypatch.setattr(resolve, "installed_toolchain", lambda one: installed_toolchain(one, [str(site)]))
    return site


@pytest.fixture
def nothing_installed(monkeypatch, toolchains_root):
    """No TensorRT in this interpreter."""
    monkeypatch.setattr(resolve, "installed_toolchain", lambda one: None)


def test_an_installed_toolchain_is_read_from_its_metadata_alone(packages):
    site = packages(*RTX)

    found = installed_toolchain("tensorrt_rtx", [str(site)])

    assert found == Toolchain(
        "tensorrt_rtx",
        "1.7.1.116",
        (sys.executable,),
        (str(site),),
        lookup.python_version(),
        dict(RTX),
    )


def test_cuda_13_packages_come_before_cuda_12_ones(packages):
    site = packages(("tensorrt_rtx_cu12", "1.6.1.120"), ("tensorrt_rtx_cu13", "1.7.1.116"))

    assert installed_toolchain("tensorrt_rtx", [str(site)]).version == "1.7.1.116"


def test_parts_in_different_directories_are_all_named(packages):
    one = packages(("tensorrt_cu12", "10.16.1.11"), modules=("tensorrt",))
    other = packages(("tensorrt_cu12_libs", "10.16.1.11"), modules=())

    assert installed_toolchain("tensorrt", [str(one), str(other)]).site == (str(one), str(other))


def test_libraries_of_another_version_are_not_part_of_it(packages):
    stale = packages(("tensorrt_cu13_libs", "10.3.0"), modules=())
    site = packages(
        ("tensorrt_cu13", "10.16.1.11"), ("tensorrt_cu13_libs", "10.16.1.11"), modules=("tensorrt",)
    )

    found = installed_toolchain("tensorrt", [str(stale), str(site)])

    assert found.site == (str(site),)
    assert set(found.libraries.values()) == {"10.16.1.11"}


def test_metadata_without_its_module_is_no_toolchain(packages):
    site = packages(*RTX, modules=())

    assert installed_toolchain("tensorrt_rtx", [str(site)]) is None


def test_the_other_flavour_is_not_taken_for_it(packages):
    assert installed_toolchain("tensorrt", [str(packages(*RTX))]) is None


def test_the_interpreter_is_named_by_its_implementation_and_its_whole_version(installed):
    """Whether it is part of a key is `targets/test_toolchain`'s."""
    version = ".".join(map(str, sys.version_info[:3]))

    found = located()

    assert found.python_version == f"{sys.implementation.name} {version}"
    assert {"flavour": "tensorrt_rtx", "version": "1.7.1.116"}.items() <= found.facts().items()


@pytest.mark.parametrize("version", [None, "1.7.1.116", "1.7.*", "1.*"])
def test_the_installed_toolchain_serves_what_it_matches(installed, version):
    assert located(version=version).site == (str(installed),)


def test_without_a_description_it_is_the_installed_rtx(installed):
    assert locate_toolchain(None, None, path=("targets", "ada")).version == "1.7.1.116"


def test_without_an_installed_rtx_the_default_is_a_problem(nothing_installed):
    problem = locate_toolchain(None, None, path=("targets", "ada"))

    assert problem.fact == f"tensorrt_rtx is not installed in {sys.executable}"
    assert "pip install tensorrt-rtx-cu13" in problem.remedy
    assert problem.path == ("targets", "ada")


def test_an_exact_version_that_is_nowhere_yet_has_facts_and_no_place(installed, toolchains_root):
    found = located(version="1.6.1.120")

    assert not found.ready
    assert found.facts()["version"] == "1.6.1.120"
    assert not toolchains_root.exists()


def test_facts_stay_the_same_when_a_toolchain_is_provisioned(installed, fake_pip):
    before = located(version="1.6.1.120").facts()
    provision("tensorrt_rtx", "1.6.1.120")

    found = located(version="1.6.1.120")

    assert found.ready
    assert found.facts() == before


def test_a_prefix_finds_what_is_provisioned(installed, fake_pip):
    provision("tensorrt_rtx", "1.6.1.120")

    assert located(version="1.6.*").version == "1.6.1.120"


def test_a_prefix_that_nothing_matches_is_a_problem_with_both_ways_out(installed):
    problem = refused(version="1.6.*")

    assert problem.fact == "no tensorrt_rtx 1.6.* is provisioned, and the installed one is 1.7.1.116"
    assert "exact version" in problem.remedy
    assert "`trtpipe toolchain install VERSION`" in problem.remedy
    assert problem.path == (*PATH, "version")


@pytest.mark.parametrize("version", ["1.6", "1.6.1"])
def test_a_part_of_a_version_is_no_version(installed, version):
    problem = refused(version=version)

    assert problem.fact == f"'{version}' is not a whole version of tensorrt_rtx"
    assert f"'{version}.*'" in problem.remedy


def test_three_numbers_are_a_whole_version_of_tensorrt(nothing_installed):
    spec = ToolchainSpec(flavour="tensorrt", version="10.3.0")

    assert locate_toolchain("trt", spec, path=PATH).version == "10.3.0"


def test_another_interpreter_is_asked_what_it_has(nothing_installed, packages):
    site = packages(*RTX)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); exec(sys.stdin.read())"
    command = shlex.join([sys.executable, "-c", code])

    found = located(python=command)

    assert found.version == "1.7.1.116"
    assert found.python == tuple(shlex.split(command))
    assert found.site == (str(site),)
    assert found.python_version == lookup.python_version()


def test_another_interpreter_with_another_version_is_refused(nothing_installed, packages):
    code = f"import sys; sys.path.insert(0, {str(packages(*RTX))!r}); exec(sys.stdin.read())"

    problem = refused(python=shlex.join([sys.executable, "-c", code]), version="1.6.*")

    assert problem.fact.endswith("has tensorrt_rtx 1.7.1.116, not 1.6.*")
    assert problem.path == (*PATH, "version")


def test_another_interpreter_without_tensorrt_is_refused(nothing_installed):
    problem = refused(python=f"{shlex.quote(sys.executable)} -I -S")

    assert problem.fact.endswith("has no tensorrt_rtx")
    assert problem.path == (*PATH, "python")


def test_a_module_without_metadata_is_asked_for_its_version(tmp_path, nothing_installed):
    (tmp_path / "bare" / "tensorrt_rtx").mkdir(parents=True)
    (tmp_path / "bare" / "tensorrt_rtx" / "__init__.py").write_text("__version__ = '1.5.0.114'\n")
    code = f"import sys; sys.path[:] = [{str(tmp_path / 'bare')!r}, *sys.path]; exec(sys.stdin.read())"

    found = located(python=shlex.join([sys.executable, "-I", "-S", "-c", code]))

    assert (found.version, found.site) == ("1.5.0.114", (str(tmp_path / "bare"),))


@pytest.mark.parametrize(
    ("python", "fact"),
    [
        ("no-such-python", "'no-such-python' cannot be run: no such file or directory"),
        ("true", "'true' is not a usable Python interpreter: exit code 0"),
    ],
)
def test_what_is_no_interpreter_is_refused(nothing_installed, python, fact):
    assert refused(python=python).fact == fact


def test_an_interpreter_that_never_answers_is_given_up(nothing_installed, monkeypatch):
    monkeypatch.setattr(resolve, "_PROBE_SECONDS", 0.2)

    code = "import time; time.sleep(30)"

    problem = refused(python=shlex.join([sys.executable, "-c", code]))

    assert problem.fact.endswith("did not answer within 0.2 s")


def test_an_interpreter_s_path_may_have_blanks(nothing_installed, tmp_path):
    path = tmp_path / "my python"
    path.symlink_to(sys.executable)

    assert refused(python=str(path)).fact.startswith(f"{str(path)!r} has ")


def test_the_lookup_runs_on_its_own_and_prints_one_line_of_json():
    done = subprocess.run(
        [sys.executable, "-I", "-S", lookup.__file__, "tensorrt_rtx"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {"python": lookup.python_version(), "found": None}


def test_a_toolchain_that_is_here_is_ready_as_it_is(installed, fake_pip):
    toolchain = located()

    assert ready_toolchain(toolchain) is toolchain
    assert fake_pip.asked == []


def test_a_planned_toolchain_is_made_ready_by_provisioning(installed, fake_pip, toolchains_root):
    said = []

    ready = ready_toolchain(located(version="1.6.1.120"), progress=said.append)

    assert ready.site == (str(toolchains_root / folder_name("tensorrt_rtx", "1.6.1.120")),)
    assert said == ["installing tensorrt-rtx-cu13==1.6.1.120 (100 MB and more)"]


def test_offline_a_planned_toolchain_cannot_be_made_ready(installed, fake_pip):
    with pytest.raises(ToolchainError, match="offline"):
        ready_toolchain(located(version="1.6.1.120"), offline=True)
