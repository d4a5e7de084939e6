"""The folder of a run: what it holds, what is read from it, what looks over the run."""
