"""What ``bench_grouped_families`` times, without a GPU."""

import pytest
from click.testing import CliRunner

from kernels.hardware import hardware_named
from tests.bench import bench_grouped_families as bench
from tools.harness.results import Measurement

H200 = hardware_named("H200")


@pytest.mark.parametrize("entry", bench.ENTRIES, ids=lambda e: e.name)
def test_every_entry_has_both_sides(entry):
    spec, problem = entry.case.load()
    configs = bench.configs_to_screen(spec, problem, H200)
    families = [c.family for c in configs]
    assert 0 < families.count("trimmed") <= bench.MOST_CONFIGS
    assert 0 < len(families) - families.count("trimmed") <= 2 * bench.MOST_CONFIGS
    assert len(set(configs)) == len(configs)
    assert all(spec.constraint(problem, c, H200) is None for c in configs)


def test_the_fastest_right_config_of_each_side_is_proven():
    def measured(family, ms, status="correct"):
        return Measurement(config={"family": family}, status=status, ms=ms if status == "correct" else None)

    rows = [measured("trimmed", 2.0), measured("trimmed", 1.0, "correctness"), measured("pointer", 3.0)]
    assert [m.ms for m in bench.fastest(rows)] == [2.0, 3.0]
    assert bench.fastest(rows[1:]) == (None, rows[2])


def test_an_unknown_entry_is_a_mistake():
    done = CliRunner().invoke(bench.main, ["out.json", "--only", "mixtral-upp"])
    assert done.exit_code == 2
    assert "no entry mixtral-upp" in done.output
