"""The job of finding out why a cell misses its thresholds or does not build: `debug` and `sensitivity`.

Does not belong here: making models smaller as such (`reduction/`) and running them (`runners/`).
"""
