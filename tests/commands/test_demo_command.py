import sys

import pytest
import torch

from mdflow.checkpoint import save_network
from mdflow.commands import demo, main
from mdflow.errors import InputError
from mdflow.networks import create

CPU = torch.device("cpu")


def test_a_missing_gradio_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "mdflow.demo_page.page", raising=False)
    assert main(["demo", "--network", "zero"]) == 2
    assert "needs Gradio, which is not installed; in the checkout of mdflow: pip install" in capsys.readouterr().err


def test_networks_are_shown_by_name_and_file(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_network(tmp_path / folder / "best.safetensors", create("fastflownet"))
    given = ["dis", f"fastflownet={tmp_path}/a/best.safetensors", f"fastflownet={tmp_path}/b/best.safetensors"]
    assert list(demo.open_networks(given, CPU)) == ["dis", "fastflownet, best", "fastflownet, best 2"]


def test_a_folder_of_stages_offers_each(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    with pytest.raises(InputError, match="holds no stage of a network"):
        demo.open_networks([f"fastflownet={folder}"], CPU)
    for stage in ("calibration", "float"):
        save_network(folder / f"{stage}.safetensors", create("fastflownet"))
    found = demo.open_networks([f"fastflownet={folder}"], CPU)
    assert list(found) == ["fastflownet, small float", "fastflownet, small calibration"]


def test_networks_of_one_name_are_all_offered(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "small").mkdir(parents=True)
        for stage in ("calibration", "float"):
            save_network(tmp_path / folder / "small" / f"{stage}.safetensors", create("fastflownet"))
    found = demo.open_networks(["zero", "zero", *(f"fastflownet={tmp_path}/{name}/small" for name in "ab")], CPU)
    shown = [f"fastflownet, small {stage}" for stage in ("float", "calibration")]
    assert list(found) == ["zero", "zero 2", *shown, *(f"{name} 2" for name in shown)]


def test_the_page_is_for_this_machine_unless_told_otherwise(monkeypatch):
    served = []
    monkeypatch.setattr(demo, "serve", lambda desk, host, port: served.append((desk, host, port)))
    assert main(["demo", "--network", "zero", "--frames", "20"]) == 0
    assert main(["demo", "--network", "zero", "--host", "0.0.0.0", "--port", "7000"]) == 0
    (desk, *first), (_, *second) = served
    assert (first, second) == (["127.0.0.1", None], ["0.0.0.0", 7000])
    assert desk.limits.frames == 20
    assert not desk.folder.exists()
