"""Turns what a user names (files, images, a data set, random numbers) into inputs for a model or an engine."""
