"""Let a teacher and a student network teach each other on unlabelled video (MDFlow's stages 2 and 3)."""

import argparse
from pathlib import Path

from mdflow import distill
from mdflow.commands.training import (
    add_training_arguments,
    build_config,
    list_left_out,
    make_network,
    open_held_out,
    open_training_data,
    write_result,
)
from mdflow.config import DistillConfig
from mdflow.runs.folder import open_run
from mdflow.system import ranks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow distill`."""
    parser.add_argument(
        "--teacher", metavar="NAME", help="the light network, which teaches first (default fastflownet)"
    )
    parser.add_argument("--student", metavar="NAME", help="the strong network (default raft_small)")
    parser.add_argument("--student-init", type=Path, metavar="FILE", help="the student's weights to start from")
    parser.add_argument("--rounds", type=int, help="how often both learn (default 1)")
    add_training_arguments(parser)


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
    folder.keep_start(teacher=teacher, student=student)
    try:
        distill.run(config, teacher, student, dataset, held_out, folder)
    finally:
        list_left_out(folder, dataset)
    for name, network in (("teacher", teacher), ("student", student)):
        write_result(folder, name, network)
