from pathlib import Path

import numpy as np
import pytest
import torch

from mdflow.checkpoint import save_network
from mdflow.data.io import write_image
from mdflow.demo_page import desk as desk_module
from mdflow.demo_page.desk import Desk, Wish, made_up_images
from mdflow.demo_page.upload import Limits
from mdflow.errors import InputError
from mdflow.inference import Predictor
from mdflow.networks import create
from tests.toy import Translation


@pytest.fixture
def desk(tmp_path) -> Desk:
    (tmp_path / "results").mkdir()
    networks = {"right": Predictor(Translation(2, 0)), "left": Predictor(Translation(-2, 0))}
    return Desk(networks, tmp_path / "results", Limits())


def write_images(folder: Path, count: int = 4, sizes: tuple[int, ...] = (24,)) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    rng = np.random.default_rng(0)
    for number, path in enumerate(paths):
        write_image(path, rng.integers(0, 256, (20, sizes[number % len(sizes)], 3), np.uint8))
    return paths


def test_what_was_dropped_is_described(desk, tmp_path):
    assert desk.describe(write_images(tmp_path)) == "4 frames of 24×20 pixels."


def test_a_look_grows_pair_by_pair_and_ends_finished(desk, tmp_path):
    seen = [(len(view.pairs), view.finished) for view in desk.look(Wish(write_images(tmp_path), ["right"]))]
    assert seen == [(1, False), (2, False), (3, False), (3, True)]


def test_a_look_compares_two_networks_and_can_be_forgotten(desk, tmp_path):
    *_, view = desk.look(Wish(write_images(tmp_path), ["right", "left"], first=1, count=2, longest=12))
    assert view.networks == ["right", "left"]
    assert view.size == (10, 12)
    assert [pair["name"] for pair in view.pairs] == ["1"]
    assert view.folder.parent == desk.folder
    desk.forget(view)
    assert not view.folder.exists()
    desk.forget(None)


def test_a_person_may_bring_a_network(desk, tmp_path):
    own = {"mine": Predictor(Translation(0, 1))}
    *_, view = desk.look(Wish(write_images(tmp_path), ["mine"]), own)
    assert view.networks == ["mine"]
    with pytest.raises(InputError, match="'mine' is not one of the networks here; choose from right, left"):
        list(desk.look(Wish(write_images(tmp_path), ["mine"])))


def test_frames_of_unlike_size_are_refused_without_naming_folders(desk, tmp_path):
    with pytest.raises(InputError, match="differ in size") as caught:
        list(desk.look(Wish(write_images(tmp_path, sizes=(24, 25)), ["right"])))
    assert str(tmp_path) not in str(caught.value)


def test_a_damaged_first_image_is_said_without_naming_folders(desk, tmp_path):
    paths = write_images(tmp_path)
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    for look in (lambda: desk.describe(paths), lambda: list(desk.look(Wish(paths, ["right"])))):
        with pytest.raises(InputError, match=r"0\.png cannot be read") as caught:
            look()
        assert str(tmp_path) not in str(caught.value)


def test_what_would_fill_the_disk_is_refused_before_it_begins(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(desk_module, "LARGEST_RESULT", 3 * 20 * 24 * 8 - 1)
    with pytest.raises(InputError, match="choose fewer frames or smaller ones"):
        list(desk.look(Wish(write_images(tmp_path), ["right"])))
    assert not list(desk.folder.iterdir())


def test_weights_are_read_from_files_that_cannot_hold_code(desk, tmp_path):
    save_network(tmp_path / "best.safetensors", create("fastflownet"))
    name, predictor = desk.bring(tmp_path / "best.safetensors")
    assert (name, predictor.network.name) == ("fastflownet, best", "fastflownet")
    assert desk.bring(tmp_path / "best.safetensors", {name: predictor})[0] == "fastflownet, best 2"
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"^other\.pth is no \.safetensors file.* --network NAME=other\.pth"):
        desk.bring(tmp_path / "other.pth")
    (tmp_path / "text.safetensors").write_text("no weights at all")
    with pytest.raises(InputError) as caught:
        desk.bring(tmp_path / "text.safetensors")
    assert str(tmp_path) not in str(caught.value)


def test_the_made_up_scene_moves(tmp_path):
    paths = made_up_images(tmp_path, frames=3, size=(48, 64))
    assert [path.name for path in paths] == ["scene_00.png", "scene_01.png", "scene_02.png"]
    assert len({path.read_bytes() for path in paths}) == 3
