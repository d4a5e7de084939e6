"""Several processes, as torchrun starts them, train as one does; a rank that dies is started again."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from toy import Pairs, Translation

from mdflow import distill, pretrain
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.errors import InputError
from mdflow.networks.network import FlowNetwork
from mdflow.runs.folder import open_run
from mdflow.system import ranks

ROOT = Path(__file__).parents[2]
SMALL = {
    "batch_size": 4,
    "steps": 3,
    "checkpoint_every": 1,
    "score_every": 2,
    "score_pairs": 1,
    "data": {"frame": (48, 48), "workers": 0},
    "augment": {"crop": (32, 32), "eraser_size": (4, 8), "eraser": 0.7, "colour": 0},
    "loss": {"mask_from": 0, "forward_backward_from": 0},
    "self_from": 0,
}


class Tiny(FlowNetwork):
    """Two convolutions over both images."""

    stride, name, options = 1, "tiny", {}

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(6, 4, 5, padding=2), nn.Tanh(), nn.Conv2d(4, 2, 5, padding=2))

    def encode(self, image1, image2):
        """The images."""
        return [image1], [image2]

    def estimate(self, features1, features2):
        """One flow, of some pixels."""
        return [5 * self.layers(torch.cat([features1[0], features2[0]], dim=1))]


def train(folder: Path) -> None:
    """A pretraining of FastFlowNet, then a distillation of two toys; rank 1 may die once in the first."""
    torch.set_num_threads(1)
    ranks.join()
    torch.manual_seed(0)
    first = PretrainConfig(out=folder / "first", **SMALL)
    network = Tiny()
    victim = Mortal(folder / "died") if "DIE" in os.environ and ranks.number() == 1 else Pairs(8, 48)
    pretrain.run(first, network, victim, Pairs(1, 48), open_run(first, resume=True))
    second = DistillConfig(out=folder / "second", **{key: SMALL[key] for key in SMALL if key != "self_from"})
    light, strong = Tiny(), Translation(0, 3)
    shared = open_run(second, resume=True)
    distill.run(second, light, strong, Pairs(8, 48), Pairs(1, 48), shared)
    for name, one in (("pretrained", network), ("teacher", light), ("student", strong)):
        shared.save_network(name, one)


class Mortal(Pairs):
    """Pairs whose reader is killed, once, in the second step."""

    def __init__(self, mark: Path) -> None:
        super().__init__(8, 48, reads=3)
        self.mark = mark

    def __getitem__(self, index: int):
        if self.reads == 0 and not self.mark.exists():
            self.mark.mkdir(parents=True)
            os.kill(os.getpid(), signal.SIGKILL)
        self.reads = max(self.reads - 1, 1 if self.mark.exists() else 0)
        return Pairs.__getitem__(Pairs(8, 48), index)


def torchrun(processes: int, folder: Path, **environment: str) -> dict[str, torch.Tensor]:
    """All weights that `train` ends with in so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths} | environment
    done = subprocess.run(
        [*command, "--max-restarts=1", __file__, str(folder)], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return weights(folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a training wrote, by network and name."""
    return {
        f"{path.stem}/{name}": value
        for path in sorted((folder / "second").glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The weights of one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(folder)
    return weights(folder)


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether all weights agree within the rounding of sums in another order."""
    assert one.keys() == other.keys()
    furthest = max(float((one[name] - other[name]).abs().max()) for name in one)
    print(f"weights differ by {furthest:.1e} at most")
    return furthest < 1e-5


def test_four_processes_learn_what_one_learns(tmp_path, alone):
    assert close(torchrun(4, tmp_path), alone)


def test_one_of_two_processes_dies_and_is_started_again_and_the_run_ends_alike(tmp_path, alone):
    found = torchrun(2, tmp_path, DIE="1")
    assert (tmp_path / "died").exists()
    assert close(found, alone)


def test_one_process_is_one_rank():
    assert (ranks.count(), ranks.number(), ranks.restarted()) == (1, 0, False)
    value = torch.rand(3)
    assert ranks.mean(value) is value
    assert torch.equal(ranks.own(value), value)
    assert ranks.from_first("state") == "state"
    assert ranks.any_of(True) and not ranks.any_of(False)


def test_groups_that_meet_in_one_store_never_mistake_one_another():
    store = dist.TCPStore("localhost", 0, is_master=True)
    for before, count in enumerate([3, 1, 4, 2]):  # machines come and go
        store.set("ask/1", "left by one that died before it had an answer")
        with ThreadPoolExecutor(count) as pool:
            clients = [dist.TCPStore("localhost", store.port) for _ in range(count)]
            found = list(pool.map(ranks.meet, clients, range(count), [count] * count))
        assert found == [before] * count


def test_a_rank_that_does_not_come_is_waited_for_no_longer_than_patience_lasts(monkeypatch):
    monkeypatch.setattr(ranks, "PATIENCE", timedelta(seconds=0.1))
    with pytest.raises(TimeoutError, match="Of 3 processes, 2 did not come"):
        ranks.meet(dist.TCPStore("localhost", 0, is_master=True), 0, 3)


def test_a_group_after_another_resumes_by_itself(monkeypatch):
    monkeypatch.setattr(ranks, "groups_before", 1)
    assert ranks.restarted()  # also where no process has failed, but a machine came


def test_each_rank_has_its_share_and_none_is_left_over(monkeypatch):
    monkeypatch.setattr(ranks, "count", lambda: 3)
    places = []
    for number in range(3):
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        places += ranks.share(6)
    assert places == list(range(6))
    with pytest.raises(InputError, match="A batch of 4 cannot be divided among 3 processes; give a --batch-size"):
        ranks.share(4)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
