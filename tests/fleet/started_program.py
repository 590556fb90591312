"""What a host runs in place of trtpipe: prints what it was started with, and stays until its starter is gone."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from trtpipe.fleet.starter import follow_starter

follow_starter()
folder = Path.home() / ".config/trtpipe/fleet-from-ssh"
files = {one.name: oct(one.stat().st_mode & 0o777) for one in folder.glob("*")}
shown = ("CUDA_VISIBLE_DEVICES", "FROM_FILE", "SECRET_TOKEN")
print("started", json.dumps(sys.argv[1:]), flush=True)
print("has", json.dumps({name: os.environ[name] for name in shown if name in os.environ}), flush=True)
print("files", json.dumps(dict(sorted(files.items()))), flush=True)
print("length", len(os.environ.get("SECRET_TOKEN", "")), flush=True)
if "--ends" in sys.argv:
    sys.exit("cannot go on")
signal.pause()
