"""The learning curves of the memory's page."""

from memory.pages import memory_report
from memory.store import Begin, Finish


def test_a_curve_names_its_runs_and_draws_pytorchs_time(filled):
    config = filled.memory.ask("SELECT id FROM configs LIMIT 1")[0]["id"]
    run = filled.memory.ask("SELECT run_id FROM runs")[0]["run_id"]
    begin = Begin(run, "prove-1", filled.environment, filled.problem, config, "proof")
    [row] = filled.memory.begin_attempts([begin])
    rows = [
        {"name": "unfused", "title": "eager", "equivalent": True, "ms": 0.2, "speedup": 1.1, "ci": [1.0, 1.2]},
        {"name": "compiled", "title": "compile", "equivalent": True, "ms": 0.19, "speedup": 1.0, "ci": [0.9, 1.1]},
        {"name": "cublas", "title": "ceiling", "equivalent": False, "ms": 0.1, "speedup": 0.5, "ci": [0.4, 0.6]},
    ]
    before = memory_report.render(filled.memory)
    assert "PyTorch" not in before.partition("<h2>Learning curves</h2>")[2]
    filled.memory.finish_attempts([Finish(row, "correct", {"ms": 0.18, "regime": "burst", "comparisons": rows})])
    page = memory_report.render(filled.memory)
    assert "PyTorch, compiled: 0.19 ms" in page
    assert f"</i>{run}</span>" in page
    assert page.count('<line class="base"') == 1
