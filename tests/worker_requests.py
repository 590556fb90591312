"""Requests for the engine worker, as trtpipe makes them: what a test does not say is the spec's default."""

from __future__ import annotations

from trtpipe.spec.pipeline import BuilderSpec
from trtpipe.toolchains.engine_worker.request import UNTIMED, WorkerRequest, compatibility_of


def worker_request(
    site,
    *,
    action="build",
    flavour="tensorrt_rtx",
    network_name="net",
    compute_capabilities=("sm89",),
    profiles=(),
    options=None,
    compatibility=None,
    plugins=(),
    timing=UNTIMED,
) -> WorkerRequest:
    """A request to build for sm89 with a workspace of 1 GiB, unless it is told otherwise; or for the GPU at hand."""
    return WorkerRequest(
        action,
        flavour,
        tuple(site),
        network_name,
        tuple(compute_capabilities) if flavour == "tensorrt_rtx" else (),
        tuple(profiles),
        BuilderSpec.model_validate({"workspace": 1 << 30, **(options or {})}),
        compatibility_of(compatibility or {}),
        tuple(plugins),
        timing,
    )
