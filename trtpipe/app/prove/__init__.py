"""Proving engines that exist: run on a GPU against their reference, or built again and compared.

Contains `validate`, `golden` and `build --check`. The verdict on a cell while it is built is in `delivery/`.
"""
