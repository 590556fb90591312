"""Detection nets of Caffe: PriorBox is a constant, and a net ends before the layers that choose boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.frontends.caffe_files import caffemodel, evaluate, lower, net, run
from trtpipe.errors import ModelError
from trtpipe.frontends.caffe import frontend

PRIORS = {
    "one size": "min_size: 4",
    "two sizes, step and offset": "min_size: 3 min_size: 6 max_size: 5 max_size: 9 step: 7 offset: 0.25 clip: true",
    "ratios without their inverses": "min_size: 4 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 2 flip: false",
    "ratios and four variances": "min_size: 4 max_size: 9 aspect_ratio: 2 aspect_ratio: 3 "
    "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2",
    "its own image": "min_size: 5.9 img_h: 40 img_w: 50 step_h: 8 step_w: 10 variance: 0.3",
}


def boxes(
    shape,
    image,
    *,
    least,
    most=(),
    ratios=(),
    flip=True,
    clip=False,
    variance=(0.1,),
    step=(0, 0),
    offset=0.5,
):  # a box at a time, as the layer's documentation has it
    wide = [1.0]
    for ratio in ratios:
        if not any(abs(ratio - other) < 1e-6 for other in wide):
            wide += [ratio, 1 / ratio] if flip else [ratio]
    down, across = (given or size / count for given, size, count in zip(step, image, shape, strict=True))
    found = []
    for row in range(shape[0]):
        for column in range(shape[1]):
            middle = ((column + offset) * across, (row + offset) * down)
            for number, size in enumerate(least):
                sizes = [(int(size), int(size))]
                if most:
                    sizes.append((math.sqrt(int(size) * most[number]),) * 2)
                sizes += [(int(size) * ratio**0.5, int(size) / ratio**0.5) for ratio in wide[1:]]
                for width, height in sizes:
                    found += [
                        (middle[0] - width / 2) / image[1],
                        (middle[1] - height / 2) / image[0],
                        (middle[0] + width / 2) / image[1],
                        (middle[1] + height / 2) / image[0],
                    ]
    if clip:
        found = [min(max(one, 0), 1) for one in found]
    repeated = list(variance) * (len(found) // len(variance))
    return np.float32([[found, repeated]])


EXPECTED = {
    "one size": {"least": [4]},
    "two sizes, step and offset": {
        "least": [3, 6],
        "most": [5, 9],
        "step": (7, 7),
        "offset": 0.25,
        "clip": True,
    },
    "ratios without their inverses": {"least": [4], "ratios": [2, 1, 2], "flip": False},
    "ratios and four variances": {
        "least": [4],
        "most": [9],
        "ratios": [2, 3],
        "variance": (0.1, 0.1, 0.2, 0.2),
    },
    "its own image": {"least": [5.9], "image": (40, 50), "step": (8, 10), "variance": (0.3,)},
}


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_box_becomes_the_constant_that_ssd_computes(tmp_path, name):
    text = (
        f'layer {{ name: "p" type: "PriorBox" bottom: "a" bottom: "b" top: "priors"'
        f" prior_box_param {{ {PRIORS[name]} }} }}"
    )
    features, image = np.zeros((1, 2, 3, 4), np.float32), np.zeros((1, 3, 24, 36), np.float32)
    expected = boxes((3, 4), EXPECTED[name].get("image", (24, 36)), **{
        key: value for key, value in EXPECTED[name].items() if key != "image"
    })  # fmt: skip

    found = evaluate(tmp_path, text, features, image)["priors"]

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


WRONG = {
    "no size": ("clip: true", "min_size must be given"),
    "sizes that do not pair": (
        "min_size: 2 min_size: 3 max_size: 4",
        "2 min_size need as many max_size, not 1",
    ),
    "a smaller maximum": ("min_size: 4 max_size: 3", "each max_size must be larger than its min_size"),
    "two variances": ("min_size: 4 variance: 0.1 variance: 0.2", "variance must be 1 or 4 numbers above 0"),
    "both steps": ("min_size: 4 step: 2 step_h: 3", "step is given together with step_h and step_w"),
    "a ratio of 0": ("min_size: 4 aspect_ratio: 0", "aspect_ratio must be above 0"),
}


@pytest.mark.parametrize(("body", "said"), WRONG.values(), ids=WRONG)
def test_what_ssd_refuses_of_a_prior_box_is_refused_at_its_line(tmp_path, body, said):
    text = f'layer {{ name: "p" type: "PriorBox" bottom: "a" bottom: "b" top: "y" prior_box_param {{ {body} }} }}'

    with pytest.raises(ModelError, match=r"net\.prototxt:4:\d+: layer 'p' \(PriorBox\): ") as caught:
        lower(tmp_path, net(text, (1, 2, 3, 4), (1, 3, 24, 36)))

    assert said in str(caught.value)


def test_the_boxes_of_an_image_of_any_size_are_no_constant_and_a_fixed_size_helps(tmp_path):
    text = net(SSD, (1, 3, 8, 8))

    with pytest.raises(ModelError) as caught:
        lower(tmp_path, text, BLOBS, outputs=["loc", "conf", "priors"], inputs={"a": [1, 3, -1, -1]})

    assert "a PriorBox, which becomes a constant, needs fixed sizes" in str(caught.value)
    assert "give the input a fixed size there, in model.options.inputs" in str(caught.value)
    lower(tmp_path, text, BLOBS, outputs=["loc", "conf", "priors"], inputs={"a": [1, 3, 8, 8]})


SSD = """
layer { name: "head" type: "Convolution" bottom: "a" top: "f" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "flat" type: "Flatten" bottom: "f" top: "loc" }
layer { name: "priors" type: "PriorBox" bottom: "f" bottom: "a" top: "priors" prior_box_param { min_size: 4 } }
layer { name: "classes" type: "Softmax" bottom: "f" top: "soft" }
layer { name: "conf" type: "Flatten" bottom: "soft" top: "conf" }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"
  detection_output_param { num_classes: 4 } }
"""
BLOBS = {"head": [np.ones((4, 3, 1, 1)), np.zeros(4)]}


def test_a_layer_that_chooses_boxes_is_refused_with_the_outputs_that_end_the_net_before_it(tmp_path):
    with pytest.raises(ModelError) as caught:
        lower(tmp_path, net(SSD, (1, 3, 8, 8)), BLOBS)

    (problem,) = caught.value.problems
    assert problem.fact == (
        "layer 'found' (DetectionOutput): it selects boxes by non-maximum suppression, which is not supported"
    )
    assert problem.remedy == "end the net before it: model.options.outputs: [loc, conf, priors]"


def test_init_ends_a_detection_net_before_that_layer_and_says_so(tmp_path):
    (tmp_path / "net.prototxt").write_text(net(SSD, (1, 3, 8, 8)))
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(BLOBS))

    proposal = frontend.propose(tmp_path / "net.prototxt")

    assert proposal is not None
    assert proposal.options["outputs"] == ["loc", "conf", "priors"]
    assert proposal.comment == (
        "the net ends before found (DetectionOutput), which the engine's caller must compute"
    )


def test_the_cut_net_computes_what_the_layer_would_have_read(tmp_path):
    lower(tmp_path, net(SSD, (1, 3, 8, 8)), BLOBS, outputs=["loc", "conf", "priors"])

    made = run(tmp_path / "out" / "model.onnx", a=np.ones((1, 3, 8, 8), np.float32))

    assert {name: array.shape for name, array in made.items()} == {
        "loc": (1, 256), "conf": (1, 256), "priors": (1, 2, 256),
    }  # fmt: skip
    np.testing.assert_array_equal(made["loc"], np.full((1, 256), 3, np.float32))


HEADS = ("Yolov3DetectionOutput", "Region", "ROIPooling", "LSTM", "MaxUnpooling")


@pytest.mark.parametrize("kind", HEADS)
def test_other_heads_are_refused_by_name(tmp_path, kind):
    text = 'layer { name: "s" type: "ReLU" bottom: "a" top: "x" }\n'
    text += f'layer {{ name: "h" type: "{kind}" bottom: "x" top: "y" }}'

    with pytest.raises(ModelError, match="not supported") as caught:
        lower(tmp_path, net(text, (1, 3, 4, 4)))

    assert caught.value.problems[0].remedy == "end the net before it: model.options.outputs: [x]"
    lower(tmp_path, net(text, (1, 3, 4, 4)), outputs=["x"])


def test_no_cut_is_offered_that_would_leave_out_layers_with_weights(tmp_path):
    text = """layer { name: "m" type: "Mish" bottom: "a" top: "x" }
    layer { name: "s" type: "ReLU" bottom: "a" top: "z" }
    layer { name: "p" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }"""

    with pytest.raises(ModelError) as caught:
        lower(tmp_path, net(text, (1, 3)), {"p": [np.zeros((2, 3)), np.zeros(2)]})

    assert "end the net" not in str(caught.value)
