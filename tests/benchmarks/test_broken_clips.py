"""A folder of clips, many of them broken in ten ways, is trained on to the end (benchmarks/ does it with 1,000)."""

from toy import Translation

from benchmarks.broken_clips import FRAMES, WAYS, make_clips
from mdflow import pretrain
from mdflow.commands.training import list_left_out
from mdflow.config import PretrainConfig
from mdflow.data import open_dataset
from mdflow.data.batches import Cached
from mdflow.data.tolerant import Tolerant
from mdflow.runs.folder import open_run


def test_broken_clips_are_passed_over_and_listed(tmp_path, capsys):
    broken = make_clips(tmp_path / "clips", 40, share=0.25, seed=0)
    assert len({path.stem.partition("_")[2] for path in broken}) == len(WAYS) == 10
    dataset = Cached(Tolerant(open_dataset(tmp_path / "clips"), share=0.05))
    assert len(dataset) == 31 * (FRAMES - 1)  # one opens as if it were whole
    config = PretrainConfig(
        out=tmp_path / "run",
        steps=-(-len(dataset) // 4),
        batch_size=4,
        score_pairs=1,
        score_every=1000,
        data={"frame": (32, 32), "workers": 0},
        augment={"crop": (32, 32), "colour": 0, "eraser": 0},
        self_weight=0,
    )
    folder = open_run(config)
    pretrain.run(config, Translation(), dataset, dataset, folder)
    list_left_out(folder, dataset)
    listed = (tmp_path / "run" / "left_out.txt").read_text()
    assert [path.name for path in broken if path.name not in listed] == []
    assert "files or pairs could not be read and were left out" in capsys.readouterr().out
    good = {path.name for path in (tmp_path / "clips").iterdir()} - {path.name for path in broken}
    assert not any(name in listed for name in good)
