"""`mdflow pretrain` for a checkout."""

import sys

from mdflow.commands import main

sys.exit(main(["pretrain", *sys.argv[1:]]))
