"""Let a teacher and a student network teach each other on unlabelled video (MDFlow's stages 2 and 3)."""

import argparse
from pathlib import Path

from mdflow import distill
from mdflow.commands.training import (
    add_training_arguments,
    announce,
    build_config,
    list_left_out,
    make_network,
    open_held_out,
    open_training_data,
    write_result,
)
from mdflow.config import DistillConfig, PartnerConfig
from mdflow.runs.folder import open_run
from mdflow.system import ranks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow distill`."""
    parser.add_argument(
        "--teacher", metavar="NAME", help="the light network, which teaches first (default fastflownet)"
    )
    parser.add_argument("--student", metavar="NAME", help="the strong network (default raft_small)")
    parser.add_argument("--student-init", type=Path, metavar="FILE", help="its weights to start from, as --init")
    parser.add_argument("--rounds", type=int, help="how often both learn (default 1)")
    add_training_arguments(parser, DistillConfig, "shipped where there are such")


def run(arguments: argparse.Namespace) -> None:
    """Train both, then write teacher.safetensors and student.safetensors into the run folder."""
    ranks.join()
    config = build_config(
        DistillConfig,
        arguments,
        teacher__name=arguments.teacher,
        teacher__init=arguments.init,
        student__name=arguments.student,
        student__init=arguments.student_init,
        rounds=arguments.rounds,
    )
    teacher = make_network(config.teacher, config)
    student = make_network(config.student, config)
    dataset, held_out = open_training_data(config), open_held_out(config)
    folder = open_run(config, arguments.resume, arguments.overwrite)
    announce(folder, config, learners_of(config))
    folder.keep_start(teacher=teacher, student=student)
    try:
        distill.run(config, teacher, student, dataset, held_out, folder)
    finally:
        list_left_out(folder, dataset)
    for name, network in (("teacher", teacher), ("student", student)):
        write_result(folder, name, network)


def learners_of(config: DistillConfig) -> list[tuple[PartnerConfig, int]]:
    """Both networks in the order of their turns, each with its steps in all rounds."""
    turns = zip((config.student, config.teacher), config.turns(), strict=True)
    return [(learner, config.rounds * steps) for learner, steps in turns]
