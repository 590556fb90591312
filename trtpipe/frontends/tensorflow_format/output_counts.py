"""The number of outputs of a TensorFlow node, by its operator and attributes.

Covers only operators that occur in networks; for others only the first output is known. Source: TensorFlow's operator
definitions (`core/ops/*.cc`).
"""

from __future__ import annotations

from collections.abc import Mapping

_FIXED = {
    "CTCGreedyDecoder": 4, "CombinedNonMaxSuppression": 4, "ListDiff": 2, "LogMatrixDeterminant": 2, "Lu": 2,
    "MaxPoolWithArgmax": 2, "NonMaxSuppressionV4": 2, "NonMaxSuppressionV5": 3, "Qr": 2, "SelfAdjointEigV2": 2,
    "SoftmaxCrossEntropyWithLogits": 2, "SparseSoftmaxCrossEntropyWithLogits": 2, "Svd": 3, "TopK": 2, "TopKV2": 2,
    "Unique": 2, "UniqueV2": 2, "UniqueWithCounts": 3, "UniqueWithCountsV2": 3,
}  # fmt: skip
"""Batch normalizations have more than one as well, but those are for training."""

COUNTED = {
    "Case": "Tout", "DynamicPartition": "num_partitions", "IdentityN": "T", "If": "Tout", "PartitionedCall": "Tout",
    "ShapeN": "N", "Split": "num_split", "SplitV": "num_split", "StatefulPartitionedCall": "Tout",
    "StatelessIf": "Tout", "StatelessWhile": "T", "Unpack": "num", "While": "T",
}  # fmt: skip
"""Operators with as many outputs as an attribute says, or has types."""


def output_count(operator: str, attributes: Mapping[str, int]) -> int:
    """The number of outputs; `attributes` has the values (or list lengths) of the attributes named in COUNTED."""
    if operator in COUNTED:
        return max(attributes.get(COUNTED[operator], 1), 1)
    return _FIXED.get(operator, 1)
