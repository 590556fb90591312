"""`trtpipe` that appends its arguments to a file, and does nothing else but `ci matrix` and an empty `build`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    told, words = Path(sys.argv[1]), sys.argv[2:]
    if words[:2] == ["ci", "matrix"]:
        from trtpipe.__main__ import main

        del sys.argv[1]
        main()
    with told.open("a") as file:
        file.write(json.dumps(words) + "\n")
    for cell in words[1:] if words[0] == "build" else []:
        if "@" in cell:
            Path("build", cell).mkdir(parents=True)
            Path("build", cell, "manifest.json").write_text("{}")
