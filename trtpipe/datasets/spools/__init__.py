"""Writes samples that arrive as a stream to unnamed temporary files, so that they can be read in any order."""
