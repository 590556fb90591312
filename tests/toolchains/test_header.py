"""What an engine file says about itself."""

import struct

import pytest

from trtpipe.errors import ModelError
from trtpipe.toolchains.header import EngineHeader, read_engine_header

TEXT = b"\x13\x80\x01\x00%b\x01\x80\x0c\x80\x01\x00%b%b"
COMPILER = (
    b"NLYM\0header {\n  version = 5\n  memory_budget = 1073746432\n  tf32=%d\n  nvidia_tf32_override=-1\n"
)


def text(value):
    size = struct.pack("<Q", len(value))
    return TEXT % (size, size, value)


def engine(version=(1, 7, 1, 116), mask=0x0C, weights=4864, body=b"", size=None):
    head = bytearray(64)
    head[0:4] = head[28:32] = b"vtrt"
    head[24:28] = bytes(version)
    struct.pack_into("<Q", head, 16, 64 + len(body) if size is None else size)
    struct.pack_into("<Q", head, 32, mask)
    struct.pack_into("<Q", head, 56, weights)
    return bytes(head) + body


@pytest.fixture
def written(tmp_path):
    def write(data):
        path = tmp_path / "model.engine"
        path.write_bytes(data)
        return path

    return write


def refusal(path):
    with pytest.raises(ModelError) as caught:
        read_engine_header(path)
    return str(caught.value)


def test_a_header_tells_version_targets_and_sizes(written):
    header = read_engine_header(written(engine()))

    assert header == EngineHeader("1.7.1.116", 64, ("sm86", "sm89"), 0, 4864)


def test_every_bit_of_the_targets_has_its_capability(written):
    header = read_engine_header(written(engine(mask=0x3F)))

    assert header.capabilities == ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")


def test_targets_without_a_name_are_counted(written):
    header = read_engine_header(written(engine(mask=0x7E)))

    assert header.unnamed_targets == 1
    assert "sm75" not in header.capabilities


def test_the_first_text_is_the_network_s_name(written):
    body = b"NGNE\0\0\0\0" + text(b"trtpipe") + text(b"x") + text(b"y")

    assert read_engine_header(written(engine(body=body))).network_name == "trtpipe"


def test_a_name_that_is_cut_off_is_unknown(written):
    body = text(b"trtpipe")[:-2]

    assert read_engine_header(written(engine(body=body))).network_name is None


@pytest.mark.parametrize("tf32", [True, False])
def test_the_compiler_s_header_tells_tf32_and_the_workspace(written, tf32):
    header = read_engine_header(written(engine(body=COMPILER % tf32)))

    assert header.tf32 is tf32
    assert header.memory_budget == 1073746432


def test_what_is_not_found_is_unknown_and_not_an_error(written):
    header = read_engine_header(written(engine(body=b"\0" * 1000)))

    assert (header.network_name, header.tf32, header.memory_budget) == (None, None, None)


def test_only_the_start_of_a_large_engine_is_read(written, monkeypatch):
    path = written(engine(size=8 << 20))
    with path.open("r+b") as file:
        file.truncate(8 << 20)
    asked = []

    class Counting:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def read(self, size):
            asked.append(size)
            return self.file.read(size)

    real = type(path).open
    monkeypatch.setattr(type(path), "open", lambda self, *args: Counting(real(self, *args)))

    assert read_engine_header(path).size == 8 << 20
    assert sum(asked) <= 1 << 18


@pytest.mark.parametrize("cut", [200, 1])
def test_an_engine_cut_short_is_damaged(written, cut):
    whole = engine(body=b"\0" * 1000)
    path = written(whole[:-cut])

    assert refusal(path).startswith(
        f"{path} is damaged: its header says 1064 bytes, the file has {1064 - cut}"
    )


@pytest.mark.parametrize("length", [4, 30, 63])
def test_a_file_shorter_than_the_header_is_damaged(written, length):
    path = written(engine()[:length])

    assert refusal(path).startswith(f"{path} is damaged: it has {length} bytes only")


@pytest.mark.parametrize("data", [b"\x08\x07\x12\x04onnx" * 20, b"PK\x03\x04", b"trt"])
def test_other_files_are_no_engines(written, data):
    assert "is not a TensorRT engine" in refusal(written(data))


def test_an_empty_file_is_said_to_be_empty(written):
    assert "the file is empty" in refusal(written(b""))


@pytest.mark.parametrize(
    "data",
    [b"ftrt" + b"\0" * 100, b"ptrt" + b"\0" * 100, b"vtrt" + b"\0" * 60, engine(version=(10, 13, 3, 9))],
)
def test_an_engine_of_the_flavour_tensorrt_has_another_layout(written, data):
    assert "is an engine of another layout: flavour tensorrt" in refusal(written(data))


def test_a_missing_file_is_one_sentence(tmp_path):
    path = tmp_path / "none.engine"

    assert refusal(path) == f"{path}: no such file or directory"


def test_a_header_is_plain_json(written):
    assert read_engine_header(written(engine())).to_json()["capabilities"] == ["sm86", "sm89"]


@pytest.mark.engine
def test_a_real_engine_s_header_tells_what_it_was_built_with(tmp_path):
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    path = tmp_path / "model.engine"

    plan = built(trt, name="a name", targets=("SM86", "SM120"), tf32=False)
    path.write_bytes(plan)
    header = read_engine_header(path)

    assert header.version == trt.__version__
    assert header.size == len(plan)
    assert header.capabilities == ("sm86", "sm120")
    assert (header.network_name, header.tf32, header.unnamed_targets) == ("a name", False, 0)
    assert header.memory_budget is not None
    assert header.memory_budget >= 1 << 28


def built(trt, *, name, targets, tf32):
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, 4]) for one in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network.name = name
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString())
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 28)
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        assert config.set_compute_capability(getattr(trt.ComputeCapability, target), index)
    return bytes(builder.build_serialized_network(network, config))
