"""Evaluates constant nodes in a child process, so that a crash, a hang or lack of memory there does no harm.

A node that cannot be evaluated is left unfolded; that is no error. Results, except small ones, stay in a file in the
working directory that the caller gives.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from types import TracebackType
from typing import IO, TYPE_CHECKING

from trtpipe.canonical.tensors import external_entries, is_external, set_external, set_inline
from trtpipe.canonical.wire import LARGE
from trtpipe.launcher.children import Program, Streams, kill, start
from trtpipe.launcher.environment import environment_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.evaluation_child import Answer, Feed, Request, Result

_PROGRAM = Program(Path(__file__).parent, "evaluation_child", ("-I",))
_PATIENCE = 120.0  # seconds for one batch
_MOST_CRASHES = 8


class Evaluator:
    """A child process that evaluates nodes; started when first needed, restarted after a crash, ended on exit.

    `workplace` is a folder for exchanged tensors; it must outlive the models that refer to results in it.
    """

    def __init__(self, workplace: Path) -> None:
        self.workplace = workplace
        self.crashes = 0
        self._process: Popen[bytes] | None = None
        self._answers: queue.Queue[bytes] = queue.Queue()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def evaluate(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, onnx.TensorProto],
        opsets: Sequence[onnx.OperatorSetIdProto],
        limits: Mapping[str, int],
    ) -> dict[str, onnx.TensorProto]:
        """The outputs named in `limits`, of nodes in topological order that read only constants.

        A result larger than its limit in bytes is left out, and so is whatever could not be evaluated. The whole
        batch is tried first; should that fail, node by node.
        """
        found = self._batch(nodes, constants, opsets, limits)
        if found is not None or len(nodes) == 1:
            return found or {}
        known = dict(constants)
        largest = max(limits.values(), default=0)
        for node in nodes:
            if all(name in known for name in node.input if name):
                asked = {name: limits.get(name, largest) for name in node.output if name}
                known |= self._batch([node], known, opsets, asked) or {}
        return {name: known[name] for name in limits if name in known}

    def _batch(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, onnx.TensorProto],
        opsets: Sequence[onnx.OperatorSetIdProto],
        limits: Mapping[str, int],
    ) -> dict[str, onnx.TensorProto] | None:
        model, feeds = _closed_model(nodes, constants, opsets, limits)
        path = self.workplace / "batch.onnx"
        path.write_bytes(model.SerializeToString())
        results = self.workplace / "folded.data"
        results.touch()
        most = max(limits.values(), default=0)
        answer = self._ask({"model": str(path), "feeds": feeds, "limit": most, "out": str(results)})
        if answer is None or "error" in answer:
            return None
        values = [value for value in answer["values"] if value["length"] <= limits[value["name"]]]
        return {value["name"]: _tensor(value, results) for value in values}

    def _ask(self, request: Request) -> Answer | None:
        if self.crashes >= _MOST_CRASHES:
            return None
        if self._process is None:
            self._start()
        try:
            assert self._process is not None and self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=_PATIENCE)
        except (OSError, queue.Empty):
            line = b""
        if not line:
            self.crashes += 1
            self._stop()
            return None
        answer: Answer = json.loads(line)
        return answer

    def _start(self) -> None:
        self._answers = queue.Queue()
        # -I keeps environment variables and the working directory out of the child's imports; it gets this
        # process's sys.path as its first line instead.
        self._process = start(
            _PROGRAM.command([sys.executable]),
            environment_of("stage"),
            streams=Streams(stdin=PIPE, stdout=PIPE),
            own_session=False,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        # A thread reads the pipe, so that waiting for an answer can time out.
        threading.Thread(target=_forward, args=(self._process.stdout, self._answers), daemon=True).start()
        try:
            self._process.stdin.write(json.dumps({"path": sys.path}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return  # it died at once; the first request will report that

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        kill(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close(stream)


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        return  # unsent text to a process that is gone


def _forward(stream: IO[bytes], answers: queue.Queue[bytes]) -> None:
    try:
        for line in stream:
            answers.put(line)
    except ValueError:
        return  # closed by the other thread
    answers.put(b"")


def _closed_model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
    opsets: Sequence[onnx.OperatorSetIdProto],
    limits: Mapping[str, int],
) -> tuple[onnx.ModelProto, dict[str, Feed]]:
    import onnx

    made = {name for node in nodes for name in node.output if name}
    read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in made)
    feeds: dict[str, Feed] = {}
    graph = onnx.GraphProto(name="constants", node=nodes)
    for name in read:
        tensor = constants[name]
        if is_external(tensor):
            entries = external_entries(tensor)
            feeds[name] = {"file": entries["location"], "offset": int(entries["offset"]),
                           "dtype": tensor.data_type, "dims": list(tensor.dims)}  # fmt: skip
            graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in limits)
    lowest = onnx.helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    return onnx.ModelProto(ir_version=max(lowest, 8), graph=graph, opset_import=opsets), feeds


def _tensor(value: Result, results: Path) -> onnx.TensorProto:
    import onnx

    tensor = onnx.TensorProto(name=value["name"], data_type=value["dtype"], dims=value["dims"])
    if value["length"] >= LARGE:
        set_external(tensor, results, value["offset"], value["length"])
        return tensor
    with results.open("rb") as file:
        file.seek(value["offset"])
        set_inline(tensor, file.read(value["length"]))
    return tensor
