"""What indexing and masks need of values is kept, and holds for what is drawn anew."""

from __future__ import annotations

import json

import pytest
import torch

from kernels.capture.describing.values import places, summarise
from kernels.capture.reading.drawn_values import Drawer
from kernels.capture.structure.mask_pattern import MOST_PIECES, find_pattern, make_pattern
from kernels.capture.structure.related_tensors import relate

INF = float("inf")
row, column = torch.arange(64)[:, None], torch.arange(64)[None]
LENGTHS = torch.tensor([5, 64, 1, 0, 33])
DOCUMENT = torch.repeat_interleave(torch.arange(5), torch.tensor([10, 20, 4, 20, 10]))
CAUSAL = column > row
MASKS = {
    "causal": CAUSAL,
    "causal, what is kept": ~CAUSAL,
    "strictly above": column < row,
    "band": (column - row).abs() > 5,
    "window": CAUSAL | (column < row - 7),
    "padding": column >= LENGTHS[:, None],
    "padding in front": column < LENGTHS[:, None],
    "heads": CAUSAL.expand(2, 3, 64, 64),
    "batch, causal and padding": torch.stack([CAUSAL | (column >= n) for n in (5, 64, 20)])[:, None],
    "packed documents": DOCUMENT[:, None] != DOCUMENT[None],
    "packed documents, causal": (DOCUMENT[:, None] != DOCUMENT[None]) | CAUSAL,
    "a vector": torch.arange(100) > 70,
    "few runs": torch.repeat_interleave(torch.tensor([1, 0, 1, 0, 1]).bool(), torch.tensor([3, 30, 20, 10, 37])),
}


def kept(**tensors):
    values = {n: summarise(t, whole=False) for n, t in tensors.items()}
    relate(values, {n: places(t) for n, t in tensors.items()})
    return json.loads(json.dumps(values))


def drawn(seed=0, **tensors):
    """The tensors made anew from what is kept of them."""
    shapes = {n: [k if s else 1 for k, s in zip(t.shape, t.stride(), strict=True)] for n, t in tensors.items()}
    drawer = Drawer(kept(**tensors), shapes, torch.Generator().manual_seed(seed), 0)
    made = {n: drawer.numbers(n, t.dtype, torch.device("cpu")).reshape(shapes[n]) for n, t in tensors.items()}
    return {n: m.expand(tensors[n].shape) for n, m in made.items()}


def one(tensor, seed=0):
    return drawn(seed, x=tensor)["x"]


@pytest.mark.parametrize("name", MASKS)
def test_a_pattern_is_found_and_made_in_a_few_numbers(name):
    mask = MASKS[name]
    pattern = find_pattern(places(mask))
    assert len(json.dumps(pattern)) < 250
    assert torch.equal(make_pattern(pattern, "cpu"), places(mask).reshape(-1))


def test_any_rows_are_made_as_they_were_or_have_no_pattern():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        rows, columns = torch.randint(1, 9, (2,), generator=generator).tolist()
        mask = torch.rand(rows, columns, generator=generator) > 0.5
        pattern = find_pattern(mask)
        if pattern is None:
            assert mask.all() or not mask.any()
        else:
            assert torch.equal(make_pattern(pattern, "cpu"), mask.reshape(-1))
    assert find_pattern(torch.rand(2 * MOST_PIECES, 64) > 0.5) is None


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("low", [-INF, torch.finfo(torch.float32).min, -1e4])
def test_a_mask_of_floats_keeps_its_place(name, low):
    mask = MASKS[name]
    made = one(torch.where(mask, low, 0.0))
    assert torch.equal(made == low, mask)
    assert made[~mask].eq(0).all()


def test_a_bias_with_minus_infinity_keeps_the_place_and_draws_the_bias():
    bias = torch.where(CAUSAL, -INF, torch.randn(64, 64))
    made = one(bias)
    assert torch.equal(made == -INF, CAUSAL)
    assert not torch.equal(made[~CAUSAL], bias[~CAUSAL])
    assert 0.5 < float(made[~CAUSAL].std()) < 2


def test_a_random_mask_keeps_its_share():
    mask = torch.rand(300, 300) < 0.3
    for made in (one(torch.where(mask, -INF, 0.0)) == -INF, one(torch.where(mask, 0.0, 2.0)) == 0, one(mask)):
        assert 0.25 < float(made.double().mean()) < 0.35


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.uint8])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_whole_numbers_keeps_its_place(name, dtype):
    mask = MASKS[name].to(dtype)
    assert torch.equal(one(mask), mask)


@pytest.mark.parametrize("seed", range(5))
def test_offsets_end_at_the_total_and_no_sequence_is_longer_than_the_longest(seed):
    given = torch.cat([torch.zeros(1).int(), torch.randint(3, 40, (50,)).cumsum(0).int()])
    made = one(given, seed)
    assert not torch.equal(made, given)
    steps, lengths = made.diff(), given.diff()
    assert (made[0], made[-1], made.dtype) == (0, given[-1], given.dtype)
    assert (steps.min(), steps.max()) == (lengths.min(), lengths.max())


@pytest.mark.parametrize("seed", range(3))
def test_sorted_ids_hold_every_segment(seed):
    segments = torch.repeat_interleave(torch.arange(9), torch.randint(1, 20, (9,)))
    made = one(segments, seed)
    assert made.diff().min() == 0
    assert torch.equal(made.unique(), torch.arange(9))
    falling = one(segments.flip(0), seed)
    assert falling.diff().max() == 0
    assert torch.equal(falling.unique(), torch.arange(9))


def test_experts_of_blocks_are_sorted_in_front_of_what_is_unused():
    experts = torch.tensor([0, 0, 1, 2, 2, 2, 5, 7, -1, -1, -1])
    made = one(experts)
    assert torch.equal(made == -1, experts == -1)
    assert made[:8].diff().min() >= 0
    assert made[:8].aminmax() == experts[:8].aminmax()


def test_tokens_in_blocks_stand_once_and_padding_where_it_was():
    order = torch.randperm(40)
    tokens = torch.cat([torch.cat([part, torch.full((16 - len(part),), 40)]) for part in order.split([9, 16, 1, 14])])
    made = one(tokens)
    assert torch.equal(made == 40, tokens == 40)
    assert torch.equal(made[made != 40].sort().values, torch.arange(40))


@pytest.mark.parametrize(
    "given",
    [
        torch.randperm(64),
        torch.cat([torch.randperm(64)[:20], torch.full((6,), -1)]),  # slots of a cache
        torch.cat([torch.randperm(500)[:60].reshape(5, 12) + 1, torch.zeros(5, 3).long()], 1),  # pages
    ],
)
def test_numbers_that_stand_once_do_so_beside_marks(given):
    made, times = one(given), given.reshape(-1).bincount(minlength=0) if given.min() >= 0 else None
    mark = -1 if times is None else int(times.argmax())
    marked = given == mark if given.dim() > 1 or times is None else given < 0
    assert torch.equal(made == mark, marked) or given.dim() == 1
    assert made[~marked].unique().numel() == made[~marked].numel()
    assert given.min() <= made.min() <= made.max() <= given.max()


def test_rows_hold_no_expert_twice_and_climb_where_they_did():
    chosen = torch.rand(30, 8).argsort(1)[:, :2]
    made = one(chosen)
    assert (made[:, 0] != made[:, 1]).all()
    rows = torch.randint(0, 3, (6, 50)).cumsum(1)
    made = one(rows)
    steps = made.diff(dim=1)
    assert 0 <= steps.min() <= steps.max() <= 2
    assert rows.min() <= made.min() <= made.max() <= rows.max()


def test_positions_count_up_again_in_each_sequence():
    positions = torch.cat([torch.arange(7), torch.arange(30), torch.arange(3, 20)])
    assert torch.equal(one(positions), positions)
    expanded = torch.arange(50).expand(4, 50)
    assert torch.equal(one(expanded), expanded)
    batch = torch.arange(50).repeat(4, 1)
    assert torch.equal(one(batch), batch)


def test_ids_of_a_random_sequence_are_not_kept():
    ids = torch.randint(0, 50_000, (4, 100))
    text = json.dumps(kept(x=ids))
    assert sum(str(int(x)) in text for x in ids.reshape(-1)) < 12  # the range, and digits within it
    assert not torch.equal(one(ids), ids)


@pytest.mark.parametrize("seed", range(3))
def test_what_tensors_have_to_do_with_each_other_is_kept(seed):
    lengths = torch.randint(1, 40, (12,)).int()
    offsets = torch.cat([torch.zeros(1).int(), lengths.cumsum(0).int()])
    made = drawn(seed, lengths=lengths, offsets=offsets, keys=offsets.clone(), starts=offsets[:-1].clone())
    assert not torch.equal(made["offsets"], offsets)
    assert torch.equal(made["offsets"], made["keys"])
    assert torch.equal(made["lengths"], made["offsets"].diff())
    starts, lengths = made["starts"].long(), made["lengths"].long()
    assert torch.equal(starts + lengths, made["offsets"][1:].long())


@pytest.mark.parametrize("seed", range(5))
def test_a_length_reaches_no_empty_page(seed):
    lengths, page = torch.tensor([30, 8, 17, 1, 90], dtype=torch.int32), 8
    table = torch.full((5, 16), -1, dtype=torch.int32)
    pages = torch.randperm(64).int()
    for i, n in enumerate(lengths.tolist()):
        table[i, : -(-n // page) + i % 2] = pages[16 * i % 48 : 16 * i % 48 + -(-n // page) + i % 2]
    made = drawn(seed, table=table, lengths=lengths)
    needed = -(-made["lengths"] // page)
    assert all(bool((row[:n] >= 0).all()) for row, n in zip(made["table"], needed.tolist(), strict=True))
    assert made["table"].max() <= table.max()
    assert made["lengths"].max() <= 90
