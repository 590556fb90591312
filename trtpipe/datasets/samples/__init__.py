"""From arrays of samples to batches of model inputs. Knows no kind of file."""
