"""Running models: inputs by name in, outputs by name out, with ONNX Runtime on the CPU or an engine on a GPU.

Measuring and comparing their results belongs here too; limits and verdicts on the measures belong to `metrics`.
"""
