"""List the networks: what each costs, which checkpoints are known, and what was published of them."""

import argparse

from mdflow.checkpoint import read_network
from mdflow.commands.training import parse_size
from mdflow.deployment.profile import measure_cost
from mdflow.networks import NETWORKS, options_of
from mdflow.reports.tables import text_table
from teachers import RELEASES, WEIGHTS, blueprint, require_known, untrained
from teachers.release import Release

SIZE = (448, 1024)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow networks`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="the networks to list (default: all)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="whether the named networks can be exported and quantised; half a minute each",
    )
    parser.add_argument(
        "--size", type=parse_size, default=SIZE, metavar="HxW", help="of the images to count for (448x1024)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print one table of costs and one of checkpoints."""
    for name in arguments.names:
        require_known(name)
    names = arguments.names or list(dict.fromkeys([*NETWORKS, *RELEASES]))
    if arguments.check:
        for name in names:
            print(deployment_of(name))
        return
    size = tuple(arguments.size)
    giga = f"multiply-adds at {size[0]}x{size[1]}"
    print(text_table(["network", "parameters", giga, "stride"], [cost_line(name, size) for name in names]))
    released = {name: RELEASES[name] for name in names if name in RELEASES}
    if released:
        lines = [checkpoint_line(name, release) for name, release in released.items()]
        heading = ["checkpoint", "published error (EPE in px)", "licence", "from"]
        print("\n" + text_table(heading, lines, left=len(heading)))
    shipped = [shipped_line(name) for name in names if (WEIGHTS / f"{name}.safetensors").exists()]
    print(f"\nWeights that come with mdflow: {'; '.join(shipped) or 'none'}.")


def deployment_of(name: str) -> str:
    """What stands in the way of exporting and quantising a network or release, in sentences."""
    from mdflow.deployment.deployable import check_deployable

    found = check_deployable(untrained(name))
    lines = [f"{name}: {found.obstacle or 'it can be exported.'}"]
    if found.integers:
        lines.append(
            f"  {len(found.integers)} convolutions, {found.share:.1f} % of the multiply-adds, can be integers."
        )
    else:
        lines.append("  It has no convolution that integers could compute.")
    if found.floats:
        lines.append(f"  In floats stay {', '.join(found.floats)}, and all without weights but a local correlation.")
    return "\n".join(lines)


def cost_line(name: str, size: tuple[int, int]) -> list[str]:
    """Name, millions of parameters, billions of multiply-adds, and stride of a network or release."""
    cost = measure_cost(*blueprint(name), size)
    if not cost.parameters:
        return [name, "-", "-", str(cost.stride)]
    return [name, f"{cost.parameters / 1e6:.2f} M", f"{cost.multiply_adds / 1e9:.1f} G", str(cost.stride)]


def shipped_line(name: str) -> str:
    """A network whose weights come with mdflow, and which of their options are not the network's own."""
    network, recorded, _ = read_network(WEIGHTS / f"{name}.safetensors")
    usual = options_of(network)
    chosen = ", ".join(f"{option}={value}" for option, value in recorded.items() if value != usual[option].default)
    return f"{name} ({chosen}: not counted above)" if chosen else name


def checkpoint_line(name: str, release: Release) -> list[str]:
    """What is known of a released checkpoint."""
    return [name, release.published, release.licence, release.source]
