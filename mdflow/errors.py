"""The one exception type that is meant to be read by the person at the keyboard."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence: what was given (with the file's name), what was expected, what to do.
    The command line prints it without a traceback and exits with status 2.
    """
