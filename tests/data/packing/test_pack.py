import pickle
import sys

import numpy as np
import pytest

from mdflow.commands import main
from mdflow.commands.evaluate import sets_at
from mdflow.data import open_dataset
from mdflow.data.packing.pack import pack
from mdflow.data.packing.packed import ARRAYS, Packed
from mdflow.data.sample import Sample
from mdflow.errors import InputError

pytest.importorskip("lmdb")


class Few:
    """Three pairs of consecutive frames with some labels; counts what is read and stops before `stop`."""

    name = "few"

    def __init__(self, stop=None):
        self.read, self.stop = [], stop

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == self.stop:
            raise KeyboardInterrupt
        self.read.append(index)
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (4, 5, 7, 3), np.uint8)
        flow = rng.normal(size=(5, 7, 2)).astype(np.float32)
        flow[0, 0] = np.nan
        return Sample(f"{index}", frames[index], frames[index + 1], flow12=flow, valid1=flow[..., 0] > index)


def assert_equal(one, two):
    assert one.name == two.name
    for field in ARRAYS:
        a, b = getattr(one, field), getattr(two, field)
        assert (a is None) == (b is None), field
        if a is not None:
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), field


def test_samples_come_back_bit_for_bit_and_can_be_changed(tmp_path):
    assert pack(Few(), "few", tmp_path / "few.lmdb", workers=0) == 3
    packed = Packed(tmp_path / "few.lmdb")
    assert packed.name == "few" and len(packed) == 3
    for index in range(3):
        assert_equal(packed[index], Few()[index])
    assert_equal(packed[-1], Few()[2])
    with pytest.raises(IndexError):
        packed[3]
    packed[0].image1[:] = 0  # a copy: the file stays as it is
    assert_equal(packed[0], Few()[0])


def test_a_stopped_packing_goes_on_where_it_was(tmp_path):
    path = tmp_path / "few.lmdb"
    with pytest.raises(KeyboardInterrupt):
        pack(Few(stop=2), "few", path, workers=0)
    with pytest.raises(InputError, match="not whole; let `mdflow pack` with the same -o finish"):
        Packed(path)
    dataset = Few()
    assert pack(dataset, "few", path, workers=0) == 1
    assert dataset.read == [2]
    assert_equal(Packed(path)[1], Few()[1])
    with pytest.raises(InputError, match="holds 3 samples of few; give another -o"):
        pack(Few(), "others", path, workers=0)


def test_the_frame_that_two_pairs_share_is_stored_once(tmp_path):
    path = tmp_path / "few.lmdb"
    pack(Few(), "few", path, workers=0)
    store = Packed(path)
    store[0]
    assert store.store.stat()["entries"] == 1 + 3 + 4 + 1 + 3  # description, records, frames, flow, masks


def test_damage_is_found_when_it_is_read(tmp_path):
    path = tmp_path / "few.lmdb"
    pack(Few(), "few", path, workers=0)
    content = path.read_bytes()
    frame = Few()[1].image1.tobytes()
    assert frame in content
    path.write_bytes(content.replace(frame, frame[:-1] + bytes([frame[-1] ^ 1])))  # LMDB leaves old copies of pages
    packed = Packed(path)
    assert_equal(packed[2], Few()[2])
    with pytest.raises(InputError, match=r"few\.lmdb is damaged at 1; pack it anew"):
        packed[1]


def test_every_command_opens_the_file_and_it_travels_to_workers(tmp_path):
    command = ["pack", "synthetic?length=3&size=[32,40]", "-o", str(tmp_path / "scenes.lmdb"), "--workers", "1"]
    assert main(command) == 0
    packed = open_dataset(tmp_path / "scenes.lmdb")
    assert isinstance(packed, Packed) and packed.name == "synthetic"
    [(name, _, evaluated)] = sets_at("sintel", str(tmp_path / "scenes.lmdb"))
    assert isinstance(evaluated, Packed) and name == "synthetic"  # what it is, the file says
    original = open_dataset("synthetic", length=3, size=(32, 40))
    for index, sample in enumerate(original[number] for number in range(3)):
        assert_equal(pickle.loads(pickle.dumps(packed))[index], sample)


def test_a_file_that_is_cut_is_said_before_it_is_read(tmp_path):
    path = tmp_path / "few.lmdb"
    pack(Few(), "few", path, workers=0)
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(InputError, match=r"few\.lmdb is cut off; copy it again"):
        Packed(path)


@pytest.mark.parametrize(("old", "new"), [(b'"arrays"', b'"arrows"'), (b'"name": "1"', b'"name": \xff1"')])
def test_a_damaged_record_is_said(tmp_path, old, new):
    path = tmp_path / "few.lmdb"
    pack(Few(), "few", path, workers=0)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(InputError, match="damaged at sample 1; pack it anew"):
        Packed(path)[1]


def test_packing_without_lmdb_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match=r"pip install .*lmdb"):
        pack(Few(), "source", tmp_path / "packed.lmdb", workers=1)
