"""The kernels that stand-in engines launch on a real GPU."""

from __future__ import annotations

from pathlib import Path

from trtpipe.toolchains.detect import detect_gpus

KERNELS = r"""
extern "C" __global__ void axpy(float *y, const float *x, float *scratch, long long n, float a) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + 1.0f;
}
extern "C" __global__ void add_to(float *y, const float *x, float *scratch, long long n, float a) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
extern "C" __global__ void spin(float *y, const float *x, float *scratch, long long n, float microseconds) {
    unsigned long long began, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(began));
    do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    while (now - began < (unsigned long long)(microseconds * 1000.0f));
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += gridDim.x * (long long)blockDim.x)
        y[i] = x[i];
}
extern "C" __global__ void crash(float *y, const float *x, float *scratch, long long n, float a) {
    *(volatile float *)16 = a;
}
"""


def compiled_kernels(folder: Path) -> str:
    """The path of the kernels, compiled for the GPU at hand."""
    from cuda.bindings import nvrtc

    number = str(detect_gpus()[0].compute_capability.sm).removeprefix("sm")
    error, program = nvrtc.nvrtcCreateProgram(KERNELS.encode(), b"kernels.cu", 0, [], [])
    assert not int(error)
    (error,) = nvrtc.nvrtcCompileProgram(program, 1, [f"--gpu-architecture=sm_{number}".encode()])
    assert not int(error)
    error, size = nvrtc.nvrtcGetCUBINSize(program)
    code = b" " * size
    (error,) = nvrtc.nvrtcGetCUBIN(program, code)
    assert not int(error)
    path = folder / "kernels.cubin"
    path.write_bytes(code)
    return str(path)
