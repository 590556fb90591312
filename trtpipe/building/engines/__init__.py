"""Engines that are run on the GPUs of a fleet, by commands and while a build goes on: the client's side of the jobs."""
