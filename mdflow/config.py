"""Every setting of a run, checked where it is built: defaults, a YAML file, then key.sub=value."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mdflow.errors import InputError

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Size = tuple[Count, Count]


class Settings(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SyntheticConfig(Settings):
    """The embedded data set; see mdflow.data.synthetic."""

    length: Count = 1000
    size: Size = (256, 320)
    motion: tuple[Positive, Positive] = (0.5, 20.0)
    seed: int = 0
    frames: Annotated[int, Field(ge=2)] = 2
    camera: Share = 0.4
    appearance: bool = True
    textures: Path | None = None
    texture_count: Count = 96


class DataConfig(Settings):
    """Where frames come from: paths (each may end in :weight) or "synthetic", and how they reach the network.

    frame: what the loader cuts out, (height, width); resize: first shrink frames so that they just cover
    it. held_out: what the run is judged on; without it synthetic scenes that it does not see, or its own pairs. cache:
    keep decoded frames in memory after the first epoch, for sets that fit. unreadable: the share of samples that may
    be skipped as unreadable before the run stops.
    """

    sources: tuple[str, ...] = ("synthetic",)
    held_out: tuple[str, ...] = ()
    frame: Size = (256, 320)
    resize: bool = True
    cache: bool = False
    unreadable: Share = 0.01
    workers: Annotated[int, Field(ge=0)] = 1
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
    seed: int = 0
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

    init: a file, or "shipped" for the weights that come with mdflow; None is from scratch.
    """

    name: str = "fastflownet"
    options: dict[str, Any] = {}
    init: Path | None = None


class UnsupervisedConfig(Settings):
    """The weights of the unsupervised terms, 0 = off, and when what applies (shares of the run).

    outputs: how many of the network's last flows count, by γ^(n−1−i). ternary is ARFlow's 3×3 mean census.
    smooth_at: the smoothness grid is 1/smooth_at of the image (UFlow: 4); edge is its λ; smooth_in_pixels: of the
    flow in pixels (UFlow), else as a share of the shorter side (ARFlow).
    """

    l1: Weight = 0.0
    charbonnier: Weight = 0.0
    ssim: Weight = 0.0
    census: Weight = 1.0
    census_radius: Count = 3
    ternary: Weight = 0.0
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
    an output. largest: faster pixels are not judged.
    """

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.8
    level_weights: tuple[Weight, ...] = ()
    distance: Literal["euclidean", "l1"] = "euclidean"
    exponent: Annotated[float, Field(gt=0, le=1)] = 1.0
    unit: Positive = 1.0
    full_size: bool = False
    reduction: Literal["mean", "sum"] = "mean"
    largest: Positive | None = None


class ConfidenceConfig(Settings):
    """The reliable mask: τ as an absolute census distance (at most 46.8) or a quantile of each image; None = off.

    soft: the scale of a weight that falls with the census distance, to be used in place of τ or with it.
    """

    occlusion: bool = True
    threshold: float | None = None
    quantile: Share | None = 0.9
    soft: Positive | None = None


class SuperviseConfig(RunConfig):
    """Training with labels, for a network's own published recipe and for the synthetic set.

    freeze_batch_norm: batch normalisation keeps its statistics, as in fine-tuning with small batches.
    """

    network: NetworkConfig = NetworkConfig()
    loss: SupervisedConfig = SupervisedConfig()
    freeze_batch_norm: bool = False


class QuantizeConfig(RunConfig):
    """Quantisation-aware training: a float network teaches its integer version what it sees itself."""

    steps: Count = 500
    network: NetworkConfig = NetworkConfig()
    loss: SupervisedConfig = SupervisedConfig()
    optimiser: OptimiserConfig = OptimiserConfig(learning_rate=2e-5)


class PretrainConfig(RunConfig):
    """MDFlow's stage 1: photometric training of a light network, then also against its own clean flow.

    self_weight: of the augmentation term (ARFlow), from the share `self_from` of the steps on, with a
    ramp over a tenth of the run.
    """

    network: NetworkConfig = NetworkConfig()
    loss: UnsupervisedConfig = UnsupervisedConfig()
    self_weight: Weight = 0.1
    self_from: Share = 0.6
    self_loss: SupervisedConfig = SupervisedConfig()


class DistillConfig(RunConfig):
    """MDFlow's stages 2 and 3, `rounds` times: the teacher teaches the student, the student the teacher.

    teacher_steps and student_steps: steps of a stage in which that one learns; None means `steps`. unsupervised and
    labels: weights of the photometric and smoothness terms, and of the student's labels, while the teacher (the light
    network) learns.
    """

    teacher: NetworkConfig = NetworkConfig(name="fastflownet")
    student: NetworkConfig = NetworkConfig(name="raft_small")
    rounds: Count = 1
    teacher_steps: Count | None = None
    student_steps: Count | None = None
    loss: UnsupervisedConfig = UnsupervisedConfig()
    unsupervised: Weight = 1.0
    labels: Weight = 1.0
    supervised: SupervisedConfig = SupervisedConfig()
    confidence: ConfidenceConfig = ConfidenceConfig()


# A date that is none is a ValueError, brackets by the thousand are a RecursionError.
YAML_TROUBLE = (yaml.YAMLError, ValueError, RecursionError)

Config = TypeVar("Config", bound=Settings)


def build(kind: type[Config], file: Path | None = None, overrides: list[str] | None = None, **flags: Any) -> Config:
    """A config of `kind` from its defaults, then a YAML file, then flags that are not None, then "key.sub=value".

    A flag's double underscore is a dot. Raises InputError naming every wrong key (with the nearest right
    one) and every value out of range.
    """
    values = read_yaml(file) if file else {}
    for key, value in flags.items():
        if value is not None:
            put(values, key.split("__"), value)
    for override in overrides or []:
        key, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"Cannot read the setting '{override}'; expected key.sub=value.")
        put(values, key.split("."), parse_value(override, text))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(explain(kind, problem) for problem in error.errors())) from error


def dump(config: Settings) -> str:
    """The config as YAML that `build` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        values = plain_yaml(Path(file).read_text())
    except OSError as error:
        raise InputError(f"Cannot read the config '{file}': {error.strerror}.") from error
    except YAML_TROUBLE as error:
        raise InputError(f"The config '{file}' is not valid YAML: {' '.join(str(error).split())}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The config '{file}' holds a {type(values).__name__}; expected key: value lines.")
    return values


def plain_yaml(text: str) -> Any:
    """The value of a YAML text without aliases: a few lines of them can stand for more than any memory holds."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise yaml.YAMLError("it has an alias (*name); write the value out")
    return yaml.safe_load(text)


def parse_value(override: str, text: str) -> Any:
    """The value of a key=value setting, in YAML's notation."""
    try:
        return plain_yaml(text)
    except YAML_TROUBLE as error:
        raise InputError(f"Cannot read the value in '{override}'; expected a number, a word or a [list].") from error


def put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested key."""
    for key in path[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise InputError(f"'{'.'.join(path)}' goes below '{key}', which holds a single value.")
    values[path[-1]] = value


def explain(kind: type[BaseModel], problem: dict[str, Any]) -> str:
    """One clause for one of pydantic's errors."""
    place = [str(part) for part in problem["loc"]]
    name = ".".join(place)
    if problem["type"] != "extra_forbidden":
        return f"'{name}' is {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
    for part in place[:-1]:
        annotation = kind.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            kind = annotation
    near = difflib.get_close_matches(place[-1], kind.model_fields, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(kind.model_fields)}"
    return f"Unknown setting '{name}': {hint}"
