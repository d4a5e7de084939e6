"""The one exception type that is meant to be read by the person at the keyboard."""

import difflib
from collections.abc import Collection


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence: what was given (with the file's name), what was expected, what to do.
    The command line prints it without a traceback and exits with status 2.
    """


def missing(what: str, extra: str) -> InputError:
    """What to raise where a package of one of setup.cfg's extras is not installed: what needs it, and how to get it.

    The name mdflow belongs to somebody else's package on PyPI, so that an extra comes with the checkout alone.
    """
    return InputError(
        f"{what}; in the checkout of mdflow: pip install --constraint constraints.txt --editable '.[{extra}]'."
    )


def hint(given: str, known: Collection[str]) -> str:
    """The clause about a name that is none of those known: the nearest of them, or else all."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.7)
    return f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
