"""The models of the spec language: frozen, strict, and with the defaults that the language promises."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from trtpipe.spec.dataset import DatasetSpec, InputSpec
from trtpipe.spec.fields import (
    AsTuple,
    DynamicShape,
    Name,
    ProjectFile,
    Size,
    SpecModel,
    StaticShape,
    named_files,
)
from trtpipe.spec.pipeline import (
    PipelineSpec,
    ProfileInput,
    TargetSpec,
    Threshold,
    TransformSpec,
    ValidateSpec,
)
from trtpipe.spec.variant import VariantSpec

LEAST: dict[str, Any] = {
    "schema": 1,
    "pipeline": "net",
    "model": {"source": "net.onnx"},
    "targets": {"ada": {"gpu": "sm89"}},
}


def refused(model: Any, value: Any) -> list[str]:
    """The kinds of the errors that a value gives."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(model).validate_python(value)
    return [error["type"] for error in caught.value.errors()]


def test_the_least_spec_has_the_promised_defaults() -> None:
    spec = PipelineSpec.model_validate(LEAST)

    assert spec.variants == {"fp32": VariantSpec(precision="fp32")}
    assert spec.model.parser == "onnx"
    assert (spec.builder.optimization_level, spec.builder.workspace, spec.builder.tf32) == (3, 2 << 30, False)
    assert (spec.transform, spec.profiles, spec.plugins, spec.validate_) == (None, (), (), None)


def test_a_spec_cannot_be_changed() -> None:
    spec = PipelineSpec.model_validate(LEAST)

    with pytest.raises(ValidationError):
        spec.pipeline = "other"  # type: ignore[misc]


@pytest.mark.parametrize("schema", [True, 1.0, "1", 2, None])
def test_the_schema_is_the_whole_number_one(schema: Any) -> None:
    assert refused(PipelineSpec, LEAST | {"schema": schema}) == ["value_error"]


@pytest.mark.parametrize("value", ["0.5", "nan", True, None, float("nan"), float("inf")])
def test_only_finite_numbers_are_numbers(value: Any) -> None:
    assert len(refused(VariantSpec, {"min_low_precision": value})) == 1


def test_a_whole_number_is_a_number() -> None:
    assert Threshold.model_validate({"metric": "max_abs", "max": 1}).max == 1.0


@pytest.mark.parametrize(
    ("written", "shape"),
    [
        ("1x3x224x224", (1, 3, 224, 224)),
        ([1, 3], (1, 3)),
        (7, (7,)),
        ("scalar", ()),
        ([], ()),
        ("0x3", (0, 3)),
    ],
)
def test_shapes_may_be_text_lists_or_one_number(written: Any, shape: tuple[int, ...]) -> None:
    assert TypeAdapter(StaticShape).validate_python(written) == shape


def test_only_a_dynamic_shape_may_hold_minus_one() -> None:
    assert TypeAdapter(DynamicShape).validate_python("-1x3") == (-1, 3)
    assert refused(StaticShape, "-1x3") == ["value_error"]
    assert refused(DynamicShape, "-2x3") == ["value_error"]


@pytest.mark.parametrize(
    ("written", "size"), [("2GiB", 2 << 30), ("512MB", 512_000_000), (4096, 4096), ("1.5K", 1500)]
)
def test_sizes_are_bytes(written: Any, size: int) -> None:
    assert TypeAdapter(Size).validate_python(written) == size


@pytest.mark.parametrize("name", ["", "-a", ".", "a/b", "a b", "a@b", "ä", "a\n", "x" * 65])
def test_names_are_safe_in_paths_and_cells(name: str) -> None:
    assert refused(Name, name) == ["value_error"]


@pytest.mark.parametrize(
    ("written", "gpus"),
    [("rtx4090", ("rtx4090",)), (8.9, ("8.9",)), (89, ("89",)), (["sm86", 12.0], ("sm86", "12.0"))],
)
def test_a_gpu_is_always_text(written: Any, gpus: tuple[str, ...]) -> None:
    assert TargetSpec.model_validate({"gpu": written}).gpu == gpus


def test_one_shape_stands_for_a_whole_range() -> None:
    spec = PipelineSpec.model_validate(LEAST | {"profiles": [{"x": "1x3"}]})

    assert spec.profiles[0]["x"] == ProfileInput(min=(1, 3), opt=(1, 3), max=(1, 3))


@pytest.mark.parametrize("written", [{"min": 1}, {"min": 1, "max": 2}, {}])
def test_a_range_of_shapes_is_whole(written: Any) -> None:
    assert refused(ProfileInput, written) == ["value_error"]


@pytest.mark.parametrize("value", [16000, 0.5, True, [1, 2], [[1], [2]], []])
def test_constants_are_numbers_and_lists_of_them(value: Any) -> None:
    assert TransformSpec.model_validate({"bind": {"sr": value}}).bind == {"sr": value}


@pytest.mark.parametrize("value", ["fast", None, {"a": 1}, [1, "a"], [[1], ["a"]]])
def test_a_constant_is_nothing_else(value: Any) -> None:
    assert refused(TransformSpec, {"bind": {"sr": value}}) == ["value_error"]


def test_a_threshold_has_a_bound() -> None:
    assert refused(Threshold, {"metric": "cosine"}) == ["value_error"]


def test_inputs_are_validated_on_data_or_on_random_ones() -> None:
    assert refused(ValidateSpec, {"data": "a", "random": {}}) == ["value_error"]


@pytest.mark.parametrize("sources", [{}, {"npz": "a", "random": {"shapes": {"x": 1}}}])
def test_random_samples_stand_alone_and_none_is_no_set(sources: Any) -> None:
    assert refused(DatasetSpec, {"schema": 1, **sources}) == ["value_error"]


def test_one_mean_stands_for_all_channels() -> None:
    assert InputSpec.model_validate({"mean": 0.5, "std": [1, 2.0]}).mean == (0.5,)


class _Layer(SpecModel):
    weights: ProjectFile | None = None


class _Options(SpecModel):
    net: ProjectFile
    more: dict[str, ProjectFile] = Field(default_factory=dict)
    layers: Annotated[tuple[_Layer, ...], AsTuple] = ()


def test_a_file_may_be_written_with_its_pin() -> None:
    options = _Options.model_validate(
        {
            "net": {"source": "s3://bucket/net", "sha256": "AB" * 32},
            "more": {"a": "a.npz"},
            "layers": [{"weights": {"source": "b.npz"}}, {}],
        }
    )

    found = list(named_files(options))
    assert found == [
        (("net",), "s3://bucket/net"),
        (("more", "a"), "a.npz"),
        (("layers", 0, "weights"), "b.npz"),
    ]
    assert [getattr(text, "sha256", None) for _, text in found] == ["ab" * 32, None, None]
    assert options.model_dump(mode="json")["net"] == "s3://bucket/net"
    assert _Options.model_validate(options.model_dump()).net == "s3://bucket/net"


@pytest.mark.parametrize(
    "value",
    [{"sha256": "ab" * 32}, {"source": 3}, {"source": "a", "sha256": "ab"}, {"source": "a", "pin": "b"}, {}],
)
def test_a_file_s_pin_is_written_in_one_way(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        _Options.model_validate({"net": value})

    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [(("net",), "value_error")]


def test_a_file_that_is_no_text_is_told_as_any_other() -> None:
    with pytest.raises(ValidationError) as caught:
        _Options.model_validate({"net": 3})

    assert [error["type"] for error in caught.value.errors()] == ["string_type"]
