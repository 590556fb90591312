"""What can be built for which GPU, as pure data: GPU names, compute capabilities, toolchains and their limits.

Does not belong here: detecting the GPUs and toolchains of this machine, which is in `toolchains/`.
"""
