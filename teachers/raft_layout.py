"""The key layout that the releases of RAFT and its descendants share."""

import re

import torch

from teachers.release import State, rename

PATTERNS = {
    r"fnet\.": "features.",
    r"cnet\.": "context.",
    r"update_block\.encoder\.convc1\.": "update.motion.cost.0.",
    r"update_block\.encoder\.convc2\.": "update.motion.cost.1.",
    r"update_block\.encoder\.convf([12])\.": r"update.motion.flow\1.",
    r"update_block\.encoder\.conv\.": "update.motion.joint.",
    r"update_block\.flow_head\.conv1\.": "update.flow.0.",
    r"update_block\.flow_head\.conv2\.": "update.flow.2.",
    r"update_block\.(?:gma|aggregator)\.to_v\.": "update.aggregation.value.",
    r"update_block\.(?:gma|aggregator)\.gamma": "update.aggregation.gain",
    r"(?:attn|att)\.to_qk\.": "update.aggregation.query_key.",
    r"(?:update_block\.)?mask\.": "upsampling.weights.",
}
GATE = re.compile(r"update_block\.gru\.convz(\d?)\.weight")


def convert_raft(state: State, context: int) -> State:
    """RAFT's keys to ours; `context` is the number of context channels that enter the gated unit."""
    state = fuse_gates(state, context)
    # The release lists a shortcut's norm twice, as norm3 and as downsample.1; the second is loaded last.
    state = {key.replace(".downsample.", ".shortcut."): value for key, value in state.items() if ".norm3." not in key}
    return rename(state, PATTERNS)


def fuse_gates(state: State, context: int) -> State:
    """Their convz, convr, convq as our `gates` (z and r), `candidate` (q) and `context` (all three)."""
    fused = dict(state)
    for match in filter(None, map(GATE.fullmatch, state)):
        number = match[1]
        names = [f"update_block.gru.conv{gate}{number}." for gate in "zrq"]
        if not all(name + part in state for name in names for part in ("weight", "bias")):
            continue
        weights = [fused.pop(name + "weight") for name in names]
        biases = [fused.pop(name + "bias") for name in names]
        hidden = weights[0].shape[0]
        # Input channels: hidden state, context, then motion.
        parts = [weight.tensor_split([hidden, hidden + context], dim=1) for weight in weights]
        inner = [torch.cat([part[0], part[2]], dim=1) for part in parts]
        gru = f"update.grus.{int(number or 1) - 1}."
        fused[gru + "gates.weight"], fused[gru + "gates.bias"] = torch.cat(inner[:2]), torch.cat(biases[:2])
        fused[gru + "candidate.weight"], fused[gru + "candidate.bias"] = inner[2], biases[2]
        fused[gru + "context.weight"] = torch.cat([part[1] for part in parts])
    return fused
