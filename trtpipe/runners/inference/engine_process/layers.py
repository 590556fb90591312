"""An engine's layers as TensorRT's inspector reports them; the build's verbosity limits the level of detail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt

_FILE = "layers.json"


def write_layers(trt: ModuleType, engine: tensorrt.ICudaEngine) -> str | None:
    """Write the inspector's JSON about all layers as layers.json; returns its name, or None without information."""
    inspector = engine.create_engine_inspector()
    text: str = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        json.loads(text)
    except ValueError:
        return None
    with open(_FILE, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    return _FILE
