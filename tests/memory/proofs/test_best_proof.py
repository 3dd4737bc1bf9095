"""The best proof of a problem outlives worse ones."""

from __future__ import annotations

from memory.proofs.best_proof import best_proof
from memory.store import Begin, Finish, Memory

CONFIGS = [{"tile": 64}, {"tile": 128}, {"tile": 256}]
INFO = {"kind": "live", "name": "NVIDIA H200", "hardware": "H200"}


def comparison(name, speedup, half=0.005, saving=None):
    ci = [speedup - half, speedup + half]
    joules = {"saving": saving, "saving_ci": saving and [saving - half, saving + half]}
    return {"name": name, "title": name, "equivalent": True, "speedup": speedup, "ci": ci, "missing": None} | joules


def prove(memory, run, config, comparisons, regime="burst", status="correct"):
    kernel = memory.kernel("k", "source")
    ids = memory.environment(INFO), memory.problem(kernel, {"N": 1}, "1")
    if not memory.ask("SELECT 1 FROM runs WHERE run_id = ?", [run]):
        memory.start_run(run, "g", {}, "embedded", *ids, {})
    begin = Begin(run, "proof", *ids, memory.config(kernel, config), "proof")
    [row] = memory.begin_attempts([begin])
    memory.finish_attempts([Finish(row, status, {"ms": 0.2, "regime": regime, "comparisons": comparisons})])
    return ids


def test_the_proof_with_the_largest_ratio_over_its_strongest_baseline_is_kept(tmp_path):
    memory = Memory.open(tmp_path / "m.db")
    prove(memory, "first", CONFIGS[0], [comparison("unfused", 1.5), comparison("compiled", 1.224)])
    prove(memory, "second", CONFIGS[1], [comparison("unfused", 1.6), comparison("compiled", 1.206)])
    prove(memory, "third", CONFIGS[2], [comparison("unfused", 1.9), comparison("compiled", 0.98)])
    prove(memory, "fourth", CONFIGS[2], [comparison("unfused", 3.0)], regime="sustained")
    environment, problem = prove(memory, "fifth", CONFIGS[2], [comparison("unfused", 9.0)], status="correctness")
    found = best_proof(memory, problem, environment, "burst")
    assert (found.run, found.config, found.against, found.ratio) == ("first", CONFIGS[0], "compiled", 1.224)
    assert best_proof(memory, problem, environment, "burst", except_run="first").run == "second"
    assert best_proof(memory, problem, environment, "burst", against=["unfused"]).run == "third"
    assert best_proof(memory, problem, environment + 1, "burst") is None
    memory.close()


def test_a_later_finalist_of_a_run_needs_more_and_energy_is_judged_by_joules(tmp_path):
    memory = Memory.open(tmp_path / "m.db")
    prove(memory, "run", CONFIGS[0], [comparison("unfused", 0.9)])
    environment, problem = prove(memory, "run", CONFIGS[1], [comparison("unfused", 1.0053)])
    assert best_proof(memory, problem, environment, "burst") is None
    prove(memory, "other", CONFIGS[1], [comparison("unfused", 1.0053)])
    assert best_proof(memory, problem, environment, "burst").run == "other"
    prove(memory, "third", CONFIGS[2], [comparison("unfused", 0.9, saving=1.3)], regime="sustained")
    assert best_proof(memory, problem, environment, "sustained") is None
    assert best_proof(memory, problem, environment, "sustained", energy=True).ratio == 1.3
    memory.close()
