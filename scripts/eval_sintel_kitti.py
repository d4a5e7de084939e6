"""`mdflow evaluate` for a checkout."""

import sys

from mdflow.commands import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
