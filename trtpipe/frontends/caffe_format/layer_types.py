"""Tables of Caffe's layer types: the enumeration of the V1 format, and the types that a deployed net does not need.

Names and numbers are those of caffe.proto and upgrade_proto.cpp (BVLC Caffe 1.0).
"""

from __future__ import annotations

V1_TYPES: dict[str, tuple[int, str]] = {
    "NONE": (0, ""), "ACCURACY": (1, "Accuracy"), "BNLL": (2, "BNLL"), "CONCAT": (3, "Concat"),
    "CONVOLUTION": (4, "Convolution"), "DATA": (5, "Data"), "DROPOUT": (6, "Dropout"),
    "EUCLIDEAN_LOSS": (7, "EuclideanLoss"), "FLATTEN": (8, "Flatten"), "HDF5_DATA": (9, "HDF5Data"),
    "HDF5_OUTPUT": (10, "HDF5Output"), "IM2COL": (11, "Im2col"), "IMAGE_DATA": (12, "ImageData"),
    "INFOGAIN_LOSS": (13, "InfogainLoss"), "INNER_PRODUCT": (14, "InnerProduct"), "LRN": (15, "LRN"),
    "MULTINOMIAL_LOGISTIC_LOSS": (16, "MultinomialLogisticLoss"), "POOLING": (17, "Pooling"), "RELU": (18, "ReLU"),
    "SIGMOID": (19, "Sigmoid"), "SOFTMAX": (20, "Softmax"), "SOFTMAX_LOSS": (21, "SoftmaxWithLoss"),
    "SPLIT": (22, "Split"), "TANH": (23, "TanH"), "WINDOW_DATA": (24, "WindowData"), "ELTWISE": (25, "Eltwise"),
    "POWER": (26, "Power"), "SIGMOID_CROSS_ENTROPY_LOSS": (27, "SigmoidCrossEntropyLoss"),
    "HINGE_LOSS": (28, "HingeLoss"), "MEMORY_DATA": (29, "MemoryData"), "ARGMAX": (30, "ArgMax"),
    "THRESHOLD": (31, "Threshold"), "DUMMY_DATA": (32, "DummyData"), "SLICE": (33, "Slice"), "MVN": (34, "MVN"),
    "ABSVAL": (35, "AbsVal"), "SILENCE": (36, "Silence"), "CONTRASTIVE_LOSS": (37, "ContrastiveLoss"),
    "EXP": (38, "Exp"), "DECONVOLUTION": (39, "Deconvolution"),
}  # fmt: skip
"""The enumeration of V1 layers: name → number, and the type's name in the newer format."""

DATA_TYPES = frozenset(
    {"AnnotatedData", "Data", "DummyData", "HDF5Data", "ImageData", "MemoryData", "WindowData"}
)  # fmt: skip
"""They bring the data of training and testing; a deployed net has inputs in their place."""

DROPPED_TYPES = frozenset(
    {
        "Accuracy", "ContrastiveLoss", "DetectionEvaluate", "EuclideanLoss", "HDF5Output", "HingeLoss", "InfogainLoss",
        "MultiBoxLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "Silence", "SmoothL1Loss",
    }
)  # fmt: skip
"""They measure or end something; nothing is computed from them when a net is deployed."""

ALIASES = {
    "ConvolutionDepthwise": "DepthwiseConvolution",
    "DepthwiseConvolution": "DepthwiseConvolution",
    "SoftmaxWithLoss": "Softmax",
}
"""Other names of forks, and what a loss becomes without its label."""

PARAMETERS = frozenset(
    """accuracy_param annotated_data_param argmax_param batch_norm_param bias_param clip_param concat_param
    contrastive_loss_param convolution_param crop_param data_param detection_evaluate_param detection_output_param
    dropout_param dummy_data_param eltwise_param elu_param embed_param exp_param flatten_param hdf5_data_param
    hdf5_output_param hinge_loss_param image_data_param infogain_loss_param inner_product_param input_param
    interp_param log_param loss_param lrn_param memory_data_param multibox_loss_param mvn_param norm_param
    parameter_param permute_param pooling_param power_param prelu_param prior_box_param python_param recurrent_param
    reduction_param relu_param reorg_param reshape_param scale_param shuffle_channel_param sigmoid_param slice_param
    softmax_param spp_param swish_param tanh_param threshold_param tile_param transform_param upsample_param
    window_data_param""".split()  # noqa: SIM905
)
"""The parameter blocks of a layer."""

TRAINING_FIELDS = (
    "backward_math", "backward_type", "blob_share_mode", "blobs", "blobs_lr", "cudnn_math_override", "debug",
    "forward_math", "forward_type", "loss_weight", "param", "phase", "propagate_down", "weight_decay",
)  # fmt: skip
"""What a layer may say beside its own parameters and means nothing when it is deployed."""

_WEIGHTED = frozenset(
    {
        "BatchNorm", "Convolution", "ConvolutionDepthwise", "Deconvolution", "DepthwiseConvolution", "Embed",
        "InnerProduct", "Normalize", "PReLU",
    }
)  # fmt: skip
_WEIGHTED_ALONE = frozenset({"Bias", "Scale"})


def needs_weights(kind: str, bottoms: int) -> bool:
    """Whether a layer of this type has blobs in the weights, whatever its parameters say."""
    return kind in _WEIGHTED or (kind in _WEIGHTED_ALONE and bottoms == 1)
