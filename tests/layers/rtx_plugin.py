"""Registers a plugin creator and parses a model that needs it: `python rtx_plugin.py MODEL`; prints what it was given.

The creator makes no plugin: it is asked, and that is what is looked at.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorrt_rtx as trt

TYPES = {
    "threshold": trt.PluginFieldType.FLOAT32,
    "anchors": trt.PluginFieldType.FLOAT32,
    "classes": trt.PluginFieldType.INT32,
    "sizes": trt.PluginFieldType.INT32,
    "mode": trt.PluginFieldType.CHAR,
}


class Creator(trt.IPluginCreatorV3One):
    def __init__(self):
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = "MyDetector", "2", "mine"
        fields = [trt.PluginField(name, np.array([]), kind) for name, kind in TYPES.items()]
        self.field_names = trt.PluginFieldCollection(fields)
        self.given = None

    def create_plugin(self, name, fields, phase):
        self.given = {"layer": name}
        for field in fields:
            text = field.type == trt.PluginFieldType.CHAR
            value = bytes(field.data).rstrip(b"\0").decode() if text else np.asarray(field.data).tolist()
            self.given[field.name] = value


logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
creator = Creator()
trt.get_plugin_registry().register_creator(creator, "mine")
network = trt.Builder(logger).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
trt.OnnxParser(network, logger).parse_from_file(sys.argv[1])
print(json.dumps(creator.given))
