"""Runs models in ONNX Runtime on the CPU, as they are written.

All graph optimizations are off: a reference must compute what the model says, and fusion would remove the casts that
are to be tested. Nodes run one after the other, and prepacking and the memory arena are off, so that large weights stay
mapped from their files and memory is that of one batch. The pages of a large model are released after each run, because
a validation has up to three sessions open of which only one runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.made_nodes import called
from trtpipe.errors import ModelError, StepFailed, TrtpipeError
from trtpipe.problem_codes import Code
from trtpipe.runners.cpu.defined_normalization import normalizing_as_defined
from trtpipe.runners.cpu.exact_products import with_unsigned_weights
from trtpipe.runners.cpu.failing_nodes import refused_node, shortened
from trtpipe.runners.cpu.graphs import RunnableModel, overflowing_model, rounding_halves, runnable_model
from trtpipe.runners.cpu.mapped_pages import let_go_of_mapped_pages
from trtpipe.runners.cpu.twins import twin_of

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from trtpipe.arrays import Array

_RUNNING = re.compile(r"while running (\S+) node\. Name:'([^']*)'")
_NOT_IMPLEMENTED = re.compile(r"implementation for (\w+\(\d+\)) node with name '([^']*)'")
_LARGE = 256 << 20  # for smaller models, reading the pages again costs more than it saves
_FATAL = 4  # log fatal errors only, because exceptions contain the messages
FOLDER_ENTRY = "session.model_external_initializers_file_folder_path"


class NoKernel(ModelError):
    """ONNX Runtime's CPU provider lacks a kernel for an operator in these types (say, bfloat16)."""


@dataclass(frozen=True)
class OnnxRuntimeRunner:
    """A loaded model; `open_runner` makes it."""

    session: onnxruntime.InferenceSession
    path: Path
    inputs: Mapping[str, str]
    """Input → ONNX Runtime's name of its type, e.g. `tensor(float)`."""
    outputs: tuple[str, ...]
    large: bool = False
    """Whether the pages of its weights are released after each run."""
    nodes: Sequence[onnx.NodeProto] = ()
    """The model's nodes, for errors: names that trtpipe made would mean nothing to the user."""

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for NumPy arrays by name; floats are rounded to the type that an input has.

        Raises StepFailed with the node that failed.
        """
        try:
            fed = {name: _held(array, self.inputs.get(name, "")) for name, array in inputs.items()}
            values = self.session.run(list(self.outputs), fed)
        except Exception as error:
            raise mapped_error(error, self.path, StepFailed, self.nodes) from error
        finally:
            if self.large:
                let_go_of_mapped_pages()
        return dict(zip(self.outputs, values, strict=True))


@contextmanager
def open_runner(
    model: Path | RunnableModel, *, threads: int = 0, fused: bool = False, spinning: bool = True
) -> Iterator[OnnxRuntimeRunner]:
    """Loads a model, rounding its float16 and bfloat16 tensors; 0 threads means one a core. Raises ModelError.

    With `fused`, ONNX Runtime may optimize the graph: faster, for a model that is all float32 and is compared within a
    tolerance. A large model is not optimized, because its weights would be copied. Threads that wait for work spin
    unless told not to: that is faster for a model that runs often, but takes processor time from others.
    """
    runnable = runnable_model(model) if isinstance(model, Path) else model
    computable = rounding_halves(twin_of(_as_defined(runnable)))
    session = _session(
        computable,
        _threads(runnable, threads),
        fused=fused and runnable.external_bytes() < _LARGE,
        spinning=spinning,
    )
    inputs = {value.name: value.type for value in session.get_inputs()}
    outputs = tuple(value.name for value in session.get_outputs())
    large = runnable.external_bytes() >= _LARGE
    runner = OnnxRuntimeRunner(session, runnable.path, inputs, outputs, large, runnable.proto.graph.node)
    try:
        yield runner
    finally:
        del runner, session


def _as_defined(model: RunnableModel) -> RunnableModel:
    """The same model, rewritten so that ONNX Runtime's kernels compute what ONNX defines."""
    return normalizing_as_defined(with_unsigned_weights(model))


def _threads(model: RunnableModel, wanted: int) -> int:
    """One thread for DynamicQuantizeLSTM, because threads split the batch and quantize parts by their own ranges."""
    return 1 if any(node.op_type == "DynamicQuantizeLSTM" for node in model.proto.graph.node) else wanted


_NUMPY = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64"}


def _held(array: Array, kind: str) -> Array:
    """A float array in the model's input type, which may differ from the source's; other arrays unchanged."""
    import numpy as np

    wanted = _NUMPY.get(kind, "")
    if not wanted or array.dtype.name not in (*_NUMPY.values(), "bfloat16"):
        return array
    with np.errstate(over="ignore"):
        return array.astype(wanted, copy=False)


def half_is_rounded() -> bool:
    """Whether this ONNX Runtime rounds to float16 as `graphs.rounding_halves` requires."""
    import numpy as np

    model = RunnableModel(overflowing_model(), Path(), Path("overflow.onnx"))
    with open_runner(model, threads=1) as runner:
        return not np.isfinite(runner.infer({"x": np.array([10], np.float16)})["y"]).any()


def _session(
    model: RunnableModel, threads: int, *, fused: bool, spinning: bool
) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Order nodes by need; otherwise all float16 weights would be cast for the CPU before the first node runs.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.use_deterministic_compute = True
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.disable_prepacking", "0" if fused else "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry(FOLDER_ENTRY, str(model.folder))

    def load(encoded: bytes) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])

    try:
        return load(model.proto.SerializeToString())
    except Exception as error:
        mapped = mapped_error(error, model.path, ModelError, model.proto.graph.node)
        raise _naming(mapped, model, load) from error


def _naming(
    error: TrtpipeError, model: RunnableModel, load: Callable[[bytes], onnxruntime.InferenceSession]
) -> TrtpipeError:
    """Adds the failing node to an error if ONNX Runtime did not name it."""
    (problem,) = error.problems
    whole = f"ONNX Runtime cannot run '{model.path.name}': "
    node = refused_node(model, load) if problem.fact.startswith(whole) else None
    if node is None:
        return error
    words = called(node.name, node.op_type, model.proto.graph.node)
    said = problem.fact.removeprefix(whole)
    return type(error)(problem.code, f"ONNX Runtime cannot run {words} of '{model.path.name}': {said}")


def mapped_error(
    error: Exception, path: Path, kind: type[TrtpipeError], nodes: Sequence[onnx.NodeProto] = ()
) -> TrtpipeError:
    """Maps exceptions of ONNX Runtime, which have no common base class; trtpipe's own bugs pass through.

    `nodes` are those of the model; a generated node is reported by the user's node next to it.
    """
    if not type(error).__module__.startswith("onnxruntime") and not isinstance(
        error, (RuntimeError, ValueError)
    ):
        raise error
    text = " ".join(str(error).split())
    found = _RUNNING.search(text) or _NOT_IMPLEMENTED.search(text)
    if found is None:
        return kind(Code.MODEL_RUN_FAILED, f"ONNX Runtime cannot run '{path.name}': {shortened(text)}")
    op, name = found[1], found[2]
    if _NOT_IMPLEMENTED.search(text) is not None:
        kind = NoKernel
    made = next((node.output[0] for node in nodes if node.name == name and node.output), "")
    where = f"of '{path.name}'" + (f", which makes '{made}'" if made else "")
    words = called(name, op, nodes)
    fact = f"ONNX Runtime cannot run {words} {where}: {shortened(text)}"
    return kind(Code.MODEL_RUN_FAILED, fact)
