"""What a network costs: parameters, multiply-adds by block, memory, and how long it takes in each precision."""

import argparse
import json
from pathlib import Path

import torch

from mdflow.commands.predictor import UNTRAINED, open_network, parse_option, parse_size, require_new_file
from mdflow.data.pixels import write_bytes
from mdflow.deployment.latency import measure_latency
from mdflow.deployment.profile import block_costs, measure_cost
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.fitting import Size
from mdflow.inference import Predictor
from mdflow.reports.tables import text_table
from mdflow.system.processor import has_bfloat16
from teachers import blueprint

SIZE = (448, 1024)
ROUNDS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow profile`."""
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the network")
    parser.add_argument("--size", type=parse_size, default=SIZE, metavar="HxW", help="of the images (448x1024)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each way is timed ({ROUNDS}; 0: never)")
    parser.add_argument("--threads", type=int, default=1, help="how many cores each way uses (1)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too; it takes minutes to start")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="time this file of mdflow export too")
    parser.add_argument("--int8", type=Path, metavar="FILE", help="time this int.onnx of mdflow quantize too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    if arguments.rounds < 0 or arguments.threads < 1:
        raise InputError("--rounds takes 0 or more, --threads 1 or more.")
    if arguments.json:
        require_new_file(arguments.json, arguments.overwrite)
    size = tuple(arguments.size)
    ways = ways_to_run(arguments, size) if arguments.rounds else {}
    name, options = blueprint(arguments.network)
    options = {**options, **dict(parse_option(option) for option in arguments.option)}
    cost = measure_cost(name, options, size)
    if not cost.parameters:
        raise InputError(f"'{arguments.network}' has no parameters to count; choose another network.")
    blocks, memory = block_costs(name, options, size)
    print(f"{arguments.network} at {size[0]}x{size[1]}: {cost.parameters / 1e6:.2f} M parameters, ", end="")
    print(f"{cost.multiply_adds / 1e9:.2f} G multiply-adds, {memory / 2**20:.0f} MiB of activations at most.\n")
    shares = [[name, f"{count / 1e9:.3f}", f"{100 * count / cost.multiply_adds:.1f}"] for name, count in blocks.items()]
    print(text_table(["block", "G multiply-adds", "%"], shares))
    taken = measure_latency(ways, arguments.rounds)
    if taken:
        rows = [[name, f"{one.median:.1f}", f"{one.p95:.1f}"] for name, one in taken.items()]
        print("\n" + text_table([f"{arguments.threads} core(s)", "median ms", "p95 ms"], rows))
    if arguments.json:
        figures = cost._asdict() | {"blocks": blocks, "activation_bytes": memory, "size": size}
        figures["latency_ms"] = {name: one._asdict() for name, one in taken.items()}
        write_bytes(arguments.json, json.dumps(figures, indent=2).encode() + b"\n")


def ways_to_run(arguments: argparse.Namespace, size: Size) -> dict[str, object]:
    """What is timed, from two uint8 frames to the flow as an array; weights do not matter, so any will do."""
    torch.set_num_threads(arguments.threads)
    network = open_network(arguments.network, UNTRAINED, arguments.option)
    predictors = {"float32": Predictor(network)}
    if has_bfloat16(torch.device("cpu")):
        predictors["bfloat16"] = Predictor(network, precision="bfloat16")
    else:
        print("bfloat16 is not timed: this processor does not compute in it.")
    if arguments.compile:
        predictors["compiled"] = Predictor(network, compile=True)
    for name, path in (("ONNX", arguments.onnx), ("int8", arguments.int8)):
        if path:
            predictors[name] = OnnxPredictor(path, arguments.threads)
            if predictors[name].size not in (None, size):
                raise InputError(f"'{path}' is for images of another size than {size[0]}x{size[1]}; give its --size.")
    frames = torch.randint(256, (2, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    return {name: lambda call=call: call(*frames) for name, call in predictors.items()}
