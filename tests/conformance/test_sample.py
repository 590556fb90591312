"""A sample of ONNX's backend suite: nothing that builds raw is lost, and legalization rescues what it should."""

import importlib.util
from pathlib import Path

import pytest

RESCUED = """test_reduce_sum_default_axes_keepdims_example test_unsqueeze_axis_0 test_layer_normalization_4d_axis0
test_nllloss_NC test_sce_mean_weight_log_prob test_attention_4d_softcap test_attention_4d_causal
test_center_crop_pad_crop test_affine_grid_2d test_GLU test_clip_default_int8_min
test_squeeze test_swiglu test_linear_attention_linear
test_resize_upsample_scales_nearest""".split()  # noqa: SIM905


@pytest.mark.engine
@pytest.mark.slow
def test_a_sample_of_the_backend_suite_keeps_and_gains_builds(tmp_path):
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("no tensorrt_rtx wheel here")
    import warnings

    from tests.conformance.children import sample
    from tests.conformance.run_onnx_backend import counts_of, run_cases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite's own arithmetic overflows on purpose
        from tests.conformance.backend_cases import store_cases

        names = store_cases(Path(tmp_path))
    chosen = sorted({*sample(names, 25), *RESCUED} & set(names))
    results = run_cases(tmp_path, chosen, jobs=2)
    counts = counts_of(results)
    assert len(chosen) >= 38
    assert counts["regressions"] == 0
    assert counts["ort_mismatches"] == 0
    rescued = {item["name"] for item in results if item["build"]["built"] and not item["raw"]["built"]}
    assert rescued >= set(RESCUED)
