"""Finding out why a cell misses its thresholds or does not build: `debug` and `sensitivity`.

Reducing models in general is in `reduction/`, running them in `runners/`.
"""
