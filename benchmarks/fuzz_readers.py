"""The readers that are fuzzed: for each, good files to start from and what mends a checksum that hides the rest."""

import io
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from mdflow.checkpoint import read_network, save_network
from mdflow.config import PretrainConfig
from mdflow.data.io import read_flow, read_image, write_flow, write_image
from mdflow.data.packing.packed import Packed
from mdflow.data.packing.shards import make_index, read_index, write_shards
from mdflow.data.sample import Sample
from mdflow.networks import create
from mdflow.runs.folder import read_checkpoint
from mdflow.settings import build, dump
from teachers.release import read_release

Read = Callable[[Path], object]


def as_it_is(content: bytes) -> bytes:
    """No repair."""
    return content


def right_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them now, so that the next check sees it."""
    whole, position = bytearray(content), 8
    while position + 12 <= len(whole):
        end = position + 12 + int.from_bytes(whole[position : position + 4])
        if end > len(whole):
            break
        whole[end - 4 : end] = zlib.crc32(whole[position + 4 : end - 4]).to_bytes(4)
        position = end
    return bytes(whole)


def right_digest(content: bytes) -> bytes:
    """A run's checkpoint with the checksum of what is in it now."""
    return sha256(content[32:]).digest() + content[32:]


def prepare(name: str, out: Path) -> tuple[Read, list[bytes], Callable[[bytes], bytes]]:
    """A reader, good files, and what mends a checksum that hides the rest."""
    path = out / name
    suffix = path.suffix
    corpus = [b""]
    if name in SPECIAL:
        read, write, repair = SPECIAL[name]
        write(path)
        return read, [*corpus, path.read_bytes()], repair
    repair = right_checksums if suffix == ".png" else as_it_is
    if name.startswith("flow"):
        for shape in ((3, 4, 2), (1, 1, 2)):
            write_flow(path, np.random.default_rng(0).normal(0, 5, shape).astype(np.float32))
            corpus.append(path.read_bytes())
        return read_flow, corpus, repair
    for shape in ((5, 7, 3), (8, 16, 3)):
        write_image(path, np.random.default_rng(0).integers(0, 255, shape, np.uint8))
        corpus.append(path.read_bytes())
    return read_image, corpus, repair


def write_config(path: Path) -> None:
    """A whole config of a pretraining."""
    path.write_text(dump(PretrainConfig()))


def write_weights(path: Path) -> None:
    """The smallest file of weights: a network without parameters has only its description."""
    save_network(path, create("zero"))


def write_release(path: Path) -> None:
    """A state dict as others publish it."""
    torch.save({"state_dict": {"module.weight": torch.ones(2, 3), "bias": torch.zeros(1)}}, path)


def write_checkpoint(path: Path) -> None:
    """A run's checkpoint."""
    buffer = io.BytesIO()
    torch.save({"step": 3, "best": 1.5, "learner": {"weight": torch.ones(2)}}, buffer)
    path.write_bytes(sha256(buffer.getvalue()).digest() + buffer.getvalue())


def read_config(path: Path) -> object:
    """What a verb does with --config."""
    return build(PretrainConfig, path)


def write_packed(path: Path) -> None:
    """Two pairs in a packed file."""
    from mdflow.data.packing.pack import pack

    path.unlink(missing_ok=True)
    pack(Frames(path.parent), "frames", path, workers=0)


class Frames:
    """Two small pairs."""

    name = "frames"

    def __init__(self, root: Path) -> None:
        self.root = root

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"{index}", *np.full((2, 4, 4, 3), index, np.uint8))


def read_packed(path: Path) -> object:
    """All pairs of a packed file."""
    packed = Packed(path)
    return [packed[index] for index in range(min(len(packed), 4))]


def write_index(path: Path) -> None:
    """The index of a shard."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([[512, 100, 1024, 90]]))
    path.write_bytes(buffer.getvalue())


def write_tar(path: Path) -> None:
    """A shard of one pair."""
    write_shards(Frames(path.parent), path.parent / "made", pairs=1)
    path.write_bytes((path.parent / "made" / "000000.tar").read_bytes())


def read_shard_index(path: Path) -> object:
    """A shard's index, as it lies beside it."""
    return read_index(str(path).removesuffix(".npy"))


def read_tar(path: Path) -> object:
    """A shard that has no index yet."""
    return make_index(str(path))


SPECIAL: dict[str, tuple[Read, Callable[[Path], None], Callable[[bytes], bytes]]] = {
    "config.yaml": (read_config, write_config, as_it_is),
    "weights.safetensors": (read_network, write_weights, as_it_is),
    "released.pth": (read_release, write_release, as_it_is),
    "checkpoint": (read_checkpoint, write_checkpoint, right_digest),
    "packed": (read_packed, write_packed, as_it_is),
    "shard.tar.npy": (read_shard_index, write_index, as_it_is),
    "shard.tar": (read_tar, write_tar, as_it_is),
}

SHARES = {
    "flow.flo": 20,
    "flow.pfm": 20,
    "flow.npy": 8,
    "flow.png": 12,
    "flow.flo5": 6,
    "image.png": 8,
    "image.jpg": 5,
    "image.ppm": 8,
    "image.webp": 4,
    "config.yaml": 2,
    "weights.safetensors": 5,
    "released.pth": 3,
    "checkpoint": 3,
    "packed": 2,
    "shard.tar.npy": 2,
    "shard.tar": 2,
}
"""The readers, and how many of a hundred inputs each gets: slow ones fewer."""
