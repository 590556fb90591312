"""A look at a data set as a network would be fed with it: statistics of every input, and sheets of images."""
