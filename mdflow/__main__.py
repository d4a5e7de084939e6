"""`python -m mdflow VERB ...`."""

import sys

from mdflow.commands import main

sys.exit(main())
