"""Which engine of a package a machine can run, by the index alone: nothing is loaded, and TensorRT is not imported."""
