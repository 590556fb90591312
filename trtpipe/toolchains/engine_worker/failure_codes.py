"""The problem codes of errors that the worker and the engine process report, by the kinds in their protocols.

Both processes run without trtpipe, so they report kinds instead of codes.
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
    """The code of an error of that kind; an unknown kind counts as a failed build."""
    return _CODES.get(kind, Code.BUILD_FAILED)
