"""The processes that stages run in: how they are started, their environment, and how they end with their parent.

This room starts, serves and monitors child processes that run a stage. What a stage does is in `stages/`; the process
that holds TensorRT is in `toolchains/`.
"""
