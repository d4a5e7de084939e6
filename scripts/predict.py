"""`mdflow predict` for a checkout."""

import sys

from mdflow.commands import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
