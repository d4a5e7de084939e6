"""Pairs in tar files: for collections larger than a disk, read where they lie, on disks or behind URLs.

The layout is webdataset's: KEY.image1.jpg and KEY.image2.jpg follow one another in a tar file. Beside SHARD.tar lies
SHARD.tar.npy, its index, with which any pair is one read. So a collection of any size is an ordinary dataset, its
batches a function of (seed, step): shared out among ranks and workers, and resumed, as every other.
"""

import io
import tarfile
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mdflow.data.containers import Damage
from mdflow.data.files import entries, natural
from mdflow.data.io import decode_image
from mdflow.data.npy import read_npy
from mdflow.data.order import runs_of
from mdflow.data.packing.ranges import Ranges, is_url, whole
from mdflow.data.parts import locate, stretches
from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError
from mdflow.system.storage import write_whole, writing

INDICES_AT_ONCE = 64
PARTS = ("image1", "image2")


class Shards:
    """The pairs of a .tar file, of all in a folder, or of those that a text file lists, a path or URL a line.

    Memory holds the shards' names and lengths, and the indices of the last INDICES_AT_ONCE that were used.
    """

    name = "shards"

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.sources = list_shards(self.root)
        self.ends = np.cumsum([count_pairs(source) for source in self.sources])
        self.indices: OrderedDict[int, np.ndarray] = OrderedDict()
        self.ranges = Ranges()

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the path is a tar file or a folder with one in it."""
        return root.suffix == ".tar" or any(path.suffix == ".tar" for path in entries(root))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Sample:
        shard, place = locate(self.ends, index)
        source, (start1, size1, start2, size2) = self.sources[shard], self.index(shard)[place].tolist()
        first, last = min(start1, start2), max(start1 + size1, start2 + size2)
        content = self.ranges.read(source, first, last - first)  # the two are neighbours: one read
        images = [
            decode_image(content[start - first : start - first + size], f"pair {place} of {source}")
            for start, size in ((start1, size1), (start2, size2))
        ]
        if images[0].shape != images[1].shape:
            raise InputError(f"The images of pair {place} of {source} differ in size.")
        return Sample(f"{Path(source).stem}/{place:06d}", *images)

    def runs(self) -> list[range]:
        """One run a shard: few are open at a time."""
        return stretches(self.ends)

    def index(self, shard: int) -> np.ndarray:
        """Where the pairs of a shard lie, (n,4): start and size of either image."""
        if shard not in self.indices:
            self.indices[shard] = read_index(self.sources[shard])
            if len(self.indices) > INDICES_AT_ONCE:
                self.indices.popitem(last=False)
        self.indices.move_to_end(shard)
        return self.indices[shard]


def list_shards(root: Path) -> list[str]:
    """The sources of all shards, in natural order or as listed."""
    if root.suffix == ".tar":
        return [str(root)]
    if root.is_file():
        lines = [line.strip() for line in whole(str(root)).decode(errors="replace").splitlines()]
        found = [line if is_url(line) else str(root.parent / line) for line in lines if line]
    else:
        found = [str(path) for path in sorted(entries(root), key=natural) if path.suffix == ".tar"]
    if not found:
        raise InputError(f"{root} names no shard; expected .tar files, or a text file with a path or URL a line.")
    return found


def index_of(source: str) -> str:
    """Where the index of a shard lies."""
    return f"{source}.npy"


def count_pairs(source: str) -> int:
    """How many pairs a shard has; a local one without an index gets one."""
    if is_url(source):
        return len(read_index(source))
    path = Path(index_of(source))
    if not path.exists():
        save_index(source, make_index(source))
    return len(read_index(source))


def read_index(source: str) -> np.ndarray:
    """The index of a shard (n,4) int64; InputError when it is no such."""
    content = whole(index_of(source))
    try:
        found = read_npy(content)
    except Damage as damage:
        raise InputError(f"{index_of(source)} cannot be read: {damage}; delete it, it is made anew.") from damage
    if found.dtype != np.int64 or found.ndim != 2 or found.shape[1] != 4:
        raise InputError(f"{index_of(source)} is no index of a shard; delete it, it is made anew.")
    if not len(found) or (found < 0).any() or (found > 2**48).any():
        raise InputError(f"{index_of(source)} points nowhere; delete it, it is made anew.")
    return found


def make_index(source: str) -> np.ndarray:
    """Find the pairs of a shard in one pass over its headers; names are compared, never used as paths."""
    rows, waiting = [], {}
    try:
        with tarfile.open(source, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # tarfile would remember them all
                key, part = split_name(member.name)
                if member.isfile() and part in PARTS:
                    waiting.setdefault(key, {})[part] = (member.offset_data, member.size)
                    if len(waiting[key]) == len(PARTS):
                        found = waiting.pop(key)
                        rows.append([*found["image1"], *found["image2"]])
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"{source} cannot be read as a tar file: {error}.") from error
    if not rows:
        raise InputError(f"{source} holds no pair; expected members KEY.image1.jpg and KEY.image2.jpg.")
    return np.array(rows, np.int64)


def split_name(name: str) -> tuple[str, str]:
    """ "folder/KEY.image1.jpg" as "folder/KEY" and "image1"."""
    folder, slash, base = name.rpartition("/")
    key, _, rest = base.partition(".")
    return folder + slash + key, rest.partition(".")[0]


def save_index(source: str, rows: np.ndarray) -> None:
    """Write the index beside its shard; several processes may do so at once."""
    buffer = io.BytesIO()
    np.save(buffer, rows)
    path = Path(index_of(source))
    own = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    write_whole(own, buffer.getvalue())
    with writing(path):
        own.replace(path)


def write_shards(dataset: Dataset, folder: Path, pairs: int = 1000, suffix: str = ".jpg") -> list[Path]:
    """Pack a dataset's pairs into shards of `pairs` each, with their indices; the shards that were written.

    suffix: how images are encoded, ".jpg" (quality 95), ".webp" or ".png" (as they are). Shards of these names stay
    until all new ones are whole.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    order = np.concatenate([np.asarray(run) for run in runs_of(dataset)])  # as they lie: no far jumps
    parts = np.split(order, range(pairs, len(order), pairs))
    paths = [folder / f"{number:06d}.tar" for number in range(len(parts))]
    partials = [path.with_name(path.name + ".partial") for path in paths]
    try:
        for partial, places in zip(partials, parts, strict=True):
            write_shard(dataset, places.tolist(), partial, suffix)
        for partial, path in zip(partials, paths, strict=True):
            Path(index_of(str(path))).unlink(missing_ok=True)  # an old index would point anywhere in the new shard
            partial.replace(path)
            save_index(str(path), make_index(str(path)))
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    return paths


def write_shard(dataset: Dataset, places: list[int], path: Path, suffix: str) -> None:
    """Pack the pairs at these places into one file."""
    with writing(path), tarfile.open(path, "w") as archive:
        for place in places:
            for name, content in encoded(dataset[place], place, suffix):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def encoded(pair: Sample, place: int, suffix: str) -> Iterator[tuple[str, bytes]]:
    """The members of a pair: name and content."""
    for part in PARTS:
        pixels = np.ascontiguousarray(getattr(pair, part)[..., ::-1])
        yield f"{place:09d}.{part}{suffix}", cv2.imencode(suffix, pixels)[1].tobytes()
