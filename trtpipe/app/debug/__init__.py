"""Why a cell misses its thresholds or does not build: `debug` and `sensitivity`."""
