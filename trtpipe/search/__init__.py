"""Finding which nodes compute in which type: assignments of units to precisions, their costs, and searches over them.

Data to data: what a typed model's error is comes from whoever asks for a search. Knows no ONNX, no store, no process.
"""
