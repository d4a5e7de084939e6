"""`mdflow distill` for a checkout."""

import sys

from mdflow.commands import main

sys.exit(main(["distill", *sys.argv[1:]]))
