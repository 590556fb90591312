"""Drivers for the calibrators of libraries: feeding them samples, and turning their amax into scales."""
