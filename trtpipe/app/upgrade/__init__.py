"""`upgrade`: the same cells on another TensorRT version, beside the old ones."""
