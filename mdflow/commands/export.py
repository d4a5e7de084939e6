"""A network as one ONNX file for any runtime: two images in, full-resolution flow in pixels out."""

import argparse
from pathlib import Path

from mdflow.commands.predictor import name_and_checkpoint, open_weights, parse_size, require_new_file
from mdflow.data import open_dataset
from mdflow.data.sample import Sample, spread
from mdflow.deployment.export import Difference, compare, to_onnx, write_model
from mdflow.deployment.frame import WHITE
from mdflow.deployment.integer import to_integer_onnx
from mdflow.errors import InputError
from mdflow.fitting import Size

SIZE = (448, 1024)
# Largest and mean, of the largest flow.
DIFFERENCES = (1e-2, 2e-4)  # at most 3e-3 and 5e-5 were seen
INTEGER_DIFFERENCES = (0.5, 2e-2)  # a value near the middle between two steps may fall to either side
PAIRS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow export`."""
    parser.add_argument("--network", required=True, metavar="NAME[=FILE]", help="the network, with its checkpoint")
    parser.add_argument("--checkpoint", metavar="FILE", help="its weights; by default those that come with mdflow")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the network")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the .onnx file")
    parser.add_argument("--size", type=parse_size, default=SIZE, metavar="HxW", help="of the images (448x1024)")
    parser.add_argument("--dynamic", action="store_true", help="take images of any size; exporting takes some minutes")
    parser.add_argument(
        "--images", choices=sorted(WHITE), default="uint8", help="what it takes: float is 0..1, uint8 0..255 (uint8)"
    )
    parser.add_argument("--int8", action="store_true", help="in integers; --checkpoint is a file of mdflow quantize")
    parser.add_argument("--data", metavar="PATH", default="synthetic", help="images to check the file on")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")


def run(arguments: argparse.Namespace) -> None:
    """Export, compare with PyTorch, and only then say that it is done; a file that differs is removed."""
    require_new_file(arguments.out, arguments.overwrite)
    name, checkpoint = name_and_checkpoint(arguments.network, arguments.checkpoint)
    network = open_weights(name, checkpoint, arguments.option)
    if arguments.out.suffix != ".onnx":
        raise InputError(f"'{arguments.out}' is no name of an ONNX file; give one that ends in .onnx.")
    size = tuple(arguments.size)
    samples = images_of(arguments.data, size, arguments.dynamic)
    print(f"Exporting {name}, which takes a minute or some.", flush=True)
    to_model = to_integer_onnx if arguments.int8 else to_onnx
    write_model(to_model(network, size, arguments.dynamic, arguments.images), arguments.out)
    difference = compare(network, arguments.out, samples)
    scale = max(difference.largest_flow, 1)
    largest, mean = INTEGER_DIFFERENCES if arguments.int8 else DIFFERENCES
    if difference.largest > largest * scale or difference.mean > mean * scale:
        arguments.out.unlink()
        raise InputError(f"The exported '{name}' differs from PyTorch by {in_words(difference)}.")
    takes = "any size" if arguments.dynamic else f"{size[0]}x{size[1]}"
    print(
        f"Wrote {arguments.out}, {arguments.out.stat().st_size / 2**20:.1f} MiB: two (1,3,H,W) {arguments.images} RGB"
    )
    print(f"images of {takes} in, (1,2,H,W) float32 flow in pixels out. On {len(samples)} pairs of {arguments.data} it")
    print(f"differs from PyTorch by {in_words(difference)}.")


def images_of(source: str, size: Size, any_size: bool) -> list[Sample]:
    """A few samples to check on, spread over the data; InputError if none has the size that the file takes.

    Where the file takes any size, synthetic ones have two.
    """
    if source == "synthetic":
        sizes = [size, (size[0] * 2 // 3 | 1, size[1] // 2 | 1)] if any_size else [size]
        scenes = [open_dataset(source, length=PAIRS, size=one) for one in sizes]
        return [scene[index] for scene in scenes for index in range(PAIRS)]
    dataset = open_dataset(source)
    samples = spread(dataset, PAIRS)
    fitting = [sample for sample in samples if any_size or sample.image1.shape[:2] == size]
    if not fitting:
        found = " ".join(dict.fromkeys("x".join(map(str, sample.image1.shape[:2])) for sample in samples))
        raise InputError(f"The file takes {size[0]}x{size[1]}, '{source}' has {found}; give one of these as --size.")
    return fitting


def in_words(difference: Difference) -> str:
    """At most and on average, in pixels."""
    return (
        f"{difference.largest:.2g} px at most and {difference.mean:.2g} px on average, "
        f"where the largest flow is {difference.largest_flow:.1f} px"
    )
