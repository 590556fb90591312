"""What the `tensorflow` frontend is made of: graphs and SavedModels read without TensorFlow, and the conversion."""
