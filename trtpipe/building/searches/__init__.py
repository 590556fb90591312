"""Searches of precisions: the search itself, and the evaluations that it asks for."""
