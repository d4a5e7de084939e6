"""`mdflow` itself: its help, its version, a verb that there is not."""

import pytest

import mdflow
from mdflow.commands import VERBS, main


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    """The exit status of a command that argparse ends, and what it printed to both streams."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return (stop.value.code, *capsys.readouterr())


def test_help_has_a_line_for_each_verb(capsys):
    status, out, _ = said(capsys, "--help")
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert status == 0
    assert all([verb, what] in lines for verb, what in VERBS.items())


def test_the_version_is_told(capsys):
    assert said(capsys, "--version") == (0, f"mdflow {mdflow.__version__}\n", "")


def test_a_mistyped_verb_gets_the_one_that_is_meant(capsys):
    assert said(capsys, "pretain", "--steps", "3") == (
        2,
        "",
        "mdflow: Unknown verb 'pretain': did you mean 'pretrain'?\n",
    )
