"""JSON forms of calibration tables, distinguished by their content; every number is amax or a range.

{"tensor": 1.5}                                 plain: amax
{"tensor_scales": {"tensor": 1.5}}              TAO's export of a quantization-aware trained network: amax
{"tensor": [-1.5, 0.5]}                         ONNX Runtime, older: lowest and highest
{"tensor": {"lowest": …, "highest": …}}         ONNX Runtime: numbers, or arrays {"data": …, "dtype": …}
{"CLS": "TensorsData", "data": {…}}             the same with the method beside it
{"schema": 1, "tensors": {"tensor": {"amax": …}}}   our own scales
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator

from trtpipe.calibration.caches.entries import Cache, cache_of
from trtpipe.calibration.caches.tensorrt_text import shown
from trtpipe.calibration.scales import SCHEMA
from trtpipe.errors import ModelError
from trtpipe.json_values import Json, JsonObject
from trtpipe.problem_codes import Code

_RUNTIME_CLASSES = ("TensorsData", "TensorData")


def read_json_table(text: str) -> Cache:
    """The table in JSON text. Raises ModelError when it has none of these forms."""
    try:
        data = json.loads(text, object_pairs_hook=_distinct)
    except RecursionError as error:
        raise ModelError(
            Code.NOT_A_CACHE, "it is JSON nested too deeply to be a calibration table"
        ) from error
    except ValueError as error:
        raise ModelError(Code.NOT_A_CACHE, f"it begins like JSON, but is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(Code.NOT_A_CACHE, "it is JSON, but no mapping of tensors to numbers")
    if "schema" in data and isinstance(data.get("tensors"), dict):
        return _own(data, data["tensors"])
    if isinstance(data.get("tensor_scales"), dict):
        return cache_of("json", "TAO's tensor scales (JSON)", _numbers(data["tensor_scales"]))
    if data.get("CLS") in _RUNTIME_CLASSES and isinstance(data.get("data"), dict):
        return _of_runtime(data["data"], _method_of(data.get("calibration_method")))
    if any(isinstance(value, (dict, list)) for value in data.values()):
        return _of_runtime(data, "")
    return cache_of("json", "a JSON mapping of tensors to amax", _numbers(data))


def _distinct(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        again = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ModelError(Code.NOT_A_CACHE, f"{shown(again)} occurs twice in a mapping")
    return found


def _own(data: JsonObject, tensors: JsonObject) -> Cache:
    if data["schema"] != SCHEMA:
        fact = f"it has trtpipe's schema {shown(json.dumps(data['schema']))}, this trtpipe knows {SCHEMA}"
        raise ModelError(Code.NOT_A_CACHE, fact, "use the trtpipe that wrote it, or calibrate again")
    method, origin = data.get("method"), data.get("source")
    numbers = {name: one.get("amax") if isinstance(one, dict) else None for name, one in tensors.items()}
    return cache_of(
        "trtpipe",
        origin if isinstance(origin, str) and origin else "trtpipe's scales",
        _numbers(numbers),
        method if isinstance(method, str) else "",
    )


def _of_runtime(data: JsonObject, method: str) -> Cache:
    rows = ((name, _amax_of(name, value)) for name, value in data.items())
    return cache_of("onnxruntime", "ONNX Runtime's calibration table (JSON)", rows, method)


def _amax_of(name: str, value: Json) -> float:
    """The largest magnitude of a range."""
    if isinstance(value, dict):
        value = [value.get("lowest"), value.get("highest")]
    if isinstance(value, list) and len(value) == 2:
        low, high = (_number(name, _bare(one)) for one in value)
        return math.nan if math.isnan(low + high) else max(abs(low), abs(high))
    return _number(name, value)


def _bare(value: Json) -> Json:
    """The number in ONNX Runtime's form of an array with one element."""
    value = value.get("data") if isinstance(value, dict) else value
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _method_of(value: Json) -> str:
    text = value.get("value") if isinstance(value, dict) else value
    return text.removeprefix("CalibrationMethod.") if isinstance(text, str) else ""


def _numbers(data: JsonObject) -> Iterator[tuple[str, float]]:
    return ((name, _number(name, value)) for name, value in data.items())


def _number(name: str, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ModelError(
            Code.NOT_A_CACHE, f"the value of {shown(name)} is not a number: {shown(json.dumps(value))}"
        )
    try:
        return float(value)
    except OverflowError:
        return float("inf")
