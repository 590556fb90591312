"""Makes batches of model inputs from arrays of samples. Independent of the file formats."""
