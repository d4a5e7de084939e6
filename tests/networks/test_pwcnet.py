import pytest
import torch

from mdflow.networks import create


@pytest.mark.parametrize("normalize", [True, False])
def test_pwcnets_costs_do_not_depend_on_the_scale_of_features_if_they_are_normalised(normalize):
    network, features = create("pwcnet", normalize=normalize), torch.rand(2, 1, 32, 8, 12)
    assert torch.allclose(network.cost(*features), network.cost(*(3 * features)), rtol=1e-3, atol=1e-4) == normalize
