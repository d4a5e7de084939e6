"""`mdflow pretrain` for a checkout."""

import sys

from mdflow.commands import main

if __name__ == "__main__":
    sys.exit(main(["pretrain", *sys.argv[1:]]))
