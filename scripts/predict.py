"""`mdflow predict` for a checkout."""

import sys

from mdflow.commands import main

sys.exit(main(["predict", *sys.argv[1:]]))
