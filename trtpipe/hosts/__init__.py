"""Starts a fleet's scheduler and agents on other machines over SSH, and keeps them running: `trtpipe fleet start`.

It knows nothing of what they do: their commands, their output and how they end.
"""
