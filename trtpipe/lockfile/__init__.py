"""The lockfile `trtpipe.lock`: what the committed spec resolved to, as sorted text that a reviewer can read.

It is YAML with a block for each cell and each step and one fact to a line, so that two branches that build different
cells merge without conflict, and a changed engine shows as one changed line:

    schema: 3
    cells:
      digits/fp16@ada:
        key: 1c0f…                      the digest of everything the engine depends on
        source:
          model.onnx: 4c3f… (62857 bytes)
        engine: 77ab… (164300 bytes)    BLAKE3 of its bytes
        normalised: 90cd…               the same with TensorRT's generated names renamed by order
        reach:                          how far it is proved, link by link, on a CPU
          canonical: proved
          typed: proved
          network: proved               what TensorRT's parser made computes what the typed model does
        layers_read: 22 of 22           the share of that network which could be read
        ...
      digits/auto@ada:
        search: 5ab1…                   the recipe of the search for its types
        precision: int8                 what it found
        base: fp16
        keep_fp16:                      one glob a line
          - "/c2/Conv"
    steps:
      digits:import:                    what was asked for before any engine, and what it yielded
        recipe: 8a12…                   the digest of options and inputs, without the versions of packages
        model.onnx: d2ac… (32612 bytes)
        made_with: numpy 2.4.6, onnx…   packages, recorded as long as the result stays the same
        made_on: x86_64 avx2            the kind of processor, of steps that run models

With the steps, a checkout that has built nothing can compute every engine's key from the spec's files. Schema 1 had no
steps, schema 2 no facts about TensorRT's network; both can be read, and the next build rewrites them. Deals with text
and facts; independent of plans and stores.
"""

from __future__ import annotations

from trtpipe.lockfile.blocks import Blocks, entries_with, entry_in, fact_in, text_in
from trtpipe.lockfile.choices import agrees, choices_in, tactics_in
from trtpipe.lockfile.entries import (
    KEEP,
    SCHEMA,
    Entry,
    Fact,
    Lock,
    StepEntry,
    digest_in,
    first_source,
    pipeline_of,
    shown_digest,
)
from trtpipe.lockfile.reader import load_lock, lock_in, read_lock
from trtpipe.lockfile.writer import Update, bundle_text, cell_text, render_lock, update_lock

__all__ = [
    "KEEP",
    "SCHEMA",
    "Blocks",
    "Entry",
    "Fact",
    "Lock",
    "StepEntry",
    "Update",
    "agrees",
    "bundle_text",
    "cell_text",
    "choices_in",
    "digest_in",
    "entries_with",
    "entry_in",
    "fact_in",
    "first_source",
    "load_lock",
    "lock_in",
    "pipeline_of",
    "read_lock",
    "render_lock",
    "shown_digest",
    "tactics_in",
    "text_in",
    "update_lock",
]
