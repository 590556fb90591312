"""What `check` told of pipelines before, taken again while nothing that it depends on has changed.

It is recorded with the pipelines that are settled (`building/unchanged/settled.py`), so it counts as long as they are,
and on a machine with the same GPUs. Only pipelines without any problem are recorded: problems are looked for each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.building.unchanged.settled import Checked, Settled, remember_checked, settled_for_check
from trtpipe.checks.report import CheckReport
from trtpipe.loader.all_specs import Loaded, load_all
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.workspace.known_names import known_names
from trtpipe.workspace.target_facts import TargetResolver


@dataclass(slots=True)
class AlreadyTold:
    """What a check need not find out, and what it found out for the next one."""

    settled: Settled = field(default_factory=Settled)
    gpus: tuple[str, ...] = ()
    pipelines: dict[Path, Checked] = field(default_factory=dict)
    """Spec → what was told of its pipeline."""
    _left: list[Path] = field(default_factory=list)
    """The specs of the command that come next."""
    _found: dict[Path, Checked] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)
    """The names of the specs that were checked."""

    @classmethod
    def of(cls, specs: Sequence[str], resolver: TargetResolver) -> AlreadyTold:
        """What is known of these specs."""
        settled = settled_for_check(specs)
        if not settled.pipelines:
            return cls(settled)
        gpus = tuple(str(gpu.compute_capability) for gpu in resolver.here())
        known = {path: one.checked for path, one in settled.pipelines.items() if one.checked is not None}
        same = {path: one for path, one in known.items() if one.gpus == gpus}
        return cls(settled, gpus, same, list(settled.order))

    def load_others(self, specs: Sequence[Path]) -> Loaded:
        """The specs of which nothing is known, loaded; all of them if these cannot be checked by themselves."""
        loaded = load_all([path for path in specs if path not in self.pipelines], known_names())
        if self._fits(loaded):
            return loaded
        self.pipelines.clear()
        return load_all(specs, known_names())

    def _fits(self, loaded: Loaded) -> bool:
        """Whether the others can be checked by themselves: no bundles, no name of these, nothing of another project."""
        names = {self.settled.pipelines[path].name for path in self.pipelines}
        return not self.pipelines or (
            not loaded.bundles
            and all(
                one.spec.pipeline not in names and one.project.root == self.settled.root
                for one in loaded.pipelines
            )
        )

    @contextmanager
    def telling(self, report: CheckReport, pipeline: LoadedPipeline) -> Iterator[None]:
        """Around the check of a pipeline: tells before it what comes before it, and notes what it told."""
        self._tell(report, pipeline.path)
        before = len(report.problems), len(report.cells), len(report.lines)
        yield
        self._files.add(pipeline.document.file)
        cells, lines = report.cells[before[1] :], report.lines[before[2] :]
        if len(report.problems) == before[0] and all(cell["parsed"] for cell in cells):
            self._found[pipeline.path] = Checked(self.gpus, tuple(cells), tuple(lines))

    def end(self, report: CheckReport) -> None:
        """Tell the rest, and record what was found.

        A problem of a file that several pipelines share is told once; then nobody knows whose it is.
        """
        self._tell(report, None)
        if all(one.where is not None and one.where.file in self._files for one in report.problems):
            remember_checked(self.settled, self._found)

    def _tell(self, report: CheckReport, until: Path | None) -> None:
        while self._left and self._left[0] != until:
            known = self.pipelines.get(self._left.pop(0))
            if known is not None:
                report.cells += [dict(cell) for cell in known.cells]
                report.lines += known.lines
