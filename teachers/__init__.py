"""Networks ready to teach: which release each comes from, and `load`."""

from pathlib import Path

from mdflow.checkpoint import fit_weights, read_network, restore
from mdflow.errors import InputError, hint
from mdflow.networks import NETWORKS, create
from mdflow.networks.network import FlowNetwork
from teachers import deqflow, fastflownet, gma, lightflow, liteflownet2, pwcnet, raft, raft_mdflow, raft_small
from teachers.release import Release, read_release

RELEASES: dict[str, Release] = {
    "fastflownet": fastflownet.RELEASE,
    "raft": raft.RELEASE,
    "raft_small": raft_small.RELEASE,
    "raft_mdflow": raft_mdflow.RELEASE,
    "gma": gma.RELEASE,
    "pwcnet": pwcnet.RELEASE,
    "lightflow": lightflow.RELEASE,
    "liteflownet2": liteflownet2.RELEASE,
    "deqflow": deqflow.BASE,
    "deqflow_large": deqflow.LARGE,
    "deqflow_huge": deqflow.HUGE,
    "deqflow_gigantic": deqflow.GIGANTIC,
}
WEIGHTS = Path(__file__).parent / "weights"


def load(name: str, checkpoint: str | Path | None = None, **options: object) -> FlowNetwork:
    """The network `name` with weights, in evaluation mode.

    `checkpoint` is a released file as it was published (.pth, .pt) or one of mdflow's (.safetensors);
    without it the weights shipped with mdflow are taken. `options` are the constructor's keywords and
    replace those of the release or file. Raises InputError for an unknown name and for weights that
    cannot be read or do not fit.
    """
    require_known(name)
    if checkpoint is not None:
        require_file(Path(checkpoint))
    if checkpoint is None:
        network = load_shipped(name, options)
    elif Path(checkpoint).suffix == ".safetensors":
        network = load_own(name, Path(checkpoint), options)
    else:
        network = load_release(name, Path(checkpoint), options)
    return network.eval()


def untrained(name: str, **options: object) -> FlowNetwork:
    """The network, or the one that the release of that name is of, with fresh weights; InputError as load.

    A network's own name gives it as one trains it: what a release's weights want, such as features that are not
    normalised, would keep a new one at zero flow for thousands of steps.
    """
    network, own = (name, {}) if name in NETWORKS else blueprint(name)
    return create(network, **{**own, **options})


def blueprint(name: str) -> tuple[str, dict[str, object]]:
    """(network, options) of a network's or a release's name, as mdflow.networks.create takes them."""
    require_known(name)
    return (RELEASES[name].network, RELEASES[name].options) if name in RELEASES else (name, {})


def require_known(name: str) -> None:
    """InputError for a name that is neither a network's nor a release's."""
    if name not in RELEASES and name not in NETWORKS:
        raise InputError(f"Unknown network '{name}': {hint(name, {**NETWORKS, **RELEASES})}")


def require_file(path: Path) -> None:
    """InputError for weights that are not there, or a folder, with the files in it that may be meant."""
    if path.is_dir():
        inside = ", ".join(sorted(file.name for file in path.glob("*.safetensors"))) or "no weights (.safetensors)"
        raise InputError(f"The weights '{path}' are a folder, in which there is {inside}; expected a file.")
    if not path.exists():
        raise InputError(f"The weights '{path}' do not exist; expected a .safetensors, .pth or .pt file.")


def has_shipped(name: str) -> bool:
    """Whether weights of the network `name` come with mdflow."""
    return (WEIGHTS / f"{name}.safetensors").exists()


def load_shipped(name: str, options: dict[str, object]) -> FlowNetwork:
    """The weights in teachers/weights; a network without parameters needs none."""
    if has_shipped(name):
        return load_own(name, WEIGHTS / f"{name}.safetensors", options)
    if name in NETWORKS and name not in RELEASES:
        network = create(name, **options)
        if not list(network.parameters()):
            return network
    raise InputError(f"mdflow ships no weights for '{name}'; give a checkpoint file.{where_to_find(name)}")


def load_own(name: str, path: Path, options: dict[str, object]) -> FlowNetwork:
    """The network that mdflow.checkpoint.save_network wrote."""
    recorded_name, recorded, state = read_network(path)
    expected, _ = blueprint(name)
    if recorded_name != expected:
        raise InputError(f"'{path}' holds the network '{recorded_name}', expected '{expected}'.")
    return restore(recorded_name, recorded, state, options, path)


def load_release(name: str, path: Path, options: dict[str, object]) -> FlowNetwork:
    """The network of a released file, with that release's own options."""
    if name not in RELEASES:
        raise InputError(f"No release of '{name}' is known; give a .safetensors file instead of '{path}'.")
    released, own = blueprint(name)
    network = create(released, **{**own, **options})
    fit_weights(network, RELEASES[name].convert(read_release(path)), path)
    return network


def where_to_find(name: str) -> str:
    """The sentence that says where a release can be had."""
    return f" The original is at {RELEASES[name].source}." if name in RELEASES else ""
