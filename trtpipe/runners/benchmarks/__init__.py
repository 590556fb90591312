"""Times engines on a GPU and typed models on the CPU, until they are steady; what a GPU's clocks were meanwhile."""
