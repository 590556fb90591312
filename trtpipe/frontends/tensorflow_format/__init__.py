"""Parts of the `tensorflow` frontend: reading graphs and SavedModels without TensorFlow, and the conversion."""
