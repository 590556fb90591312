"""What to say when a package of the extra `dask` is not installed."""

from __future__ import annotations

from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code


def missing_package(package: str) -> SpecError:
    """The error to raise where a fleet needs a package that cannot be imported."""
    return SpecError(
        Code.MISSING_PACKAGE,
        f"a fleet needs the package {package}",
        "install it: pip install 'trtpipe[dask]'",
    )
