"""Folders and globs as patterns that are matched against file names. Does not access the file system.

`*` and `?` match within one path component, `**/` any number of components, `[ab]` and `[!ab]` one character.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Pattern:
    """A file selection in a spec: a folder, a glob, or the name of one file."""

    text: str
    suffixes: tuple[str, ...]

    @cached_property
    def base(self) -> str:
        """The leading folder or file, before the first component with a wildcard."""
        return self._parts[0]

    @cached_property
    def rest(self) -> str:
        """The part with wildcards; empty for a folder or a file."""
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[str, str]:
        scheme, mark, path = self.text.rpartition("://")
        steps = path.split("/")
        magic = next((at for at, step in enumerate(steps) if _MAGIC.search(step)), len(steps))
        base = posixpath.normpath("/".join(steps[:magic]) or ("/" if path.startswith("/") else "."))
        return f"{scheme}{mark}{base}", "/".join(steps[magic:])

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(_expression_of(self.rest))

    def name_of(self, relative: str) -> str:
        """The name of a file that is at `relative` below the base."""
        return relative if self.base == "." else f"{self.base.rstrip('/')}/{relative}"

    def relative(self, name: str) -> str | None:
        """The path of a file with this name relative to the base; None when it is not below it."""
        if self.base == ".":
            return name
        home = f"{self.base.rstrip('/')}/"
        return name.removeprefix(home) if name.startswith(home) else None

    def takes(self, relative: str) -> bool:
        """Whether it selects the file at `relative` below the base."""
        if any(step.startswith(".") for step in relative.split("/")):
            return False
        if not relative.lower().endswith(self.suffixes):
            return False
        return not self.rest or self._expression.fullmatch(relative) is not None

    def matches(self, name: str) -> bool:
        """Whether it selects the file with this name."""
        relative = self.relative(name)
        return name == self.base or (relative is not None and self.takes(relative))


def _expression_of(glob: str) -> str:
    made = ""
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            made, at = made + "(?:[^/]+/)*", at + 3
        elif glob[at] == "*":
            deep = glob.startswith("**", at)
            made, at = made + (".*" if deep else "[^/]*"), at + (2 if deep else 1)
        elif glob[at] == "[" and "]" in glob[at + 2 :]:
            end = glob.index("]", at + 2)
            inside = re.escape(glob[at + 1 : end].removeprefix("!")).replace(r"\-", "-")
            made, at = made + f"[{'^' if glob[at + 1] == '!' else ''}{inside}]", end + 1
        else:
            made, at = made + ("[^/]" if glob[at] == "?" else re.escape(glob[at])), at + 1
    return made
