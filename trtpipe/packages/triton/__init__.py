"""Model repositories for NVIDIA Triton: `config.pbtxt`, ensembles, warm-up data, and how the server is started."""
