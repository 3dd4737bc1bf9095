"""Computes on the host which program of family ``stream_k`` takes which steps, as its two kernels do on the GPU.

In whole waves each tile has its own program. The tiles of the last wave, which would leave SMs idle, are *streamed*:
as many programs as there are SMs share all their steps evenly and in order, so a share may begin and end inside a tile
(Osama, Merrill, Cecka, Garland and Owens 2023, "Stream-K", arXiv:2301.03598; combined with whole waves: section 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gemm.config import GemmConfig, cdiv, tiles

LEAST_STEPS = 8
"""Least steps of a program. With fewer steps, filling the pipeline and summing the parts take longer than the steps."""

Part = tuple[int, int, int]
"""Tile, first step and last step (exclusive) of a program's share of it."""


@dataclass(frozen=True)
class Schedule:
    """Tiles 0 to `whole` - 1 are not streamed. The `streamed` tiles after them are."""

    whole: int
    streamed: int
    programs: int
    """Programs that share the streamed tiles."""
    steps: int
    """K steps of a tile."""

    @property
    def total(self) -> int:
        """Steps of the streamed tiles."""
        return self.streamed * self.steps

    @property
    def shares(self) -> bool:
        """Whether several programs share a tile. They do not if every program has a whole number of tiles, or if a tile
        is one step."""
        return self.steps > 1 and self.streamed % max(1, self.programs) != 0

    @property
    def largest(self) -> int:
        """An upper bound on every number that the kernels compute."""
        return max(self.programs * self.total, (self.whole + self.streamed) * self.steps)

    def start(self, program: int) -> int:
        """First step of a program, counted over the streamed tiles. For `program` = `programs` it is the total."""
        return program * self.total // self.programs

    def program_of(self, step: int) -> int:
        return ((step + 1) * self.programs - 1) // self.total

    def parts(self, program: int) -> list[Part]:
        """The parts of a program, in its order. Tiles are counted from the first streamed tile."""
        first, last = self.start(program), self.start(program + 1)
        return [
            (tile, max(first - tile * self.steps, 0), min(last - tile * self.steps, self.steps))
            for tile in range(first // self.steps, cdiv(last, self.steps))
        ]

    def slots(self, tile: int) -> list[tuple[int, int]]:
        """The places of a streamed tile's parts, as (program, slot). A program's first tile is in its slot 0, its last
        tile in slot 1. A tile with a single part is complete and in neither slot."""
        first, last = self.program_of(tile * self.steps), self.program_of((tile + 1) * self.steps - 1)
        return [(p, int(self.start(p) < tile * self.steps)) for p in range(first, last + 1)]


def schedule(M: int, N: int, K: int, config: GemmConfig, sms: int) -> Schedule:
    """The schedule of a problem. The last wave is streamed. The wave before it is streamed too if there is one and a
    program would otherwise have fewer than `LEAST_STEPS`; then no tile has more than two parts."""
    count, steps = tiles(M, N, config), cdiv(K, config.BLOCK_K)
    rest = count % sms
    alone = rest == 0 or count < sms or rest * steps >= LEAST_STEPS * sms
    streamed = rest if alone else rest + sms
    return Schedule(count - streamed, streamed, min(sms, streamed * steps), steps)
