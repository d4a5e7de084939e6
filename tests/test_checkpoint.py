import json

import pytest
import torch
from safetensors.torch import save_file

from mdflow.checkpoint import load_network, read_network, save_network
from mdflow.errors import InputError
from mdflow.networks import create


@pytest.fixture
def network():
    torch.manual_seed(0)
    return create("fastflownet", normalize=False)


def test_a_network_comes_back_as_it_was(tmp_path, network):
    save_network(tmp_path / "net.safetensors", network)
    found = load_network(tmp_path / "net.safetensors")
    assert (found.name, found.options, found.normalize) == ("fastflownet", {"normalize": False}, False)
    for name, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_options_may_be_replaced(tmp_path, network):
    save_network(tmp_path / "net.safetensors", network)
    assert load_network(tmp_path / "net.safetensors", normalize=True).normalize


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, network, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_network(path, network)
    before = path.read_bytes()

    def never_on_the_disk(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", never_on_the_disk)
    with pytest.raises(KeyboardInterrupt):
        save_network(path, network)
    assert path.read_bytes() == before


def test_a_flipped_bit_is_said(tmp_path, network):
    path = tmp_path / "net.safetensors"
    save_network(path, network)
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"net\.safetensors' are damaged: they do not fit their checksum"):
        load_network(path)


def test_files_without_a_checksum_are_read(tmp_path, network):
    path = tmp_path / "net.safetensors"
    description = {"network": "fastflownet", "options": json.dumps({"normalize": False})}
    save_file(network.state_dict(), path, metadata=description)
    assert load_network(path).normalize is False


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 100])
def test_a_file_that_holds_no_weights_is_named(tmp_path, content):
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"Cannot read the weights '.*bad\.safetensors'"):
        read_network(tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match=r"Cannot read the weights '.*missing\.safetensors'"):
        read_network(tmp_path / "missing.safetensors")


def test_weights_of_unknown_origin_are_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="does not say which network it holds"):
        load_network(tmp_path / "other.safetensors")


def test_what_does_not_fit_is_listed(tmp_path, network):
    state = network.state_dict()
    state["extra"] = torch.zeros(1)
    state["pconv1_1.0.bias"] = torch.zeros(3)
    del state["pconv1_2.0.bias"]
    path = tmp_path / "odd.safetensors"
    save_file(state, path, metadata={"network": "fastflownet", "options": json.dumps({})})
    with pytest.raises(InputError) as error:
        load_network(path)
    for part in (
        "odd.safetensors",
        "missing: pconv1_2.0.bias",
        "unexpected: extra",
        "pconv1_1.0.bias (3,) instead of (16,)",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("options", ["[]", "5", '{"iterations": "x"}'])
def test_options_that_make_no_network_are_said(tmp_path, options):
    save_file({}, tmp_path / "odd.safetensors", {"network": "raft", "options": options})
    with pytest.raises(InputError, match="option"):
        load_network(tmp_path / "odd.safetensors")


def test_an_option_that_is_not_the_files_is_not_blamed_on_the_file(tmp_path, network):
    path = tmp_path / "net.safetensors"
    save_network(path, network)
    with pytest.raises(InputError, match=r"^There is no 'fastflownet' with sharp=3: .* has no option sharp; .*[^.]\.$"):
        load_network(path, sharp=3)
    save_file({}, path, {"network": "fastflownet", "options": json.dumps({"blunt": 1})})
    with pytest.raises(InputError, match=r"net\.safetensors' names options with which .* no option blunt; .*[^.]\.$"):
        load_network(path, fine_iterations=0)
