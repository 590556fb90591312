"""What trtpipe's own calibrator is made of: running a model under observation, histograms, and what becomes of them."""
