"""`python -m mdflow VERB ...`."""

import sys

from mdflow.commands import main

if __name__ == "__main__":
    sys.exit(main())
