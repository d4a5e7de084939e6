"""Sets in few large files, on a disk or behind a URL: one packed file, or tar shards."""
