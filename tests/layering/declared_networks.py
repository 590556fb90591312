"""Tests that build engines need a TensorRT."""

from __future__ import annotations
