import argparse
import json

import cv2
import numpy as np
import pytest

from mdflow.commands import main
from mdflow.commands.evaluate import shown_fit
from mdflow.commands.predictor import add_predictor_arguments, make_predictor
from mdflow.data.io import write_flow, write_image
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError


@pytest.fixture
def sintel(tmp_path):
    """One pair in Sintel's layout, both passes, everything moving (3, 4) px, a corner occluded."""
    root = tmp_path / "Sintel"
    folders = [root / "training" / kind / "scene" for kind in ("clean", "final", "flow", "occlusions")]
    for folder in folders:
        folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for folder in folders[:2]:
        for number in (1, 2):
            write_image(folder / f"frame_000{number}.png", noise)
    truth = np.full((40, 60, 2), (3, 4), np.float32)
    write_flow(folders[2] / "frame_0001.flo", truth)
    occluded = np.zeros((40, 60), np.uint8)
    occluded[:10, :10] = 255
    write_image(folders[3] / "frame_0001.png", occluded)
    return root


def test_several_networks_on_both_passes_in_one_table(sintel, tmp_path, capsys):
    out = tmp_path / "new" / "figures.json"
    assert main(["evaluate", "--network", "zero", "--network", "dis", "--sintel", str(sintel), "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "mean over pairs of each pair's mean" in text
    assert "pad: sintel clean, sintel final" in text
    results = json.loads(out.read_text())["results"]
    assert [(one["set"], one["network"]) for one in results] == [
        ("sintel clean", "zero"),
        ("sintel clean", "dis"),
        ("sintel final", "zero"),
        ("sintel final", "dis"),
    ]
    zero = results[0]["figures"]
    assert zero["epe"] == zero["epe_matched"] == zero["epe_unmatched"] == 5
    assert zero["fl"] == 100
    assert {"epe_s0-10", "epe_d0-10", "over1"} <= zero.keys()


def test_pairs_are_listed_on_request(sintel, capsys):
    main(["evaluate", "--network", "zero", "--sintel", str(sintel), "--per-pair"])
    assert "scene/frame_0001" in capsys.readouterr().out


def test_kitti_is_padded_below_and_has_noc(tmp_path, capsys):
    folder = tmp_path / "training"
    for name in ("image_2", "flow_occ", "flow_noc"):
        (folder / name).mkdir(parents=True)
    for number in (10, 11):
        write_image(folder / "image_2" / f"000000_{number}.png", np.zeros((20, 30, 3), np.uint8))
    truth = np.full((20, 30, 2), (8, 0), np.float32)
    truth[:, 15:] = (2, 0)
    matched = truth[..., 0] == 2
    write_flow(folder / "flow_occ" / "000000_10.png", truth)
    write_flow(folder / "flow_noc" / "000000_10.png", truth, matched)
    out = tmp_path / "figures.json"
    assert main(["evaluate", "--network", "zero", "--kitti2015", str(tmp_path), "--json", str(out)]) == 0
    assert "pad-bottom: kitti2015" in capsys.readouterr().out
    (result,) = json.loads(out.read_text())["results"]
    assert result["fit"] == "pad-bottom"
    assert result["figures"]["epe"] == 5
    assert result["figures"]["epe_matched"] == 2
    assert result["figures"]["fl"] == 50
    assert result["figures"]["fl_matched"] == 0


def test_data_without_labels_gets_label_free_scores(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for number in range(3):
        write_image(tmp_path / f"{number}.png", noise)
    assert main(["evaluate", "--network", "zero", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "census" in text
    assert "Fl-all %" not in text.splitlines()[4]


def test_each_network_takes_the_options_that_it_has(sintel, capsys):
    command = ["evaluate", "--network", "fastflownet=untrained", "--network", "dis", "--sintel", str(sintel)]
    assert main([*command, "--option", "fine_iterations=0"]) == 0
    assert main([*command, "--option", "fine_iteration=0"]) == 2
    said = capsys.readouterr().err
    assert "None of the networks has an option fine_iteration: 'fastflownet" in said and "'dis' has none." in said


def test_untrained_networks_can_stand_in_the_table(sintel, capsys):
    assert main(["evaluate", "--network", "fastflownet=untrained", "--sintel", str(sintel)]) == 0
    assert "fastflownet=untrained" in capsys.readouterr().out


def test_untrained_networks_are_the_same_each_time(sintel, tmp_path):
    results = [tmp_path / "1.json", tmp_path / "2.json"]
    for result in results:
        main(["evaluate", "--network", "fastflownet=untrained", "--sintel", str(sintel), "--json", str(result)])
    assert results[0].read_text() == results[1].read_text()


def test_a_folder_may_be_named_like_a_data_set(sintel, monkeypatch, capsys):
    sintel.rename(sintel.with_name("shards"))
    monkeypatch.chdir(sintel.parent)
    assert main(["evaluate", "--network", "zero", "--data", "shards"]) == 0
    assert "sintel clean" in capsys.readouterr().out


def test_submission_writes_archives_for_the_given_roots(tmp_path, capsys):
    folder = tmp_path / "kitti" / "testing" / "image_2"
    folder.mkdir(parents=True)
    for number in (10, 11):
        cv2.imwrite(str(folder / f"000000_{number}.png"), np.zeros((20, 30, 3), np.uint8))
    command = ["evaluate", "--network", "zero", "--kitti2015", str(tmp_path / "kitti")]
    assert main([*command, "--submission", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "kitti2015.zip").exists()
    assert "kitti2015.zip" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [
        ["--json", "f.json"],
        ["--label-free"],
        ["--data", "x"],
        ["--kitti2015", "other"],
        ["--synthetic"],
        ["--chairs", "x"],
        ["--middlebury", "x"],
        ["--hd1k", "x"],
        ["--spring", "x"],
    ],
)
def test_a_submission_takes_nothing_that_has_no_effect(tmp_path, capsys, more):
    command = ["evaluate", "--network", "zero", "--kitti2015", "root", "--submission", str(tmp_path / "out"), *more]
    assert main(command) == 2
    assert "submission" in capsys.readouterr().err


def test_options_may_stand_behind_the_path_of_other_data(sintel, capsys):
    assert main(["evaluate", "--network", "zero", "--data", f"{sintel}?render=final"]) == 0
    assert "sintel" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--fit", "resize", "--size", "64x64"], ["--option", "x=1"], ["--compile"]])
def test_an_onnx_file_is_asked_for_nothing_that_it_cannot_do(flags):
    parser = argparse.ArgumentParser()
    add_predictor_arguments(parser)
    exported = OnnxPredictor.__new__(OnnxPredictor)
    assert make_predictor(exported, parser.parse_args(["--fit", "pad"]), "pad-bottom") is exported
    assert shown_fit(exported, "pad-bottom", None) == "pad (in the file)"
    with pytest.raises(InputError, match=rf"leave out {flags[0]}"):
        make_predictor(exported, parser.parse_args(flags))


def test_synthetic_scenes_with_options_are_held_out_ones(capsys):
    assert main(["evaluate", "--network", "zero", "--data", "synthetic?length=1&size=[64,64]&texture_count=4"]) == 0
    assert "synthetic" in capsys.readouterr().out
