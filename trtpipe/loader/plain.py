"""The type of parsed YAML: plain data like JSON's, in which every number is finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Scalar: TypeAlias = bool | int | float | str | None
Yaml: TypeAlias = "Scalar | list[Yaml] | dict[str, Yaml]"
"""A value as the reader yields it."""
Written: TypeAlias = Mapping[str, object]
"""A mapping that was not checked yet: of plain data, or of those with the project's models where it left them out."""
