"""The names of parsers, precisions and calibrators that a spec may use here: of trtpipe itself and of other packages.

What a name stands for is imported only when it is asked for.
"""

from __future__ import annotations

from trtpipe.errors import Problem
from trtpipe.loader.grammar import KnownNames, Parser


def known_names() -> KnownNames:
    """The parsers and precisions that are installed; none is imported."""
    from trtpipe.calibration.calibrators import calibrator_names
    from trtpipe.frontends import frontend_names
    from trtpipe.precisions import precision_names

    return KnownNames(
        parsers=frontend_names(),
        precisions=precision_names(),
        parser=_parser,
        calibrators=calibrator_names(),
        methods=_methods,
        needs_calibration=_needs_calibration,
        misfits=_misfits,
        has_blocks=_has_blocks,
        computes_in_half=_computes_in_half,
    )


def _methods(calibrator: str) -> tuple[str, ...]:
    from trtpipe.calibration.calibrators import find_calibrator

    found = find_calibrator(calibrator)
    return found.methods if found is not None else ()


def _needs_calibration(precision: str) -> bool:
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    return found is not None and found.needs_calibration


def _misfits(precision: str, base: object, block: object) -> tuple[Problem, ...]:
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    return found.misfits(base, block) if found is not None else ()


def _has_blocks(precision: str) -> bool:
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    return found is not None and found.block > 0


def _computes_in_half(precision: str) -> bool:
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    return found is not None and found.computes_in_half()


def _parser(name: str) -> Parser:
    from trtpipe.frontends import frontend_called

    found = frontend_called(name)
    return Parser(found.Options, found.needs_source, found.takes_directory)
