"""Flow of a pair of images, a folder of frames, or a video."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from mdflow.commands.predictor import (
    STAGES,
    add_predictor_arguments,
    make_predictor,
    name_and_checkpoint,
    open_network,
    require_empty_folder,
    stage_file,
)
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.footage import Footage, open_footage
from mdflow.results import Results

if TYPE_CHECKING:
    from mdflow.inference import Predictor

FORMATS = ("flo", "png", "npy", "pfm", "flo5")
FRAMES_PER_SECOND = 24.0
NETWORK = "fastflownet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow predict`."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="two images, a folder of frames, a video")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="the folder of the results")
    parser.add_argument(
        "--network", metavar="NAME[=FILE]", help=f"the network, with its checkpoint or 'untrained' (default {NETWORK})"
    )
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help="a file of mdflow export instead of a network; needs no PyTorch"
    )
    add_predictor_arguments(parser)
    parser.add_argument("--stage", choices=STAGES, help="of a --checkpoint folder that mdflow quantize wrote")
    parser.add_argument(
        "--both", action="store_true", help="also the backward flow, the occlusions, and a figure of all"
    )
    parser.add_argument(
        "--format", choices=[*FORMATS, "none"], default="flo", help="of the flow files; none: pictures only"
    )
    parser.add_argument(
        "--pictures",
        choices=["png", "mp4"],
        help="files or a video; default: as the input",
    )
    parser.add_argument("--scale", type=float, metavar="PIXELS", help="the speed that has full colour")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty; files of other names stay"
    )


def run(arguments: argparse.Namespace) -> None:
    """Predict every pair of consecutive frames and say what was written."""
    if arguments.scale is not None and not arguments.scale > 0:
        raise InputError(f"The scale {arguments.scale} is out of range; expected a speed above 0 pixels.")
    if arguments.out.suffix and not arguments.out.exists():
        raise InputError(f"'{arguments.out}' looks like a file; give a folder for the results.")
    footage = open_footage(arguments.inputs)
    predictor = choose_predictor(arguments)
    require_empty_folder(arguments.out, arguments.overwrite)
    as_video = arguments.pictures == "mp4" or (arguments.pictures is None and footage.rate is not None)
    rate = (footage.rate or FRAMES_PER_SECOND) if as_video else None
    form = None if arguments.format == "none" else arguments.format
    with Results(arguments.out, form, rate, arguments.scale) as results:
        pairs = predict(predictor, footage, results, arguments.both)
    for sentence in footage.unreadable:
        print(f"Left out: {sentence}")
    print(f"Wrote the flow of {pairs} pair(s) to {arguments.out}.")


def choose_predictor(arguments: argparse.Namespace) -> "Predictor | OnnxPredictor":
    """What --network or --onnx names."""
    if arguments.onnx:
        if arguments.network or arguments.checkpoint or arguments.stage:
            raise InputError("An ONNX file is a network with its weights; leave out --network, --checkpoint, --stage.")
        return make_predictor(OnnxPredictor(arguments.onnx), arguments)
    name, checkpoint = name_and_checkpoint(arguments.network or NETWORK, arguments.checkpoint)
    return make_predictor(open_network(name, stage_file(checkpoint, arguments.stage), arguments.option), arguments)


def predict(predictor: "Predictor | OnnxPredictor", footage: Footage, results: Results, both: bool) -> int:
    """Write the results of every pair; return how many there were."""
    count = 0
    for name, image1, image2 in tqdm(footage.pairs(), total=len(footage.names) - 1, unit="pair", leave=False):
        if both:
            results.write_both(name, image1, image2, predictor.both(image1, image2))
        else:
            results.write_forward(name, predictor(image1, image2))
        count += 1
    return count
