import pickle

import pytest
import torch
from safetensors.torch import save_file

from mdflow.checkpoint import save_network
from mdflow.errors import InputError
from mdflow.networks import NETWORKS, create
from teachers import RELEASES, load, untrained


@pytest.fixture
def network():
    """FastFlowNet is the one whose keys are those of its release."""
    torch.manual_seed(0)
    return create("fastflownet", normalize=False)


def same_weights(a, b):
    other = b.state_dict()
    return all(torch.equal(value, other[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_released_file_is_read_as_it_is(network, tmp_path, wrap, prefix):
    state = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save(wrap(state), tmp_path / "released.pth")
    loaded = load("fastflownet", tmp_path / "released.pth")
    assert same_weights(network, loaded)
    assert not loaded.training
    assert not loaded.normalize


def test_our_own_file_carries_its_options(tmp_path):
    network = create("raft_small", iterations=3)
    save_network(tmp_path / "network.safetensors", network)
    loaded = load("raft_small", tmp_path / "network.safetensors")
    assert same_weights(network, loaded)
    assert loaded.iterations == 3
    assert load("raft_small", tmp_path / "network.safetensors", iterations=5).iterations == 5


def test_our_own_file_of_another_network_is_refused(network, tmp_path):
    save_network(tmp_path / "network.safetensors", network)
    with pytest.raises(InputError, match=r"network.safetensors' holds .*'fastflownet', expected 'raft'"):
        load("raft", tmp_path / "network.safetensors")


def test_weights_that_do_not_fit_are_refused_with_what_is_wrong(network, tmp_path):
    state = network.state_dict()
    state["odd.weight"] = state.pop("rconv2.0.weight")
    state["up3.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "released.pth")
    with pytest.raises(InputError) as error:
        load("fastflownet", tmp_path / "released.pth")
    message = str(error.value)
    assert "missing: rconv2.0.weight" in message
    assert "unexpected: odd.weight" in message
    assert "up3.bias (5,) instead of (2,)" in message


def test_weights_of_another_release_are_refused(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "released.pth")
    with pytest.raises(InputError, match="do not fit"):
        load("raft", tmp_path / "released.pth")


class Malicious:
    """Runs code of the attacker's choice in whoever unpickles it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_pickled_code_is_refused_and_not_run(tmp_path, save):
    save({"weight": Malicious(tmp_path / "owned")}, tmp_path / "released.pth")
    with pytest.raises(InputError, match=r"released\.pth"):
        load("fastflownet", tmp_path / "released.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"not weights at all"])
def test_files_that_hold_no_weights_are_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="broken"):
        load("fastflownet", path)


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list.pth' holds no state dict"):
        load("fastflownet", tmp_path / "list.pth")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="does not say which network"):
        load("fastflownet", tmp_path / "foreign.safetensors")


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"expected one of .*raft_mdflow"):
        load("nobody")
    with pytest.raises(InputError, match=r"did you mean 'raft_mdflow'\?"):
        load("raft_mdflo")


def test_a_release_names_a_network_without_its_weights_too():
    network = untrained("raft_mdflow", iterations=2)
    assert network.name == "raft"
    assert network.options == {**RELEASES["raft_mdflow"].options, "iterations": 2}


@pytest.mark.parametrize("name", [name for name in NETWORKS if name in RELEASES])
def test_a_networks_own_name_gives_it_new_as_one_trains_it_not_as_its_release_was(name):
    """A FastFlowNet without cosines, as released, would sit at zero flow for thousands of steps."""
    assert untrained(name).options == {}


def test_without_shipped_weights_the_source_is_named():
    with pytest.raises(InputError, match=r"ships no weights for 'raft_mdflow'.*https://"):
        load("raft_mdflow")


def test_networks_without_parameters_need_no_weights():
    assert load("zero").name == "zero"


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_makes_its_network_and_says_where_it_is_from(name):
    release = RELEASES[name]
    assert create(release.network, **release.options).stride
    assert release.source.startswith("https://")
    assert release.licence
    assert release.published
