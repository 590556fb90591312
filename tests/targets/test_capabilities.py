"""Which TensorRT builds for which GPU, and where an engine runs."""

import pytest

from trtpipe.targets.capabilities import (
    buildable,
    buildable_here,
    capabilities_of,
    nearest_alternatives,
    runnable_here,
)
from trtpipe.targets.compute_capability import ComputeCapability


def cc(text):
    return ComputeCapability.parse(text)


def sms(flavour, version):
    return [one.sm for one in capabilities_of(flavour, version)]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.4.0.76", ["sm75", "sm80", "sm86", "sm89", "sm120"]),
        ("1.5.0.114", ["sm75", "sm80", "sm86", "sm89", "sm120", "sm121"]),
        ("1.7.1.116", ["sm75", "sm80", "sm86", "sm89", "sm120", "sm121"]),
    ],
)
def test_rtx_builds_for_the_members_of_its_enum(version, expected):
    assert sms("tensorrt_rtx", version) == expected


@pytest.mark.parametrize("sm", ["sm72", "sm87", "sm90", "sm100", "sm103", "sm110"])
def test_rtx_refuses_data_centre_and_embedded_gpus_and_names_the_other_flavour(sm):
    problem = buildable("tensorrt_rtx", "1.7.1.116", cc(sm))

    assert problem is not None
    assert problem.fact.startswith(f"TensorRT-RTX 1.7.1.116 cannot build for {sm} (")
    assert ("flavour: tensorrt" in problem.remedy) == (sm != "sm72")


def test_rtx_builds_for_what_it_knows():
    assert buildable("tensorrt_rtx", "1.7.1.116", cc("sm89")) is None


def test_a_version_too_old_for_a_gpu_is_answered_with_the_first_that_knows_it():
    problem = buildable("tensorrt_rtx", "1.4.0.76", cc("sm121"))

    assert problem is not None
    assert "TensorRT-RTX 1.5 or later builds for sm121" in problem.remedy


@pytest.mark.parametrize(
    ("version", "sm", "can"),
    [
        ("10.7.0.23", "sm120", False),
        ("10.8.0.43", "sm120", True),
        ("10.8.0.43", "sm100", True),
        ("10.9.0.34", "sm103", False),
        ("10.14.1.48", "sm121", True),
        ("10.13.3.9.post1", "sm110", True),
        ("11.4.0.106", "sm110", False),
        ("11.4.0.106", "sm87", False),
        ("11.4.0.106", "sm75", True),
        ("11.4.0.106", "sm90", True),
        ("12.0.0.1", "sm90", True),
    ],
)
def test_tensorrt_s_support_came_and_went_with_versions(version, sm, can):
    assert (buildable("tensorrt", version, cc(sm)) is None) is can


def test_alternatives_name_both_ends_of_a_span():
    assert nearest_alternatives("tensorrt", "11.4.0.106", cc("sm87")) == (
        "TensorRT 10.0 or later, before 11.0 builds for sm87, on that GPU itself (flavour: tensorrt)",
    )


def test_a_gpu_that_no_tensorrt_knows_has_no_alternatives():
    assert nearest_alternatives("tensorrt_rtx", "1.7.1.116", cc("sm72")) == ()


def test_rtx_needs_no_gpu_to_build():
    assert buildable_here("tensorrt_rtx", (cc("sm89"), cc("sm120")), ()) is None


def test_tensorrt_builds_only_on_the_gpu_itself():
    problem = buildable_here("tensorrt", (cc("sm90"),), (cc("sm89"),))

    assert problem is not None
    assert problem.fact.endswith("needs sm90, this machine has sm89")
    assert buildable_here("tensorrt", (cc("sm90"),), (cc("sm90"),)) is None


def test_tensorrt_builds_one_engine_for_one_gpu():
    problem = buildable_here("tensorrt", (cc("sm89"), cc("sm90")), (cc("sm90"),))

    assert problem is not None
    assert "one GPU" in problem.fact


def test_an_engine_runs_where_one_of_its_gpus_is():
    assert runnable_here((cc("sm86"), cc("sm89")), (cc("sm89"),)) == ""


def test_a_newer_gpu_does_not_run_an_older_gpu_s_engine():
    reason = runnable_here((cc("sm86"), cc("sm89")), (cc("sm90"),))

    assert reason == "needs sm86 or sm89, this machine has sm90"


def test_without_a_gpu_the_reason_says_so():
    assert runnable_here((cc("sm89"),), ()) == "needs sm89, this machine has no GPU"


def test_an_ampere_plus_engine_runs_on_newer_gpus_only():
    assert runnable_here((cc("sm80"),), (cc("sm120"),), "ampere_plus") == ""
    assert runnable_here((cc("sm80"),), (cc("sm75"),), "ampere_plus") == (
        "needs sm80 or newer, this machine has sm75"
    )
