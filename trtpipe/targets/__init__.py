"""What can be built for which GPU, as pure data: GPU names, compute capabilities, toolchains and their limits.

Does not belong here: what this machine has. Detecting that is in `toolchains/`.
"""
