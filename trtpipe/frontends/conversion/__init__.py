"""Conversions that need a large package: each runs in a child process, which `converters` starts and monitors.

A converter is one file that runs in the child only, with a function `convert`; it imports nothing from trtpipe.
"""
