"""Released files, read as they are, give what the original implementations gave.

The originals recorded the flows of coarse levels in units of div_flow = 20 pixels of the full image.
"""

import pytest
import torch

from teachers import load


def assert_equal(flow, expected):
    assert (flow - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["raft", "raft_small", "raft_mdflow"])
@pytest.mark.parametrize("correlation", ["all_pairs", "on_demand"])
def test_raft(original, name, correlation):
    path, images, recorded = original(name)
    with torch.no_grad():
        flows = load(name, path, correlation=correlation)(*images)
    assert len(flows) == 12
    assert_equal(flows[-1], recorded["flow"])
    if "flow_iteration_1" in recorded:
        assert_equal(flows[0], recorded["flow_iteration_1"])


@pytest.mark.parametrize(
    ("case", "name", "options"),
    [
        ("deqflow", "deqflow", {}),
        ("deqflow_huge", "deqflow_huge", {}),
        ("deqflow_gma_anderson", "deqflow", {"gma": True, "weight_norm": False, "solver": "anderson"}),
    ],
)
def test_deqflow(original, case, name, options):
    path, images, recorded = original(case)
    with torch.no_grad():
        flows = load(name, path, **options)(*images)
    assert_equal(flows[-1], recorded["flow"])


def test_fastflownet(original):
    path, images, recorded = original("fastflownet")
    with torch.no_grad():
        flows = load("fastflownet", path)(*images)
    for level, flow in zip((6, 5, 4, 3, 2), flows, strict=False):
        assert_equal(flow * 2**level / 20, recorded[f"flow{level}"])


@pytest.mark.parametrize("align_corners", [True, False])
def test_pwcnet(original, align_corners):
    path, images, recorded = original("pwcnet")
    with torch.no_grad():
        flows = load("pwcnet", path, align_corners=align_corners)(*images)
    assert_equal(flows[-2] * 4 / 20, recorded[f"flow2_align_corners_{str(align_corners).lower()}"])


@pytest.mark.parametrize(("case", "variant"), [("liteflownet2", "M3S3R3"), ("liteflownet2_M6S6", "M6S6")])
def test_liteflownet2(original, case, variant):
    path, images, recorded = original(case)
    with torch.no_grad():
        flows = load("liteflownet2", path, variant=variant)(*images)
    assert len(flows) == len(recorded) + 1
    for level, flow in zip((6, 5, 4, 3), flows[:-1], strict=False):
        assert_equal(flow * 2 ** (level - 1) / 20, recorded[f"level{level}"])


def test_lightflow(original):
    path, images, recorded = original("lightflow")
    with torch.no_grad():
        flows = load("lightflow", path)(*images)
    assert_equal(flows[0] * 4 / 20, recorded["flow"])
