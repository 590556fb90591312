"""Models made smaller, or anonymous, while they go on failing: what `debug reduce` and `debug repro` are made of.

Pure: what a trial comes to is told by whoever runs it.
"""
