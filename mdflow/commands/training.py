"""What the training verbs share: flags, config, data, the network to start from."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mdflow.commands.predictor import parse_size
from mdflow.config import AUTO, SHIPPED, UNTRAINED, NetworkConfig, PretrainConfig, RunConfig, SuperviseConfig
from mdflow.data import open_datasets, split_options, split_weight
from mdflow.data.batches import Cached
from mdflow.data.sample import Dataset
from mdflow.data.tolerant import Tolerant, left_out_of
from mdflow.errors import InputError
from mdflow.networks.network import FlowNetwork
from mdflow.runs.folder import RunFolder, open_run
from mdflow.settings import Config, build
from mdflow.system import ranks
from mdflow.system.storage import write_whole
from mdflow.training import pick_device
from teachers import has_shipped, load, untrained

HELD_OUT_SEED = 1_000_000  # added to the synthetic seed: scenes that no training sees


def add_training_arguments(parser: argparse.ArgumentParser, kind: type[RunConfig], start: str = UNTRAINED) -> None:
    """The flags of all training verbs; their help says the defaults of `kind`, and `start`, that of --init."""
    defaults = kind()
    crop = "x".join(map(str, defaults.augment.crop))
    parser.add_argument("-o", "--out", type=Path, metavar="RUN", help=f"the run folder (default {defaults.out})")
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help=f"weights to start from, shipped, or untrained (default {start})"
    )
    parser.add_argument(
        "--size", type=parse_size, metavar="HxW", help=f"what the network sees of a frame (default {crop})"
    )
    add_learning_arguments(parser, kind)


def add_learning_arguments(parser: argparse.ArgumentParser, kind: type[RunConfig]) -> None:
    """The flags of whatever learns: from which data, how long, by which settings."""
    defaults = kind()
    sources = " ".join(defaults.data.sources)
    parser.add_argument(
        "--data", nargs="+", metavar="PATH", help=f"videos, folders, dataset roots, or synthetic (default {sources})"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.SUB=VALUE", help="one setting")
    parser.add_argument("--steps", type=int, help=f"(default {defaults.steps})")
    parser.add_argument("--batch-size", type=int, help=f"(default {defaults.batch_size})")
    parser.add_argument("--seed", type=int, help=f"(default {defaults.seed})")
    parser.add_argument("--device", help=f"cpu, cuda, or auto (default {defaults.device})")
    parser.add_argument("--checkpoint-every", type=int, metavar="N", help=f"(default {defaults.checkpoint_every})")
    parser.add_argument("--resume", action="store_true", help="go on where the run folder's checkpoint stopped")
    parser.add_argument("--overwrite", action="store_true", help="start anew in a folder that holds a run")


def build_config(
    kind: type[Config], arguments: argparse.Namespace, base: dict[str, Any] | None = None, **flags: Any
) -> Config:
    """The verb's config from its file, flags and --set, over `base` in place of some of its defaults."""
    return build(
        kind,
        arguments.config,
        arguments.set,
        base,
        out=arguments.out,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        augment__crop=arguments.size,
        seed=arguments.seed,
        device=arguments.device,
        checkpoint_every=arguments.checkpoint_every,
        data__sources=arguments.data,
        **flags,
    )


def make_network(config: NetworkConfig, run: RunConfig) -> FlowNetwork:
    """The network to train, from config.init: a file's weights with the options recorded there, or new by the seed.

    Raises InputError if it has nothing to train, or cannot take the run's crops.
    """
    torch.manual_seed(run.seed)
    start = start_of(config)
    if start == UNTRAINED:
        network = untrained(config.name, **config.options)
    else:
        network = load(config.name, None if start == SHIPPED else start, **config.options)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"'{config.name}' has no weights to train; choose another network.")
    height, width = run.augment.crop
    if height % network.stride or width % network.stride:
        raise InputError(
            f"The crop {height}x{width} does not fit '{config.name}'; give a --size of multiples of {network.stride}."
        )
    return network.to(pick_device(run.device))


def start_of(config: NetworkConfig) -> str:
    """Where the network's weights come from: a file, SHIPPED or UNTRAINED."""
    start = str(config.init)
    if start == AUTO:
        start = SHIPPED if has_shipped(config.name) else UNTRAINED
    return start


def origin_of(config: NetworkConfig) -> str:
    """Where the network's weights come from, for people."""
    start = start_of(config)
    return {UNTRAINED: "from scratch", SHIPPED: "from the shipped weights"}.get(start, f"from {start}")


def announce(folder: RunFolder, config: RunConfig, learners: Sequence[tuple[NetworkConfig, int]]) -> None:
    """Say what learns, from which start, for how many steps, from which data, into which folder."""
    if folder.writes:
        each = " and ".join(f"{one.name}, {origin_of(one)}, for {steps} steps" for one, steps in learners)
        print(f"Training {each}, on {', '.join(config.data.sources)}, into {config.out}.", flush=True)


def train_one(
    kind: type[PretrainConfig] | type[SuperviseConfig],
    train: Callable[[Any, FlowNetwork, Dataset, Dataset, RunFolder], None],
    arguments: argparse.Namespace,
    trained_base: dict[str, Any] | None = None,
) -> None:
    """Train one network by `train` as the arguments say, then write network.safetensors into the run folder.

    trained_base: the defaults that differ where the network starts from trained weights.
    """
    ranks.join()
    flags = {"network__name": arguments.network, "network__init": arguments.init}
    config = build_config(kind, arguments, **flags)
    if start_of(config.network) != UNTRAINED:
        config = build_config(kind, arguments, trained_base, **flags)
    network = make_network(config.network, config)
    dataset, held_out = open_training_data(config), open_held_out(config)
    folder = open_run(config, arguments.resume, arguments.overwrite)
    announce(folder, config, [(config.network, config.steps)])
    folder.keep_start(network=network)
    try:
        train(config, network, dataset, held_out, folder)
    finally:
        list_left_out(folder, dataset)
    write_result(folder, "network", network)


def list_left_out(folder: RunFolder, dataset: Dataset) -> None:
    """Write what could not be read to left_out.txt in the run folder, if there is anything."""
    sentences = left_out_of(dataset)
    if sentences and folder.writes:
        path = folder.path / "left_out.txt"
        write_whole(path, "".join(f"{sentence}.\n" for sentence in sentences).encode())
        print(f"{len(sentences)} files or pairs could not be read and were left out; '{path}' lists them.")


def write_result(folder: RunFolder, name: str, network: FlowNetwork) -> None:
    """Write trained weights into the run folder, and say so once."""
    path = folder.save_network(name, network)
    if folder.writes:
        print(f"Wrote {path}.")


def open_training_data(config: RunConfig) -> Dataset:
    """The dataset to train on, in memory if config.data.cache."""
    dataset = Tolerant(open_sources(config, config.data.sources), config.data.unreadable)
    return Cached(dataset) if config.data.cache else dataset


def open_held_out(config: RunConfig) -> Dataset:
    """What a training is judged on: data.held_out, or synthetic scenes that it does not see, or its own pairs.

    Label-free scores over-fit little, so for a user's own material the training pairs may serve.
    """
    unseen = {"length": config.score_pairs, "seed": config.data.synthetic.seed + HELD_OUT_SEED}
    sources = config.data.held_out or [without_seed(source) for source in config.data.sources]
    try:
        return Cached(open_sources(config, sources, **unseen))
    except InputError as error:
        if not config.data.held_out:
            raise
        raise InputError(
            f"What the run is judged on, the setting data.held_out, cannot be used: {str(error).rstrip('.')}; give "
            "--set 'data.held_out=[PATH]', or --set 'data.held_out=[]' to judge on the data that it learns from."
        ) from error


def without_seed(source: str) -> str:
    """A source of synthetic scenes without a seed and a length of its own; another source as it is."""
    plain, weight = split_weight(source)
    name, _ = split_options(plain)
    if name != "synthetic":
        return source
    kept = "&".join(part for part in plain.partition("?")[2].split("&") if not part.startswith(("seed=", "length=")))
    return name + (f"?{kept}" if kept else "") + (f":{weight:g}" if weight is not None else "")


def open_sources(config: RunConfig, sources: Sequence[str], **synthetic: object) -> Dataset:
    """The sources, of which a supervised run takes the labelled pairs; `synthetic` replaces settings of that set."""
    settings = config.data.synthetic.model_dump() | synthetic
    return open_datasets(sources, labelled=isinstance(config, SuperviseConfig), **settings)
