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


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "mdflow: no verb was given; `mdflow --help` shows what it takes.\n"),
        ("predict a.png --size 64 -o out", "mdflow predict: argument --size: '64' is no size; expected HEIGHTxWIDTH"),
        ("predict a.png", "mdflow predict: the following arguments are required: -o/--out; `mdflow predict --help` "),
        ("predict a.png -o out --sharp", "mdflow predict: unrecognized arguments: --sharp; `mdflow predict --help` "),
    ],
)
def test_wrong_flags_are_one_sentence(capsys, command, sentence):
    status, out, error = said(capsys, *command.split())
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(sentence)
    assert error.endswith(" --help` shows what it takes.\n")
