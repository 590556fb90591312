"""The parts of trtpipe's own calibrator: observing tensors while the model runs, histograms, methods, reports."""
