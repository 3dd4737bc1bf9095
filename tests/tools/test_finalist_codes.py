"""The finalists of a run with variants: the best of each code is among them."""

from __future__ import annotations

from pathlib import Path

from kernels.editing.editable import editable
from kernels.spec import Baseline
from tests.exploits.axpy import Axpy, AxpyConfig
from tools.session.variants.finalist_codes import with_every_code

Config = editable(Axpy(), Path("variants"), "axpy").config_type


class Kernel:
    shut_in = True

    def baselines(self, problem):
        return [Baseline("owner", "as captured", None, config=AxpyConfig(BLOCK=1))]


class Plain(Kernel):
    shut_in = False


def named(ordered):
    return [f"{c.edit.partition(' ')[0]}{c.BLOCK}" for c in ordered]


def kept(ordered, level=1, limit=4, kernel=Kernel):
    return named(with_every_code(kernel(), None, ordered, level, limit))


MANY = [Config(BLOCK=n, edit=f"aa T={n}") for n in range(10, 40)]


def test_the_best_of_other_codes_are_behind_the_fastest_variants_configs():
    ordered = [*MANY, Config(BLOCK=7, edit="bb"), Config(BLOCK=5), Config(BLOCK=6)]
    assert kept(ordered) == ["aa10", "aa11", "aa12", "5"]
    assert kept(ordered, limit=6) == ["aa10", "aa11", "aa12", "aa13", "bb7", "5"]


def test_the_owners_code_comes_before_further_variants():
    ordered = [Config(BLOCK=n, edit=f"v{n}") for n in range(20)] + [Config(BLOCK=50)]
    found = kept(ordered, limit=8)
    assert len(found) == 8
    assert found[-1] == "50"


def test_a_baselines_own_config_is_none_unless_it_is_level_with_the_best():
    ordered = [Config(BLOCK=9, edit="aa"), Config(BLOCK=1), Config(BLOCK=2)]
    assert kept(ordered, level=1) == ["aa9", "2"]
    assert kept(ordered, level=2) == ["aa9", "1", "2"]


def test_without_edits_the_order_decides_alone():
    assert kept([Config(BLOCK=n) for n in range(9)], kernel=Plain) == ["0", "1", "2", "3"]
