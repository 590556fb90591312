"""The benches' harness: statistics, table, comparisons. No test here depends on how long anything takes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.bench import harness
from tests.bench.harness import (
    BEGIN,
    END,
    OURS,
    Part,
    Ratio,
    Row,
    Sample,
    changes,
    compared,
    measure,
    paired,
    rank_of_interval,
    ratio_of,
    sampled,
    table,
    verdict,
    written_into,
)
from tests.bench.parts import ALONE, PARTS

HERE = Path(__file__).parents[1] / "bench"


def steady(seconds: float, spread: float = 0.0, seed: int = 0) -> harness.Run:
    """A side that takes so long, more or less."""
    drawn = random.Random(seed)
    return lambda: Sample(*[seconds * (1 + spread * drawn.uniform(-1, 1))] * 2)


def row(middle: float, low: float, high: float, demanded: float | None = None) -> Row:
    ratio = Ratio(middle, low, high, 9)
    return Row("a part", "a peer", demanded, ratio, ratio, 1.0, 2.0)


@pytest.mark.parametrize(("count", "rank"), [(1, 0), (4, 0), (5, 0), (8, 1), (15, 3), (30, 10)])
def test_the_ranks_of_the_interval_are_those_of_the_sign_test(count: int, rank: int) -> None:
    """Tables of the binomial distribution: at most 10 % of medians lie outside, except for fewer than five values."""
    assert rank_of_interval(count) == rank


def test_the_interval_holds_the_true_ratio_nine_times_of_ten() -> None:
    drawn = random.Random(1)
    inside = 0
    for _ in range(500):
        found = ratio_of([2 * drawn.lognormvariate(0, 0.3) for _ in range(15)])
        inside += found.low <= 2 <= found.high

    assert inside >= 450


def test_rounds_end_as_soon_as_the_ratio_is_known() -> None:
    rounds = paired(steady(1.0, 0.01), steady(2.0, 0.01, 1), most=50)

    assert len(rounds.ours) == 5
    assert rounds.ratio("wall").middle == pytest.approx(0.5, rel=0.05)


def test_a_noisy_ratio_takes_all_rounds_and_is_told_to_be_noisy() -> None:
    rounds = paired(steady(1.0, 0.9), steady(1.0, 0.9, 1), most=9)
    noisy = Row("a part", "a peer", 2.0, rounds.ratio("wall"), rounds.ratio("cpu"), 1.0, 1.0)

    assert len(rounds.ours) == 9
    assert "the machine is too noisy: 9 rounds" in verdict(noisy)


def test_sides_take_turns_at_going_first() -> None:
    went: list[str] = []

    def side(name: str) -> harness.Run:
        return lambda: went.append(name) or Sample(1.0, 1.0)

    paired(side("a"), side("b"), most=5)

    assert "".join(went[2:]) == "baabbaabba"


def test_a_side_that_measures_itself_is_believed() -> None:
    assert sampled(lambda: Sample(3.0, 4.0)) == Sample(3.0, 4.0)
    assert sampled(lambda: None).wall >= 0


def test_demands_are_judged_by_both_clocks() -> None:
    fast, slow = Ratio(1.0, 0.99, 1.01, 9), Ratio(2.0, 1.99, 2.01, 9)

    assert verdict(Row("p", "q", 1.5, fast, fast)) == "met"
    assert verdict(Row("p", "q", 1.5, slow, fast)) == "met by processor time alone"
    assert verdict(Row("p", "q", 1.5, fast, slow)) == "met by the clock alone"
    assert verdict(Row("p", "q", 1.5, slow, slow)) == "missed"
    assert verdict(Row("p", "q", None, slow, slow)) == ""


def test_the_table_names_what_could_not_run() -> None:
    rows = [row(0.5, 0.49, 0.51, 0.6), Row("a part", "DVC", None, None, None, why_not="pip failed")]

    assert table(rows).splitlines()[2:] == [
        "| a part | a peer | 0.6 x | 0.50 x (0.49 to 0.51) | 0.50 x (0.49 to 0.51) | 1 s, 2 s | met |",
        "| a part | DVC |  |  |  |  | not run: pip failed |",
    ]


def test_a_peer_that_is_missing_is_a_row_and_the_others_run(tmp_path: Path) -> None:
    part = Part(
        "p",
        1.0,
        ("one", "other"),
        lambda folder, tree: {OURS: steady(1), "one": "no wheel", "other": steady(2)},
    )

    missing, ran = measure(part, tmp_path, tmp_path)

    assert (missing.why_not, missing.demanded) == ("no wheel", 1.0)
    assert ran.wall is not None
    assert (ran.wall.middle, ran.demanded) == (0.5, None)


def test_a_part_that_cannot_run_says_why_for_every_peer(tmp_path: Path) -> None:
    def sides(folder: Path, tree: Path) -> dict[str, harness.Side]:
        raise RuntimeError("TensorRT is not installed")

    rows = measure(Part("p", 1.0, ("one", "other"), sides), tmp_path, tmp_path)

    assert [one.why_not for one in rows] == ["TensorRT is not installed"] * 2


def test_only_changes_beyond_a_tenth_and_beyond_noise_are_told() -> None:
    rows = [row(1.05, 1.04, 1.06), row(1.30, 0.9, 1.7), row(1.30, 1.2, 1.4), row(0.5, 0.4, 0.6)]

    assert changes(rows) == [
        "a part: 30% more (1.30 x (1.20 to 1.40))",
        "a part: 50% less (0.50 x (0.40 to 0.60))",
    ]


def test_two_commits_are_compared_each_in_its_own_folder(tmp_path: Path) -> None:
    seconds = {tmp_path / "new": 1.0, tmp_path / "old": 2.0}
    part = Part("p", None, (), lambda folder, tree: {OURS: steady(seconds[tree])})

    found = compared(part, (tmp_path / "a", tmp_path / "b"), (tmp_path / "new", tmp_path / "old"), 1.0)

    assert found.cpu is not None
    assert found.cpu.middle == 0.5


def test_the_generated_part_of_a_page_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert written_into(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert written_into(written_into(page, "new"), "new") == written_into(page, "new")
    with pytest.raises(ValueError, match="lacks"):
        written_into("no marks", "new")


def test_every_bench_is_a_part_or_named_as_one_with_its_own_table() -> None:
    text = (HERE / "parts.py").read_text(encoding="utf-8")
    scripts = {path.stem for path in HERE.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    used = {name for name in scripts if f"tests.bench.{name} import" in text}

    assert scripts - used - {"__main__", "bench_restore"} <= set(ALONE)
    assert {one for one in ALONE if not (HERE / f"{one}.py").exists()} == set()


def test_names_of_parts_and_their_peers_are_distinct() -> None:
    assert len({one.name for one in PARTS}) == len(PARTS)
    assert all(one.peers for one in PARTS)
