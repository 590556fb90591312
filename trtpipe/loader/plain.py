"""The type of what YAML files hold here: plain data, as JSON has it, with numbers that are finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Scalar: TypeAlias = bool | int | float | str | None
Yaml: TypeAlias = "Scalar | list[Yaml] | dict[str, Yaml]"
"""A value as the reader yields it."""
Written: TypeAlias = Mapping[str, object]
"""A mapping that was not checked yet: of plain data, or of those with the project's models where it left them out."""
