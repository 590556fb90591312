"""What is wrong with a net of Caffe is said with its layer, its line and what to do; all of it in one pass."""

from __future__ import annotations

import numpy as np
import pytest

from tests.frontends.caffe_files import caffemodel, delimited, lower, net
from trtpipe.errors import ModelError

PRODUCT = (
    'layer { name: "p" type: "InnerProduct" bottom: "a" top: "y" inner_product_param { num_output: 2 } }'
)
GOOD = {"p": [np.zeros((2, 3)), np.zeros(2)]}


def refused(folder, text, blobs=None, **options) -> str:
    with pytest.raises(ModelError) as caught:
        lower(folder, text, blobs, **options)
    return str(caught.value)


def layer(body: str, bottom: str = "a") -> str:
    return net(f'layer {{ name: "l" bottom: "{bottom}" top: "y"\n  {body} }}', (1, 4, 6, 6))


TEXTS = {
    "not closed": ("layer {\n  name: 'x'\n", "net.prototxt:3:1: '}' is missing: the block of line 1 never ends"),
    "quotes": ('name: "x\n', "net.prototxt:1:7: the quotes are not closed on this line"),
    "no value": ("name:\n}", "net.prototxt:2:1: expected a value, not '}'"),
    "no name": ("{ }", "net.prototxt:1:1: expected the name of a field, not '{'"),
    "stray": ("name: 'x'\n  $", "net.prototxt:2:3: unexpected character '$'"),
    "empty": ("", "net.prototxt:1:1: the net has no layers"),
    "solver": ('net: "x.prototxt"\nbase_lr: 0.1', "net.prototxt:1:1: this is a solver's configuration, not a net"),
    "the weights": ("\x00\x01", "net.prototxt is not a prototxt: it is not text"),
    "unknown field": ("layers_ { }", "net.prototxt:1:1: the net: unknown field 'layers_'"),
    "both formats": (
        'layer { type: "ReLU" }\nlayers { type: RELU }',
        "net.prototxt:2:8: the net has layers of both formats, 'layer' and 'layers'",
    ),
    "V0": ("layers {\n layer { name: 'x' } }", "net.prototxt:2:8: layer '': this net is in the V0 format of 2013"),
    "V1 type": ("layers { type: RELUU }", "net.prototxt:1:16: layer '': V1 has no layer type 'RELUU'\n"),
    "V1 type in quotes": ('layers { type: "ReLU" }', "type must be a name without quotes, not 'ReLU'"),
    "type without quotes": ("layer { type: RELU }", "type must be text in quotes, not 'RELU'"),
    "inputs without shapes": ('input: "a"', "net.prototxt:1:8: there are 1 inputs and 0 shapes"),
    "half a shape": ('input: "a" input_dim: 1 input_dim: 2', "there are 1 inputs and 1 shapes"),
    "a size of 0": ('input: "a" input_dim: [1, 3, 0, 2]', "the shape of an input cannot be 1x3x0x2"),
    "missing bottom": (
        net('layer { name: "r" type: "ReLU"\n bottom: "b" top: "y" }', (1,)),
        "net.prototxt:4:10: layer 'r' (ReLU): no earlier layer makes its bottom 'b'",
    ),
    "a circle": (
        net(
            'layer { name: "r" type: "ReLU" bottom: "y" top: "x" }\n'
            'layer { name: "s" type: "ReLU" bottom: "x" top: "y" }',
            (1,),
        ),
        "no earlier layer makes its bottom 'y'\n",
    ),
    "made twice": (
        net(
            'layer { name: "r" type: "ReLU" bottom: "a" top: "x" }\n'
            'layer { name: "s" type: "ReLU" bottom: "a" top: "x" }',
            (1,),
        ),
        "layer 's' (ReLU): its top 'x' is made already, by layer 'r' (ReLU)",
    ),
    "unknown type": (layer('type: "Relu"'), "net.prototxt:4:9: layer 'l' (Relu): no layer type 'Relu' is known"),
    "Python": (
        layer('type: "Python" python_param { layer: "MyLayer" }'),
        "layer 'l' (Python): a layer in Python, 'MyLayer', cannot be built",
    ),
    "LSTM": (layer('type: "LSTM"'), "layer 'l' (LSTM): recurrent layers of Caffe are not supported"),
    "unknown parameter": (
        layer('type: "ReLU" relu_param { negative_slop: 1 }'),
        "net.prototxt:4:29: layer 'l' (ReLU): unknown field 'negative_slop'\n"
        "      type: \"ReLU\" relu_param { negative_slop: 1 } }\n"
        "                                ^\n"
        "  did you mean 'negative_slope'?",
    ),
    "misspelt block": (layer('type: "ReLU" relu_params { negative_slope: 1 }'), "unknown field 'relu_params'"),
    "twice": (
        layer('type: "ELU" elu_param { alpha: 1\n alpha: 2 }'),
        "net.prototxt:5:9: layer 'l' (ELU): alpha is written 2 times",
    ),
    "not a number": (layer('type: "ELU" elu_param { alpha: "1" }'), "alpha must be a number, not '1'"),
    "infinite": (layer('type: "ELU" elu_param { alpha: inf }'), "alpha must be a number, not 'inf'"),
    "no octal number": (layer('type: "Softmax" softmax_param { axis: 08 }'), "axis must be a whole number, not '08'"),
    "no whole number": (layer('type: "Softmax" softmax_param { axis: 1.5 }'), "axis must be a whole number"),
    "too large": (
        layer('type: "Softmax" softmax_param { axis: 99999999999999999999 }'), "axis must be a whole number of 64 bits"
    ),
    "axis": (layer('type: "Softmax" softmax_param { axis: 4 }'), "axis 4 does not exist: its bottom has 4 axes"),
    "stochastic": (layer('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }'), "pooling is random"),
    "no kernel": (layer('type: "Pooling"'), "layer 'l' (Pooling): it has no kernel_size"),
    "half a kernel": (layer('type: "Pooling" pooling_param { kernel_h: 2 }'), "kernel_h and kernel_w must both"),
    "two kernels": (
        layer('type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 2 kernel_size: 3 }'),
        "kernel_size is given together with kernel_h and kernel_w",
    ),
    "stride 0": (layer('type: "Pooling" pooling_param { kernel_size: 2 stride: 0 }'), "stride must be 1 or more"),
    "kernel too large": (
        layer('type: "Pooling" pooling_param { kernel_size: 9 }'), "a kernel of 9 with pad 0 is larger than the input"
    ),
    "nothing in a window": (
        layer('type: "Pooling" pooling_param { kernel_size: 1 stride: 6 }'),
        "its last window begins after the input, of size 6",
    ),
    "group": (
        layer('type: "Convolution" convolution_param { num_output: 4 kernel_size: 1 group: 3 }'),
        "4 inputs and 4 outputs cannot be divided into 3 groups",
    ),
    "nothing left": (
        layer('type: "Convolution" convolution_param { num_output: 4 kernel_size: 9 bias_term: false }'),
        "a kernel that reaches 9 with pad 0 exceeds the size 6 (axis 2)",
    ),
    "crop": (
        net('layer { name: "c" type: "Crop" bottom: "a" bottom: "b" top: "y" }', (1, 1, 4, 4), (1, 1, 5, 3)),
        "layer 'c' (Crop): axis 2 of size 4 cannot be cropped to 5 from 0 on",
    ),
    "slice": (layer('type: "Slice" top: "z" slice_param { slice_point: 4 }'), "slice points [4] do not rise within"),
    "reshape": (
        layer('type: "Reshape" reshape_param { shape { dim: 1 dim: 7 dim: -1 } }'),
        "its bottom, 1x4x6x6, cannot be reshaped to 1x7x-1",
    ),
    "sums": (
        net('layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }', (1, 3), (1, 4)),
        "layer 'e' (Eltwise): its bottoms must have the same shape, and are 1x3, 1x4",
    ),
    "batch statistics": (
        layer('type: "BatchNorm" batch_norm_param { use_global_stats: false }'),
        "a deployed net cannot compute statistics of its batch\n",
    ),
    "rules": (layer('type: "ReLU" include { } exclude { }'), "include and exclude rules cannot be combined"),
    "masks": (layer('type: "Pooling" top: "mask" pooling_param { kernel_size: 2 }'), "the positions of the maxima"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), TEXTS.values(), ids=TEXTS)
def test_a_wrong_net_is_refused_at_its_line(tmp_path, text, said):
    assert said in refused(tmp_path, text)


def test_every_problem_is_told_in_one_pass_and_what_follows_from_one_is_not(tmp_path):
    text = net(
        """layer { name: "first" type: "Relu" bottom: "a" top: "x" }
        layer { name: "after" type: "ReLU" bottom: "x" top: "y" }
        layer { name: "second" type: "ELU" bottom: "a" top: "z" elu_param { alpha: no } }""",
        (1, 3),
    )

    with pytest.raises(ModelError) as caught:
        lower(tmp_path, text)

    assert [problem.where.line for problem in caught.value.problems] == [3, 5]


BEHIND = """layer { name: "odd" type: "Mish" bottom: "a" top: "x" }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "pool" type: "Pooling" bottom: "c" top: "d" pooling_param { kernel_size: 0 } }
layer { name: "odder" type: "Mush" bottom: "d" top: "e" }
layer { name: "soft" type: "Softmax" bottom: "e" top: "y" softmax_param { axis: 9 } }
layer { name: "fc" type: "InnerProduct" bottom: "a" top: "z" inner_product_param { num_output: 2 } }
layer { name: "fd" type: "InnerProduct" bottom: "z" top: "w" inner_product_param { num_output: 3 } }"""


def told(folder, text, blobs=None) -> list[str]:
    with pytest.raises(ModelError) as caught:
        lower(folder, text, blobs)
    return [problem.fact for problem in caught.value.problems]


def test_what_is_behind_an_unknown_layer_or_one_without_weights_is_told_in_the_same_pass(tmp_path):
    assert told(tmp_path, net(BEHIND, (1, 3)), {"other": [np.zeros(2)]}) == [
        "layer 'odd' (Mish): no layer type 'Mish' is known",
        "layer 'conv' (Convolution): net.caffemodel has no weights for it",
        "layer 'pool' (Pooling): kernel_size must be 1 or more, not '0'",
        "layer 'odder' (Mush): no layer type 'Mush' is known",
        "layer 'fc' (InnerProduct): net.caffemodel has no weights for it; it needs weights of 2x3",
        "layer 'fc' (InnerProduct): net.caffemodel has no weights for it; it needs bias of 2",
        "layer 'fd' (InnerProduct): net.caffemodel has no weights for it; it needs weights of 3x2",
        "layer 'fd' (InnerProduct): net.caffemodel has no weights for it; it needs bias of 3",
    ]


def test_weights_that_nobody_named_are_asked_for_once(tmp_path):
    assert told(tmp_path, net(BEHIND, (1, 3)))[-1:] == [
        "layer 'conv' (Convolution): it needs weights, and 2 more layers need theirs"
    ]


def test_a_layer_without_a_name_is_called_by_its_top(tmp_path):
    text = PRODUCT.replace('name: "p" ', "") + '\nlayer { type: "Mish" bottom: "y" top: "z" }'

    assert told(tmp_path, net(text, (1, 3)), {"": GOOD["p"]})[0].startswith("layer 'z' (Mish): ")
    lower(tmp_path, net(text.splitlines()[0], (1, 3)), {"": GOOD["p"]})


WEIGHTS = {
    "none named": (None, "layer 'p' (InnerProduct): it needs weights of 2x3\n", "name the caffemodel"),
    "not there": ({"pp": GOOD["p"]}, "net.caffemodel has no weights for it; it needs weights of 2x3", "'pp'"),
    "of another shape": (
        {"p": [np.zeros((3, 2)), np.zeros(2)]},
        "its weights must be 2x3, and is 3x2 in net.caffemodel",
        "give the weights that were trained with this prototxt",
    ),
    "without a bias": (
        {"p": [np.zeros((2, 3))]}, "net.caffemodel has 1 blobs for it, and its bias of 2 are not among them", ""
    ),
    "of a blob too many": (
        {"p": [*GOOD["p"], np.zeros(2)]}, "net.caffemodel has 3 blobs for it, and it takes 2", ""
    ),
}  # fmt: skip


@pytest.mark.parametrize(("blobs", "said", "remedy"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_fit_are_told_with_layer_and_shapes(tmp_path, blobs, said, remedy):
    found = refused(tmp_path, net(PRODUCT, (1, 3)), blobs)

    assert found.startswith("net.prototxt:3:7: layer 'p' (InnerProduct): ")
    assert said in found
    assert remedy in found


def test_layers_that_only_the_caffemodel_has_do_not_matter(tmp_path):
    text, made = net(PRODUCT, (1, 3)), tmp_path / "out" / "model.onnx"
    lower(tmp_path, text, GOOD)
    alone = made.read_bytes()

    lower(tmp_path, text, {**GOOD, "head": [np.zeros((5, 5))]})

    assert made.read_bytes() == alone


OPTIONS = {
    "output": ({"outputs": ["yy"]}, ("model", "options", "outputs", 0), "no layer makes the output 'yy'"),
    "input": ({"inputs": {"aa": [1, 3]}}, ("model", "options", "inputs", "aa"), "the net has no input 'aa'"),
}


@pytest.mark.parametrize(("options", "path", "said"), OPTIONS.values(), ids=OPTIONS)
def test_wrong_options_are_told_at_their_place_in_the_spec(tmp_path, options, path, said):
    with pytest.raises(ModelError) as caught:
        lower(tmp_path, net(PRODUCT, (1, 3)), GOOD, **options)

    (problem,) = caught.value.problems
    assert (problem.path, problem.fact) == (path, said)
    assert "did you mean" in problem.remedy


DYNAMIC = {
    "an inner product": (PRODUCT, "an inner product needs fixed sizes, and its bottom is 1xa_1x4"),
    "a reshape to fixed sizes": (
        'layer { name: "r" type: "Reshape" bottom: "a" top: "y" reshape_param { shape { dim: 4 dim: 4 } } }',
        "its bottom is 1xa_1x4, and 4x4 would fix its dynamic size",
    ),
    "equal parts": (
        'layer { name: "s" type: "Slice" bottom: "a" top: "y" top: "z" }', "equal parts of it are not known"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), DYNAMIC.values(), ids=DYNAMIC)
def test_what_needs_a_fixed_size_says_so(tmp_path, text, said):
    assert said in refused(tmp_path, net(text, (1, 4, 4)), GOOD, inputs={"a": [1, -1, 4]})


DAMAGED = {
    "empty": (b"", "net.caffemodel is empty"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "net.caffemodel is an HDF5 file, which is not supported"),
    "cut": (caffemodel(GOOD)[:-5], "net.caffemodel is not a complete caffemodel"),
    "text": (b"not protobuf at all", "net.caffemodel is not a complete caffemodel"),
    "a claim of 2 GB": (b"\xa2\x06\xff\xff\xff\xff\x07" + bytes(99), "beyond the end at 106"),
    "fewer values than its shape says": (
        delimited(100, delimited(1, b"p") + delimited(7, delimited(7, b"\x0a\x02\x02\x03") + delimited(5, bytes(4)))),
        "a blob of layer 'p' has the shape 2x3, but contains 1 values",
    ),
    "a huge shape": (
        delimited(100, delimited(1, b"p") + delimited(7, delimited(7, b"\x08" + b"\xff" * 9 + b"\x01"))),
        "has the shape 18446744073709551615, but contains 0 values",
    ),
    "half a value": (
        delimited(100, delimited(1, b"p") + delimited(7, delimited(5, bytes(5)))), "are not a multiple of 4 bytes"
    ),
    "raw data of no type": (
        delimited(100, delimited(1, b"p") + delimited(7, delimited(12, bytes(4)))), "is neither double, float nor half"
    ),
    "V0": (delimited(2, delimited(1, delimited(1, b"p"))), "it is in the V0 format of 2013"),
    "endless numbers": (b"\xff" * 64, "not a protobuf number"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_caffemodel_is_one_error(tmp_path, data, said):
    with pytest.raises(ModelError) as caught:
        lower(tmp_path, net(PRODUCT, (1, 3)), data)

    assert len(caught.value.problems) == 1
    assert said in str(caught.value)
