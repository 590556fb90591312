"""Engines that exist, proved: run on a GPU against their reference, or built again and compared."""
