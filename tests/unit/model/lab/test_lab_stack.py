"""The hosts of the lab are not all alike: their packets' longest sizes are those of several kinds of networks and
systems.
"""

from random import Random

from mmtt_model.lab.stack import stack_of


def test_client_hosts_differ_and_the_same_seed_gives_the_same():
    draws = [stack_of("lte_moving", Random(seed)) for seed in range(200)]
    assert draws == [stack_of("lte_moving", Random(seed)) for seed in range(200)]
    segments = {stack.mtu - 40 - 12 * stack.timestamps for stack in draws}
    assert {1460, 1448, 1360} <= segments
    assert all(576 < size <= 1460 for size in segments)
    assert 0.3 < sum(stack.timestamps for stack in draws) / 200 < 0.5
