"""A project's driver: its own function that runs the members of a bundle, for loops and pre- and post-processing.

It runs in a stage's process only, and only if the project's user has allowed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.datasets.python import project_code
from trtpipe.datasets.spools.run import project_function
from trtpipe.errors import Problem, StepFailed
from trtpipe.permissions import require
from trtpipe.problem_codes import Code
from trtpipe.runners.bundles.members import Member, Run
from trtpipe.spec.dataset import DatasetSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_WHERE = ("python",)


class Models(SimpleNamespace):
    """The members as a driver sees them: `models.det(image=…)`, or `models["det"](image=…)`."""

    def __getitem__(self, name: str) -> Member:
        found: Member = getattr(self, name)
        return found


@contextmanager
def open_driver(text: str, files: Mapping[str, Path], read: Iterable[Path]) -> Iterator[Run]:
    """The driver of `module:function`; `files` are its module and what it declares, by their names in the project.

    `read` are files that others read meanwhile, the data set's. Raises SpecError when the user has not allowed it, when
    it raises, and when it reads undeclared files.
    """
    spec = DatasetSpec(schema=1, python=text)
    name = text.partition(":")[0].replace(".", "/") + ".py"
    module = files[name].absolute()
    require(project_code(spec, files), _WHERE)
    root = module.parents[name.count("/")]
    with project_function(text, module, root, [*files.values(), *read]) as function:

        def run(members: Mapping[str, Member], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return _outputs(text, function(Models(**members), dict(inputs)))

        yield run


def _outputs(text: str, found: object) -> dict[str, Array]:
    if isinstance(found, Mapping) and found and all(isinstance(name, str) for name in found):
        return {name: np.asarray(array) for name, array in found.items()}
    what = "nothing" if isinstance(found, Mapping) else type(found).__name__
    fact = f"{text} returns {what} instead of a mapping from output names to arrays"
    raise StepFailed(Problem(Code.DATA_CODE, fact, path=_WHERE))
