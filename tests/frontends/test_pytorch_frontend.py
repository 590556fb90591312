"""The pytorch frontend: programs are told from pickles, nothing is unpickled, sizes keep names that mean something."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.frontends.foreign_files import program, symbol, write_pt2
from trtpipe.errors import ModelError
from trtpipe.frontends import LowerReport, ModelFiles, lower_model
from trtpipe.frontends.conversion.converters import Converter
from trtpipe.frontends.pytorch import PytorchOptions, frontend
from trtpipe.frontends.torch_format import archive, converter
from trtpipe.frontends.torch_format.dims import name_dims
from trtpipe.frontends.torch_format.expressions import is_arithmetic
from trtpipe.frontends.torch_format.kinds import kind_of

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata"
NEEDED = ("torch", "onnxscript")
OPTIONS = PytorchOptions()


class Bomb:
    """Whoever unpickles it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        frontend.belonging(ModelFiles(path), OPTIONS)
    return str(caught.value)


def test_a_pickle_is_refused_with_the_way_out_and_never_loaded(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "net.pt"
    path.write_bytes(pickle.dumps(Bomb(mark)))

    with pytest.raises(ModelError, match="is a pickle"):
        frontend.propose(path)

    assert "'net.pt' is a pickle" in refusal(path)
    assert "torch.export.save(program, 'model.pt2')" in refusal(path)
    assert "torch.onnx.export(" in refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"net__data_dot_pkl": b"\x80\x02.", "net__version": b"3\n", "net__data__0": b"1234"}, "pickle"),
        (
            {"net__constants_dot_pkl": b"\x80\x02.", "net__code__net_dot_py": b"", "net__data_dot_pkl": b""},
            "torchscript",
        ),
        ({"version": b"8.1", "serialized_exported_program_dot_json": b"{}"}, "old program"),
        ({"net__archive_format": b"pt2"}, "program"),
        ({"net__archive_format": b"pt3"}, None),
        ({"x_dot_npy": b"\x93NUMPY"}, None),
    ],
    ids=["state dict", "TorchScript", "before 2.8", "program", "later format", "npz"],
)
def test_archives_are_told_apart_by_what_is_in_them(tmp_path, members, kind):
    path = zipped(tmp_path / "file.pt2", **members)

    assert kind_of(path) == kind


def test_a_legacy_pickle_is_known_by_its_magic_number(tmp_path):
    path = tmp_path / "net.bin"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"more")

    assert kind_of(path) == "pickle"


def test_the_recorded_state_dict_is_refused():
    path = DATA / "torch" / "digits_cnn_state.pt"
    if not path.exists():
        pytest.skip("no PyTorch files in ../shared/testdata")

    assert "'digits_cnn_state.pt' is a pickle" in refusal(path)


def test_a_program_is_proposed_with_the_sizes_that_it_was_exported_for(tmp_path):
    proposal = frontend.propose(write_pt2(tmp_path / "net.pt2"))

    assert proposal is not None
    assert (proposal.options, proposal.comment) == ({}, "It was exported for sizes x_0 1 to 64.")


def test_the_sizes_that_a_program_was_exported_for_are_proposed_for_each_dimension(tmp_path):
    described = program(range_constraints={"s77": {"min_val": 2, "max_val": 32}})
    batch = described["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]
    described["graph_module"]["graph"]["tensor_values"]["x"]["sizes"] = [batch, batch]

    proposal = frontend.propose(write_pt2(tmp_path / "net.pt2", described))

    assert proposal is not None
    assert proposal.ranges == {"x_0": (2, 32), "x_1": (2, 32)}
    assert proposal.same == {"x_0": "x_0", "x_1": "x_0"}


def test_ranges_of_sums_are_kept_from_pytorch_whose_exporter_stops_at_them(tmp_path):
    ranges = {"s77": {"min_val": 1, "max_val": 64}, "s14 + s77": {"min_val": 2, "max_val": 128}}
    source = write_pt2(tmp_path / "net.pt2", program(range_constraints=ranges))

    archive.write_bare(archive.read_pt2(source), tmp_path / "bare.pt2")

    with zipfile.ZipFile(tmp_path / "bare.pt2") as bare:
        described = json.loads(bare.read("model/models/model.json"))
    assert list(described["range_constraints"]) == ["s77"]


def test_what_pytorch_gets_to_see_holds_no_pickle_and_no_code(tmp_path):
    source = archive.read_pt2(write_pt2(tmp_path / "net.pt2", extra__notes=b"mine"))

    archive.write_bare(source, tmp_path / "bare.pt2")

    with zipfile.ZipFile(tmp_path / "bare.pt2") as bare:
        inside = {name.partition("/")[2]: bare.read(name) for name in bare.namelist()}
    assert inside["data/sample_inputs/model.pt"] == b""
    assert json.loads(inside["models/model.json"])["guards_code"] == []
    assert "extra/notes" not in inside
    assert np.frombuffer(inside["data/weights/weight_0"], "<f4").tolist() == [1, 2, 3, 4]


def weights(**changes) -> bytes:
    meta = {"dtype": 7, "sizes": [{"as_int": 4}]}
    one = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    return json.dumps({"config": {"w": one | changes}}).encode()


def constants(name: str) -> bytes:
    return json.dumps(
        {"config": {"c": {"path_name": name, "use_pickle": False, "tensor_meta": None}}}
    ).encode()


def sized(expression: str) -> dict:
    described = program()
    values = described["graph_module"]["graph"]["tensor_values"]
    values["x"]["sizes"][0]["as_expr"]["expr_str"] = expression
    return described


def calling(target: str) -> dict:
    described = program()
    described["graph_module"]["graph"]["nodes"][0]["target"] = target
    return described


def shaped(spec: str) -> dict:
    described = program()
    described["graph_module"]["module_call_graph"] = [{"signature": {"in_spec": spec}}]
    return described


WEIGHTS, CONSTANTS = (
    "data__weights__model_weights_config.json",
    "data__constants__model_constants_config.json",
)


@pytest.mark.parametrize(
    ("described", "members", "said"),
    [
        (None, {WEIGHTS: weights(use_pickle=True)}, "weight 'w' of the exported program is a pickle"),
        (None, {WEIGHTS: weights(path_name="../../etc")}, "weight 'w' of the exported program has no data"),
        (None, {"data__weights__weight_0": b""}, "claims the shape 4 but has no bytes"),
        (None, {CONSTANTS: constants("opaque_obj_0"), "data__constants__opaque_obj_0": b"\x80\x04."}, "is a pickle"),
        (None, {CONSTANTS: constants("custom_obj_0"), "data__constants__custom_obj_0": b"PK"}, "is a pickle"),
        (None, {WEIGHTS: b"{}"}, "weights of the exported program are not described"),
        (None, {WEIGHTS: b"[1]"}, "is not a JSON object"),
        (None, {"models__model.json": b"[" * 100_000}, "is not JSON"),
        (None, {"models__model.json": b"{}"}, "is not described as expected"),
        (program(range_constraints={"s77": {"max_val": float("inf")}}), {}, "is not described as expected"),
        (sized("__import__('os').system('true')"), {}, "is not arithmetic on sizes"),
        (sized("S('x')"), {}, "is not arithmetic on sizes"),
        (calling("torch.hub.load"), {}, "the program calls 'torch.hub.load'"),
        (calling("torch.ops.aten.from_file.default"), {}, "which is not an operator of a network"),
        (calling("#example:op"), {}, "which is not an operator of a network"),
        (shaped('{"default_factory_module": "os"}'), {}, "classes that would be imported"),
    ],
    ids=["pickled weight", "path", "empty weight", "pickled constant", "script object", "no config", "list",
         "deep JSON", "no program", "endless range", "code", "evaluated text", "function", "file operator",
         "extension", "class"],
)  # fmt: skip
def test_what_would_run_code_or_lies_is_refused_before_pytorch_sees_it(tmp_path, described, members, said):
    assert said in refusal(write_pt2(tmp_path / "net.pt2", described, **members))


def test_a_compressed_archive_is_refused_since_it_could_be_of_any_size(tmp_path):
    assert "is compressed, which PyTorch never does" in refusal(
        write_pt2(tmp_path / "net.pt2", compressed=True)
    )


def test_an_archive_that_was_cut_off_is_no_program(tmp_path):
    whole = write_pt2(tmp_path / "net.pt2").read_bytes()
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(whole[: len(whole) // 2])

    assert frontend.propose(cut) is None
    assert "damaged archive" in refusal(cut)


def paths_in(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from paths_in(below, (*path, key))


def text_with(record, path, junk):
    made = [json.loads(json.dumps(record))]
    place, last = made, 0
    for key in path:
        place, last = place[last], key
    place[last] = junk
    return json.dumps(made[0]).replace('"@deep@"', "[" * 100_000 + "]" * 100_000).encode()


@pytest.mark.parametrize(
    "junk", [None, [], {}, "", -1, 2**70, float("inf"), "@deep@"], ids=lambda junk: repr(junk)[:12]
)
@pytest.mark.parametrize("member", ["models__model.json", "data__weights__model_weights_config.json"])
def test_a_description_with_anything_in_any_place_is_read_or_refused(tmp_path, member, junk):
    with zipfile.ZipFile(write_pt2(tmp_path / "good.pt2")) as good:
        record = json.loads(good.read("net/" + member.replace("__", "/")))

    for path in paths_in(record):
        changed = write_pt2(tmp_path / "net.pt2", **{member: text_with(record, path, junk)})
        try:
            read = archive.read_pt2(changed)
            read.targets()
            archive.write_bare(read, tmp_path / "bare.pt2")
        except ModelError as error:
            assert all("\n" not in problem.fact for problem in error.problems)


def test_a_weight_whose_bytes_were_damaged_is_found_while_it_is_copied(tmp_path):
    path = write_pt2(tmp_path / "net.pt2")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\0\0\x80?\0\0\0@", b"\0\0\x80?\0\0\0A"))
    opened = archive.read_pt2(path)

    with pytest.raises(ModelError, match=r"'net\.pt2' is a damaged archive: Bad CRC"):
        archive.write_bare(opened, tmp_path / "bare.pt2")


def test_a_compiled_package_says_what_to_take_instead(tmp_path):
    path = zipped(
        tmp_path / "net.pt2", net__archive_format=b"pt2", net__data__aotinductor__model__a_dot_so=b""
    )

    assert "compiled by AOTInductor" in refusal(path)


@pytest.mark.parametrize(
    "text",
    [
        "Integer(4)",
        symbol("s77"),
        f"Mul(Integer(2), {symbol('s0')})",
        "2*s77",
        "FloorDiv(s1, 2)",
        "Max(1, -u0)",
    ],
)
def test_sizes_are_arithmetic(text):
    assert is_arithmetic(text)


@pytest.mark.parametrize(
    "text",
    ["open('x')", "Symbol('a').__class__", "[s0 for s0 in s1]", "Lambda(s0, s0)", "s0 if s1 else s2", "Symbol('a b')",
     "(" * 5000 + ")" * 5000, "1 +", "Integer(1)" * 5000, "exec", "1if s0"],
)  # fmt: skip
def test_anything_else_is_not(text):
    assert not is_arithmetic(text)


def model(inputs: dict[str, list], outputs: dict[str, list]) -> onnx.ModelProto:
    def values(infos):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in infos.items()]

    return helper.make_model(helper.make_graph([], "g", values(inputs), values(outputs)))


def dims_of(model: onnx.ModelProto) -> dict[str, list]:
    return {
        value.name: [dim.dim_param or dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


def test_a_symbol_is_called_after_where_it_stands_first_and_keeps_one_name():
    named = model({"a": ["s77", 3], "b": ["s77", "s1", "2*s1"]}, {"y": ["s77", "2*s1", "u0"]})

    name_dims(named, {}, ())

    assert dims_of(named) == {
        "a": ["a_0", 3],
        "b": ["a_0", "b_1", "b_2"],
        "y": ["a_0", None, None],
    }


def test_the_options_name_dimensions_by_symbol_or_by_their_other_name():
    named = model({"ids": ["s23", "s27"]}, {"y": ["s23"]})

    name_dims(named, {"s23": "batch", "ids_1": "seq"}, ())

    assert dims_of(named) == {"ids": ["batch", "seq"], "y": ["batch"]}


def test_names_for_dimensions_that_do_not_fit_are_refused_in_one_pass():
    with pytest.raises(ModelError) as caught:
        name_dims(model({"ids": ["s23", "s27"]}, {}), {"s23": "n", "s27": "n", "s99": "z"}, ("dims",))

    assert [(one.path, one.fact) for one in caught.value.problems] == [
        (("dims", "s99"), "the program has no dimension 's99'"),
        (("dims",), "the dimensions s23, s27 would both be called 'n', as if they were equal"),
    ]
    assert "ids_0 (s23), ids_1 (s27)" in caught.value.problems[0].remedy


def stand_in(monkeypatch, tmp_path: Path, body: str) -> None:
    """Makes the conversion one that does this."""
    file = tmp_path / "converter.py"
    file.write_text(f"class CannotLoad(Exception): pass\ndef convert(request):\n    {body}\n")
    made = Converter(file, "torch.onnx", "pytorch")
    monkeypatch.setattr("trtpipe.frontends.pytorch._converter", lambda: made)


def test_another_pytorch_than_the_one_that_wrote_it_is_told_with_both_versions(tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, "raise CannotLoad('schema version 9')")
    monkeypatch.setattr("trtpipe.frontends.torch_format.loaders._installed", lambda: "2.14.1+cpu")

    with pytest.raises(ModelError) as caught:
        lower(write_pt2(tmp_path / "net.pt2"), tmp_path / "model.onnx")

    (problem,) = caught.value.problems
    assert problem.fact == "the program was written by PyTorch 2.13.0, and PyTorch 2.14.1 cannot load it"
    assert "pip install torch==2.13.0" in problem.remedy
    assert "schema version 9" in problem.details


def test_the_same_pytorch_is_not_blamed_for_its_version(tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path, "raise CannotLoad('weight w is odd')")
    monkeypatch.setattr("trtpipe.frontends.torch_format.loaders._installed", lambda: "2.13.0")

    with pytest.raises(ModelError, match=r"torch\.onnx cannot convert the model: weight w is odd"):
        lower(write_pt2(tmp_path / "net.pt2"), tmp_path / "model.onnx")


def lower(path: Path, out: Path, options: PytorchOptions = OPTIONS) -> LowerReport:
    return lower_model(frontend, ModelFiles(path, root=path.parent), options, out)


@pytest.fixture
def torch_file():
    """A recorded program's path, where PyTorch and the recordings are here."""

    def find(name: str) -> Path:
        if any(importlib.util.find_spec(one) is None for one in NEEDED):
            pytest.skip("not run: needs torch and onnxscript")
        if not (DATA / "torch").exists():
            pytest.skip("no PyTorch files in ../shared/testdata")
        return DATA / "torch" / name

    return find


def outputs_of(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


@pytest.mark.conversion
def test_the_digits_program_equals_the_model_that_it_was_made_from(tmp_path, torch_file):
    report = lower(torch_file("digits_cnn.pt2"), tmp_path / "model.onnx")

    images = np.load(DATA / "accuracy" / "digits_val.npz")["image"]
    expected = outputs_of(DATA / "accuracy" / "digits_cnn.onnx", {"image": images})
    (found,) = outputs_of(tmp_path / "model.onnx", {"x": images})
    np.testing.assert_allclose(found, expected[0], atol=1e-5, rtol=0)
    assert report.summary["inputs"][0]["dims"] == ("x_0", 1, 8, 8)


@pytest.mark.conversion
def test_the_transformer_keeps_its_dynamic_length_under_names_of_our_choice(tmp_path, torch_file):
    options = PytorchOptions(
        inputs=("tokens",), outputs=("logits",), dims={"s23": "batch", "tokens_1": "seq"}
    )

    report = lower(torch_file("transformer_dynseq.pt2"), tmp_path / "model.onnx", options)

    recorded = np.load(DATA / "torch" / "transformer_dynseq.npz")
    (found,) = outputs_of(tmp_path / "model.onnx", {"tokens": recorded["in0"]})
    np.testing.assert_allclose(found, recorded["out0"], atol=1e-5, rtol=0)
    longer = np.ones((3, 11), np.int64)
    assert outputs_of(tmp_path / "model.onnx", {"tokens": longer})[0].shape == (3, 5)
    assert report.summary["inputs"][0]["dims"] == ("batch", "seq")
    assert report.summary["outputs"][0] == {"name": "logits", "dtype": "float32", "dims": ("batch", 5)}


@pytest.mark.conversion
def test_the_same_program_gives_the_same_bytes_whatever_the_hash_seed(tmp_path, torch_file, monkeypatch):
    from trtpipe.frontends.conversion import converters

    path, fixed = torch_file("transformer_dynseq.pt2"), converters.environment_of
    digests = set()
    for seed in "17":
        monkeypatch.setattr(
            converters, "environment_of", lambda kind, s=seed: fixed(kind) | {"PYTHONHASHSEED": s}
        )
        lower(path, tmp_path / f"{seed}.onnx")
        digests.add(hashlib.sha256((tmp_path / f"{seed}.onnx").read_bytes()).hexdigest())

    assert len(digests) == 1


@pytest.mark.conversion
def test_a_program_exported_here_with_sizes_that_depend_on_each_other(tmp_path, torch_file):
    torch_file("digits_cnn.pt2")
    torch = pytest.importorskip("torch")

    class Pairs(torch.nn.Module):
        def forward(self, image, weight):
            return torch.cat([image, image], 0) * 2, image @ weight

    batch = torch.export.Dim("batch", min=2, max=9)
    example = (torch.zeros(3, 4), torch.zeros(4, 5))
    made = torch.export.export(Pairs().eval(), example, dynamic_shapes=({0: batch}, None))
    torch.export.save(made, tmp_path / "pairs.pt2")

    report = lower(tmp_path / "pairs.pt2", tmp_path / "model.onnx", PytorchOptions(opset=19))

    assert report.summary["inputs"][0]["dims"] == ("image_0", 4)
    doubled, _ = outputs_of(
        tmp_path / "model.onnx", {"image": np.ones((5, 4), np.float32), "weight": np.ones((4, 5), np.float32)}
    )
    assert doubled.shape == (10, 4)


def test_the_converter_itself_imports_nothing_of_trtpipe():
    assert "import trtpipe" not in Path(converter.__file__).read_text()
    assert "from trtpipe" not in Path(converter.__file__).read_text()
