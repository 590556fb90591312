"""The bundles of a build's report, from the files in `build/BUNDLE/` and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.delivery.bundles import RECORD
from trtpipe.files import read_regular
from trtpipe.json_values import (
    JsonObject,
    Malformed,
    number_in,
    object_in,
    objects_in,
    read_object,
    text_in,
    texts_in,
)
from trtpipe.provenance.manifest import gpu_words
from trtpipe.reports.models import BundleRecord, BundleTarget, Failure, MemberCost

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

_LARGEST = 64 << 20


def bundle_records(planned: Planned, failures: Sequence[Failure]) -> tuple[BundleRecord, ...]:
    """Each bundle that the command selects: complete, failed, or not complete because a member is missing."""
    from trtpipe.building.bundles.work import complete_now

    said = {one.name: tuple(problem.fact for problem in one.problems) for one in failures}
    complete = complete_now(planned)
    return tuple(
        _record(planned, one.name, said, one.name in complete) for one in planned.workspace.whole_bundles
    )


def _record(planned: Planned, name: str, said: Mapping[str, tuple[str, ...]], complete: bool) -> BundleRecord:
    if name in said or not complete:
        why = said.get(name, ("a member was not built, or the whole was not validated",))
        return BundleRecord(bundle=name, state="failed" if name in said else "not built", why=why, targets=())
    try:
        record = read_object(read_regular(planned.workspace.build / name / RECORD, _LARGEST))
        return BundleRecord(bundle=name, state="complete", why=(), targets=tuple(_targets(record)))
    except (OSError, Malformed) as error:
        why = (f"its files in build/ cannot be shown: {error}",)
        return BundleRecord(bundle=name, state="not built", why=why, targets=())


def _targets(record: JsonObject) -> list[BundleTarget]:
    targets, verdicts = object_in(record, "targets"), object_in(record, "validation")
    return [_target(name, object_in(targets, name), object_in(verdicts, name)) for name in targets]


def _target(name: str, members: JsonObject, verdict: JsonObject) -> BundleTarget:
    return BundleTarget(
        target=name,
        members={member: text_in(object_in(members, member), "cell") for member in members},
        outcome=text_in(verdict, "outcome").replace("_", " "),
        on_gpu=gpu_words(object_in(verdict, "run_on_gpu") if "run_on_gpu" in verdict else {}),
        not_run=tuple(texts_in(verdict, "not_run")),
        costs=tuple(_cost(one) for one in objects_in(verdict, "blame")),
    )


def _cost(record: JsonObject) -> MemberCost:
    return MemberCost(
        member=text_in(record, "member"),
        output=text_in(record, "output"),
        error=number_in(record, "error"),
        without=number_in(record, "without"),
        share=number_in(record, "share"),
    )
