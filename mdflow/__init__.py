"""Real-time optical flow for your own footage, learned from unlabelled video."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mdflow.inference import Predictor

__all__ = ["Predictor", "__version__"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    # `import mdflow` alone answers at once: torch is loaded with the first name that needs it.
    if name == "Predictor":
        from mdflow.inference import Predictor

        return Predictor
    if name == "__version__":
        from importlib.metadata import version

        return version("mdflow")
    raise AttributeError(f"module 'mdflow' has no attribute '{name}'")
