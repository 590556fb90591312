"""Runs engines on a GPU: the part in trtpipe's process. `engine_process` runs in the toolchain's interpreter."""
