"""From what a user calls a GPU to its compute capability."""

import pytest

from trtpipe.errors import Problem
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import gpu_names, gpus_with, resolve_gpu


def sm_of(text):
    found = resolve_gpu(text)
    assert isinstance(found, ComputeCapability), found
    return found.sm


def problem_of(text):
    found = resolve_gpu(text)
    assert isinstance(found, Problem), found
    return found


@pytest.mark.parametrize("text", ["sm89", "SM_89", "8.9", "89", "compute_89", " sm89 "])
def test_every_spelling_of_a_capability_is_the_same_one(text):
    assert sm_of(text) == "sm89"


@pytest.mark.parametrize("text", ["12.0", "120", "sm120", "sm120a"])
def test_a_capability_with_a_two_digit_major_is_read_whole(text):
    assert resolve_gpu(text) == ComputeCapability(12, 0)


@pytest.mark.parametrize(
    "text",
    [
        "NVIDIA GeForce RTX 4090",
        "rtx4090",
        "RTX 4090",
        "geforce-rtx-4090",
        "GeForceRTX4090",
        "4090",
        "rtx_4090",
    ],
)
def test_every_spelling_of_a_name_is_the_same_gpu(text):
    assert sm_of(text) == "sm89"


def test_every_name_in_the_table_resolves_to_its_own_capability():
    wrong = [name for name in gpu_names() if isinstance(resolve_gpu(name), Problem)]

    assert wrong == []
    assert len(gpu_names()) == len(set(gpu_names())) > 250


@pytest.mark.parametrize(
    ("text", "sm"),
    [
        ("NVIDIA TITAN RTX", "sm75"),
        ("gtx 1650", "sm75"),
        ("GTX 1660 SUPER", "sm75"),
        ("Quadro RTX 4000", "sm75"),
        ("t4", "sm75"),
        ("T1000", "sm75"),
        ("MX450", "sm75"),
        ("cmp 40hx", "sm75"),
        ("a100", "sm80"),
        ("A100-SXM4-80GB", "sm80"),
        ("A30", "sm80"),
        ("cmp170hx", "sm80"),
        ("A2", "sm86"),
        ("A2000", "sm86"),
        ("RTX A4000", "sm86"),
        ("rtx 3060 laptop", "sm86"),
        ("MX570", "sm86"),
        ("jetson-orin", "sm87"),
        ("Jetson Orin Nano", "sm87"),
        ("NVIDIA L4", "sm89"),
        ("L40S", "sm89"),
        ("RTX 4000 Ada", "sm89"),
        ("RTX 4000 SFF Ada Generation", "sm89"),
        ("h100", "sm90"),
        ("NVIDIA H100 80GB HBM3", "sm90"),
        ("GH200", "sm90"),
        ("B200", "sm100"),
        ("gb300", "sm103"),
        ("jetson thor", "sm110"),
        ("rtx 5090 laptop", "sm120"),
        ("RTX PRO 6000", "sm120"),
        ("gb10", "sm121"),
        ("DGX Spark", "sm121"),
    ],
)
def test_names_resolve_to_the_capability_nvidia_lists(text, sm):
    assert sm_of(text) == sm


def test_a_slice_of_a_gpu_is_that_gpu():
    assert sm_of("NVIDIA H100 80GB HBM3 MIG 1g.10gb") == "sm90"


@pytest.mark.parametrize("text", ["rtx4000", "RTX 6000", "rtx 5000", "RTX 3000"])
def test_a_name_of_several_generations_is_refused_and_lists_them(text):
    problem = problem_of(text)

    assert problem.fact == f"{text!r} is the name of several GPUs"
    assert "'Quadro RTX" in problem.remedy
    assert "Ada Generation" in problem.remedy


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("gtx 1080", "Pascal"),
        ("Tesla P4", "Pascal"),
        ("m60", "Maxwell"),
        ("v100", "Volta"),
        ("xavier", "Volta"),
    ],
)
def test_a_gpu_older_than_turing_is_refused_as_too_old(text, architecture):
    assert problem_of(text).fact.startswith(f"{text!r} is {architecture} (")
    assert problem_of(text).fact.endswith("older than Turing")
    assert "no longer builds for it" in problem_of(text).remedy


def test_an_old_capability_is_refused_as_too_old():
    assert problem_of("6.1").fact == "'6.1' is Pascal (sm61), older than Turing"


def test_a_capability_that_no_gpu_has_is_refused_with_the_known_ones():
    problem = problem_of("sm84")

    assert problem.fact == "no GPU has the compute capability 'sm84'"
    assert "sm86" in problem.remedy


def test_thor_s_old_number_is_answered_with_its_new_one():
    assert "sm110" in problem_of("sm101").remedy


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    problem = problem_of("rtx 4091")

    assert problem.fact == "unknown GPU 'rtx 4091'"
    assert "'NVIDIA GeForce RTX 4090'" in problem.remedy


@pytest.mark.parametrize("text", ["", "geforce", "nvidia", "radeon", "this", "GPU"])
def test_words_that_name_no_gpu_are_unknown(text):
    assert problem_of(text).fact == f"unknown GPU {text!r}"


def test_the_names_of_one_capability_can_be_listed():
    assert gpus_with(ComputeCapability(12, 1)) == ("NVIDIA GB10", "NVIDIA DGX Spark")


def test_the_choices_of_an_ambiguous_name_are_one_a_generation():
    assert problem_of("RTX 4000").remedy == (
        "write one of: 'Quadro RTX 4000' (sm75), 'NVIDIA RTX 4000 Ada Generation' (sm89), "
        "'NVIDIA RTX PRO 4000 Blackwell' (sm120); or its compute capability"
    )


def test_capabilities_are_ordered_by_number_and_not_by_text():
    assert sorted([ComputeCapability(12, 0), ComputeCapability(8, 9), ComputeCapability(10, 3)]) == [
        ComputeCapability(8, 9),
        ComputeCapability(10, 3),
        ComputeCapability(12, 0),
    ]


@pytest.mark.parametrize("text", ["", "sm", "8", "8.9.1", "sm8.9", "abc"])
def test_other_text_is_not_a_capability(text):
    with pytest.raises(ValueError, match="not a compute capability"):
        ComputeCapability.parse(text)
