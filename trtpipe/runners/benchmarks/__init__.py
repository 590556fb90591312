"""Times engines on a GPU and typed models on the CPU until times are steady, and records the GPU's clocks."""
