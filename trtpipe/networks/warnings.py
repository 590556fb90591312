"""TensorRT's warnings during parsing, by name: can the engine compute something other than the model?

A fixed table. Every row matches messages of the parser of TensorRT-RTX or TensorRT, and has a name by which a spec can
accept them. A row is dangerous if the reported condition was seen to change a result, or can do so by the way the
parser works; the comment above it says which. A message that matches no row is unknown; it is shown verbatim and is no
error.

Only classifies messages: whether an engine is really affected, and what a spec accepts, is decided elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from trtpipe.json_values import Malformed, integer_in, text_in

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject
    from trtpipe.networks.network import ParserWarning

KnownKind: TypeAlias = Literal["harmless", "dangerous"]
Kind: TypeAlias = Literal["harmless", "dangerous", "unknown"]

_PREFIXES = re.compile(r"(?:\[[\w/:. -]+\] *)*(?:\S+\.(?:cpp|hpp|h|cu):\d+: )?")
"""What may stand before TensorRT's sentence: time, severity, and NVIDIA's own file and line."""
_KINDS: dict[str, Kind] = {"harmless": "harmless", "dangerous": "dangerous", "unknown": "unknown"}


@dataclass(frozen=True, slots=True)
class KnownWarning:
    """A kind of warning."""

    name: str
    kind: KnownKind
    """Harmless: the engine computes what the model says. Dangerous: it may compute something else."""
    pattern: re.Pattern[str]
    """Matches the whole sentence."""
    meaning: str
    """What TensorRT does; what to do about it."""


@dataclass(frozen=True, slots=True)
class ClassedWarning:
    """A warning of one parse."""

    message: str
    """TensorRT's sentence, without what stands before it."""
    name: str
    """The row that knows it; empty when none does."""
    kind: Kind
    meaning: str
    """Empty when the kind is unknown."""
    count: int
    """How often it was said."""

    def to_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: JsonObject) -> ClassedWarning:
        """The warning read back; it may be one that this version does not know. Raises Malformed."""
        kind, name, count = text_in(record, "kind"), text_in(record, "name"), integer_in(record, "count")
        if kind not in _KINDS:
            raise Malformed("kind is none of " + ", ".join(_KINDS))
        if bool(name) != (kind != "unknown"):
            raise Malformed("name is empty, or should be")
        if count < 1:
            raise Malformed("count is less than 1")
        return cls(text_in(record, "message"), name, _KINDS[kind], text_in(record, "meaning"), count)


def classed(warnings: Iterable[ParserWarning]) -> tuple[ClassedWarning, ...]:
    """The warnings with their classes: without duplicates, in order of first occurrence."""
    said = Counter(_sentence(warning.message) for warning in warnings)
    return tuple(_classed(sentence, count) for sentence, count in said.items())


def names_of_dangerous() -> tuple[str, ...]:
    """The names of the rows that are dangerous, in the table's order."""
    return tuple(row.name for row in KNOWN if row.kind == "dangerous")


def _sentence(message: str) -> str:
    """A message without the prefix before TensorRT's sentence."""
    stripped = message.strip()
    found = _PREFIXES.match(stripped)
    return stripped[found.end() :] if found else stripped


def _classed(sentence: str, count: int) -> ClassedWarning:
    row = next((row for row in KNOWN if row.pattern.fullmatch(sentence)), None)
    if row is None:
        return ClassedWarning(sentence, "", "unknown", "", count)
    return ClassedWarning(sentence, row.name, row.kind, row.meaning, count)


def _harmless(name: str, pattern: str, meaning: str) -> KnownWarning:
    return KnownWarning(name, "harmless", re.compile(pattern, re.DOTALL), meaning)


def _dangerous(name: str, pattern: str, meaning: str) -> KnownWarning:
    return KnownWarning(name, "dangerous", re.compile(pattern, re.DOTALL), meaning)


KNOWN: tuple[KnownWarning, ...] = (
    _harmless(
        "int64-binding",
        r"Make sure (?:input|output) .* has Int64 binding\.",
        "An input or output holds 64-bit integers, as the model says; feed it int64.",
    ),
    _harmless(
        "duplicate-node-name",
        r"A node named .* already exists, the output tensors of this new instance will not be queryable\.",
        "Two nodes share a name, and TensorRT finds only the first one's tensors by it; give each node a name of its "
        "own if you look layers up.",
    ),
    # Logged for every constant without elements. A constant without data is rejected right after it.
    _harmless(
        "empty-initializer",
        r"Empty initializer .* was provided with non-empty data\. Overriding data to nullptr",
        "A constant has no elements, and TensorRT drops its data pointer; nothing is to be done.",
    ),
    # The network is that of opset 14, which added the attribute. ONNX Runtime rejects such a model.
    _harmless(
        "allowzero-before-opset-14",
        r".*: Using attribute allowzero with opset < 14 is a TensorRT extension\.",
        "A Reshape has the attribute allowzero before there was one, and TensorRT heeds it; export with opset 14 or "
        "later, so that others can read the model too.",
    ),
    _harmless(
        "host-location-ignored",
        r"TensorRT-RTX does not support TensorLocation::kHOST\. Tensor '.*' is configured as "
        r"TensorLocation::kHOST but will be treated as TensorLocation::kDEVICE\.",
        "A tensor that the model wants in the host's memory is kept in the GPU's, with the same values; nothing is to "
        "be done.",
    ),
    _harmless(
        "plugin-shape-input-twice",
        r"Node .* has duplicate shape input index: -?\d+",
        "A plugin's node lists an input twice among its shape inputs, which is the same as once; list it once.",
    ),
    _harmless(
        "initializer-replaced",
        r"Initializer .* was previously provided\. Overwriting previous data\.",
        "The data of a constant were given to the parser twice, and the later ones are used; give them once.",
    ),
    _harmless(
        "weights-transposed",
        r"Weights .* has been transposed with permutation of \([\d, ]*\)! If you plan on overwriting the weights "
        r"with the Refitter API, the new weights must be pre-transposed\.",
        "TensorRT keeps weights transposed and computes the same with them; transpose new ones likewise before you "
        "refit the engine.",
    ),
    # Seen with QuantizeLinear and DequantizeLinear of uint8 and scale 0.1: 20.0 comes out as 12.7.
    _dangerous(
        "uint8-quantization",
        r"TensorRT (?:supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA .* Defaulting to INT8 "
        r"instead\..*|doesn't support QuantizeLinear/DequantizeLinear with UINT8 zero_point\. TensorRT will use INT8 "
        r"instead\.)",
        "TensorRT quantizes to int8 where the model says uint8, so that 0 to 255 become 0 to 127 and more is cut off; "
        "quantize to int8 with zero point 0.",
    ),
    # Seen with a zero point of uint8 that another node reads as well, or that an Identity makes: 20.0 becomes 12.7.
    _dangerous(
        "zero-point-type",
        r"For zero_point with type \S+ TensorRT will use INT8 instead\.",
        "TensorRT quantizes to int8 because a zero point has, or was given, a type that it does not quantize to; give "
        "each quantizing node a constant zero point of int8 or float8.",
    ),
    # Seen with Add of two constants: 200 + 100 comes out as 300, not as 44.
    _dangerous(
        "uint8-constant",
        r"UINT8 data .* is being converted to INT32\.",
        "TensorRT keeps a constant of uint8 as int32, and what the model computes modulo 256 is no longer cut; cast "
        "the constant to int32 in the model, where it stays within 0 to 255 anyway.",
    ),
    # Seen with a loop that stops after 2 of 10 rounds: 10 rows instead of 2. Equal where the condition stays true.
    _dangerous(
        "loop-stops-early",
        r"For loop node .* both a trip limit and a loop termination condition was set! If the number of iterations of "
        r"the loop is less than the trip limit during runtime, scan output .* may have the wrong shape\..*",
        "A loop may stop before its trip limit, and TensorRT makes its scan outputs as long as the limit all the same; "
        "export it with a trip limit only, or without scan outputs.",
    ),
    _dangerous(
        "seed-ignored",
        r'TensorRT currently ignores the "seed" field in RandomUniform or RandomNormal op\. '
        r"Random seeds will be used\.",
        "TensorRT draws other random numbers in each run where the model fixes a seed; make the numbers an input or a "
        "constant of the model.",
    ),
    # Seen with BatchNormalization of opset 6 in training mode and with Dropout likewise, which become those of
    # inference. (78 other models of opsets before 7 computed the same; broadcasting by `axis` is refused.)
    _dangerous(
        "opset-before-7",
        r"TensorRT supports ONNX graphs generated with at least opset 7\. Models using older opsets are not guaranteed "
        r"to work\.",
        "TensorRT reads operators of an opset before 7 as those of later ones; export or convert the model to opset 7 "
        "or later.",
    ),
    # Seen with float64 constants of 1e300, and of -inf (an attention's mask), which become those of float32 next to it.
    _dangerous(
        "weights-clamped",
        r"Weight at index \d+: \S+ is out of range\. Clamping to: \S+"
        r"|One or more weights outside the range of \S+ was clamped",
        "Constants, infinite ones too, that lie beyond the type that TensorRT keeps them in become its largest or "
        "smallest value; write them into the model in that type (float32 for float64).",
    ),
    # By the source of TensorRT up to 9, which had no 64-bit integers: sums and products wrap at 32 bits.
    _dangerous(
        "int64-narrowed",
        r"Your ONNX model has been generated with INT64 weights, while TensorRT does not natively support INT64\. "
        r"Attempting to cast down to INT32\.",
        "TensorRT computes with 32 bits where the model says 64; use TensorRT 10 or later, or see to it that no whole "
        "number needs more.",
    ),
    # Seen with Celu, LSTM and GRU in half precision. A strongly typed network was refused right behind it each time.
    _dangerous(
        "mixed-types",
        r"I\w+Layer with inputs .*: \w+ input has type \S+ but \w+(?: input)? has type \S+\.",
        "Two inputs of a layer have different types, which a strongly typed network refuses and another one converts; "
        "cast one of them in the model.",
    ),
    # By the parser's source: the plugin never hears of it. An attribute that only the node knows is dropped unsaid.
    _dangerous(
        "plugin-attribute-missing",
        r"Attribute .* not found in plugin node! Ensure that the plugin creator has a default value defined or the "
        r"engine may fail to build\.",
        "A node lacks an attribute that its plugin knows, perhaps by another name, and the plugin's own default takes "
        "its place; write the attribute into the node with the plugin's name for it.",
    ),
    # By the parser's source: the attribute tensorrt_plugin_shape_input_indices is not read.
    _dangerous(
        "plugin-shape-inputs-ignored",
        r"Node .* has shape input indices defined, but plugin creator is for an IPluginV2-derivative plugin\. Ignoring "
        r"shape input indices\.",
        "A plugin of the older interface has no shape inputs, and gets those that the node lists as ordinary ones; use "
        "a plugin of IPluginV3, or leave the list out.",
    ),
)
"""The table, which is closed; names are never given to another kind of warning, since specs hold them."""
NAMES: tuple[str, ...] = tuple(row.name for row in KNOWN)
