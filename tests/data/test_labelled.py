import pickle

import pytest

from mdflow.data import open_dataset, open_datasets
from mdflow.data.packing.pack import pack
from mdflow.data.packing.shards import write_shards
from mdflow.errors import InputError


@pytest.fixture
def chairs(tmp_path, put):
    """Three pairs, the second without flow; the split file calls the third validation."""
    for number in (1, 2, 3):
        for frame in (1, 2):
            put(f"data/0000{number}_img{frame}.ppm", number)
    for number in (1, 3):
        put(f"data/0000{number}_flow.flo", number)
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n1\n2\n")
    return tmp_path


def test_pairs_without_flow_are_left_out_and_counted(chairs, capsys):
    dataset = open_datasets([str(chairs)], labelled=True)
    assert [dataset[index].name for index in range(len(dataset))] == ["00001", "00003"]
    assert f"'{chairs}': 1 of 3 pairs have no flow and are left out." in capsys.readouterr().out
    assert len(open_datasets([str(chairs)])) == 3


def test_a_set_with_all_its_labels_stays_as_it_is(chairs, capsys):
    assert len(open_datasets([f"{chairs}?split=validation"], labelled=True)) == 1
    assert capsys.readouterr().out == ""


def test_nothing_to_learn_from_is_an_error(tmp_path, put):
    for number in (1, 2):
        put(f"frames/{number}.png")
    with pytest.raises(InputError, match=r"None of the 1 pairs of '.*frames' has a flow .*use mdflow pretrain"):
        open_datasets([str(tmp_path / "frames")], labelled=True)


def test_a_packed_set_is_as_the_set_that_it_replaces(chairs, capsys):
    pytest.importorskip("lmdb")
    path = chairs / "chairs.lmdb"
    pack(open_dataset(chairs), str(chairs), path, workers=0)
    dataset = pickle.loads(pickle.dumps(open_datasets([str(path)], labelled=True)))
    assert [dataset[index].name for index in range(len(dataset))] == ["00001", "00003"]
    assert f"'{path}': 1 of 3 pairs have no flow and are left out." in capsys.readouterr().out
    assert len(open_datasets([str(path)])) == 3


@pytest.mark.parametrize("kind", ["packed", "shards"])
def test_packed_frames_are_no_more_to_learn_from_than_frames(tmp_path, put, kind):
    for number in (1, 2):
        put(f"frames/{number}.png")
    source, dataset = tmp_path / kind, open_dataset(tmp_path / "frames")
    if kind == "packed":
        pytest.importorskip("lmdb")
        pack(dataset, "frames", source, workers=0)
    else:
        write_shards(dataset, source)
    with pytest.raises(InputError, match=rf"None of the 1 pairs of '.*{kind}' has a flow .*use mdflow pretrain"):
        open_datasets([str(source)], labelled=True)


def test_options_come_with_the_path(chairs):
    assert len(open_dataset(f"{chairs}?split=training")) == 2
    assert len(open_dataset(f"chairs={chairs}?split=all")) == 3
    mixture = open_datasets([f"{chairs}?split=training:0.5", f"{chairs}?split=validation:0.5"])
    assert mixture.shares == [2, 2]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("split", "Cannot read the options of"),
        ("split=", "Cannot read the options of"),
        ("split=testing", "no split 'testing'"),
        ("render=final", "has no option render"),
        ("split=[training", "Cannot read the options of"),
    ],
)
def test_options_that_cannot_be_used_are_named(chairs, query, sentence):
    with pytest.raises(InputError, match=sentence.replace("[", r"\[")):
        open_dataset(f"{chairs}?{query}")
