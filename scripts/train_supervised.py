"""`mdflow supervise` for a checkout."""

import sys

from mdflow.commands import main

if __name__ == "__main__":
    sys.exit(main(["supervise", *sys.argv[1:]]))
