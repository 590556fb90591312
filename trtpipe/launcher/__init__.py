"""Starts and ends the child processes of trtpipe, and decides which environment variables they see.

What a child does, and how its answer is read, belongs to the package that asks for it.
"""
