import pytest
import torch

from mdflow.errors import InputError
from mdflow.networks import create


def test_the_network_knows_its_name_and_options():
    network = create("raft_small", iterations=3)
    assert network.iterations == 3
    assert (network.name, network.options) == ("raft_small", {"iterations": 3})


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"'nobody'.*fastflownet, raft, raft_small"):
        create("nobody")
    with pytest.raises(InputError, match="'raft_smal': did you mean 'raft_small'"):
        create("raft_smal")


def test_an_unknown_option_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="no option iteration; it has iterations"):
        create("raft", iteration=3)


@pytest.mark.parametrize("name", ["zero", "dis"])
def test_a_network_without_options_says_so(name):
    with pytest.raises(InputError, match=f"'{name}' has no option iterations; it has none"):
        create(name, iterations=3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("raft", {"iterations": 0}),
        ("raft", {"context_norm": "layer"}),
        ("raft", {"preprocessing": "none"}),
        ("raft", {"correlation": "sparse"}),
        ("lightflow", {"width": 0}),
        ("raft_small", {"iterations": 2.5}),
        ("fastflownet", {"fine_iterations": 1.5}),
        ("fastflownet", {"fine_iterations": True}),
        ("deqflow", {"solver": "newton"}),
        ("deqflow", {"size": "small"}),
        ("deqflow", {"corrections": 13}),
        ("liteflownet2", {"variant": "M2S2R2"}),
    ],
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(InputError):
        create(name, **options)


@pytest.mark.parametrize("name", ["fastflownet", "pwcnet", "liteflownet2", "lightflow"])
def test_a_new_network_starts_within_a_few_pixels_of_zero_flow(name):
    torch.manual_seed(0)
    network = create(name).eval()
    with torch.no_grad():
        flow = network(*torch.rand(2, 1, 3, 64, 128))[-1]
    assert flow.norm(dim=1).mean() < 5
