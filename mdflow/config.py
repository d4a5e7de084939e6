"""Every setting of a run, with its default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt

from mdflow.settings import Settings

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Size = tuple[Count, Count]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

# Words for weights to start from, where else a file is named.
UNTRAINED, SHIPPED, AUTO = "untrained", "shipped", "auto"


class SyntheticConfig(Settings):
    """The embedded data set; see mdflow.data.synthetic."""

    length: Count = 1000
    size: Size = (256, 320)
    motion: tuple[Positive, Positive] = (0.5, 20.0)
    seed: Seed = 0
    frames: Annotated[int, Field(ge=2)] = 2
    camera: Share = 0.4
    hard: Share = 0.0
    regular: Share = 0.0
    appearance: bool = True
    filmed: Share = 0.0
    textures: Path | None = None
    texture_count: Count = 96


class DataConfig(Settings):
    """Where frames come from: paths (each may end in :weight) or "synthetic", and how they reach the network.

    frame: what the loader cuts out, (height, width), and never less than the crop; resize: first shrink frames so that
    they just cover it. held_out: what the run is judged on; without it synthetic scenes that it does not see, or its
    own pairs. cache: keep decoded frames in memory after the first epoch, for sets that fit. unreadable: the share of
    samples that may be skipped as unreadable before the run stops.
    """

    sources: tuple[str, ...] = ("synthetic",)
    held_out: tuple[str, ...] = ()
    frame: Size = (256, 320)
    resize: bool = True
    cache: bool = False
    unreadable: Share = 0.01
    workers: NonNegativeInt = 1
    synthetic: SyntheticConfig = SyntheticConfig()


class AugmentConfig(Settings):
    """The augmentation A, drawn once for images, flow and masks (method: SMURF's ranges by default).

    crop: what the network sees of the frame, (height, width). zoom and stretch are ranges of log2; rotation in
    degrees; relative: how far frame 2 moves against frame 1 at most, in pixels (it changes the flow).
    Probabilities of the flips; colour: strength of the photometric part, 0 = off; asymmetric: share of pairs
    whose two frames get different colours; eraser: probability, and boxes of `eraser_size` pixels in image 2 only.
    """

    crop: Size = (192, 256)
    flip_horizontal: Share = 0.5
    flip_vertical: Share = 0.1
    zoom: tuple[float, float] = (-0.2, 0.6)
    stretch: float = 0.2
    rotation: float = 10.0
    relative: float = 0.0
    colour: Annotated[float, Field(ge=0, le=3)] = 1.0
    asymmetric: Share = 0.2
    eraser: Share = 0.5
    eraser_size: tuple[float, float] = (50.0, 100.0)


class OptimiserConfig(Settings):
    """AdamW with warm-up, a constant part and a linear decay to `final` of the rate.

    warm_up equal to constant is the one-cycle schedule. halve_at: shares of the run after each of which the rate is
    halved. decoupled: False is Adam, whose weight decay is a part of the gradient. decay_biases: biases decay too.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 4e-4
    weight_decay: Weight = 1e-5
    warm_up: Share = 0.02
    constant: Share = 0.6
    final: Share = 0.05
    halve_at: tuple[Share, ...] = ()
    decoupled: bool = True
    decay_biases: bool = True
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Share = 0.999


class RunConfig(Settings):
    """What all training verbs share. score_pairs: on how many held-out pairs a network is judged.

    keep: how many checkpoints of a stage are kept. deterministic: only operations that give the same bits again,
    where there are such.
    """

    out: Path = Path("runs/run")
    steps: Count = 1000
    batch_size: Count = 4
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    deterministic: bool = False
    checkpoint_every: Count = 500
    keep: Count = 2
    panel_every: Count = 250
    score_every: Count = 250
    score_pairs: Count = 8
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optimiser: OptimiserConfig = OptimiserConfig()


class NetworkConfig(Settings):
    """A network of mdflow.networks by name, its constructor's options, and weights to start from.

    init: a file, SHIPPED for the weights that come with mdflow, UNTRAINED for new ones by the seed, or AUTO: the
    shipped ones where there are such, else new ones.
    """

    name: str = "fastflownet"
    options: dict[str, Any] = Field(default_factory=dict)
    init: Path = Path(UNTRAINED)


class PartnerConfig(NetworkConfig):
    """A network of a distillation, which teaches what it knows: it starts from shipped weights if it can."""

    init: Path = Path(AUTO)


class UnsupervisedConfig(Settings):
    """The weights of the unsupervised terms, 0 = off, and when what applies (shares of the run).

    outputs: how many of the network's last flows count, by γ^(n−1−i). ternary is ARFlow's 3×3 mean census.
    reduced: factors of the reduced frames in which the photometric terms count once more, before reduced_until.
    smooth_at: the smoothness grid is 1/smooth_at of the image (UFlow: 4); edge is its λ; smooth_in_pixels: of the
    flow in pixels (UFlow), else as a share of the shorter side (ARFlow).
    """

    l1: Weight = 0.0
    charbonnier: Weight = 0.0
    ssim: Weight = 0.0
    census: Weight = 1.0
    census_radius: Count = 3
    ternary: Weight = 0.0
    reduced: tuple[Count, ...] = (2, 4, 8)
    reduced_until: Share = 0.5
    smooth1: Weight = 4.0
    smooth2: Weight = 0.0
    smooth_at: Count = 4
    smooth_in_pixels: bool = True
    smooth_until: Share = 1.0
    edge: Weight = 150.0
    outputs: Count = 1
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.8
    occlusion: Literal["none", "range_map", "forward_backward"] = "forward_backward"
    mask_from: Share = 0.2
    forward_backward_from: Share = 0.5
    full_image_warp: bool = True


class SupervisedConfig(Settings):
    """The supervised term: the distance of a network's flows to the truth, in pixels of full size.

    exponent: 1 is the distance itself, 0.4 its robust form; unit: what the distance is counted in (FlowNet's div_flow:
    20). gamma: the weights of the outputs, γ^(n−1−i), or level_weights: one for each output, 0 = not judged.
    full_size: coarse flows are first brought to full size; else the truth to theirs. reduction: over the pixels of
    an output. largest: faster pixels are not judged. uncertainty: the weight of learning to foretell the distance
    (U2Flow: 0.005), by a network that has a head for it.
    """

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.8
    level_weights: tuple[Weight, ...] = ()
    distance: Literal["euclidean", "l1"] = "euclidean"
    exponent: Annotated[float, Field(gt=0, le=1)] = 1.0
    unit: Positive = 1.0
    full_size: bool = False
    reduction: Literal["mean", "sum"] = "mean"
    largest: Positive | None = None
    uncertainty: Weight = 0.0


class ConfidenceConfig(Settings):
    """The reliable mask: τ as an absolute census distance (at most 46.8) or a quantile of each image; None = off.

    soft: the scale of a weight that falls with the census distance, to be used in place of τ or with it. deviation: the
    scale, in pixels, of a weight of the student's labels that falls with the deviation it foretells of them (U2Flow).
    """

    occlusion: bool = True
    threshold: float | None = None
    quantile: Share | None = 0.9
    soft: Positive | None = None
    deviation: Positive | None = None


class SuperviseConfig(RunConfig):
    """Training with labels, for a network's own published recipe and for the synthetic set.

    freeze_batch_norm: batch normalisation keeps its statistics, as in fine-tuning with small batches.
    """

    network: NetworkConfig = NetworkConfig()
    loss: SupervisedConfig = SupervisedConfig()
    freeze_batch_norm: bool = False


class QuantizeConfig(RunConfig):
    """Quantisation-aware training: a float network teaches its integer version what it sees itself.

    The synthetic scenes move as fast as frames of videos do: the ranges of a calibration clip what it never saw.
    """

    steps: Count = 500
    data: DataConfig = DataConfig(synthetic=SyntheticConfig(motion=(0.5, 96.0)))
    network: NetworkConfig = NetworkConfig()
    # The distance itself would be that of the few fastest pixels, which one rounding or another throws off.
    loss: SupervisedConfig = SupervisedConfig(exponent=0.5)
    optimiser: OptimiserConfig = OptimiserConfig(learning_rate=2e-5)  # at 1e-4 the weights wander off


class PretrainConfig(RunConfig):
    """MDFlow's stage 1: photometric training of a light network, then also against its own clean flow.

    self_weight: of the augmentation term (ARFlow), from the share `self_from` of the steps on, with a
    ramp over a tenth of the run. anchor: of the distance from the start's flow where the other frame shows nothing.
    labels: of the distance from the start's flow where it does.
    """

    network: NetworkConfig = NetworkConfig()
    loss: UnsupervisedConfig = UnsupervisedConfig()
    self_weight: Weight = 0.1
    self_from: Share = 0.6
    self_loss: SupervisedConfig = SupervisedConfig()
    anchor: Weight = 0.0
    labels: Weight = 0.0


class DistillConfig(RunConfig):
    """MDFlow's stages 2 and 3, `rounds` times: the teacher teaches the student, the student the teacher.

    teacher_steps and student_steps: steps of a stage in which that one learns; None means `steps`, 0 leaves it out (a
    student that is ahead already has nothing to learn from its teacher). unsupervised and labels: weights of the
    photometric and smoothness terms, and of the student's labels, while the teacher (the light network) learns.
    multi_frame: the weight of the student's labels for pixels that the next frame hides, from the frame before (SMURF).
    """

    teacher: PartnerConfig = PartnerConfig(name="fastflownet")
    student: PartnerConfig = PartnerConfig(name="raft_small")
    rounds: Count = 1
    teacher_steps: NonNegativeInt | None = None
    student_steps: NonNegativeInt | None = None
    loss: UnsupervisedConfig = UnsupervisedConfig(reduced=(), mask_from=0.0, forward_backward_from=0.0)
    unsupervised: Weight = 1.0
    labels: Weight = 1.0
    multi_frame: Weight = 0.0
    supervised: SupervisedConfig = SupervisedConfig()
    confidence: ConfidenceConfig = ConfidenceConfig()

    def turns(self) -> tuple[int, int]:
        """The steps of a round in which the student learns, and the teacher."""
        steps = self.student_steps, self.teacher_steps
        return tuple(self.steps if own is None else own for own in steps)
