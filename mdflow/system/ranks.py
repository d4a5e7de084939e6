"""Several processes that train one network together, as torchrun starts them: each on its share of every batch.

All of them take the same steps in the same order. Whatever is averaged here is the same on all of them afterwards, bit
for bit, so that weights, their averages and scores never need to be compared. Without torchrun there is one rank, and
nothing here does anything.
"""

import os
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mdflow.errors import InputError

PATIENCE = timedelta(minutes=10)  # until a rank that does not answer is taken for dead

Value = TypeVar("Value")

groups_before = 0  # how many groups this launch had before the one that this process joined


def join() -> None:
    """Meet the other processes that torchrun started, if it did, under a name that no earlier group had."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        return
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    agent_keeps_it = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = dist.TCPStore(host, port, count, is_master=rank == 0 and not agent_keeps_it, timeout=PATIENCE)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    global groups_before
    groups_before = meet(store, rank, count)
    named = dist.PrefixStore(f"group{groups_before}", store)
    dist.init_process_group(backend, store=named, rank=rank, world_size=count, timeout=PATIENCE)


def meet(store: dist.Store, rank: int, count: int) -> int:
    """How many groups met in the store before this one; the same on all of its ranks.

    The launcher keeps its store while groups come and go, and keys of earlier ones stay in it. Its count of restarts
    names no group: it is each machine's own, and a machine that joins changes none. So every rank asks under a word of
    its own, and the first answers whatever is asked, until all of this group have thanked for its answer.
    """
    if rank > 0:
        word = uuid.uuid4().hex
        store.set(f"ask/{rank}", word)
        group = int(store.get(f"answer/{word}"))
        store.set(f"thanks/{group}/{rank}", "")
        return group
    group = store.add("groups", 1) - 1
    waiting, end = set(range(1, count)), time.monotonic() + PATIENCE.total_seconds()
    while waiting:
        if time.monotonic() > end:
            raise TimeoutError(f"Of {count} processes, {len(waiting)} did not come to the group.")
        for one in waiting:
            if store.check([f"ask/{one}"]):
                store.set(f"answer/{store.get(f'ask/{one}').decode()}", str(group))
        waiting = {one for one in waiting if not store.check([f"thanks/{group}/{one}"])}
        time.sleep(0.01)
    return group


def restarted() -> bool:
    """Whether torchrun has started this group again, after a rank died or a machine came or went."""
    return groups_before > 0 or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def count() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """Which rank this is, from 0; that one writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(whole: int) -> range:
    """The places in a global batch of `whole` that are this rank's; InputError if it does not divide."""
    if whole % count():
        raise InputError(
            f"A batch of {whole} cannot be divided among {count()} processes; give a --batch-size that is a multiple."
        )
    each = whole // count()
    return range(number() * each, (number() + 1) * each)


def own(drawn: Tensor) -> Tensor:
    """This rank's rows of what was drawn for the global batch."""
    rows = share(len(drawn))
    return drawn[rows.start : rows.stop]


def mean(value: Tensor) -> Tensor:
    """The mean over ranks of a tensor, without gradient."""
    if count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / count()


def average_gradients(network: nn.Module) -> None:
    """Give every rank the mean of the gradients, and of the buffers that a forward pass changes (BatchNorm's).

    All of them travel as one flat tensor: once a step, whatever the network.
    """
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    scatter(mean(torch.cat([each.flatten().float() for each in gradients + buffers])), gradients + buffers)


def scatter(flat: Tensor, parts: Iterable[Tensor]) -> None:
    """Put the values of a flat tensor where they came from."""
    position = 0
    for part in parts:
        part.copy_(flat[position : position + part.numel()].view_as(part))
        position += part.numel()


def any_of(flag: bool) -> bool:
    """Whether it holds on some rank."""
    return bool(mean(torch.tensor(float(flag))) > 0)


def from_first(value: Value) -> Value:
    """What rank 0 has, on every rank: only that one needs to see the run folder."""
    if count() == 1:
        return value
    found = [value]
    dist.broadcast_object_list(found)
    return found[0]
