"""Measure networks on labelled sets, by the benchmarks' rules, in one table; or by label-free scores."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdflow.commands.predictor import (
    STAGES,
    add_predictor_arguments,
    make_predictor,
    name_and_checkpoint,
    open_network,
    parse_option,
    require_empty_folder,
    require_new_file,
    stage_file,
)
from mdflow.commands.training import HELD_OUT_SEED
from mdflow.data import DATASETS, for_source, open_dataset, recognise, split_options
from mdflow.data.packing.packed import Packed
from mdflow.data.pixels import write_bytes
from mdflow.data.sample import Dataset
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.evaluate import PairResult, evaluate_pairs, figures_of
from mdflow.metrics import HOW_AVERAGED
from mdflow.networks import options_of
from mdflow.reports.tables import ERRORS, LABEL_FREE, REGIONS, figure_table
from mdflow.submission import SUBMISSIONS, write_submission

if TYPE_CHECKING:
    from mdflow.inference import Predictor

ROOTS = ("sintel", "kitti2015", "kitti2012", "chairs", "middlebury", "hd1k", "spring")
FITS_OF_SETS = {"kitti2015": "pad-bottom", "kitti2012": "pad-bottom"}
SYNTHETIC_PAIRS = 50


@dataclass(frozen=True)
class Measured:
    """One network on one set."""

    set_name: str
    source: str
    network: str
    fit: str
    results: list[PairResult]

    @property
    def labels(self) -> tuple[str, str, str]:
        """What names it in a table."""
        return self.set_name, Path(self.source).name, self.network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow evaluate`."""
    parser.add_argument(
        "--network",
        action="append",
        required=True,
        metavar="NAME[=FILE]",
        help="a network, with its checkpoint or 'untrained'; repeat it to compare several",
    )
    add_predictor_arguments(parser)
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        choices=STAGES,
        help="of a checkpoint folder that mdflow quantize wrote; repeat it to see stages side by side",
    )
    for name in ROOTS:
        parser.add_argument(f"--{name}", action="append", default=[], metavar="ROOT", help=f"a root of {name}")
    parser.add_argument(
        "--synthetic",
        nargs="?",
        type=parse_pairs,
        const=SYNTHETIC_PAIRS,
        metavar="PAIRS",
        help="held-out synthetic pairs",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="PATH",
        help='any other data, labelled or not, a dataset\'s NAME=PATH, or "synthetic"',
    )
    parser.add_argument("--label-free", action="store_true", help="the label-free scores of labelled sets too")
    parser.add_argument("--per-pair", action="store_true", help="list every pair")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="DIR",
        help="predict the test splits of the given roots for the servers",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def parse_pairs(text: str) -> int:
    """ "50" as a number of pairs."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of pairs; expected 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    """Print the tables, or write the submissions."""
    if arguments.submission:
        submit(arguments)
        return
    if arguments.json:
        require_new_file(arguments.json, arguments.overwrite)
    sets = list(chosen_sets(arguments))
    if not sets:
        flags = " ".join(f"--{name}" for name in ROOTS)
        raise InputError(f"No set to measure on was given; use {flags} ROOT, --synthetic, or --data PATH.")
    measured = list(measure(arguments, sets))
    print(report(measured, arguments.per_pair))
    if arguments.json:
        write_bytes(arguments.json, json.dumps(as_json(measured, arguments.per_pair), indent=2).encode() + b"\n")


def chosen_sets(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Dataset]]:
    """(name, source, dataset) of every set that the flags ask for; Sintel's passes are sets of their own."""
    for name in ROOTS:
        for root in getattr(arguments, name):
            yield from sets_at(name, root)
    pairs = arguments.synthetic or (SYNTHETIC_PAIRS if "synthetic" in arguments.data else None)
    if pairs:
        yield "synthetic", "synthetic", DATASETS["synthetic"](length=pairs, seed=HELD_OUT_SEED)
    for source in (source for source in arguments.data if source != "synthetic"):
        if split_options(source)[0] == "synthetic":
            unseen = for_source(source, {"length": SYNTHETIC_PAIRS, "seed": HELD_OUT_SEED})
            yield "synthetic", source, open_dataset(source, **unseen)
            continue
        name, _, root = source.partition("=")
        named = bool(root) and name in DATASETS  # else a folder of that name, or an option's = behind the path
        yield from sets_at(name, root) if named else sets_at(recognise_source(source), source)


def recognise_source(source: str) -> str:
    """The name of the dataset at a path, behind which options may stand."""
    path = source.partition("?")[0]
    if not Path(path).exists():
        raise InputError(f"'{path}' does not exist; expected a data set's root, a video, or a folder of frames.")
    return recognise(Path(path))


def sets_at(name: str, root: str) -> Iterator[tuple[str, str, Dataset]]:
    """The dataset of that name at a root, or packed in a file: for Sintel one a pass that is there."""
    name = "packed" if Packed.recognises(Path(root)) else name
    passes = [render for render in ("clean", "final") if (Path(root) / "training" / render).is_dir()]
    if name == "sintel" and passes:
        for render in passes:
            yield f"sintel {render}", root, open_dataset(f"sintel={root}", render=render)
    else:
        dataset = open_dataset(f"{name}={root}")
        yield dataset.name if name == "packed" else name, root, dataset


def chosen_networks(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str | None]]:
    """(what it is called in the table, network name, checkpoint) of every --network."""
    if arguments.checkpoint and len(arguments.network) > 1:
        raise InputError("One --checkpoint cannot serve several networks; write --network NAME=FILE for each.")
    for text in arguments.network:
        name, checkpoint = name_and_checkpoint(text, arguments.checkpoint)
        if not arguments.stage:
            yield text, name, checkpoint
        for stage in arguments.stage:
            yield f"{text} {stage}", name, stage_file(checkpoint, stage)


def measure(arguments: argparse.Namespace, sets: list[tuple[str, str, Dataset]]) -> Iterator[Measured]:
    """Every network on every set; all networks are opened before the first is measured."""
    chosen = list(chosen_networks(arguments))
    options = own_options(arguments.option, [name for _, name, _ in chosen])
    networks = [(label, open_network(name, checkpoint, options[name])) for label, name, checkpoint in chosen]
    for set_name, source, dataset in sets:
        fit = arguments.fit or FITS_OF_SETS.get(set_name, "pad")
        for label, network in networks:
            predictor = make_predictor(network, arguments, fit)
            results = list(evaluate_pairs(predictor, dataset, arguments.label_free, progress=True))
            yield Measured(set_name, source, label, shown_fit(predictor, fit, arguments.size), results)


def own_options(options: list[str], names: list[str]) -> dict[str, list[str]]:
    """Those of the options that each network has; InputError for one that no network has."""
    if not options:
        return {name: [] for name in names}  # a network in an ONNX file may have any name
    keys = {option: parse_option(option)[0] for option in options}
    known = {name: options_of(name) for name in names}
    for key in keys.values():
        if not any(key in own for own in known.values()):
            has = "; ".join(f"'{name}' has {', '.join(own) or 'none'}" for name, own in known.items())
            raise InputError(f"None of the networks has an option {key}: {has}.")
    return {name: [option for option in options if keys[option] in own] for name, own in known.items()}


def shown_fit(predictor: "Predictor | OnnxPredictor", fit: str, size: list[int] | None) -> str:
    """How frames met the network, in words; an exported file pads by itself."""
    if isinstance(predictor, OnnxPredictor):
        return "pad (in the file)"
    return f"{fit} {size[0]}x{size[1]}" if size else fit


def report(measured: list[Measured], per_pair: bool) -> str:
    """The protocol and the tables."""
    heads = ("set", "data", "network")
    rows = [(one.labels, figures_of(one.results)) for one in measured]
    labelled, label_free = figure_table(heads, rows, ERRORS), figure_table(heads, rows, LABEL_FREE)
    tables = [labelled, figure_table(heads, rows, REGIONS), label_free]
    if per_pair:
        pairs = [((*one.labels, pair.name), figures_of([pair])) for one in measured for pair in one.results]
        tables += [figure_table((*heads, "pair"), pairs, columns[1:]) for columns in (ERRORS, LABEL_FREE)]
    return "\n\n".join([protocol(measured, bool(labelled), bool(label_free)), *filter(None, tables)])


def protocol(measured: list[Measured], labelled: bool, label_free: bool) -> str:
    """How the figures that there are were taken, in words."""
    sets_by_fit: dict[str, list[str]] = {}
    for one in measured:
        sets_by_fit.setdefault(one.fit, []).append(one.set_name)
    fits = "; ".join(f"{fit}: {', '.join(dict.fromkeys(names))}" for fit, names in sets_by_fit.items())
    lines = [f"How frames meet the stride (docs/evaluation.md): {fits}."]
    if labelled:
        lines += [HOW_AVERAGED, "Only pixels with known flow count. A number in brackets: of so many pairs only."]
    if labelled and any(one.set_name.startswith("kitti") for one in measured):
        lines.append("KITTI: EPE and Fl-all are over flow_occ, matched/noc over flow_noc.")
    if label_free:
        lines.append(
            "Without labels: score and census are census distances, consistency |forward + backward flow|; less is "
            "better."
        )
    return "\n".join(lines)


def as_json(measured: list[Measured], per_pair: bool) -> dict[str, object]:
    """The same as data: keys as mdflow.metrics.summarise and mdflow.quality name them."""
    return {
        "averages": HOW_AVERAGED,
        "results": [
            {
                "set": one.set_name,
                "data": one.source,
                "network": one.network,
                "fit": one.fit,
                "figures": figures_of(one.results),
                **({"pairs": {pair.name: figures_of([pair]) for pair in one.results}} if per_pair else {}),
            }
            for one in measured
        ],
    }


def submit(arguments: argparse.Namespace) -> None:
    """Write the submission of each benchmark whose root is given."""
    roots = submission_roots(arguments)
    networks = list(chosen_networks(arguments))
    if not roots or len(networks) > 1:
        flags = " ".join(f"--{name} ROOT" for name in SUBMISSIONS)
        raise InputError(f"A submission needs one --network and some of {flags}.")
    require_empty_folder(arguments.submission, arguments.overwrite)
    _, name, checkpoint = networks[0]
    network = open_network(name, checkpoint, arguments.option)
    for benchmark, root in roots.items():
        predictor = make_predictor(network, arguments, FITS_OF_SETS.get(benchmark, "pad"))
        print(f"Wrote {write_submission(predictor, benchmark, Path(root), arguments.submission)}.")


def submission_roots(arguments: argparse.Namespace) -> dict[str, str]:
    """The root of each benchmark to submit to; InputError for two of one, or flags that have no effect here."""
    given = {name: getattr(arguments, name) for name in SUBMISSIONS if getattr(arguments, name)}
    if any(len(roots) > 1 for roots in given.values()):
        raise InputError("A submission is of one root of a benchmark; give each once.")
    unused = {"--json": arguments.json, "--label-free": arguments.label_free, "--per-pair": arguments.per_pair}
    unused |= {"--data": arguments.data, "--synthetic": arguments.synthetic}
    unused |= {f"--{name}": getattr(arguments, name) for name in ROOTS if name not in SUBMISSIONS}
    flags = [flag for flag, value in unused.items() if value]
    if flags:
        raise InputError(f"A submission measures nothing; leave out {', '.join(flags)}.")
    return {name: roots[0] for name, roots in given.items()}
