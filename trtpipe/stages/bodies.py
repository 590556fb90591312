"""The functions that run stages, by the name that a task gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trtpipe.plan.task import Made, Task
from trtpipe.stages import plan_stages, side_tasks

BODIES: Mapping[str, Callable[[Task], Made]] = {
    "fetch": plan_stages.fetch_file,
    "import": plan_stages.import_model,
    "transform": plan_stages.transform_model,
    "calibrate": plan_stages.calibrate_model,
    "quantize": plan_stages.quantize_model,
    "parse": plan_stages.keep_parsed,
    "validate": plan_stages.validate_model,
    "readback": plan_stages.read_back,
    "propose": side_tasks.propose_thresholds,
    "preview": side_tasks.preview_data,
    "compare_all": side_tasks.compare_tensors,
    "compare_network": side_tasks.compare_with_network,
    "record": side_tasks.record_tensors,
    "measure": side_tasks.measure_part,
    "fit": side_tasks.fit_model,
    "infer": side_tasks.infer_on_cpu,
    "bench": side_tasks.bench_on_cpu,
}
