"""Puts values into the blocks of text that CI files are made of, and the shell lines that both CI systems share.

A block has places such as `@PYTHON@`. One that stands alone on a line may become several lines, all with its indent,
or none.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

_PLACE = re.compile(r"@([A-Z_]+)@")
_ALONE = re.compile(r"^([ ]*)@([A-Z_]+)@\n", re.MULTILINE)

MARKER = "<!-- trtpipe -->"
"""The first line of the comment on a pull request, by which it is found again."""

COMMENT = """\
{
  echo '<!-- trtpipe -->'
  echo "$SUBJECT"
  echo
  if [ ! -f build/summary.md ]; then
    echo 'Nothing was built.'
  elif [ "$(wc -c < build/summary.md)" -le 60000 ]; then
    cat build/summary.md
  else
    head -c 60000 build/summary.md | sed '$d'
    echo
    echo 'The report is longer than a comment may be: build/summary.md has all of it.'
  fi
} > comment.md
"""
"""Writes the comment, within the 65,536 characters that GitHub takes; a line that was cut goes as a whole."""


PUSH = """\
if [ "$TRTPIPE_REMOTE_MODE" = read-write ]; then trtpipe cache push; fi
"""
"""Sends what an earlier run left in the cache: a build sends only what it makes itself."""


def filled(block: str, values: Mapping[str, str]) -> str:
    """The block with every place filled."""
    whole = _ALONE.sub(lambda found: textwrap.indent(values[found[2]], found[1]), block)
    return _PLACE.sub(lambda found: values[found[1]], whole)


def comment_lines(*sentences: str) -> str:
    """Sentences as comment lines of YAML."""
    lines = [line for one in sentences for line in textwrap.wrap(one, 100)]
    return "".join(f"# {line}\n" for line in lines)


def listed(names: Sequence[str]) -> str:
    """A few names, and how many more."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
