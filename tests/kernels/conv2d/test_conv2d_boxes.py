"""Where the boxes of conv2d's family ``warp_specialized`` lie: which box a tile is, and that producer and consumers
meet every pixel, tap and channel."""

from itertools import product
from math import prod

import pytest
import torch

from kernels.conv2d.config import cdiv
from kernels.conv2d.gluon_space import box, boxes, part
from tests.kernels.conv2d.test_conv2d_gluon import SHAPES, SPEC, problem


@pytest.mark.parametrize(
    ("shape", "block_m", "sides", "cover"),
    [
        ((32, 56, 56), 128, (2, 8, 8), (16, 7, 7)),
        ((32, 56, 56), 64, (1, 8, 8), (32, 7, 7)),
        ((32, 56, 56), 256, (4, 8, 8), (8, 7, 7)),
        ((8, 224, 224), 128, (1, 8, 16), (8, 28, 14)),  # 1x16x8 covers as well, of more rows
        ((32, 28, 28), 128, (8, 4, 4), (4, 7, 7)),
        ((32, 7, 7), 128, (16, 1, 8), (2, 7, 1)),
        ((1, 7, 7), 64, (1, 8, 8), (1, 1, 1)),
        ((1, 1, 1), 64, (1, 1, 64), (1, 1, 1)),
        ((64, 1, 1), 64, (64, 1, 1), (1, 1, 1)),
        ((1, 1, 200), 64, (1, 1, 64), (1, 1, 4)),
    ],
)
def test_a_tile_is_the_box_that_wastes_least(shape, block_m, sides, cover):
    p = problem(*shape) if shape[1] > 1 else problem(*shape, r=1, s=1, padding=0)
    assert box(p, block_m) == sides
    assert boxes(p, sides) == cover


def test_of_boxes_that_waste_as_little_the_one_is_taken_whose_taps_touch_the_fewest_pixels():
    square, wide, tall = (
        problem(16, 64, 64),
        problem(16, 64, 64, r=1, s=9, padding=4),
        problem(16, 72, 64, r=9, s=1, padding=0),
    )
    assert box(square, 64) == (1, 8, 8)  # 10 x 10 pixels of x
    assert box(wide, 64)[2] > box(square, 64)[2]
    assert box(tall, 64)[1] > box(square, 64)[1]


@pytest.mark.parametrize("block_m", [64, 128, 256])
@pytest.mark.parametrize("sizes", list(product((1, 3, 32), (1, 7, 13, 30), (1, 2, 24, 57))))
def test_no_other_box_covers_the_pixels_in_fewer(sizes, block_m):
    p = problem(*sizes, r=1, s=1, padding=0)
    sides = box(p, block_m)
    powers = [1 << i for i in range(block_m.bit_length())]
    all_boxes = [b for b in product(powers, repeat=3) if prod(b) == block_m]
    assert sides in all_boxes
    assert prod(boxes(p, sides)) == min(prod(boxes(p, b)) for b in all_boxes)
    assert all(count * side >= size for count, side, size in zip(boxes(p, sides), sides, sizes, strict=True))


@pytest.mark.parametrize("sides", [(2, 8, 8), (1, 8, 8), (1, 1, 64), (64, 1, 1), (1, 2, 1)])
def test_half_a_box_is_the_first_half_of_its_pixels(sides):
    pixels = list(product(*map(range, sides)))
    assert list(product(*map(range, part(sides, 2)))) == pixels[: len(pixels) // 2]
    assert part(sides, 1) == sides


def read(t, start, sides):
    """What a load by descriptor brings: zeros outside `t`."""
    found = torch.zeros(sides, dtype=t.dtype)
    spans = [range(max(0, a), min(n, a + side)) for a, side, n in zip(start, sides, t.shape, strict=True)]
    if all(spans):
        there = tuple(slice(s.start, s.stop) for s in spans)
        here = tuple(slice(s.start - a, s.stop - a) for s, a in zip(spans, start, strict=True))
        found[here] = t[there]
    return found


def write(t, start, block):
    """What a store by descriptor leaves: nothing outside `t`. Every element is written once."""
    there = tuple(slice(a, min(n, a + side)) for a, side, n in zip(start, block.shape, t.shape, strict=True))
    if all(s.start < s.stop for s in there):
        assert t[there].isnan().all()
        t[there] = block[tuple(slice(0, s.stop - s.start) for s in there)]


@pytest.mark.parametrize("consumers", [1, 2])
@pytest.mark.parametrize("name", SHAPES)
def test_the_kernels_own_positions_cover_the_result_and_meet_every_tap(name, consumers):
    """Producer and consumers acted out with the functions that the kernel is compiled from, on shared memory that holds
    boxes and is read as tiles."""
    gluon = pytest.importorskip("kernels.conv2d.gluon")
    p, (bm, bn, bk) = SHAPES[name], (64, 64, 64)
    x, w, bias = (t if t is None else t.double() for t in SPEC.inputs(p, torch.Generator().manual_seed(5), "cpu"))
    w = w.view(p.K, p.R * p.S, p.C)
    sides, stored, rows = box(p, bm), part(box(p, bm), consumers), bm // consumers
    cover = (*boxes(p, sides), cdiv(p.K, bn))
    y = torch.full((p.N, p.P, p.Q, p.K), torch.nan, dtype=torch.float64)
    for tile in range(prod(cover)):
        image, row, col, k = gluon.tile_start.fn(tile, cover, *sides, bn)
        acc = torch.zeros(bm, bn, dtype=torch.float64)
        for r, s, c in product(range(p.R), range(p.S), range(0, p.C, bk)):
            h, left = gluon.tap_start.fn(row, col, r, s, (p.padding, p.dilation))
            pixels = read(x, (image, h, left, c), (*sides, bk)).reshape(bm, bk)
            acc += pixels @ read(w, (k, r * p.S + s, c), (bn, 1, bk)).reshape(bn, bk).T
        if bias is not None:
            acc += read(bias, (k,), (bn,))
        for which in range(consumers):
            i, below, right = gluon.pixel.fn(which * rows, *sides[1:])
            share = acc[which * rows : (which + 1) * rows].reshape(*stored, bn)
            write(y, (image + i, row + below, col + right, k), share)
    torch.testing.assert_close(y, SPEC.reference(p, (x, w.view(p.K, p.R, p.S, p.C), bias)), rtol=1e-12, atol=1e-12)
