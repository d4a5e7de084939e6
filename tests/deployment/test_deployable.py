from mdflow.commands import main
from mdflow.deployment.deployable import check_deployable
from mdflow.errors import InputError
from mdflow.networks import create


def no_export(network, size):
    """Stands for an export that takes ten seconds."""
    assert size == (128, 128)


def test_a_network_of_convolutions_can_be_integers_for_the_most_part():
    found = check_deployable(create("fastflownet"), no_export)
    assert found.obstacle == ""
    assert len(found.integers) == 48
    assert 90 < found.share <= 100
    assert found.floats == [f"up{level} (ConvTranspose2d)" for level in (3, 4, 5, 6)]


def test_an_obstacle_is_passed_on():
    def refuse(network, size):
        raise InputError("'x' cannot be exported: layer: reason.")

    assert check_deployable(create("lightflow", width=0.1), refuse).obstacle == "'x' cannot be exported: layer: reason."


def test_the_command_says_it_in_words(capsys, monkeypatch):
    monkeypatch.setattr("mdflow.deployment.deployable.check_deployable.__defaults__", (no_export,))
    assert main(["networks", "--check", "fastflownet"]) == 0
    out = capsys.readouterr().out
    assert "fastflownet: it can be exported." in out and "48 convolutions" in out and "up3 (ConvTranspose2d)" in out
