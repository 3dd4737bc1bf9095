"""Other projects' configs become unproven rows for the launches of a capture, and rows become files again."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import driver

from agent.cli.commands import main
from agent.programs import apply, capture, programs_assembler
from agent.programs.foreign import rows_from_table as rows_module
from agent.programs.foreign.foreign_formats import read_foreign
from agent.programs.foreign.rows_from_table import rows_from_table
from agent.programs.improvement import wanted_launches
from kernels.capture.reading import captured_launches
from kernels.capture.reading.captured_launches import read_capture
from kernels.tuned.applying import applied_table
from kernels.tuned.compiler_variables import ASSEMBLER
from kernels.tuned.tuned_environment import assembler_of
from kernels.tuned.tuned_file import read_table
from kernels.tuned.tuned_table import TunedEnvironment
from tests.agent.programs.foreign.files import FILES, FLA, MEGATRON, TRITON, dumped
from tests.kernels.capture.launching_driver import LaunchingDriver

pytestmark = pytest.mark.compile
CONFIG = {"BLOCK": 512, "num_warps": 4, "num_stages": 3}


@triton.autotune([triton.Config({"BLOCK": b}, num_warps=w) for b in (256, 1024) for w in (4, 8)], key=["n"])
@triton.jit
def tuned(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


def launch(n=5000):
    x = torch.ones(n)
    return tuned[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, torch.empty_like(x), n)


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    path = tmp_path_factory.mktemp("foreign") / "run.capture"
    before = driver._active
    driver.set_active(LaunchingDriver())
    with capture(path, values="no"):
        launch()
    yield path
    driver._active = before


@pytest.fixture
def here(captured, monkeypatch):
    """The capture as one of a GPU, and this process on that GPU."""
    environment = TunedEnvironment("NVIDIA H200", triton.__version__, assembler_of("cuda", 90))
    monkeypatch.setattr(applied_table, "_environment_of_launch", lambda: environment)

    def on_gpu(path):
        found = read_capture(path)
        found.launches = [dataclasses.replace(x, device={**x.device, "name": "NVIDIA H200"}) for x in found.launches]
        return found

    for module in (captured_launches, wanted_launches):
        monkeypatch.setattr(module, "read_capture", on_gpu)
    return captured


CASES = [
    ("tuned.autotune.json", dumped(TRITON), None, (512, 2)),
    ("tuned.json", dumped(FLA), None, (512, 2)),
    (
        "other.json",
        dumped({**FLA, "autotune_entries": {}, "default_config": {"kwargs": {"BLOCK": 128}, "num_warps": 1}}),
        None,
        (128, 1),
    ),
    ("tuning.json", dumped(MEGATRON), None, (512, 2)),
    ("E=1,N=1,device_name=X.json", dumped({"1": CONFIG, "4096": {**CONFIG, "BLOCK": 64}}), "n", (64, 4)),
    ("gfx942-ADD.json", dumped({"M_LEQ_8192": {**CONFIG, "BLOCK": 128}}), "x_ptr.0", (128, 4)),
]


@pytest.mark.parametrize(("name", "text", "size", "config"), CASES, ids=lambda value: str(value)[:20])
def test_a_table_is_applied_as_unproven_rows(tmp_path, here, capsys, name, text, size, config):
    (tmp_path / name).write_text(text)
    command = [
        "table",
        "import",
        "--capture",
        str(here),
        "--kernel",
        "tuned",
        "-o",
        str(tmp_path / "t"),
        str(tmp_path / name),
    ]
    assert main([*command, *(["--size", size] if size else [])]) == 0
    assert "1 unproven rows added, 0 keys have a row already, 0 skipped" in capsys.readouterr().out
    assert [r.status for r in read_table(tmp_path / "t").rows] == ["unproven"]
    with apply(tmp_path / "t", unproven=True):
        compiled = launch()
    assert (compiled.src.constants[(3,)], compiled.metadata.num_warps) == config
    with apply(tmp_path / "t") as applied:
        launch()
    assert not applied.report()["used"]
    # A row that is there stays: an import never takes the place of a proof.
    assert main([*command, *(["--size", size] if size else [])]) == 0
    assert "0 unproven rows added, 1 keys have a row already" in capsys.readouterr().out


def test_rows_name_the_assembler_that_the_program_compiles_with(tmp_path, here, capsys, monkeypatch):
    def by_torch(path):
        return dataclasses.replace(captured_launches.read_capture(path), torch_assembler=True)

    monkeypatch.setattr(wanted_launches, "read_capture", by_torch)
    monkeypatch.setattr(programs_assembler, "torch_assembler", lambda: "/torch/bin/ptxas")
    monkeypatch.setattr(rows_module, "assembler_of", lambda kind, arch: f"ptxas of {os.environ.get(ASSEMBLER)}")
    monkeypatch.delenv(ASSEMBLER, raising=False)
    (tmp_path / "tuned.autotune.json").write_text(dumped(TRITON))
    words = ["--capture", str(here), "--kernel", "tuned", "-o", str(tmp_path / "t")]
    assert main(["table", "import", *words, str(tmp_path / "tuned.autotune.json")]) == 0
    assert "/torch/bin/ptxas" in capsys.readouterr().err
    assert [r.environment.assembler for r in read_table(tmp_path / "t").rows] == ["ptxas of /torch/bin/ptxas"]


@pytest.mark.parametrize(
    ("name", "text", "size", "reason"),
    [
        ("tuning.json", dumped({**MEGATRON, "kernels": {}}), None, "the table has nothing for n=5000|torch.float32"),
        ("tuned.json", dumped({**FLA, "autotune_entries": {}}), None, "the table has nothing for key [5000, "),
        ("E=1,N=1,device_name=X.json", dumped({"1": CONFIG}), None, "name the argument that is M by --size"),
        ("E=1,N=1,device_name=X.json", dumped({"1": CONFIG}), "m", "it has no argument m"),
        ("E=1,N=1,device_name=X.json", dumped({"1": CONFIG}), "x_ptr.7", "x_ptr.7 is no whole number of it"),
        (
            "E=1,N=1,device_name=X.json",
            dumped({"1": {**CONFIG, "GROUP": 8}}),
            "n",
            "the table sets GROUP, which is neither",
        ),
        (FILES[-1][1], FILES[-1][2], None, "the table is for kernels that torch.compile makes"),
    ],
)
def test_a_launch_without_a_config_is_skipped_with_the_reason(tmp_path, here, name, text, size, reason):
    (tmp_path / name).write_text(text)
    found = rows_from_table(*read_foreign(tmp_path / name), captured_launches.read_capture(str(here)), "tuned", size)
    assert not found.rows
    assert [reason in s["reason"] for s in found.skipped] == [True]


@pytest.mark.parametrize(
    ("form", "options", "name"),
    [
        ("fla", ("--about", "triton_version=3.9.0"), "tuned.json"),
        ("megatron", ("--about", "arch=sm_90", "--about", "triton=3.9.0"), "tuning.json"),
        ("moe", ("--about", "E=1", "--about", "device_name=X", "--size", "n"), "E=1,device_name=X.json"),
        ("aiter", ("--about", "arch=gfx942", "--about", "operation=ADD", "--size", "n"), "gfx942-ADD.json"),
    ],
)
def test_rows_are_written_and_read_back(tmp_path, here, capsys, form, options, name):
    (tmp_path / "tuned.autotune.json").write_text(dumped(TRITON))
    common = ["--capture", str(here), "--kernel", "tuned"]
    assert main(["table", "import", *common, "-o", str(tmp_path / "t"), str(tmp_path / "tuned.autotune.json")]) == 0
    export = ["table", "export", str(tmp_path / "t"), *common, "--as", form, *options, "-o", str(tmp_path / "out")]
    assert main(export) == 2
    assert "has a row with a config that may be written" in capsys.readouterr().err
    assert main([*export, "--unproven"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / name}\n"
    found, table = read_foreign(tmp_path / "out" / name)
    assert found == form
    (row,) = table.rows
    assert {n: row.config[n] for n in ("BLOCK", "num_warps", "num_stages")} == {
        "BLOCK": 512,
        "num_warps": 2,
        "num_stages": 2,
    }
    size = ["--size", "n"] if form in ("moe", "aiter") else []
    again = ["table", "import", *common, *size, "-o", str(tmp_path / "again"), str(tmp_path / "out" / name)]
    assert main(again) == 0
    assert read_table(tmp_path / "again").digest == read_table(tmp_path / "t").digest


def test_mistakes_are_one_sentence(tmp_path, here, capsys):
    (tmp_path / "t.autotune.json").write_text(dumped(TRITON))
    cases = {
        (
            "import",
            "--capture",
            str(here),
            "--kernel",
            "other",
            "-o",
            "t",
            str(tmp_path / "t.autotune.json"),
        ): "has no launch of other",
        (
            "export",
            "--capture",
            str(here),
            "--kernel",
            "tuned",
            "-o",
            "t",
            "--as",
            "fla",
            str(tmp_path / "none"),
        ): "cannot be read",
        (
            "export",
            "--capture",
            str(here),
            "--kernel",
            "tuned",
            "-o",
            "t",
            "--as",
            "moe",
            str(tmp_path / "none"),
        ): "add --about device_name=",
    }
    for arguments, message in cases.items():
        assert main(["table", *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1


def test_the_key_is_the_one_that_triton_writes(here):
    """The autotuner's own key of the same launch."""
    tuned.cache.clear()
    launch()
    (key,) = tuned.cache
    assert list(key) == TRITON["key"]
    assert json.loads(json.dumps(key)) == TRITON["key"]
