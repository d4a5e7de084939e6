"""From float to 8-bit integers in stages: calibration, quantisation-aware training, an ONNX file of integers."""

import argparse
from pathlib import Path

from mdflow import qat
from mdflow.checkpoint import save_network
from mdflow.commands.predictor import STAGES, name_and_checkpoint, open_weights, parse_size, stage_file
from mdflow.commands.training import add_learning_arguments, build_config, open_held_out, open_training_data
from mdflow.config import QuantizeConfig
from mdflow.data.sample import spread
from mdflow.deployment.calibration import calibrate, choose_floats, distance
from mdflow.deployment.export import compare, write_model
from mdflow.deployment.integer import to_integer_onnx
from mdflow.deployment.profile import shares_of_modules
from mdflow.deployment.quantize import convolutions, fold_normalization, quantize
from mdflow.errors import InputError
from mdflow.inference import Predictor
from mdflow.networks.network import FlowNetwork
from mdflow.reports.tables import text_table
from mdflow.results import make_folder
from mdflow.runs.folder import open_run

PAIRS = 16
COMPARED = 3  # pairs, between the integers' file and their simulation
FLOATS = 22.0  # percent; more costs time, less costs slow motion (docs/deployment.md, measured)
SIZE = (448, 1024)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow quantize`; those of training are for --stage qat."""
    parser.add_argument("--network", required=True, metavar="NAME[=FILE]", help="the network, with its float weights")
    parser.add_argument("--checkpoint", metavar="FILE", help="float weights; by default those that come with mdflow")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the network")
    parser.add_argument("--stage", required=True, choices=[stage for stage in STAGES if stage != "float"])
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"to calibrate on ({PAIRS})")
    parser.add_argument(
        "--floats",
        type=float,
        default=FLOATS,
        metavar="PERCENT",
        help=f"of the multiply-adds that may stay in floats, where rounding costs most ({FLOATS}; 0: none)",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the folder of the stages")
    crop, images = ("x".join(map(str, size)) for size in (QuantizeConfig().augment.crop, SIZE))
    parser.add_argument(
        "--size",
        type=parse_size,
        metavar="HxW",
        help=f"what qat sees of a frame (default {crop}), or the images that int is for ({images})",
    )
    add_learning_arguments(parser, QuantizeConfig)


def run(arguments: argparse.Namespace) -> None:
    """Do one stage and write its file into the folder -o, where the stages before it have theirs."""
    if arguments.pairs < 1:
        raise InputError(f"--pairs {arguments.pairs} is out of range; expected 1 or more.")
    if not 0 <= arguments.floats <= 100:
        raise InputError(f"--floats {arguments.floats} is out of range; expected a percentage from 0 to 100.")
    path = arguments.out / STAGES[arguments.stage]
    goes_on = arguments.resume and arguments.stage == "qat"
    if path.exists() and not (arguments.overwrite or goes_on):
        raise InputError(f"'{path}' exists; use --overwrite to replace it, or another -o.")
    make_folder(arguments.out)
    {"calibration": run_calibration, "qat": run_qat, "int": run_integers}[arguments.stage](arguments)
    remove_later(arguments.out, arguments.stage)
    print(f"Wrote {path}, {path.stat().st_size / 2**20:.2f} MiB.")


def remove_later(folder: Path, stage: str) -> None:
    """Remove the files of the stages after this one: they were made of what has been replaced."""
    stages = list(STAGES)
    for later in stages[stages.index(stage) + 1 :]:
        (folder / STAGES[later]).unlink(missing_ok=True)


def run_calibration(arguments: argparse.Namespace) -> None:
    """Write float.safetensors and calibration.safetensors; print what each convolution does to the flow."""
    name, checkpoint = name_and_checkpoint(arguments.network, arguments.checkpoint)
    network = open_weights(name, checkpoint, arguments.option)
    if not convolutions(network):
        raise InputError(f"'{name}' has no convolution to quantise; choose another network.")
    save_network(arguments.out / STAGES["float"], network)
    fold_normalization(network)
    samples = spread(open_training_data(config_of(arguments)), arguments.pairs)
    print(f"Quantising each convolution of {name} alone, to see what that does: a minute or some.", flush=True)
    ranges, moved = calibrate(network, samples)
    shares = shares_of_modules(network, moved)
    floats = choose_floats(moved, shares, arguments.floats, shuffled(network))
    print(listing(moved, shares, floats))
    integers = [name for name in moved if name not in floats]
    if not integers:
        raise InputError(f"--floats {arguments.floats} leaves no convolution in integers; allow less.")
    quantized = quantize(network, ranges, integers)
    save_network(arguments.out / STAGES["calibration"], quantized)
    flows = [Predictor(network)(sample.image1, sample.image2) for sample in samples]
    print(f"{len(integers)} of {len(moved)} convolutions, {share_of(integers, shares)} of the multiply-adds, ", end="")
    print(f"in integers move the flow by {100 * distance(quantized, samples, flows):.2f} % of 1 px + its length.")
    print(f"The other convolutions, {share_of(floats, shares)}, warping and upsampling stay in floats.")


def listing(moved: dict[str, float], shares: dict[str, float], floats: list[str]) -> str:
    """A table of the convolutions, the most sensitive first; how far in percent of 1 px + the flow's length."""
    heads = ["convolution, quantised alone", "moves the flow by %", "% of multiply-adds", "computes in"]
    rows = [
        [name, f"{100 * one:.3f}", f"{shares[name]:.2f}", "floats" if name in floats else "integers"]
        for name, one in moved.items()
    ]
    return text_table(heads, rows)


def shuffled(network: FlowNetwork) -> list[str]:
    """The grouped convolutions that are no depthwise ones."""
    return [name for name, layer in convolutions(network).items() if 1 < layer.groups < layer.in_channels]


def share_of(names: list[str], shares: dict[str, float]) -> str:
    """Their part of the multiply-adds in words."""
    return f"{sum(shares[name] for name in names):.1f} %"


def run_qat(arguments: argparse.Namespace) -> None:
    """Train the calibrated network to do as the float one does."""
    config = config_of(arguments, out=arguments.out / "qat")
    teacher, learner = (stage_network(arguments, stage) for stage in ("float", "calibration"))
    dataset, held_out = open_training_data(config), open_held_out(config)
    folder = open_run(config, arguments.resume, arguments.overwrite)
    qat.run(config, teacher, learner, dataset, held_out, folder)
    save_network(arguments.out / STAGES["qat"], learner)


def run_integers(arguments: argparse.Namespace) -> None:
    """Write the ONNX file of the last stage that is there, compared with its simulation in floats."""
    stage = "qat" if (arguments.out / STAGES["qat"]).exists() else "calibration"
    network = stage_network(arguments, stage)
    size = tuple(arguments.size) if arguments.size else SIZE
    path = arguments.out / STAGES["int"]
    write_model(to_integer_onnx(network, size), path)
    config = config_of(arguments, data__synthetic__size=size)
    samples = [one for one in spread(open_training_data(config), COMPARED) if fits(one.image1.shape, size)]
    if samples:
        found = compare(network, path, samples)
        print(f"The integers of the stage {stage} for images up to {size[0]}x{size[1]} differ from its simulation by ")
        print(f"{found.largest:.2g} px at most, {found.mean:.2g} px on average.")


def fits(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether an image of a shape (height, width, ...) is no larger than a size (height, width)."""
    return shape[0] <= size[0] and shape[1] <= size[1]


def config_of(arguments: argparse.Namespace, **flags: object) -> QuantizeConfig:
    """The settings of the stage qat, of which the others need the data."""
    flags = {"out": arguments.out, **flags}
    return build_config(QuantizeConfig, argparse.Namespace(**{**vars(arguments), "out": flags.pop("out")}), **flags)


def stage_network(arguments: argparse.Namespace, stage: str) -> FlowNetwork:
    """The network of a stage before."""
    name, _ = name_and_checkpoint(arguments.network, arguments.checkpoint)
    return open_weights(name, stage_file(str(arguments.out), stage), arguments.option)
