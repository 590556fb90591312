"""Options of `inspect` that apply only to models."""

from __future__ import annotations

from trtpipe.errors import SpecError
from trtpipe.inspection.inspect_model import NOTHING_MORE, Asked
from trtpipe.problem_codes import Code


def refuse_in_vain(asked: Asked, why: str) -> None:
    """Raises SpecError when an option that applies only to models was given for something else."""
    if asked != NOTHING_MORE:
        raise SpecError(
            Code.OPTIONS_EXCLUDE,
            "--shape, --for, --layers and --weights need a model that can be read as ONNX",
            why,
        )
