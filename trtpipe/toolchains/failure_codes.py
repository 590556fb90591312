"""The codes of what the worker and the engines' process report, by the kinds of error in their protocols.

Both processes run without trtpipe, so they know kinds only.
"""

from __future__ import annotations

from trtpipe.problem_codes import Code, ProblemCode

_CODES = {
    "parse": Code.PARSE_FAILED,
    "profile": Code.PROFILE_REFUSED,
    "memory": Code.OUT_OF_MEMORY,
    "timeout": Code.TIMED_OUT,
    "config": Code.WORKER_CONFIG,
    "environment": Code.WORKER_ENVIRONMENT,
    "engine": Code.ENGINE_DAMAGED,
    "trust": Code.NOT_TRUSTED,
    "input": Code.INPUT_MISFIT,
    "run": Code.RUN_FAILED,
    "internal": Code.WORKER_DIED,
    "cancelled": Code.INTERRUPTED,
}


def code_of_failure(kind: str) -> ProblemCode:
    """The code of an error of that kind; a kind that is not known is a build that failed."""
    return _CODES.get(kind, Code.BUILD_FAILED)
