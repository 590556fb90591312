"""Previews a data set as a network would receive it: statistics of every input, and contact sheets of images."""
