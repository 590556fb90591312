"""Which element types each operator takes, tried: one node, one type variable, one type, one TensorRT-RTX at a time.

    python -m tests.conformance.sweep_types [--write] [--work FOLDER] [--jobs N] [--toolchain VERSION=SITE…]

Specimens are the single-node models that importing makes of the *learnt* half of ONNX's backend suite (`halves.py`), in
every type that ONNX's schema allows for each type variable. Each is parsed and built for sm89, raw, in child processes,
by the interpreter's TensorRT-RTX and by those that stand in the SITEs (folders that trtpipe has provisioned). A type
is taken when any specimen of the operator builds in it, and refused when specimens that build in another type do not.

With `--write` the result becomes `trtpipe/targets/operator_types.json`, which `check` and the precisions read.
`--work` keeps what was built so far, so that another toolchain can be added.
"""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent

from tests.conformance.backend_cases import store_cases  # noqa: E402
from tests.conformance.children import in_children  # noqa: E402
from tests.conformance.commands import parser_of, work_folder, write_or_print  # noqa: E402
from tests.conformance.halves import learnt  # noqa: E402
from tests.conformance.specimens import TYPES, by_hand, form_of, single, spelled, variants  # noqa: E402
from tests.conformance.typed_phases import keep  # noqa: E402

OUT = HERE.parents[1] / "trtpipe" / "targets" / "operator_types.json"
_FORMS = 3  # specimens of an operator
_WORDS = 160  # characters of what TensorRT says


def typed_models(work: Path, jobs: int) -> Path:
    """The folder with the typed models of the learnt half, and their list in `typed.json`."""
    models, index = work / "typed", work / "typed.json"
    if not index.exists():
        models.mkdir(exist_ok=True)
        cases = work / "cases"
        cases.mkdir(exist_ok=True)
        names = [name for name in store_cases(cases) if learnt(name)]
        command = ["typed_phases", str(cases), str(models), "plain,bound", "fp32"]
        found = in_children(
            command, lambda name, phase: {"name": name, "models": {}}, names, jobs, progress=True
        )
        index.write_text(json.dumps(found))
    return models


def specimens(work: Path) -> list[dict[str, str]]:
    """Every specimen, kept in `work/specimens`: operator, type variable, type, original, digest."""
    kept, index = work / "specimens", work / "specimens.json"
    if index.exists():
        made: list[dict[str, str]] = json.loads(index.read_text())
        return made
    kept.mkdir(exist_ok=True)
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for original, model, arrays in _originals(work):
        for one in variants(model):
            digest = keep(kept, one.model.SerializeToString(), arrays)
            row = {
                "op": one.op,
                "variable": one.variable,
                "dtype": one.dtype,
                "of": original,
                "model": digest,
            }
            rows[tuple(row.values())] = row
    for row, model in _casts():
        row["model"] = keep(kept, model.SerializeToString(), {})
        rows[tuple(row.values())] = row
    found = [rows[key] for key in sorted(rows)]
    index.write_text(json.dumps(found))
    return found


def _originals(work: Path) -> Iterator[tuple[str, onnx.ModelProto, dict[str, np.ndarray]]]:
    """Typed models of one node, a few of each operator that differ in form, always the same ones."""
    cases = [one for one in json.loads((work / "typed.json").read_text()) if learnt(one["name"])]
    digests = {
        made["model"]
        for case in cases
        for key, made in case["models"].items()
        if "model" in made and key.endswith("/fp32")
    }
    seen: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for digest in sorted(digests):
        encoded, arrays = pickle.loads((work / "typed" / f"{digest}.built").read_bytes())
        model = onnx.load_model_from_string(encoded)
        node = single(model)
        if node is None or node.op_type in ("Cast", "Constant"):
            continue
        form = form_of(node)
        if form in seen[node.op_type] or len(seen[node.op_type]) >= _FORMS:
            continue
        seen[node.op_type].add(form)
        yield digest, model, arrays
    for number, model in enumerate(by_hand()):
        yield f"by hand {number}", model, {}


def _casts() -> Iterator[tuple[dict[str, str], onnx.ModelProto]]:
    """Cast from every type to every other, and a tensor of each that is only handed through."""
    for source in TYPES:
        values = [onnx.helper.make_tensor_value_info("x", _number(source), [2, 3])]
        for target in TYPES:
            number = _number(target)
            node = onnx.helper.make_node("Cast", ["x"], ["y"], name="n", to=number)
            made = [onnx.helper.make_tensor_value_info("y", number, [2, 3])]
            graph = onnx.helper.make_graph([node], "g", values, made)
            opset = [onnx.helper.make_opsetid("", 21)]
            yield (
                {"op": "Cast", "variable": f"{source} to", "dtype": target, "of": "cast", "model": ""},
                onnx.helper.make_model(graph, opset_imports=opset, ir_version=10),
            )


def _number(dtype: str) -> int:
    return int(onnx.TensorProto.DataType.Value(spelled(dtype).upper()))


def build_all(work: Path, version: str, site: str, jobs: int) -> dict[str, dict[str, Any]]:
    """What a toolchain makes of every specimen, by digest; kept in `work`."""
    index = work / f"built-{version}.json"
    done = {one["name"]: one for one in json.loads(index.read_text())} if index.exists() else {}
    names = sorted({row["model"] for row in specimens(work)} - done.keys())
    command = ["build_phases", str(work / "specimens"), *([site] if site else [])]
    for one in in_children(command, _lost, names, jobs, progress=True):
        done[one["name"]] = one
    index.write_text(json.dumps(list(done.values())))
    return done


def _lost(name: str, phase: str) -> dict[str, Any]:
    return {"name": name, "stage": phase or "parse", "reason": "the process died", "node": "", "op": ""}


def table(
    rows: Sequence[Mapping[str, str]], built: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Operator → type variable → `taken`, a list, and `refused`: type → who, what it says, and which versions.

    `built` has each version's results. Of specimens that build in no type nothing is concluded.
    """
    found: dict[str, Any] = {}
    for op, variable in sorted({(row["op"], row["variable"]) for row in rows}):
        mine = [row for row in rows if (row["op"], row["variable"]) == (op, variable)]
        types = [one for one in TYPES if any(row["dtype"] == one for row in mine)]
        judged = {one: _judged([row for row in mine if row["dtype"] == one], mine, built) for one in types}
        taken = [one for one, refused in judged.items() if refused == {}]
        refused = {one: _merged(refused) for one, refused in judged.items() if refused}
        if taken:
            found.setdefault(op, {})[variable] = {"taken": taken, "refused": refused}
    return found


def _judged(
    rows: Sequence[Mapping[str, str]], all_rows: Sequence[Mapping[str, str]], built: Mapping[str, Any]
) -> dict[str, str] | None:
    """Version → who refuses, with its words; {} when each takes the type; None when nothing can be concluded."""
    refused = {}
    for version, results in built.items():
        able = {row["of"] for row in all_rows if results[row["model"]]["stage"] == "built"}
        mine = [results[row["model"]] for row in rows if row["of"] in able]
        if not mine or any(_SHAPE in one["reason"] for one in mine):
            return None
        if any(said in one["reason"] for one in mine for said in _OF_INT8):
            continue
        if not any(one["stage"] == "built" for one in mine):
            refused[version] = _words(mine[0])
    return refused


_SHAPE = "isInFlight"
"""What the parser says of an input whose values make a shape and which is not a whole number: a limit of inputs."""
_OF_INT8 = ("cannot be quantized by", "no engine, and no error said", "Quantized constant")
"""What 1.4 says of int8 that comes of no quantizer, whatever the operator: a rule of its own (`engine_limits`)."""


def _words(result: Mapping[str, Any]) -> str:
    """`parser: …` or `builder: …`, without names, places in NVIDIA's sources and what follows the first sentence."""
    who = "builder" if result["stage"] == "build" else "parser"
    said = " ".join(str(result["reason"]).split())
    for noise in (
        r"^Assertion failed: .*?: (?=\S)",
        r"^.*?Error Code \d+: ",
        r"^API Usage Error \(\S+: ",
        r" In \w+ at .*$",
    ):
        said = re.sub(noise, "", said, count=1)
    return f"{who}: {said[:_WORDS]}"


def _merged(refusals: Mapping[str, str]) -> dict[str, Any]:
    """What the newest version that refuses says, and all that refuse."""
    by, _, says = refusals[max(refusals)].partition(": ")
    return {"by": by, "says": says, "versions": sorted(refusals)}


def main() -> int:
    parser = parser_of(__doc__, "--write", "--work", jobs=2)
    parser.add_argument(
        "--toolchain", nargs="*", default=[], metavar="VERSION=SITE", help="further TensorRT-RTXs"
    )
    arguments = parser.parse_args()
    with work_folder(arguments.work) as work:
        typed_models(work, arguments.jobs)
        sites = {version: site for version, _, site in (one.partition("=") for one in arguments.toolchain)}
        rows = specimens(work)
        print(f"{len(rows)} specimens", file=sys.stderr)
        built = {
            version: build_all(work, version, site, arguments.jobs) for version, site in sorted(sites.items())
        }
    found = table(rows, built)
    text = json.dumps({"tried": sorted(built), "operators": found}, indent=1, sort_keys=True) + "\n"
    write_or_print(text, OUT, write=arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
