"""What a training says by itself when it goes wrong: losses that are not finite, and flow that collapses."""

import logging

from safetensors.torch import save

from mdflow.data.batches import Batch
from mdflow.errors import InputError
from mdflow.networks.network import FlowNetwork
from mdflow.runs.folder import RunFolder
from mdflow.system import ranks
from mdflow.system.storage import write_whole, writing

LARGEST_BAD_ROW = 20  # steps with a loss that is not finite, one after the other, before the run stops
KEPT_BATCHES = 5  # of a stage, for study
NOT_YET = 0.1  # the share of the steps in which a network may stand still or call everything occluded
STILL = 0.05  # a flow shorter than this share of the true motion stands still ...
WORTH_MOVING = 0.5  # ... where that motion is longer than this, in pixels
BLIND = 5.0  # percent of visible pixels, under which everything counts as occluded

log = logging.getLogger(__name__)


class Watch:
    """Looks at the steps and examinations of one stage, tells of trouble, and ends a run that cannot recover."""

    def __init__(self, folder: RunFolder, stage: str, steps: int) -> None:
        self.folder, self.stage, self.steps = folder, stage, steps
        self.bad_row = self.kept = 0
        self.said: set[str] = set()

    def step(self, number: int, good: bool, batch: Batch, average: FlowNetwork) -> None:
        """Count a step whose loss or gradient was not finite and keep its batch.

        Raises InputError after LARGEST_BAD_ROW of them in a row, once the averaged weights, which no bad step has
        changed, are saved.
        """
        if good:
            self.bad_row = 0
            return
        self.bad_row += 1
        if self.kept < KEPT_BATCHES:
            self.kept += 1
            self.keep(number, batch)
        if self.bad_row < LARGEST_BAD_ROW:
            return
        path = self.folder.save_network(f"checkpoints/good_{self.stage}", average)
        raise InputError(
            f"The loss was not finite for {self.bad_row} steps in a row; the last good weights are in '{path}'. "
            "Start from them (--init) with a smaller optimiser.learning_rate."
        )

    def keep(self, number: int, batch: Batch) -> None:
        """Save a batch for study in bad_batches/, each rank its share, and say so."""
        path = self.folder.path / "bad_batches" / f"{self.stage}_{number:07d}_{ranks.number()}.safetensors"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save({name: value.cpu().contiguous() for name, value in batch.items()}))
        log.warning(
            "step %d of %s is skipped: loss or gradient not finite; its batch is '%s'", number, self.stage, path
        )

    def examined(self, finished: int, figures: dict[str, float]) -> None:
        """Say once that a network has collapsed, and again only if it had recovered in between."""
        if finished < NOT_YET * self.steps:
            return
        moving = figures.get("motion", 0.0)
        speed = figures.get("speed", moving)
        self.say(
            "still",
            moving > WORTH_MOVING and speed < STILL * moving,
            f"after step {finished} of {self.stage} the flow is {speed:.2f} px long where the frames move by "
            f"{moving:.1f} px: the network has collapsed to zero flow; lower loss.smooth1, begin with smaller motion "
            "(data.resize, data.frame), or start from trained weights (--init shipped)",
        )
        visible = figures.get("visible", 100.0)
        self.say(
            "blind",
            visible < BLIND,
            f"after step {finished} of {self.stage} only {visible:.1f} % of the pixels pass for visible: the flows of "
            "both directions contradict each other; without labels that teaches almost nothing: set loss.occlusion to "
            "range_map, raise loss.forward_backward_from, or start from trained weights (--init shipped)",
        )

    def say(self, trouble: str, present: bool, sentence: str) -> None:
        """One warning for each time that a trouble begins."""
        if present and trouble not in self.said:
            log.warning("%s", sentence)
        (self.said.add if present else self.said.discard)(trouble)
