"""The cost volume and the census as fast as a device allows; mdflow.correlation and mdflow.losses choose among them."""

from importlib.util import find_spec

HAS_TRITON = find_spec("triton") is not None
