"""Results on the test sets in the layouts that the benchmarks' servers take."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mdflow.data.io import write_flow
from mdflow.data.kitti import Kitti2012, Kitti2015
from mdflow.data.sample import Dataset
from mdflow.data.sintel import Sintel
from mdflow.inference import Predictor
from mdflow.results import make_folder

KITTI_LARGEST = 511.0
"""The largest displacement in pixels that KITTI's 16-bit PNG holds, rounded down (its development kit)."""

Part = tuple[Dataset, str]


def sintel_parts(root: Path) -> Iterator[Part]:
    """clean/SCENE/frame_0001.flo and final/...: the two folders that Sintel's bundler takes."""
    for render in ("clean", "final"):
        yield Sintel(root, render, split="test"), f"{render}/{{}}.flo"


def kitti2015_parts(root: Path) -> Iterator[Part]:
    """flow/000000_10.png."""
    yield Kitti2015(root, split="testing"), "flow/{}.png"


def kitti2012_parts(root: Path) -> Iterator[Part]:
    """000000_10.png at the top."""
    yield Kitti2012(root, split="testing"), "{}.png"


SUBMISSIONS: dict[str, Callable[[Path], Iterator[Part]]] = {
    "sintel": sintel_parts,
    "kitti2015": kitti2015_parts,
    "kitti2012": kitti2012_parts,
}


def write_submission(predictor: Predictor, benchmark: str, root: Path, folder: Path) -> Path:
    """Predict the benchmark's test set at `root` into folder/BENCHMARK and its zip, which is returned.

    Raises InputError if the test split is not there or the folder cannot be written.
    """
    target = folder / benchmark
    written = [
        _write_flow(predictor, dataset, index, target, layout)
        for dataset, layout in SUBMISSIONS[benchmark](root)
        for index in tqdm(range(len(dataset)), desc=layout.format(benchmark), unit="pair", leave=False)
    ]
    archive = folder / f"{benchmark}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in written:
            file.write(path, path.relative_to(target))
    return archive


def _write_flow(predictor: Predictor, dataset: Dataset, index: int, target: Path, layout: str) -> Path:
    sample = dataset[index]
    path = target / layout.format(sample.name)
    make_folder(path.parent)
    flow = predictor(sample.image1, sample.image2)
    if path.suffix == ".png":
        flow = np.clip(flow, -KITTI_LARGEST, KITTI_LARGEST)
    write_flow(path, flow)
    return path
