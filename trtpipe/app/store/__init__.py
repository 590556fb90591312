"""The job of keeping a store small: what must be kept when it is collected.

Does not belong here: removing the rest, which is in `stores/`.
"""
