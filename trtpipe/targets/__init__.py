"""What can be built for which GPU, as pure data: GPU names, compute capabilities, toolchains and their limits."""
