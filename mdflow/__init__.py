"""Real-time optical flow for your own footage, learned from unlabelled video."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mdflow.inference import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> object:
    # `import mdflow` alone answers at once: torch is loaded with the first name that needs it.
    if name == "Predictor":
        from mdflow.inference import Predictor

        return Predictor
    raise AttributeError(f"module 'mdflow' has no attribute '{name}'")
