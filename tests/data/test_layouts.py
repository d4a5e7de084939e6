"""Every dataset in its official layout, at a size of a few pixels: found by looking, with all its labels."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mdflow.data import DATASETS, open_dataset
from mdflow.data.io import write_flow, write_image
from mdflow.errors import InputError


def images(put, *names):
    return [put(name, 10 * number) for number, name in enumerate(names)][-1]


def sintel(put):
    for render in ("clean", "final"):
        images(put, *[f"training/{render}/alley_1/frame_000{n}.png" for n in (1, 2, 3)])
    for number in (1, 2):
        put(f"training/flow/alley_1/frame_000{number}.flo", number)
    put("training/occlusions/alley_1/frame_0001.png", 255)
    put("training/invalid/alley_1/frame_0001.png", 255)


def kitti(folder):
    def write(put):
        for scene in ("000000", "000001"):
            images(put, f"training/{folder}/{scene}_10.png", f"training/{folder}/{scene}_11.png")
            put(f"training/flow_occ/{scene}_10.png", 3)
        put("training/flow_noc/000000_10.png", 3)
        put("training/obj_map/000000_10.png", 1)

    return write


def multiview(folder):
    def write(put):
        images(put, *[f"training/{folder}/000000_{n:02d}.png" for n in range(21) if n != 10])

    return write


def raw(put):
    for number in (0, 1, 2, 4):
        put(f"2011_09_26/2011_09_26_drive_0001_sync/image_02/data/{number:010d}.png")


def chairs(put):
    for number in (1, 2):
        images(put, f"data/0000{number}_img1.ppm", f"data/0000{number}_img2.ppm")
        put(f"data/0000{number}_flow.flo", number)


def middlebury(put):
    for scene in ("Grove2", "Beanbags"):
        images(put, f"other-data/{scene}/frame10.png", f"other-data/{scene}/frame11.png")
    put("other-gt-flow/Grove2/flow10.flo", 5)


def hd1k(put):
    names = ("000000_0008", "000000_0009", "000000_0010", "000001_0000", "000001_0001")
    images(put, *[f"hd1k_input/image_2/{name}.png" for name in names])
    put("hd1k_flow_gt/flow_occ/000000_0008.png", 2)


def spring(put):
    images(put, "train/0001/frame_left/frame_left_0001.png", "train/0001/frame_left/frame_left_0002.png")
    put("train/0001/flow_FW_left/flow_FW_left_0001.flo5", 3, scale=2)
    put("train/0001/flow_BW_left/flow_BW_left_0002.flo5", -3, scale=2)


def subset(put):
    images(put, *[f"train/image_clean/left/000000{n}.png" for n in (0, 1, 2, 3)])
    for number in (0, 2):
        put(f"train/flow/left/into_future/000000{number}.flo", 4)
        put(f"train/flow/left/into_past/000000{number + 1}.flo", -4)
        put(f"train/flow_occlusions/left/into_future/000000{number}.flo").unlink()
    write_image_of_occlusion(put)


def write_image_of_occlusion(put):
    folder = put("train/image_clean/left/0000000.png").parents[2] / "flow_occlusions" / "left" / "into_future"
    write_image(folder / "0000000.png", np.full((6, 8), 255, np.uint8))


def sceneflow(put):
    images(put, "frames_cleanpass/TRAIN/A/0000/left/0006.png", "frames_cleanpass/TRAIN/A/0000/left/0007.png")
    flows = "optical_flow/TRAIN/A/0000"
    put(f"{flows}/into_future/left/OpticalFlowIntoFuture_0006_L.pfm", 7)
    put(f"{flows}/into_past/left/OpticalFlowIntoPast_0007_L.pfm", -7)


def curated(put):
    images(put, "clip/000000.png", "clip/000002.png").parents[1].joinpath("pairs.json").write_text(
        '[["clip/000000.png", "clip/000002.png"]]'
    )


LAYOUTS = {
    "curated": (curated, 1, "clip/000000-000002", None),
    "sintel": (sintel, 2, "alley_1/frame_0001", 1),
    "kitti2015": (kitti("image_2"), 2, "000000_10", 3),
    "kitti2012": (kitti("colored_0"), 2, "000000_10", 3),
    "kitti2015_multiview": (multiview("image_2"), 15, "000000_00", None),
    "kitti2012_multiview": (multiview("image_0"), 15, "000000_00", None),
    "kitti_raw": (raw, 2, "2011_09_26_drive_0001_sync/02/0000000000", None),
    "chairs": (chairs, 2, "00001", 1),
    "middlebury": (middlebury, 2, "Beanbags", None),
    "hd1k": (hd1k, 3, "000000_0008", 2),
    "spring": (spring, 1, "0001/frame_left_0001", 3),
    "things_subset": (subset, 2, "left/0000000", 4),
    "sceneflow": (sceneflow, 1, "TRAIN/A/0000/left/0006", 7),
    "frames": (
        lambda put: images(put, "a/f1.png", "a/f2.png", "a/f10.png", "b/f1.png", "b/f2.png"),
        3,
        "a/f1",
        None,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_and_read(tmp_path, put, name):
    write, length, first, motion = LAYOUTS[name]
    write(put)
    dataset = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert type(dataset) is DATASETS[name] and dataset.name == name
    samples = [dataset[index] for index in range(len(dataset))]
    assert len(samples) == length and len({sample.name for sample in samples}) == length
    assert samples[0].name == first and samples[0].image1.shape == (6, 8, 3)
    if motion is None:
        assert samples[0].flow12 is None
    else:
        assert (samples[0].flow12 == motion).all() and samples[0].flow12.shape == (6, 8, 2)
        assert samples[0].valid1.shape == (6, 8)


def test_every_path_dataset_is_tested_here():
    assert set(LAYOUTS) == set(DATASETS) - {"synthetic", "video", "packed", "shards"}


@pytest.mark.parametrize("name", ["spring", "things_subset", "sceneflow"])
def test_backward_flow_belongs_to_the_second_frame(tmp_path, put, name):
    LAYOUTS[name][0](put)
    sample = open_dataset(tmp_path)[0]
    assert (sample.flow21 == -sample.flow12).all() and sample.valid2.all()


def test_sintel_masks_mark_what_is_invalid_and_occluded(tmp_path, put):
    sintel(put)
    labelled, plain = open_dataset(tmp_path)
    assert not labelled.valid1.any() and not labelled.visible1.any()
    assert plain.valid1.all() and plain.visible1 is None
    assert open_dataset(tmp_path, render="final")[0].image2[0, 0, 0] == 10


def test_things_occlusions_mark_what_is_not_visible(tmp_path, put):
    subset(put)
    first, second = open_dataset(tmp_path)
    assert not first.visible1.any() and second.visible1 is None


def test_kitti_masks_come_from_noc_and_the_object_map(tmp_path, put):
    kitti("image_2")(put)
    valid = np.zeros((6, 8), bool)
    valid[:, :4] = True
    write_flow(tmp_path / "training/flow_noc/000000_10.png", np.zeros((6, 8, 2)), valid)
    first, second = open_dataset(tmp_path)
    assert np.array_equal(first.visible1, valid) and first.valid1.all() and first.foreground1.all()
    assert second.visible1 is None and second.foreground1 is None


def test_multiview_leaves_the_labelled_pairs_out(tmp_path, put):
    images(put, *[f"training/image_2/000000_{n:02d}.png" for n in range(21)])
    names = [sample.name for sample in open_dataset(f"kitti2015_multiview={tmp_path}")]
    assert names == [f"000000_{n:02d}" for n in (*range(8), *range(13, 20))]


def test_chairs_split_file_chooses_the_pairs(tmp_path, put):
    chairs(put)
    (tmp_path / "FlyingChairs_train_val.txt").write_text("2\n1\n")
    assert [s.name for s in open_dataset(tmp_path, split="training")] == ["00002"]
    assert [s.name for s in open_dataset(tmp_path, split="validation")] == ["00001"]


def test_frames_are_as_far_apart_as_asked(tmp_path, put):
    images(put, *[f"f{n}.png" for n in range(5)])
    sample = open_dataset(tmp_path, step=3)[1]
    assert (sample.image1[0, 0, 0], sample.image2[0, 0, 0]) == (10, 40)


PARTS = {
    "a part": (kitti("image_2"), "training"),
    "a part further down": (kitti("image_2"), "training/image_2"),
    "a part without frames": (sintel, "training"),
    "a part of frames": (sintel, "training/clean"),
}


def broken(name, put, tmp_path):
    """Make one of the bad inputs below tmp_path; returns the source to open."""
    if name == "nowhere":
        return tmp_path / "nowhere"
    if name == "empty":
        return tmp_path
    if name == "text":
        (tmp_path / "notes.txt").write_text("x")
        return tmp_path
    if name == "one image":
        put("only.png")
    if name in PARTS:
        write, part = PARTS[name]
        write(put)
        return tmp_path / part
    if name == "second frame gone":
        kitti("image_2")(put)
        (tmp_path / "training/image_2/000001_11.png").unlink()
    if name == "flow folder gone":
        subset(put)
        shutil.rmtree(tmp_path / "train/flow")
    if name == "split file gone":
        chairs(put)
        return ("data", {"split": "training"})
    if name == "no such pass":
        sintel(put)
        return ("data", {"render": "dirty"})
    if name == "no such option":
        sintel(put)
        return ("data", {"depth": 3})
    if name == "named wrongly":
        return f"spring={tmp_path}"
    if name == "step 0":
        images(put, "a.png", "b.png")
        return ("data", {"step": 0})
    return tmp_path


BAD_SOURCES = [
    ("nowhere", "nowhere does not exist"),
    ("empty", "holds nothing: no data set is recognised"),
    ("text", r"holds notes\.txt: no data set is recognised"),
    ("one image", "holds no pair of frames"),
    ("a part", r"looks like the root of kitti2015; give that\.$"),
    ("a part further down", r"looks like the root of kitti2015; give that\.$"),
    ("a part without frames", r"looks like the root of sintel; give that\.$"),
    ("a part of frames", "looks like the root of sintel; give that, or frames=.*clean for its frames without labels"),
    ("second frame gone", r"000001_11\.png is missing"),
    ("flow folder gone", r"train/flow is not a folder; expected ROOT/train/image_clean"),
    ("split file gone", r"has no FlyingChairs_train_val\.txt"),
    ("no such pass", "no pass 'dirty'; expected one of clean, final"),
    ("no such option", "sintel has no option depth; expected some of root, render, split"),
    ("named wrongly", "is not a folder; expected ROOT/train/0001/frame_left"),
    ("step 0", "step between the frames .* is 0"),
]


@pytest.mark.parametrize(("name", "sentence"), BAD_SOURCES, ids=[row[0] for row in BAD_SOURCES])
def test_a_bad_source_is_said(tmp_path, put, name, sentence):
    source = broken(name, put, tmp_path)
    source, options = (tmp_path, source[1]) if isinstance(source, tuple) else (source, {})
    with pytest.raises(InputError, match=sentence):
        open_dataset(source, **options)


def test_a_part_can_be_taken_for_frames(tmp_path, put):
    sintel(put)
    assert len(open_dataset(f"frames={tmp_path}/training/clean")) == 2


@pytest.mark.parametrize("name", ["spring", "things_subset", "sceneflow"])
def test_one_camera_may_be_asked_for(tmp_path, put, name):
    LAYOUTS[name][0](put)
    assert len(open_dataset(f"{tmp_path}?cameras=left")) == len(open_dataset(f"{tmp_path}?cameras=[left]"))
    with pytest.raises(InputError, match=f"{name} has no camera mid; expected some of left, right"):
        open_dataset(f"{tmp_path}?cameras=[left, mid]")


def test_frames_of_mixed_sizes_are_said_with_both_names(tmp_path, put):
    put("a.png"), put("b.png", scale=2)
    with pytest.raises(InputError, match=r"a\.png is 8x6 and .*b\.png is 16x12"):
        open_dataset(tmp_path)[0]


def test_a_flow_of_another_size_than_its_image_is_said(tmp_path, put):
    chairs(put)
    put("data/00001_flow.flo", scale=2)
    with pytest.raises(InputError, match=r"00001_flow\.flo has a flow for 16x12 pixels"):
        open_dataset(tmp_path)[0]


def test_a_mask_of_another_size_than_its_image_is_said(tmp_path, put):
    sintel(put)
    put("training/occlusions/alley_1/frame_0001.png", scale=2)
    with pytest.raises(InputError, match=r"frame_0001\.png is 16x12, its image 8x6"):
        open_dataset(tmp_path)[0]


@pytest.mark.parametrize("name", ["sintel", "spring", "sceneflow", "kitti_raw", "hd1k"])
def test_frames_around_a_missing_one_are_no_pair(tmp_path, put, name):
    """Nor is a picture that is no frame."""
    LAYOUTS[name][0](put)
    dataset = open_dataset(tmp_path)
    last = dataset.pairs[0].image2
    later = re.sub(r"\d+$", lambda number: f"{int(number[0]) + 50:0{len(number[0])}d}", last.stem)
    for stem in (later, "preview", "²"):
        shutil.copy(last, last.with_name(stem + last.suffix))
    assert [pair.name for pair in open_dataset(tmp_path).pairs] == [pair.name for pair in dataset.pairs]


def test_a_folder_that_is_not_ours_to_look_into_is_left_alone(tmp_path, put, monkeypatch):
    LAYOUTS["frames"][0](put)
    (tmp_path / "lost+found").mkdir()
    looked_into = Path.iterdir

    def guarded(path):
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return looked_into(path)

    monkeypatch.setattr(Path, "iterdir", guarded)
    assert len(open_dataset(tmp_path)) == 3


@pytest.mark.parametrize("option", ["step=1.5", "step=abc", "step=true"])
def test_an_option_of_another_kind_is_said(tmp_path, put, option):
    LAYOUTS["frames"][0](put)
    with pytest.raises(InputError, match="is no whole number"):
        open_dataset(f"{tmp_path}?{option}")
    with pytest.raises(InputError, match="camera=x of the dataset synthetic is no number"):
        open_dataset("synthetic?camera=x")
