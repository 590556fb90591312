"""Conversions that need a large package: each runs in a child process, started and minded in `running`.

A converter is one file for the child alone, with a function `convert`; it imports nothing of trtpipe.
"""
