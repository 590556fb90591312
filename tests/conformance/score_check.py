"""Does `check` mean that it builds? Its word on thousands of models, held against TensorRT-RTX's parser and builder.

    python -m tests.conformance.score_check [--write] [--work FOLDER] [--jobs N] [--only SET…] [--models FOLDER…]
                                            [--toolchain VERSION=SITE] [--sample N]

Three sets of models, none of which rules were learnt on: `suite`, the half of ONNX's backend suite that `halves.py`
keeps for scoring, as it comes and with its parameters as constants; `mutants`, models of that half with one attribute
changed by chance, that ONNX Runtime runs (`mutants.py`, seed 2); `files`, the `.onnx` files under `--models`. Each is
imported and made fp32, fp16 and bf16 (mutants: fp32 and fp16), checked without TensorRT, parsed and built for sm89.

Of what `check` calls buildable the share that builds; of what it refuses the share that TensorRT refuses: the typed
model where there is one, else the model as it came, or that its network does not compute what the model says
(`readback_faults.json`). With the parser on, `check` also refuses what TensorRT's parser refuses: the second figure.

With `--write` the result becomes `check_score.json`, with every miss by name; of an older version, a part of it.
`--work` keeps what was made.
"""

from __future__ import annotations

import datetime
import json
import pickle
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent

from tests.conformance.backend_cases import Case, store_cases  # noqa: E402
from tests.conformance.children import in_children, sample  # noqa: E402
from tests.conformance.commands import parser_of, work_folder  # noqa: E402
from tests.conformance.halves import learnt  # noqa: E402
from tests.conformance.run_readback import read_faults  # noqa: E402
from trtpipe.targets.operator_types import tried_versions  # noqa: E402

OUT = HERE / "check_score.json"
SETS = ("suite", "mutants", "files")
_PRECISIONS = {"suite": "fp32,fp16,bf16", "mutants": "fp32,fp16", "files": "fp32,fp16,bf16"}
_FORMS = {"suite": "plain,bound", "mutants": "plain", "files": "plain"}
_SEED = 2
_MUTANTS = 2500
"""How many changes are tried; of fewer than half a model comes that runs."""
_FAR = ("cast", "optional", "ai_onnx_ml", "sequence", "strnorm")
"""Cases, by a part of their name, in which there is nothing to change that TensorRT would see."""


class Scoring:
    """One set of models in a folder of its own."""

    def __init__(self, work: Path, name: str, jobs: int) -> None:
        self.name, self.jobs = name, jobs
        self.folder = work / name
        self.cases, self.typed = self.folder / "cases", self.folder / "typed"
        for folder in (self.cases, self.typed):
            folder.mkdir(parents=True, exist_ok=True)

    def run(self, names: Sequence[str], version: str, site: str) -> list[dict[str, Any]]:
        """What `check` and TensorRT say of each typed model of these cases."""
        made = self._kept("typed.json", lambda: self._children("typed_phases", names, str(self.cases),
            str(self.typed), _FORMS[self.name], _PRECISIONS[self.name]))  # fmt: skip
        wanted = set(names)
        made = [case for case in made if case["name"] in wanted]  # what is kept may be of more
        index = str(self.folder / "typed.json")
        said = self._children("check_phases", names, str(self.cases), str(self.typed), index, version)
        verdicts = {one["name"]: one.get("verdicts", {}) for one in said}
        raw = {case: self._raw(case) for case in names}
        digests = {one["model"] for case in made for one in case["models"].values() if "model" in one}
        digests |= set(raw.values())
        built = self._built(sorted(digests), version, site)
        return [
            {"case": case["name"], "of": key, "refused": verdicts[case["name"]].get(key, ["the process died"]),
             "made": built.get(one.get("model", "")), "raw": built[raw[case["name"]]]}
            for case in made
            for key, one in case["models"].items()
        ]  # fmt: skip

    def _raw(self, name: str) -> str:
        """The model as it came, kept to be built as well; its digest."""
        from tests.conformance.typed_phases import keep

        case: Case = pickle.loads((self.cases / f"{name}.case").read_bytes())
        return keep(self.typed, case.model, case.arrays)

    def _built(self, digests: Sequence[str], version: str, site: str) -> dict[str, Any]:
        path = self.folder / f"built-{version}.json"
        done = {one["name"]: one for one in json.loads(path.read_text())} if path.exists() else {}
        left = [one for one in digests if one not in done]
        rows = self._children("build_phases", left, str(self.typed), *([site] if site else []))
        done |= {row["name"]: row for row in rows}
        path.write_text(json.dumps(list(done.values())))
        return done

    def _kept(self, name: str, make: Any) -> Any:
        path = self.folder / name
        if not path.exists():
            path.write_text(json.dumps(make()))
        return json.loads(path.read_text())

    def _children(self, script: str, names: Sequence[str], *arguments: str) -> list[dict[str, Any]]:
        print(f"{self.name}: {script} of {len(names)}", file=sys.stderr)
        return in_children([script, *arguments], _lost, names, self.jobs)


def _lost(name: str, phase: str) -> dict[str, Any]:
    return {
        "name": name,
        "models": {},
        "verdicts": {},
        "stage": phase or "parse",
        "reason": "the process died",
        "op": "",
    }


def suite(cases: Path, count: int) -> list[str]:
    """The names of the half that is kept for scoring; all cases are stored in `cases`."""
    names = [name for name in store_cases(cases) if not learnt(name)]
    return sample(names, count) if count else names


def mutants(scoring: Scoring, suite_cases: Path, names: Sequence[str], count: int) -> list[str]:
    """The names of the mutants that run, stored where the scoring looks for cases."""
    rng = random.Random(_SEED)
    able = [name for name in sorted(names) if not any(part in name for part in _FAR)]
    tried = sorted({f"{rng.choice(able)}~{rng.randrange(10**6)}" for _ in range(count)})

    def make() -> list[str]:
        rows = scoring._children("mutants", tried, str(suite_cases), str(scoring.cases))
        return [row["name"] for row in rows if row.get("made")]

    return list(scoring._kept("mutants.json", make))


def files(cases: Path, folders: Sequence[Path]) -> list[str]:
    """The models under these folders as cases: fed with the arrays `in:NAME` of an .npz beside it, or as proposed."""
    names = []
    for path in sorted(one for folder in folders for one in folder.rglob("*.onnx")):
        case = _of_file(path)
        if case is not None:
            (cases / f"{case.name}.case").write_bytes(pickle.dumps(case))
            names.append(case.name)
    return names


def _of_file(path: Path) -> Case | None:
    from trtpipe.proofs.model import view_model
    from trtpipe.proofs.proposals import propose_profile

    try:
        model = onnx.load(path)
        view = view_model(model)
        profile = propose_profile(view.inputs, infer=view.infer, value_inputs=view.value_inputs).profile
    except Exception as error:
        print(f"{path.name} is no model that can be read: {str(error)[:80]}", file=sys.stderr)
        return None
    given = path.with_suffix(".npz")
    arrays = dict(np.load(given)) if given.exists() else {}
    arrays = {name.removeprefix("in:"): array for name, array in arrays.items() if name.startswith("in:")}
    for info in view.inputs:
        if info.name in arrays:
            continue
        entry = profile.get(info.name)
        dims = entry.opt if entry is not None and entry.opt is not None else info.dims
        sizes = [dim if isinstance(dim, int) and dim > 0 else 1 for dim in dims or ()]
        if entry is not None and entry.values is not None:
            arrays[info.name] = np.asarray(entry.values.opt, np.int64).reshape(sizes if info.dims else ())
        else:
            arrays[info.name] = np.zeros(sizes, np.float32)
    return Case(path.stem, "file", model.SerializeToString(), arrays, {}, 0.0, 0.0)


def counted(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of one set, without the parser and with it, and the misses."""
    faults = read_faults()
    found: dict[str, Any] = {}
    for mode in ("no-parse", "parse"):
        counts: Counter[str] = Counter()
        misses = []
        for row in rows:
            said_no, builds = _judged(row, mode, faults)
            counts[
                ("refused" if said_no else "buildable") + (" right" if said_no != builds else " wrong")
            ] += 1
            if said_no == builds:
                misses.append(f"{row['case']} {row['of']}: {_why(row, said_no)}")
        found[mode] = {
            "buildable": counts["buildable right"] + counts["buildable wrong"],
            "builds": counts["buildable right"],
            "refused": counts["refused right"] + counts["refused wrong"],
            "rightly": counts["refused right"],
            "misses": sorted(misses),
        }
    return found


def _judged(row: Mapping[str, Any], mode: str, faults: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether `check` refuses, and whether the model builds."""
    made, raw = row["made"], row["raw"]
    said_no = bool(row["refused"]) or (mode == "parse" and made is not None and made["stage"] == "parse")
    if made is not None:
        return said_no, made["stage"] == "built"
    return said_no, raw["stage"] == "built" and row["case"] not in faults


def _why(row: Mapping[str, Any], said_no: bool) -> str:
    if said_no:
        return f"refused, and it builds: {row['refused'][0][:200]}"
    reason = " ".join(str(row["made"]["reason"]).split())
    return f"{row['made']['stage']} refuses {row['made']['op'] or 'it'}: {reason[:160]}"


def scores(
    work: Path,
    only: Sequence[str],
    folders: Sequence[Path],
    toolchain: tuple[str, str],
    jobs: int,
    count: int,
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each set's name with what was said of its models."""
    version, site = toolchain
    made = {name: Scoring(work, name, jobs) for name in SETS}
    names = suite(made["suite"].cases, count)
    if "suite" in only:
        yield "suite", made["suite"].run(names, version, site)
    if "mutants" in only:
        chosen = mutants(made["mutants"], made["suite"].cases, names, count or _MUTANTS)
        yield "mutants", made["mutants"].run(chosen, version, site)
    if "files" in only and folders:
        chosen = files(made["files"].cases, folders)
        yield "files", made["files"].run(chosen, version, site)


def main() -> int:
    parser = parser_of(__doc__, "--write", "--work", "--sample", "--toolchain", jobs=2)
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS, help="only these sets")
    parser.add_argument(
        "--models", nargs="+", type=Path, default=[], metavar="FOLDER", help="folders of .onnx files"
    )
    arguments = parser.parse_args()
    version, _, site = arguments.toolchain.partition("=")
    record: dict[str, Any] = {"date": datetime.date.today().isoformat(), "tensorrt_rtx": version,
                              "onnx": onnx.__version__, "seed": _SEED, "sample": arguments.sample or "all",
                              "cases": {}, "sets": {}}  # fmt: skip
    with work_folder(arguments.work) as work:
        for name, rows in scores(
            work, arguments.only, arguments.models, (version, site), arguments.jobs, arguments.sample
        ):
            record["sets"][name] = counted(rows)
            record["cases"][name] = len({row["case"] for row in rows})
    for name, modes in record["sets"].items():
        for mode, one in modes.items():
            good = f"{one['builds']} of {one['buildable']} build ({_share(one['builds'], one['buildable'])})"
            bad = f"{one['rightly']} of {one['refused']} refused rightly ({_share(one['rightly'], one['refused'])})"
            print(f"{name:>8} {mode:>9}: {good}; {bad}")
            for miss in one["misses"]:
                print(f"{'':>20} {miss}")
    if arguments.write:
        kept = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
        OUT.write_text(json.dumps(with_record(kept, record), indent=1) + "\n", encoding="utf-8")
    return 0


def with_record(kept: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept, with the scores of one version: the newest stands for itself, others under `older`.

    Sets of another run of the same version stay, each with how many cases it had and whether these were a sample.
    """
    if record["tensorrt_rtx"] == tried_versions()[-1]:
        return {**record, "older": kept.get("older", {})}
    version, older = record["tensorrt_rtx"], dict(kept.get("older", {}))
    sets = {name: {"cases": record["cases"][name], "sample": record["sample"], "date": record["date"], **modes}
            for name, modes in record["sets"].items()}  # fmt: skip
    older[version] = {**older.get(version, {}), **sets}
    return {**kept, "older": dict(sorted(older.items()))}


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "none"


if __name__ == "__main__":
    sys.exit(main())
