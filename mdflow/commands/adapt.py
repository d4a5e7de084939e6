"""Adapt a network to your own footage, without labels: curation, pretraining, mutual distillation, a report."""

import argparse
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from mdflow.adapt import Candidate, Footage, Shrunk, Stage, adapt, best, judged
from mdflow.checkpoint import save_network
from mdflow.commands.curate import clips_of, curate_all
from mdflow.commands.predictor import parse_size
from mdflow.commands.training import make_network, open_training_data, origin_of
from mdflow.config import SHIPPED, UNTRAINED, DistillConfig, NetworkConfig, PretrainConfig
from mdflow.data import DATASETS, known_layout, open_dataset, recognise
from mdflow.data.batches import Cached
from mdflow.data.curation.curate import Rules
from mdflow.data.curation.curated import PAIRS_FILE, extract, require_apart
from mdflow.data.labelled import labelled_places
from mdflow.data.pixels import write_bytes
from mdflow.data.sample import Dataset
from mdflow.errors import InputError
from mdflow.evaluate import evaluate
from mdflow.examine import Examiner
from mdflow.networks import create
from mdflow.pretrain import trained_start
from mdflow.reports.adapting import Account, write_report
from mdflow.results import make_folder
from mdflow.runs.folder import check_run, open_run
from mdflow.settings import Config, build
from teachers import has_shipped

STEPS, SIZE, JUDGED_WIDTH, STUDENT = 400, [192, 256], 640, "raft_small"
FOOTAGE = ("video", "frames")  # of mdflow.data.DATASETS: what is curated
TEXTS = ("network", "init", "student", "student_init", "steps", "rounds", "batch_size", "seed", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow adapt`."""
    parser.add_argument("sources", nargs="+", metavar="VIDEO", help="videos, folders of frames, data sets")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--network", metavar="NAME", help="the network to adapt (default fastflownet)")
    parser.add_argument("--init", metavar="FILE", help="its weights, shipped (the default), or untrained")
    parser.add_argument("--student", metavar="NAME", help="the strong network of the rounds (default raft_small)")
    parser.add_argument("--student-init", metavar="FILE", help="its weights, shipped or untrained")
    parser.add_argument("--steps", type=int, help=f"of all stages together (default {STEPS})")
    parser.add_argument(
        "--rounds", type=int, default=0, help="then teach a student, and be taught by it, so often (default 0)"
    )
    parser.add_argument("--batch-size", type=int, help="(default 2)")
    parser.add_argument("--size", type=parse_size, metavar="HxW", help="what a network sees of a frame (192x256)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", help="cpu, cuda, or auto")
    parser.add_argument("--judge", nargs="+", default=[], metavar="ROOT", help="labelled sets to measure on, only")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.SUB=VALUE", help="one setting of the stages")
    parser.add_argument("--resume", action="store_true", help="go on where the run folder's checkpoint stopped")
    parser.add_argument("--overwrite", action="store_true", help="start anew in a folder that holds a run")


def run(arguments: argparse.Namespace) -> None:
    """Adapt, then write network.safetensors and report.html into the run folder."""
    refuse_what_has_no_effect(arguments)
    tests = {root: open_labelled(root) for root in arguments.judge}
    clips, roots = divided(arguments.sources)
    kinds = [PretrainConfig, DistillConfig] if arguments.rounds else [PretrainConfig]
    configs = [config_of(kind, arguments, bool(clips), roots) for kind in kinds]
    parts = [configs[0].network, *(config.student for config in configs[1:])]
    networks = [make_network(part, config) for part, config in zip(parts, configs, strict=True)]
    for config in configs:
        check_run(config, arguments.resume, arguments.overwrite)
    curated = curated_once(clips, arguments.out / "curated", arguments) if clips else []
    stages = [Stage(config, open_run(config, arguments.resume, arguments.overwrite)) for config in configs]
    for stage, part, network in zip(stages, ("network", "student"), networks, strict=False):
        stage.folder.keep_start(**{part: network})
    training = open_training_data(configs[0])
    footage = Footage(training, Cached(Shrunk(training, JUDGED_WIDTH)))
    starts = [start_sentence(part) for part in parts]
    print("\n".join([*starts, *enlarged(training, configs[0].augment.crop)]), flush=True)
    candidates = adapt(*padded(stages), *padded(networks), footage)
    examine = Examiner(footage.held_out, configs[0].score_pairs)
    others = [judged("zero flow", create("zero"), examine)]
    others += [judged(f"the student, {student.name}", student, examine) for student in networks[1:]]
    scores = {root: measured([*others, *candidates], test) for root, test in tests.items()}
    account = Account(command_of(arguments), starts, candidates, others, curated, scores)
    result = best(candidates)
    save_network(arguments.out / "network.safetensors", result.network)
    shown = {"the footage": footage.held_out} | tests
    write_report(arguments.out / "report.html", account, [stage.folder.path for stage in stages], shown)
    before, after = candidates[0].figures["score"], result.figures["score"]
    print(f"The result is '{result.name}': label-free score {before:.2f} at the start, {after:.2f} now.")
    print(f"Wrote {arguments.out}/network.safetensors and report.html.")


def refuse_what_has_no_effect(arguments: argparse.Namespace) -> None:
    """Raise InputError for settings of rounds that are not asked for, and for folders of stages."""
    keys = [setting.partition("=")[0] for setting in arguments.set]
    if "out" in keys:
        raise InputError("The stages have folders of their own in -o; leave out --set out.")
    if arguments.rounds:
        return
    given = {"--student": arguments.student, "--student-init": arguments.student_init}
    flags = [flag for flag, value in given.items() if value]
    foreign = [not belongs(setting, PretrainConfig) for setting in arguments.set]
    flags += [f"--set {key}" for key, other in zip(keys, foreign, strict=True) if other]
    if flags:
        raise InputError(f"{', '.join(flags)} has an effect in rounds alone; add --rounds 1 or more, or leave it out.")


def student_start(arguments: argparse.Namespace) -> str:
    """The weights that the student starts from, as a NetworkConfig's init."""
    return arguments.student_init or (SHIPPED if has_shipped(arguments.student or STUDENT) else UNTRAINED)


def padded(one_or_two: list[Any]) -> list[Any]:
    """Two things, the second None if there is but one."""
    return [*one_or_two, None][:2]


def divided(sources: list[str]) -> tuple[list[Path], list[str]]:
    """The clips to curate, and the data sets, which are used as they are."""
    sets = [source for source in sources if is_set(source)]
    return [clip for source in sources if source not in sets for clip in clips_of(Path(source))], sets


def is_set(source: str) -> bool:
    """Whether a source is no footage to curate: a data set by its layout, its name, or with options."""
    path = Path(source)
    if not path.exists():
        return "?" in source or source.partition("=")[0] in DATASETS
    return (recognise(path) if path.is_dir() else known_layout(path)) not in FOOTAGE


def config_of(kind: type[Config], arguments: argparse.Namespace, footage: bool, roots: list[str]) -> Config:
    """A stage's config: a budget that a CPU can bear, then the flags, then those of --set that it knows."""
    total = STEPS if arguments.steps is None else arguments.steps
    rounds = arguments.rounds
    least = 2 * (1 + rounds)
    if rounds < 0:
        raise InputError(f"--rounds {rounds} is out of range; expected 0 or more.")
    if total < least:
        shared = f"pretraining and {rounds} round(s)" if rounds else "pretraining"
        raise InputError(f"--steps {total} is too few for {shared}; expected at least {least}.")
    pretraining = kind is PretrainConfig
    first = total // 2 if rounds else total
    steps = first if pretraining else (total - first) // (2 * rounds)
    height, width = arguments.size or SIZE
    settings: dict[str, Any] = {
        "out": arguments.out / ("pretrain" if pretraining else "distill"),
        "steps": steps,
        "batch_size": 2 if arguments.batch_size is None else arguments.batch_size,
        "score_every": max(total // 10, 1),
        "panel_every": total,
        "checkpoint_every": 50,
        "data": {
            "sources": ([str(arguments.out / "curated")] if footage else []) + roots,
            "frame": [3 * height // 2, 3 * width // 2],
        },
        "augment": {"crop": [height, width]},
    }
    known = [setting for setting in arguments.set if belongs(setting, kind)]
    networks = pretrain_settings(arguments) if pretraining else distill_settings(arguments, rounds)
    return build(kind, None, known, **settings, **networks, seed=arguments.seed, device=arguments.device)


def belongs(setting: str, kind: type[Config]) -> bool:
    """Whether a --set is this stage's: one of the other stage alone is not."""
    key = setting.partition("=")[0].partition(".")[0]
    return key in kind.model_fields or key not in {**PretrainConfig.model_fields, **DistillConfig.model_fields}


def pretrain_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What pretraining alone has.

    Trained weights do not gain by their own flow on augmented frames in so few steps (docs/ablation.md, row 2); what
    they know of the pixels that leave the frame is kept (docs/adapt.md).
    """
    start = arguments.init or SHIPPED
    settings: dict[str, Any] = {"network": {"name": arguments.network or "fastflownet", "init": start}}
    if start != UNTRAINED:
        settings |= trained_start() | {"self_weight": 0.0}
    return settings


def distill_settings(arguments: argparse.Namespace, rounds: int) -> dict[str, Any]:
    """What distillation alone has. After so few steps an untrained student knows less than its teacher."""
    student, start = arguments.student or STUDENT, student_start(arguments)
    teacher = {"name": arguments.network or "fastflownet", "init": arguments.init or SHIPPED}
    known = start != UNTRAINED
    options = {"iterations": 4} if "raft" in student and not known else {}
    return {
        "teacher": teacher,
        "student": {"name": student, "init": start, "options": options},
        "rounds": rounds,
        "labels": 1.0 if known else 0.3,
        "optimiser": {"learning_rate": 1e-4 if known else 4e-4},
    }


def start_sentence(network: NetworkConfig) -> str:
    """Where a network's weights come from, for people."""
    return f"{network.name} starts {origin_of(network)}."


def enlarged(training: Dataset, crop: tuple[int, int]) -> list[str]:
    """A sentence if the first frames are smaller than what a network is to see of them; else none."""
    height, width = training[0].image1.shape[:2]
    if crop[0] <= height and crop[1] <= width:
        return []
    return [
        f"The frames of {height}x{width} are enlarged to the size {crop[0]}x{crop[1]}, which shows no more of them and "
        "takes longer at every step; a smaller --size is quicker."
    ]


def open_labelled(root: str) -> Dataset:
    """A dataset to measure on; InputError if it has no labels."""
    dataset = open_dataset(root)
    if not labelled_places(dataset):
        raise InputError(f"'{root}' holds no true flow to judge by; give the root of a labelled set.")
    return dataset


def curated_once(clips: list[Path], folder: Path, arguments: argparse.Namespace) -> list[list[str]]:
    """Curate the clips into `folder` unless an earlier start did; a row of the report for each clip."""
    record, names = folder / "clips.json", [str(clip) for clip in clips]
    anew = arguments.overwrite and not arguments.resume
    if anew or not (folder / PAIRS_FILE).exists():
        require_apart(folder, clips)
        refuse_clips_in(folder, clips)
        curations = curate_all(clips, Rules())
        if record.exists():
            shutil.rmtree(folder)
        make_folder(folder)
        write_bytes(record, json.dumps(names).encode())
        extract(curations, folder)
    elif not record.exists() or json.loads(record.read_text()) != names:
        raise InputError(f"'{folder}' was curated from other clips; repeat the same command to resume.")
    reports = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    found = {report["source"]: report for report in reports if "source" in report}
    return [curation_row(name, found.get(name)) for name in names]


def refuse_clips_in(folder: Path, clips: list[Path]) -> None:
    """Raise InputError for a clip in the folder, which is removed where an adaptation starts anew."""
    inside = [clip for clip in clips if clip.resolve().is_relative_to(folder.resolve())]
    if inside:
        raise InputError(f"'{inside[0]}' lies in '{folder}', where the curated frames go; give another -o.")


def curation_row(name: str, report: dict[str, Any] | None) -> list[str]:
    """What curation kept of a clip."""
    if report is None:
        return [name, "", "0", "all of it: nothing could be learned from it"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(report["counts"].items())) or "nothing"
    return [name, str(report["length"]), str(report["pair_count"]), reasons]


def measured(networks: list[Candidate], test: Dataset) -> dict[str, dict[str, float]]:
    """The figures of each network on a labelled set."""
    return {one.name: evaluate(one.network, test, label_free=True) for one in networks}


def command_of(arguments: argparse.Namespace) -> str:
    """The command line that does this again."""
    parts = ["mdflow", "adapt", *arguments.sources, "-o", str(arguments.out)]
    for name in TEXTS:
        if getattr(arguments, name) is not None:
            parts += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    if arguments.size:
        parts += ["--size", "x".join(map(str, arguments.size))]
    parts += ["--judge", *arguments.judge] if arguments.judge else []
    return shlex.join(parts + [part for setting in arguments.set for part in ("--set", setting)])
