"""Computes on the host which program of family ``stream_k`` takes which steps, as its two kernels do on the GPU.

Whole waves of tiles go to programs of their own, a tile each. The tiles of the last wave, which would leave SMs idle,
are *streamed*: as many programs as there are SMs share all their steps evenly, in order, wherever tiles begin and end
(Osama, Merrill, Cecka, Garland and Owens 2023, "Stream-K", arXiv:2301.03598; whole waves beside it: section 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gemm.config import GemmConfig, cdiv, tiles

LEAST_STEPS = 8
"""Of a program; with fewer, filling its pipeline and summing its parts take longer than they do."""

Part = tuple[int, int, int]
"""Tile, first step and last step (exclusive) of a program's share of it."""


@dataclass(frozen=True)
class Schedule:
    """Tiles 0 to `whole` - 1 are not streamed, the `streamed` ones after them are."""

    whole: int
    streamed: int
    programs: int
    """That share the streamed tiles."""
    steps: int
    """Of a tile."""

    @property
    def total(self) -> int:
        """Steps of the streamed tiles."""
        return self.streamed * self.steps

    @property
    def shares(self) -> bool:
        """Whether some tile is shared. Elsewhere every program ends with a tile: after a whole number of tiles, or as a
        tile is one step."""
        return self.steps > 1 and self.streamed % max(1, self.programs) != 0

    @property
    def largest(self) -> int:
        """No number that the kernels compute is larger."""
        return max(self.programs * self.total, (self.whole + self.streamed) * self.steps)

    def start(self, program: int) -> int:
        """First step of a program, counted over the streamed tiles; `programs` gives the end."""
        return program * self.total // self.programs

    def program_of(self, step: int) -> int:
        return ((step + 1) * self.programs - 1) // self.total

    def parts(self, program: int) -> list[Part]:
        """Of a program, in its order; tiles counted from the first streamed one."""
        first, last = self.start(program), self.start(program + 1)
        return [
            (tile, max(first - tile * self.steps, 0), min(last - tile * self.steps, self.steps))
            for tile in range(first // self.steps, cdiv(last, self.steps))
        ]

    def slots(self, tile: int) -> list[tuple[int, int]]:
        """Where the parts of a streamed tile are, as (program, slot): a program's first tile goes to its slot 0, its
        last to slot 1. A tile with a single part is whole, and in neither."""
        first, last = self.program_of(tile * self.steps), self.program_of((tile + 1) * self.steps - 1)
        return [(p, int(self.start(p) < tile * self.steps)) for p in range(first, last + 1)]


def schedule(M: int, N: int, K: int, config: GemmConfig, sms: int) -> Schedule:
    """The last wave is streamed; the wave before it too where there is one and `LEAST_STEPS` would not be had without:
    then no tile has more than two parts."""
    count, steps = tiles(M, N, config), cdiv(K, config.BLOCK_K)
    rest = count % sms
    alone = rest == 0 or count < sms or rest * steps >= LEAST_STEPS * sms
    streamed = rest if alone else rest + sms
    return Schedule(count - streamed, streamed, min(sms, streamed * steps), steps)
