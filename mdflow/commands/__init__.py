"""The command line: `mdflow VERB ...`, one module a verb.

This is the top room of the house: it may import teachers, which the library below never does.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mdflow.errors import InputError, hint
from mdflow.system.memory import keep_objects, keep_pages
from mdflow.system.stopping import STATUS, Stopped
from mdflow.system.threads import wait_asleep

INTERRUPTED = 130  # 128 + SIGINT, as shells count

VERBS = {
    "quickstart": "the whole job in minutes on small synthetic scenes",
    "curate": "choose what of videos is worth learning from",
    "pretrain": "learn a network from unlabelled video",
    "adapt": "make a network better on your own footage, without labels, and report it",
    "distill": "let a teacher and a student network teach each other on unlabelled video",
    "supervise": "train a network with labels",
    "evaluate": "measure a network on Sintel, KITTI and other labelled sets",
    "predict": "flow of a pair, a folder of frames or a video",
    "demo": "a page in the browser: drop a video or images, see flow, occlusion and confidence",
    "export": "a network as one ONNX file for any runtime, checked against PyTorch",
    "quantize": "from float to 8-bit integers: calibrate, train, write an ONNX file",
    "shard": "pairs in tar files of a thousand, for collections larger than a disk",
    "pack": "any dataset or videos in one memory-mapped file",
    "profile": "what a network costs, by block, and how long it takes in each precision",
    "networks": "list the networks, what they cost and which checkpoints are known",
}


class Parser(argparse.ArgumentParser):
    """One sentence for flags that cannot be used, before which argparse's own prints the usage of all."""

    def error(self, message: str) -> NoReturn:
        """End the process with the sentence, and where to look."""
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows what it takes.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status: 0, 2 for input that cannot be used, 143 or 130 if stopped (SIGTERM, Ctrl+C)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    verb = choose_verb(arguments)
    wait_asleep()
    seldom_bars()
    try:
        # A verb's module is imported only when it is used: `mdflow --help` answers without loading torch.
        module = importlib.import_module(f"mdflow.commands.{verb}")
        verb_parser = Parser(prog=f"mdflow {verb}", description=module.__doc__)
        module.add_arguments(verb_parser)
        verb_parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parsed = verb_parser.parse_args(arguments[1:])
        keep_pages()
        keep_objects()
        module.run(parsed)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); what is left in the buffer must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        if parsed.debug:
            raise
        print(f"mdflow {verb}: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(
            f"mdflow {verb}: {stop} The same command with --resume goes on and writes the weights at its end.",
            file=sys.stderr,
        )
        return STATUS
    except KeyboardInterrupt:
        print(f"\nmdflow {verb}: interrupted.", file=sys.stderr)
        return INTERRUPTED
    return 0


def seldom_bars() -> None:
    """Let progress bars that go to a file write a line each half a minute, not ten a second."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "30")  # read when tqdm is imported


def choose_verb(arguments: list[str]) -> str:
    """The verb that comes first; --help and --version in its place are answered, and end the process."""
    width = max(map(len, VERBS))
    parser = Parser(
        prog="mdflow",
        usage="mdflow VERB ...",
        description="Optical flow learned from unlabelled video.",
        epilog="\n".join(["verbs:", *(f"  {verb:{width}}  {what}" for verb, what in VERBS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", nargs="?", metavar="VERB", help="one of these; mdflow VERB --help shows its flags")
    parser.add_argument("--version", action="store_true", help="show the version")
    parsed = parser.parse_args(arguments[:1])
    if parsed.version:
        # Asked for here alone: the installed package's description takes a while to be found.
        from mdflow import __version__

        print(f"mdflow {__version__}")
        parser.exit()
    if parsed.verb is None:
        parser.error("no verb was given")
    if parsed.verb not in VERBS:
        parser.exit(2, f"mdflow: Unknown verb '{parsed.verb}': {hint(parsed.verb, VERBS)}\n")
    return parsed.verb
