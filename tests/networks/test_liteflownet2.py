import pytest
import torch

from mdflow.checkpoint import save_network
from mdflow.errors import InputError
from mdflow.networks import create
from mdflow.networks.liteflownet2 import VARIANTS
from mdflow.networks.liteflownet2_level import Match
from teachers import load


def test_every_variant_adds_one_stage_to_the_one_before():
    images = torch.rand(2, 1, 3, 32, 64)
    sizes = [[flow.shape[2] for flow in create("liteflownet2", variant=v).eval()(*images)] for v in VARIANTS]
    assert sizes == [[1, 32], [1, 32], [1, 2, 32], [1, 2, 4, 32], [1, 2, 4, 8, 32]]


def test_a_stage_starts_from_the_weights_of_the_one_before(tmp_path):
    torch.manual_seed(0)
    earlier = create("liteflownet2", variant="M6S6R6").eval()
    save_network(tmp_path / "earlier.safetensors", earlier)
    network = load("liteflownet2", tmp_path / "earlier.safetensors", variant="M5S5R5")
    images = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(*images)[0], earlier(*images)[0])
    coarse, new = earlier.levels["6"].match.layers, network.levels["5"].match.layers
    assert all(torch.equal(a, b) for a, b in zip(coarse.parameters(), new.parameters(), strict=True))
    assert network.options == {"variant": "M5S5R5"}


def test_a_stage_does_not_start_from_a_later_one(tmp_path):
    save_network(tmp_path / "later.safetensors", create("liteflownet2", variant="M5S5R5"))
    with pytest.raises(InputError, match="do not fit LiteFlowNet2; unexpected"):
        load("liteflownet2", tmp_path / "later.safetensors", variant="M6S6")


@pytest.mark.parametrize("normalize", [True, False])
def test_matching_costs_do_not_depend_on_the_scale_of_features_if_they_are_normalised(normalize):
    torch.manual_seed(0)
    match, features = Match(3, sparse=False, normalize=normalize), torch.rand(2, 1, 96, 8, 12)
    with torch.no_grad():
        same = torch.allclose(match(*features), match(*(3 * features)), rtol=1e-3)
    assert same == normalize
