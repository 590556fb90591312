"""The processes that stages run in: their start, their environment, their end with their parent.

Belongs here: whatever starts, serves or minds a child that runs a stage. What a stage does is in `stages/`, and the
process that holds TensorRT in `toolchains/`.
"""
