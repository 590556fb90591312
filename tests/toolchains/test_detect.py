"""This machine's GPUs: what each source's answer becomes, and that none is an answer."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from trtpipe.errors import Problem
from trtpipe.launcher import children
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains import detect
from trtpipe.toolchains.detect import DetectedGpu, detect_gpus, this_gpu

L4 = DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9), "GPU-aaaa", 24 << 30, "580.95.05", "13.0")
OTHER_L4 = DetectedGpu(1, "NVIDIA L4", ComputeCapability(8, 9), "GPU-bbbb")
A2 = DetectedGpu(1, "NVIDIA A2", ComputeCapability(8, 6), "GPU-cccc")


@pytest.fixture
def nvml(monkeypatch):
    """A machine with a driver whose management library sees the given GPUs."""

    def sees(*gpus):
        monkeypatch.setattr(detect, "driver_may_be_here", lambda: True)
        monkeypatch.setattr(detect, "_from_nvml", lambda: gpus)

    return sees


def test_without_a_trace_of_a_driver_nothing_is_asked(monkeypatch):
    def never():
        raise AssertionError("asked")

    monkeypatch.setattr(detect, "driver_may_be_here", lambda: False)
    for source in ("_from_nvml", "_from_smi", "_from_runtime"):
        monkeypatch.setattr(detect, source, never)

    assert detect_gpus({}) == ()


def test_without_a_driver_neither_cuda_nor_numpy_is_imported():
    if detect.driver_may_be_here():
        pytest.skip("this machine has an NVIDIA driver")
    code = (
        "import sys; from trtpipe.toolchains.detect import detect_gpus; detect_gpus();"
        "print([name for name in sys.modules if name.split('.')[0] in ('cuda', 'numpy', 'pynvml', 'tensorrt_rtx')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_source_without_an_answer_leaves_it_to_the_next(monkeypatch):
    monkeypatch.setattr(detect, "driver_may_be_here", lambda: True)
    monkeypatch.setattr(detect, "_from_nvml", lambda: ())
    monkeypatch.setattr(detect, "_from_smi", lambda: (L4,))

    assert detect_gpus({}) == (L4,)


def test_a_broken_driver_is_a_machine_without_gpus(monkeypatch):
    monkeypatch.setattr(detect, "driver_may_be_here", lambda: True)
    for source in ("_from_nvml", "_from_smi", "_from_runtime"):
        monkeypatch.setattr(detect, source, lambda: ())

    assert detect_gpus({}) == ()


def test_a_missing_management_library_is_no_answer(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(detect.ctypes, "CDLL", missing)

    assert detect._from_nvml() == ()


def test_a_management_library_that_cannot_start_is_no_answer(monkeypatch):
    monkeypatch.setattr(detect.ctypes, "CDLL", lambda name: SimpleNamespace(nvmlInit_v2=lambda: 9))

    assert detect._from_nvml() == ()


def set_text(value):
    def answer(*arguments):
        arguments[-2].value = value
        return 0

    return answer


def set_numbers(*values):
    def answer(*arguments):
        for reference, value in zip(arguments[-len(values) :], values, strict=True):
            reference._obj.value = value
        return 0

    return answer


def set_memory(_device, memory):
    memory._obj.total = 150754820096
    return 0


def fake_nvml(ended):
    """NVML as it answers for one H200 beside a GPU that was lost."""
    return SimpleNamespace(
        nvmlInit_v2=lambda: 0,
        nvmlShutdown=lambda: ended.append(True),
        nvmlSystemGetDriverVersion=set_text(b"580.159.04"),
        nvmlSystemGetCudaDriverVersion_v2=set_numbers(13020),
        nvmlDeviceGetCount_v2=set_numbers(2),
        nvmlDeviceGetHandleByIndex_v2=lambda index, _: 15 if index.value == 0 else 0,
        nvmlDeviceGetCudaComputeCapability=set_numbers(9, 0),
        nvmlDeviceGetMemoryInfo=set_memory,
        nvmlDeviceGetName=set_text(b"NVIDIA H200"),
        nvmlDeviceGetUUID=set_text(b"GPU-2f4a"),
    )


def test_the_management_library_s_answers_become_gpus_and_lost_ones_are_left_out(monkeypatch):
    ended = []
    monkeypatch.setattr(detect.ctypes, "CDLL", lambda name: fake_nvml(ended))

    found = detect._from_nvml()

    assert found == (
        DetectedGpu(
            1, "NVIDIA H200", ComputeCapability(9, 0), "GPU-2f4a", 150754820096, "580.159.04", "13.2"
        ),
    )
    assert ended == [True]


def test_nvidia_smi_s_table_becomes_gpus(monkeypatch):
    table = (
        "0, NVIDIA H200, 9.0, GPU-2f4a, 143771, 580.159.04\n"
        "1, NVIDIA GB10, 12.1, GPU-77, [N/A], 580.95.05\n"
        "Unable to determine the device handle\n"
    )
    monkeypatch.setattr(
        children, "run_to_end", lambda *_, **__: SimpleNamespace(returncode=0, stdout=table.encode())
    )

    first, second = detect._from_smi()

    assert first == DetectedGpu(
        0, "NVIDIA H200", ComputeCapability(9, 0), "GPU-2f4a", 143771 << 20, "580.159.04"
    )
    assert (second.compute_capability.sm, second.memory_bytes) == ("sm121", 0)


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("nvidia-smi", 20)])
def test_nvidia_smi_missing_or_hanging_is_no_answer(monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(children, "run_to_end", fails)

    assert detect._from_smi() == ()


def test_the_runtime_without_a_driver_is_no_answer():
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    if detect.driver_may_be_here():
        pytest.skip("this machine has an NVIDIA driver")

    assert detect._from_runtime() == ()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (L4, OTHER_L4)),
        ("1", (OTHER_L4,)),
        ("1,0", (OTHER_L4, L4)),
        ("", ()),
        ("-1", ()),
        ("0,9,1", (L4,)),
    ],
)
def test_cuda_visible_devices_hides_gpus_as_it_does_from_cuda(nvml, visible, expected):
    nvml(L4, OTHER_L4)

    assert detect_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == expected


def test_a_gpu_may_be_made_visible_by_the_start_of_its_uuid(nvml):
    nvml(L4, A2)

    assert detect_gpus({"CUDA_VISIBLE_DEVICES": "GPU-cc"}) == (A2,)


def test_a_number_among_different_gpus_means_nothing_without_the_bus_order(nvml):
    nvml(L4, A2)

    assert detect_gpus({"CUDA_VISIBLE_DEVICES": "1"}) == (L4, A2)
    assert detect_gpus({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == (A2,)


def test_this_is_the_capability_of_the_gpus_here():
    assert this_gpu((L4, OTHER_L4)) == ComputeCapability(8, 9)


def test_this_without_a_gpu_asks_for_a_name():
    found = this_gpu(())

    assert isinstance(found, Problem)
    assert found.fact == "'this' machine has no NVIDIA GPU"


def test_this_among_different_gpus_lists_them():
    found = this_gpu((L4, A2))

    assert isinstance(found, Problem)
    assert found.fact == "'this' could be any of 'NVIDIA L4' (sm89), 'NVIDIA A2' (sm86)"


def test_a_gpu_is_plain_json():
    assert L4.to_json()["compute_capability"] == "sm89"
    assert L4.to_json()["driver"] == "580.95.05"
