"""Paired rounds of trtpipe and its peers, until the ratio is known well enough, and the table that tells it.

Both sides run in turn, so that whatever else the machine does falls on both, and each round gives one ratio. The ratio
is the median of the rounds'; its interval is that of the sign test, which needs no assumption about the noise. Rounds
are repeated until the interval is narrow. If it stays wide, the row says so.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path

OURS = "trtpipe"
BEGIN, END = "<!-- begin: python -m tests.bench -->", "<!-- end: python -m tests.bench -->"
NARROW = 0.10
"""A ratio is known if its interval is at most this share of it."""
CHANGED = 0.10
_CONFIDENCE = 0.9
_LEAST = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took: seconds of the clock, and of processors with child processes."""

    wall: float
    cpu: float


Run = Callable[[], Sample | None]
"""Does the work once. What measured itself, because not all that it does counts, returns its sample."""


Side = Run | str
"""What a side does, or why it cannot: a peer that could not be installed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison: a demanded ratio of trtpipe to the first peer, and how to prepare the sides in a folder."""

    name: str
    demanded: float | None
    """The most that trtpipe may take, as a multiple of the first peer; None: it is told, not judged."""
    peers: tuple[str, ...]
    sides: Callable[[Path, Path], Mapping[str, Side]]
    """From an empty folder and a tree of trtpipe to what each side does; RuntimeError says why none can run."""
    quick: bool = True
    rounds: int = 15
    """The most rounds."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio with its interval."""

    middle: float
    low: float
    high: float
    rounds: int

    @property
    def is_known(self) -> bool:
        """Whether the interval is narrow."""
        return self.high - self.low <= NARROW * self.middle


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    part: str
    peer: str
    demanded: float | None
    wall: Ratio | None
    cpu: Ratio | None
    ours: float = 0.0
    theirs: float = 0.0
    why_not: str = ""


@dataclass(slots=True)
class Rounds:
    """The samples of two sides, one pair a round."""

    ours: list[Sample] = field(default_factory=list)
    theirs: list[Sample] = field(default_factory=list)

    def ratio(self, clock: str) -> Ratio:
        """The ratio of the sides by `wall` or `cpu`."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return ratio_of([getattr(one, clock) / max(getattr(other, clock), 1e-6) for one, other in pairs])


def ratio_of(ratios: Sequence[float]) -> Ratio:
    """The median of some rounds' ratios with its interval: the ranks between which it lies nine times of ten."""
    ordered = sorted(ratios)
    rank = rank_of_interval(len(ordered))
    return Ratio(statistics.median(ordered), ordered[rank], ordered[-1 - rank], len(ordered))


def rank_of_interval(count: int) -> int:
    """How many of the lowest and of the highest values lie outside the median's interval (sign test)."""
    outside, rank = 2 / 2**count, 0
    while rank + 1 <= (count - 1) // 2:
        outside += 2 * comb(count, rank + 1) / 2**count
        if outside > 1 - _CONFIDENCE:
            break
        rank += 1
    return rank


def sampled(run: Run) -> Sample:
    """One run, by its own account or by the clocks here."""
    began, used = time.perf_counter(), _processor_seconds()
    told = run()
    return told or Sample(time.perf_counter() - began, _processor_seconds() - used)


def _processor_seconds() -> float:
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, kinds))


def paired(ours: Run, theirs: Run, most: int, seconds: float = float("inf")) -> Rounds:
    """Rounds until both ratios are known, or there are `most`, or the time is up; one round is thrown away first."""
    rounds = Rounds()
    sampled(ours), sampled(theirs)
    began = time.perf_counter()
    while len(rounds.ours) < most:
        sides = (ours, rounds.ours), (theirs, rounds.theirs)
        # who goes first changes each round: what the first leaves in caches helps the second
        for run, taken in sides if len(rounds.ours) % 2 else sides[::-1]:
            taken.append(sampled(run))
        enough = len(rounds.ours) >= _LEAST
        if enough and rounds.ratio("wall").is_known and rounds.ratio("cpu").is_known:
            break
        if len(rounds.ours) > 1 and time.perf_counter() - began > seconds:
            break
    return rounds


def measure(part: Part, folder: Path, tree: Path, seconds: float = float("inf")) -> list[Row]:
    """A row for each peer of a part."""
    try:
        sides = part.sides(folder, tree)
    except RuntimeError as error:
        return [Row(part.name, peer, part.demanded, None, None, why_not=str(error)) for peer in part.peers]
    rows = []
    for number, peer in enumerate(part.peers):
        demanded = part.demanded if number == 0 else None
        run, theirs = sides[OURS], sides[peer]
        if isinstance(run, str) or isinstance(theirs, str):
            why_not = run if isinstance(run, str) else str(theirs)
            rows.append(Row(part.name, peer, demanded, None, None, why_not=why_not))
            continue
        rounds = paired(run, theirs, part.rounds, seconds)
        rows.append(_row(part.name, peer, demanded, rounds))
    return rows


def compared(part: Part, folders: tuple[Path, Path], trees: tuple[Path, Path], seconds: float) -> Row:
    """trtpipe of one tree beside that of another."""
    peer = "the other commit"
    try:
        new, old = (part.sides(folder, tree)[OURS] for folder, tree in zip(folders, trees, strict=True))
    except RuntimeError as error:
        new, old = str(error), ""
    if isinstance(new, str) or isinstance(old, str):
        return Row(part.name, peer, None, None, None, why_not=new if isinstance(new, str) else str(old))
    return _row(part.name, peer, None, paired(new, old, part.rounds, seconds))


def _row(part: str, peer: str, demanded: float | None, rounds: Rounds) -> Row:
    ours, theirs = (statistics.median(one.wall for one in taken) for taken in (rounds.ours, rounds.theirs))
    return Row(part, peer, demanded, rounds.ratio("wall"), rounds.ratio("cpu"), ours, theirs)


def changes(rows: Iterable[Row]) -> list[str]:
    """A sentence for each part that takes at least a tenth more or less processor time than in the other commit.

    The whole interval must lie beyond a change: a median alone is noise.
    """
    told = []
    for row in rows:
        if row.cpu is None:
            continue
        if row.cpu.low > 1 + CHANGED or row.cpu.high < 1 - CHANGED:
            word = "more" if row.cpu.middle > 1 else "less"
            told.append(f"{row.part}: {abs(row.cpu.middle - 1):.0%} {word} ({_interval(row.cpu)})")
    return told


def verdict(row: Row) -> str:
    """Whether a demand is met, by the clock and by processor time: the clock also counts what others do."""
    if row.cpu is None or row.wall is None:
        return f"not run: {row.why_not}"
    said = []
    if row.demanded is not None:
        met = [name for name in ("wall", "cpu") if getattr(row, name).middle <= row.demanded]
        said = [{0: "missed", 1: f"met by {_CLOCKS[met[0]] if met else ''} alone", 2: "met"}[len(met)]]
    if not (row.cpu.is_known and row.wall.is_known):
        said.append(f"the machine is too noisy: {row.cpu.rounds} rounds did not narrow the ratio")
    return "; ".join(said)


_CLOCKS = {"wall": "the clock", "cpu": "processor time"}


def table(rows: Iterable[Row]) -> str:
    """The rows as Markdown."""
    head = "| what | beside | at most | clock | processors | trtpipe, peer | |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        demanded = f"{row.demanded:g} x" if row.demanded is not None else ""
        taken = f"{row.ours:.3g} s, {row.theirs:.3g} s" if row.wall else ""
        cells = (row.part, row.peer, demanded, _interval(row.wall), _interval(row.cpu), taken, verdict(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(ratio: Ratio | None) -> str:
    return f"{ratio.middle:.2f} x ({ratio.low:.2f} to {ratio.high:.2f})" if ratio is not None else ""


def machine() -> str:
    """The facts about this machine that figures depend on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "",
    )
    memory = next((int(line.split()[1]) >> 20 for line in _lines("/proc/meminfo")), 0)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{platform.system()} {platform.machine()}, {model or 'an unknown processor'}, {os.cpu_count()} cores, "
        f"{memory} GiB of memory, Python {platform.python_version()}; load {load}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def written_into(page: str, text: str) -> str:
    """A page with the generated part between its marks replaced. Raises ValueError when it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
