"""What a launch changed is seen, whatever the size of the memory."""

import pytest
import torch

from kernels.launches.bound import Placed, copied


@pytest.mark.parametrize("size", [1, 7, 8, 19, 64])
def test_one_changed_byte_is_seen_anywhere(size):
    memory = torch.arange(size, dtype=torch.uint8)
    for start in (0, 3):  # one that begins at a word, and one that does not
        given = torch.cat([torch.zeros(start, dtype=torch.uint8), memory])[start:]
        placed = Placed(given, copy=True)
        assert all(bool(flag) for _, flag in placed.unchanged(copied(given), ()))
        for place in range(size):
            placed.value[place] += 1
            flags = dict(placed.unchanged(copied(given), ()))
            assert not bool(flags["out"]), (start, place)
            placed.value[place] -= 1
