"""The process that does one job: `python -m trtpipe.agent.job_process DIRECTORY`.

It reads `job.json` and the files there, does what the command of the same name does on this machine, and writes
`result.json`: facts and the names of files in `out`, or the error. It sees the job's GPU as its only one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from trtpipe.agent.engine_jobs import BODIES
from trtpipe.agent.jobs import ASKED, FILES, OUT, RESULT
from trtpipe.errors import TrtpipeError
from trtpipe.files import write_whole
from trtpipe.json_values import Json, object_in, read_object, text_in
from trtpipe.launcher.lifeline import end_with_parent
from trtpipe.processes.child import error_json, of_os_error


def main(folder: str) -> int:
    """Do the job of a directory; returns 0 when a result was written, even if that is an error."""
    end_with_parent(int(os.environ["TRTPIPE_PARENT"]))
    place = Path(folder)
    asked = read_object((place / ASKED).read_bytes())
    (place / FILES).mkdir(exist_ok=True)
    try:
        made = BODIES[text_in(asked, "name")](place / FILES, place / OUT, object_in(asked, "options"))
        files: dict[str, Json] = {name: name for name in made.files}
        result: dict[str, Json] = {"result": dict(made.result), "files": files}
    except TrtpipeError as error:
        result = {"error": error_json(error)}
    except OSError as error:
        result = {"error": error_json(of_os_error(error, place))}
    write_whole(place / RESULT, json.dumps(result, allow_nan=False).encode(), durable=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
