"""Runs engines on a GPU, in a process of its own: the child's side, and the protocol between the two.

Standard library, cuda-python and TensorRT only, imported as a top-level package by whatever interpreter has these;
independent of trtpipe. The working directory is a scratch folder. It is a separate process because native code can
crash, hang or leave the GPU unusable, and because an engine is a program.

Request (JSON, `schema: 1`; missing fields have the default shown)::

    action              "run" | "describe" (deserialize, describe and write layers.json, run nothing)
    flavour             "tensorrt" | "tensorrt_rtx"
    site                [directories put on sys.path]
    engine              path; sha256, bytes: what it must be. Checked on the very bytes that are deserialized
    built_for           {"compute_capabilities": ["sm89"], "version": "1.7.1.116"}: only for error messages
    plugins             [] library paths; tensorrt only
    device              0, among those that CUDA_VISIBLE_DEVICES leaves
    runs                [{"inputs": {NAME: {"file": .., "dtype": .., "shape": [..]}}, "profile": null or index}]
                        a file is .npy, or the tensor's bytes alone; dtypes are ONNX's names in lower case
    warm_up, iterations 0, 1: how often all runs are run, untimed and then timed
    duration            0: seconds that the timed part lasts at least
    steady              null, or {"window": seconds, "within": share, "limit": seconds}: on until the median times of
                        the last windows agree (`steadiness`), at most so long
    streams             1: execution contexts, each with its own stream and buffers; runs go to them in turn
    graph               "off" | "capture" (a CUDA graph of ours for each set of shapes) | "rtx" (TensorRT-RTX's own)
    specialization      null | "lazy" | "eager" | "none": kernels for dynamic shapes; tensorrt_rtx only
    runtime_cache       null or {"read": path or null, "write": path or null}; tensorrt_rtx only
    timing              false: whether timings.npy is written
    save                true: whether the outputs of the first timed iteration are written
    time_limit          null or seconds; memory_limit: null or bytes of tensors on the GPU

Events (one JSON object a line on the original stdout; `event` names the kind): start · log (severity, message) · phase
(name) · gpu · engine (io, profiles, …) · note (message) · run (index, profile, graph, outputs: name, dtype, shape,
file) · error (kind, message, remedy, details) · result, always last. Error kinds: environment (this machine cannot run
the engine), trust (its bytes are not the ones expected), engine (damaged, or not for this runner), input, run, memory,
timeout, cancelled, config, internal. Exit code 0 means that result.ok is true.

`timings.npy` (`result.timed.file`) is float64, one row an execution of the timed iterations, in microseconds: copies
to the GPU, compute, copies back, from the first of these to the last (all by CUDA events), and by the host's clock from
the first call to the end. With `steady`, `result.timed.steadiness` describes the windows.
"""
