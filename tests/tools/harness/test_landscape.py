import gzip
import hashlib
import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from evals.record.recording import Plan, Recording
from kernels.registry import get
from tests.evals.toy import TOY_GPU, Toy, ToyCompiler, ToyGpu, ToyProblem
from tools.harness.landscapes.named import find_landscape, list_landscapes, read_landscape, write_landscape
from tools.harness.landscapes.readings import Entry, LandscapeError, ReadingSet

T4_STATUSES = {"timeout", "compile", "runtime", "correctness", "constraints", "correct"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("landscapes") / "toy.json.gz"
    Recording(Toy(), ToyProblem(), TOY_GPU, ToyGpu(), ToyCompiler(), Plan(out), lambda *_: None).run()
    return out


@pytest.fixture
def toy(recorded, tmp_path) -> Path:
    shutil.copytree(recorded.parent, tmp_path / "copy")
    return tmp_path / "copy" / recorded.name


def raw(path: Path) -> dict:
    return json.loads(gzip.decompress(path.read_bytes()))


def foreign(tmp_path: Path, content: object, name: str = "theirs.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def result(time: object = 2.0, **changes) -> dict:
    made = {
        "configuration": {"block_size_x": 32, "use:cache": "yes"},
        "times": {"compilation": 120.0, "framework": 1, "validation": 30.0, "runtimes": [1.9, 2.0, 2.1]},
        "invalidity": "correct",
        "correctness": 1,
        "measurements": [{"name": "time", "value": time, "unit": "ms"}],
        "objectives": ["time"],
    }
    return {**made, **changes}


def only(path: Path) -> Entry:
    (entry,) = read_landscape(path).entries.values()
    return entry


def test_equal_landscapes_give_equal_bytes_and_reading_loses_nothing(toy, tmp_path):
    landscape = read_landscape(toy)
    (tmp_path / "again").mkdir()
    write_landscape(landscape, tmp_path / "again" / toy.name)
    assert (tmp_path / "again" / toy.name).read_bytes() == toy.read_bytes()


def test_the_checksum_file_is_one_that_sha256sum_accepts(toy):
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=toy.parent, capture_output=True).returncode == 0


def test_a_file_that_was_changed_after_recording_is_refused(toy):
    content = raw(toy)
    content["results"][0]["times"]["runtimes"][0] *= 0.5
    toy.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(LandscapeError, match="not the file that was recorded: its SHA-256 begins"):
        read_landscape(toy)


def test_other_tools_find_what_t4_promises(toy):
    content = raw(toy)
    assert content["schema_version"] == "1.0.0"
    assert content["metadata"]["timeunit"] == "milliseconds"
    for r in content["results"]:
        assert r["invalidity"] in T4_STATUSES
        assert {"compilation_time", "framework", "search_algorithm", "validation", "runtimes"} <= set(r["times"])
        assert all(isinstance(m["value"], float) for m in r["measurements"])
        assert bool(r["measurements"]) == (r["correctness"] == 1) == (r["invalidity"] == "correct")


def test_a_stranger_to_our_metadata_reads_the_same_times(toy, tmp_path):
    content = raw(toy)
    del content["metadata"]["autokernel"]
    theirs = read_landscape(foreign(tmp_path, content))
    ours = read_landscape(toy)
    assert {k: e.status for k, e in theirs.entries.items()} == {k: e.status for k, e in ours.entries.items()}
    for k, e in ours.entries.items():
        if e.status == "correct":
            assert theirs.ms(theirs.entries[k]) == pytest.approx(ours.ms(e), rel=1e-4)


def test_our_own_statuses_survive_the_closed_vocabulary(toy, tmp_path):
    landscape = read_landscape(toy)
    for entry, status in zip(landscape.entries.values(), ("implausible", "infrastructure"), strict=False):
        entry.status, entry.reason, entry.sets = status, "why", {}
    out = tmp_path / "other.json"
    write_landscape(landscape, out)
    assert {r["invalidity"] for r in json.loads(out.read_text())["results"]} <= T4_STATUSES
    assert [e.status for e in read_landscape(out).entries.values()][:2] == ["implausible", "infrastructure"]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("miliseconds", 1), ("milliseconds", 1), ("ms", 1), ("seconds", 1000), ("s", 1000), ("microseconds", 1e-3)],
)
def test_times_of_any_unit_arrive_in_ms(tmp_path, unit, factor):
    r = result()
    del r["measurements"]
    e = only(foreign(tmp_path, {"metadata": {"timeunit": unit}, "results": [r]}))
    assert e.stated_ms == pytest.approx(2.0 * factor)
    assert e.sets["A"].samples_ms == pytest.approx([1.9 * factor, 2.0 * factor, 2.1 * factor])
    assert e.compile_seconds == pytest.approx(0.12 * factor)
    assert e.check_seconds == pytest.approx(0.03 * factor)
    assert e.run_seconds == pytest.approx(0.006 * factor)


def test_a_measurement_keeps_its_own_unit(tmp_path):
    r = result(2000.0, measurements=[{"name": "time", "value": 2000.0, "unit": "us"}])
    e = only(foreign(tmp_path, {"metadata": {"timeunit": "miliseconds"}, "results": [r]}))
    assert e.stated_ms == pytest.approx(2.0)


def test_without_a_timeunit_the_measurements_unit_holds_and_the_reader_says_so(tmp_path):
    path = foreign(tmp_path, {"results": [result()]})
    assert only(path).compile_seconds == pytest.approx(0.12)
    assert read_landscape(path).notes == ["no schema_version", "no metadata.timeunit"]


@pytest.mark.parametrize("measurements", [None, [], [{"name": "time", "value": "CompilationFailedConfig", "unit": ""}]])
def test_a_failed_config_needs_no_measurement(tmp_path, measurements):
    r = result(invalidity="compile", measurements=measurements)
    r["times"] = {"compilation": 80.0}
    e = only(foreign(tmp_path, {"metadata": {"timeunit": "ms"}, "results": [r]}))
    assert (e.status, e.stated_ms, e.sets) == ("compile", None, {})
    assert e.compile_seconds == pytest.approx(0.08)


def test_repeated_configurations_keep_the_first_and_are_mentioned(tmp_path):
    path = foreign(
        tmp_path, {"schema_version": "1.0.0", "metadata": {"timeunit": "ms"}, "results": [result(), result(9.0)]}
    )
    assert only(path).stated_ms == 2.0
    assert read_landscape(path).notes == ["1 repeated configurations, the first of each is kept"]


CACHE = {
    "device_name": "NVIDIA A100",
    "kernel_name": "vector_add",
    "problem_size": [4096],
    "tune_params_keys": ["block_size_x", "tile"],
    "tune_params": {"block_size_x": [32, 64], "tile": [1, 2]},
    "cache": {
        "32,1": {"block_size_x": 32, "tile": 1, "time": 1.5, "times": [1.4, 1.6], "compile_time": 200.0,
                 "verification_time": 10.0, "benchmark_time": 50.0, "strategy_time": 0, "framework_time": 3.0},
        "32,2": {"block_size_x": 32, "tile": 2, "time": "CompilationFailedConfig", "compile_time": 100.0},
        "64,1": {"block_size_x": 64, "tile": 1, "time": "InvalidConfig"},
        "64,2": {"block_size_x": 64, "tile": 2, "time": 1e20},
    },
}  # fmt: skip


@pytest.mark.parametrize("cut", [0, 2])
def test_a_kernel_tuner_cache_is_a_landscape_even_while_it_is_being_written(tmp_path, cut):
    text = json.dumps(CACHE)
    x = read_landscape(foreign(tmp_path, text[: len(text) - cut] + ("," if cut else ""), "cache.json"))
    assert (x.kernel, x.device.name) == ("vector_add", "NVIDIA A100")
    assert [e.status for e in x.entries.values()] == ["correct", "compile", "constraints", "runtime"]
    first = next(iter(x.entries.values()))
    assert first.config == {"block_size_x": 32, "tile": 1}
    assert x.ms(first) == 1.5
    assert first.seconds == pytest.approx(0.26)


def test_a_cache_that_is_named_as_a_device_says_what_it_is_good_for(tmp_path):
    path = foreign(tmp_path, json.dumps(CACHE), "kt.json")
    with pytest.raises(LandscapeError) as e:
        find_landscape(str(path), "toy", ToyProblem())
    assert "does not say its problem" in str(e.value)
    assert "`python -m memory import FILE --kernel toy --problem" in str(e.value)
    assert "`python -m evals run --landscape FILE`" in str(e.value)


def cache(*rows: dict, **about) -> dict:
    """A Kernel Tuner cache of one parameter."""
    return {"tune_params_keys": ["x"], "cache": {str(i): {"x": i, **row} for i, row in enumerate(rows)}, **about}


def statuses(path: Path) -> list[str]:
    return [e.status for e in read_landscape(path).entries.values()]


@pytest.mark.parametrize("end", ["}", "", ",", ",\n\n", ",}}", ', "7": {"x": 7, "tim', ', "7": {"x": 7, "time": 2.5'])
def test_a_cache_may_end_anywhere_in_its_rows(tmp_path, end):
    text = json.dumps(cache({"time": 1.0}, {"time": 2.0}))
    assert len(statuses(foreign(tmp_path, text[:-2] + end))) == (3 if end.endswith("2.5") else 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_other_systems_editors_save_is_read(tmp_path, encoding):
    path = tmp_path / "theirs.json"
    path.write_bytes(json.dumps({"results": [result()]}).encode(encoding))
    assert only(path).stated_ms == 2.0


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, 1e20, None, "TimeoutConfig", "soon"])
def test_one_config_without_a_time_failed_and_is_mentioned(tmp_path, bad):
    kernel_tuner = foreign(tmp_path, cache({"time": 1.0}, {"time": bad}), "cache.json")
    other = result(bad, configuration={"block_size_x": 64}, times={})
    t4 = foreign(tmp_path, {"metadata": {"timeunit": "ms"}, "results": [result(), other]}, "t4.json")
    for path in (kernel_tuner, t4):
        assert statuses(path) == ["correct", "runtime"]
        assert any("count as failed" in n for n in read_landscape(path).notes) == (bad != 1e20)


def test_an_error_is_known_by_its_name_wherever_kernel_tuner_writes_it(tmp_path):
    """Under the objective it goes by; a parameter's value of that name is none."""
    rows = ({"time": 2.0, "GFLOP/s": 5.0}, {"GFLOP/s": "CompilationFailedConfig"}, {"__error__": "InvalidConfig"})
    assert statuses(foreign(tmp_path, cache(*rows))) == ["correct", "compile", "constraints"]
    named = {"tune_params_keys": ["x"], "cache": {"0": {"x": "InvalidConfig", "time": 2.0}}}
    assert statuses(foreign(tmp_path, named)) == ["correct"]


def test_times_in_writing_are_times(tmp_path):
    assert only(foreign(tmp_path, {"results": [result("2.5")]})).stated_ms == 2.5
    assert only(foreign(tmp_path, cache({"time": "2.5", "compile_time": "100"}))).stated_ms == 2.5


def test_without_names_of_parameters_those_of_their_values_hold(tmp_path):
    content = cache({"time": 1.0}, tune_params={"x": [0]})
    del content["tune_params_keys"]
    assert only(foreign(tmp_path, content)).config == {"x": 0}


def test_what_became_of_a_config_is_told_without_its_word(tmp_path):
    made = [result(), result("CompilationFailedConfig"), result(correctness=0), result(invalidity="Correct "), {}]
    for i, r in enumerate(made):
        r["configuration"] = {"x": i}
        if i != 3:
            r.pop("invalidity", None)
    path = foreign(tmp_path, {"metadata": {"timeunit": "ms"}, "results": made})
    assert statuses(path) == ["correct", "compile", "correctness", "correct", "runtime"]


WRONG = [
    ("not json", "does not hold JSON"),
    ("[1, 2]", "not an object"),
    ("{}", "neither T4 `results` nor a Kernel Tuner `cache`"),
    ({"results": []}, "holds no configuration"),
    ({"results": [3]}, r"results\[0\] has no `configuration`"),
    ({"results": [{"configuration": 3}]}, r"results\[0\] has no `configuration`"),
    ({"results": [result(invalidity="broken")]}, "invalidity 'broken', not one of"),
    ({"metadata": {"timeunit": "fortnights"}, "results": [result()]}, "timeunit is 'fortnights'"),
    ({"results": [result(measurements=[{"name": "GFLOP/s", "value": 3}], times={})]}, "holds no time"),
    ({"metadata": {"autokernel": {"format": 99}}, "results": []}, "format 99, this version reads format 1"),
    ({"metadata": {"autokernel": None}, "results": []}, "format None"),
    ({"metadata": {"autokernel": {"format": 1}}, "results": [{}]}, r"results\[0\] lacks 'configuration'"),
    ({"metadata": {"autokernel": {"format": 1}}, "results": [7]}, r"results\[0\]: it must be a table"),
    ({"metadata": {"autokernel": {"format": 1}}, "results": []}, "kernel: it is missing"),
    ({"cache": {}, "tune_params_keys": ["x"]}, "holds no configuration"),
    ({"cache": {"1": {"time": 2}}}, "no tune_params_keys"),
    ({"cache": {"1": {"time": 2}}, "tune_params_keys": ["x"]}, "lacks a value"),
    (cache({"GFLOP/s": 3.0}), "holds no time, only GFLOP/s"),
    ({"cache": {"1": {"x": 1, "time": "soon"}}, "tune_params_keys": ["x"]}, "neither a time nor an error"),
    ("[" * 100_000, "does not hold JSON"),
]


@pytest.mark.parametrize(("content", "said"), WRONG)
def test_a_wrong_file_is_one_sentence_with_its_name(tmp_path, content, said):
    path = foreign(tmp_path, content)
    with pytest.raises(LandscapeError, match=said) as e:
        read_landscape(path)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("field", ["configuration", "times", "status", "run_seconds", "timestamp"])
def test_our_own_file_is_read_strictly(toy, tmp_path, field):
    content = raw(toy)
    del content["results"][2][field]
    with pytest.raises(LandscapeError, match=rf"results\[2\] lacks '{field}'"):
        read_landscape(foreign(tmp_path, content))


@pytest.mark.parametrize("bad", [math.nan, -1.0, 0.0, "fast"])
def test_a_reading_that_is_no_time_is_refused(toy, tmp_path, bad):
    content = raw(toy)
    content["results"][0]["times"]["runtimes"][0] = bad
    with pytest.raises(LandscapeError, match=r"results\[0\]"):
        read_landscape(foreign(tmp_path, content))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:20] + b"\0" * 20 + b[40:]])
def test_a_damaged_gzip_file_is_said_to_be_damaged(toy, tmp_path, damage):
    path = tmp_path / "cut.json.gz"
    path.write_bytes(damage(toy.read_bytes()))
    with pytest.raises(LandscapeError, match="damaged"):
        read_landscape(path)


def test_a_missing_file_and_a_folder_are_said_plainly(tmp_path):
    with pytest.raises(LandscapeError, match="no such file"):
        read_landscape(tmp_path / "none.json")
    with pytest.raises(LandscapeError, match="is a folder"):
        read_landscape(tmp_path)


def test_drift_scales_to_the_files_median_reference(toy):
    landscape = read_landscape(toy)
    r = landscape.reference_ms
    assert landscape.drift(ReadingSet(samples_ms=[1.0], reference_ms=[2 * r, 2 * r])) == pytest.approx(0.5)
    assert landscape.drift(ReadingSet(samples_ms=[1.0])) == 1.0


def test_a_landscape_is_found_by_name_by_path_and_by_problem(toy):
    for name in ("toy", str(toy), None):
        assert find_landscape(name, "toy", ToyProblem(), where=toy.parent).name == "toy"
    assert [x.name for x in list_landscapes(toy.parent)] == ["toy"]


def test_a_problem_that_was_not_recorded_is_refused_with_what_there_is(toy):
    with pytest.raises(LandscapeError) as e:
        find_landscape(None, "toy", ToyProblem(N=999), where=toy.parent)
    for said in ("toy 999 fp16", "recorded are toy (1000 fp16)", "--device cuda:0", "python -m evals record"):
        assert said in str(e.value)
    with pytest.raises(LandscapeError, match="recorded for toy 1000 fp16, not for toy 1000 fp16 double"):
        find_landscape("toy", "toy", ToyProblem(twist="double"), where=toy.parent)
    with pytest.raises(LandscapeError, match="burst regime, not sustained"):
        find_landscape("toy", "toy", ToyProblem(), "sustained", where=toy.parent)
    with pytest.raises(LandscapeError, match="there is no landscape nothing; there are toy"):
        find_landscape("nothing", "toy", ToyProblem(), where=toy.parent)


def test_the_landscapes_in_the_repository_are_whole():
    for landscape in list_landscapes():
        assert landscape.entries


def test_every_landscape_in_the_repository_has_its_checksum_and_card():
    folder = Path(__file__).parents[3] / "evals" / "landscapes"
    files = sorted(folder.glob("*.json.gz"))
    sums = (folder / "SHA256SUMS").read_text() if files else ""
    for path in files:
        assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" in sums
        assert (folder / path.name.replace(".json.gz", ".md")).is_file()


def test_a_problem_that_two_versions_of_triton_recorded_is_named_once():
    spec = get("softmax")
    with pytest.raises(LandscapeError, match=r"softmax \(32768x4096 fp16\)"):
        find_landscape(None, "softmax", spec.parse_problem((64, 64), {}))
