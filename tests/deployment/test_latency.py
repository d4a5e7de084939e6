import time

import torch

from mdflow.deployment.latency import measure_latency
from mdflow.deployment.profile import PeakMemory, block_costs, measure_cost


def test_each_way_is_timed_in_turn_and_the_first_rounds_do_not_count():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.2 if len(calls) < 3 else 0.01)

    taken = measure_latency({"slow": slow, "idle": lambda: calls.append("idle")}, rounds=5, warm_up=1)
    assert calls == ["slow", "idle"] * 6
    assert 10 <= taken["slow"].median <= taken["slow"].p95
    assert taken["idle"].median < taken["slow"].median


def test_blocks_add_up_to_the_network():
    blocks, memory = block_costs("fastflownet", {}, (64, 128))
    assert sum(blocks.values()) == measure_cost("fastflownet", {}, (64, 128)).multiply_adds
    assert max(blocks, key=blocks.get) == "decoder2"
    assert memory > 2 * 16 * 32 * 64 * 4  # the first layer's output for both images


def test_memory_is_that_of_the_tensors_that_live_at_one_time():
    with PeakMemory() as memory:
        one = torch.zeros(1000)
        two = one + 1  # 8000 bytes at once
        del one
        three = two * 2
        del two, three
        torch.zeros(500)
    assert memory.peak == 8000
    assert memory.live == 0
