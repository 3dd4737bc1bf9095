"""What the doctor finds, on this machine and on machines that lack something."""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.cli import checks, installation, requirements
from agent.cli.commands import main
from kernels.hardware import kept_gpus
from kernels.hardware.asked_gpu import complete, describe
from tests.kernels.test_asked_gpu import CEILINGS, FIGURES, properties

pytestmark = pytest.mark.process

KEY = "sk-never-to-be-shown"


@pytest.fixture
def quick(monkeypatch):
    """Children that answer at once as those of a machine without a GPU do; returns what they answer, to be changed."""
    answers = {
        checks.TORCH: {"version": "2.13.0+cpu", "cuda": None, "hip": None, "gpus": []},
        checks.TRITON: {"version": "3.9.0", "status": "correct", "reason": ""},
    }
    monkeypatch.setattr(checks, "run_script", lambda script: answers[script])
    monkeypatch.setattr(checks, "nvidia_cards", lambda: ([], ""))
    return answers


def found(name, findings):
    return next(finding for finding in findings if finding.name == name)


@pytest.mark.long  # the README's test runs it
def test_this_machine_can_run_the_main_job(capsys):
    assert main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["can_run"] is True
    states = {finding["name"]: finding["state"] for finding in answer["findings"]}
    assert (states["torch"], states["triton"], states["landscapes"]) == ("ok", "ok", "ok")
    assert all(finding["mend"] for finding in answer["findings"] if finding["state"] == "missing")


def test_what_is_missing_is_said_with_its_mend_and_exit_code_1(quick, capsys):
    quick[checks.TORCH] = {"error": "ModuleNotFoundError: No module named 'torch'"}
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "MISSING  torch" in out
    assert "-> pip install torch" in out
    assert out.rstrip().endswith("Not ready: fix what is MISSING.")


def test_packages_are_checked_by_the_projects_own_metadata(monkeypatch):
    lines = ["click>=8.1", "numpy>=999; python_version>='3.11'", "gone>=1", "old; python_version<'3'", "torch>=999"]
    monkeypatch.setattr(requirements.metadata, "requires", lambda name: [*lines, "absent; extra == 'ray'"])
    [packages] = checks.check_packages()
    assert packages.state == "missing"
    assert packages.said.startswith("numpy ")
    assert packages.said.endswith(" is installed, >=999 is needed; gone is not installed")
    assert packages.mend == "pip install 'numpy>=999' 'gone>=1'"
    extras = {finding.said: finding for finding in checks.check_extras()}
    assert extras["[ray]: absent is not installed"].mend == "pip install 'triton-autokernel[ray]'"
    assert not any(said.startswith("[dev]") for said in extras)


class Installed:
    """A file of an installed distribution, without a hash."""

    hash = None

    def __init__(self, folder, name):
        self.folder, self.name = folder, name

    def __str__(self):
        return self.name

    def locate(self):
        return self.folder / self.name


def test_another_package_of_our_name_is_noted_and_one_that_overwrote_ours_is_missing(monkeypatch, tmp_path):
    assert {finding.state for finding in installation.check_names()} <= {"ok", "note"}
    (tmp_path / "kernels.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    [noted] = installation.check_names()
    assert (noted.state, str(tmp_path / "kernels.py") in noted.said) == ("note", True)
    monkeypatch.setattr(installation.metadata, "files", lambda name: [Installed(tmp_path, "kernels/__init__.py")])
    (tmp_path / "kernels.py").unlink()
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/__init__.py").write_text("")
    importlib.invalidate_caches()
    assert [finding.state for finding in installation.check_names()] == ["ok"]  # a clone beside what pip installed
    monkeypatch.setattr(installation, "overwritten_packages", lambda: ["kernels/__init__.py"])
    [broken] = installation.check_names()
    assert (broken.state, "force-reinstall" in broken.mend) == ("missing", True)


def test_a_compile_cache_that_cannot_be_written_is_missing(monkeypatch, tmp_path):
    assert checks.check_cache()[0].state == "ok"
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    [broken] = checks.check_cache()
    assert (broken.state, "set XDG_CACHE_HOME" in broken.mend) == ("missing", True)


def test_machine_trouble_is_said_with_what_helps(quick):
    reason = "nothing can be compiled: Cannot find ptxas: reinstall Triton"
    quick[checks.TRITON] = {"version": "3.9.0", "status": "infrastructure", "reason": reason}
    [broken] = checks.check_triton()
    assert (broken.state, reason in broken.said) == ("missing", True)


def test_a_model_of_ones_own_is_not_looked_for_on_a_server(quick, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("AUTOKERNEL_MODEL", "mine.py:Model")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "mine.py:Model, a model of yours" in out
    assert "endpoint" not in out


def test_a_gpu_that_pytorch_does_not_see_is_missing(quick, monkeypatch):
    monkeypatch.setattr(checks, "nvidia_cards", lambda: (["NVIDIA H200"], "570.1"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    torch = found("torch", checks.check_gpu())
    assert (torch.state, "pytorch.org" in torch.mend) == ("missing", True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "unset it" in found("torch", checks.check_gpu()).mend
    quick[checks.TORCH] = {"version": "2.11", "cuda": "12.8", "hip": None, "gpus": ["NVIDIA H200"]}
    assert found("torch", checks.check_gpu()).state == "ok"
    assert found("driver", checks.check_gpu()).said == "570.1"


def test_a_compiler_is_needed_on_a_gpu_only(quick, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    assert checks.check_c_compiler()[0].state == "note"
    monkeypatch.setattr(checks, "nvidia_cards", lambda: (["NVIDIA H200"], "570.1"))
    [lacking] = checks.check_c_compiler()
    assert (lacking.state, lacking.mend) == ("missing", "apt install gcc, or set CC")


def test_a_triton_that_does_not_compile_is_missing(quick):
    quick[checks.TRITON] = {"version": "3.9.0", "status": "compile", "reason": "no ptxas"}
    [broken] = checks.check_triton()
    assert (broken.state, "no ptxas" in broken.said) == ("missing", True)


def test_a_damaged_landscape_is_missing(quick, monkeypatch, tmp_path):
    folder = Path(checks.__file__).parents[2] / "evals" / "landscapes"
    shutil.copytree(folder, tmp_path / "landscapes")
    monkeypatch.setattr(checks.resources, "files", lambda package: tmp_path)
    assert checks.check_landscapes()[0].state == "ok"
    victim = next((tmp_path / "landscapes").glob("*.json.gz"))
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1])
    [broken] = checks.check_landscapes()
    assert (broken.state, victim.name in broken.said) == ("missing", True)


def test_a_full_disk_and_a_damaged_memory_are_missing(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "LEAST_DISK", 2**60)
    assert {finding.state for finding in checks.check_disk()} == {"missing"}
    from memory.file import default_path

    default_path().parent.mkdir(parents=True, exist_ok=True)
    default_path().write_text("this is no database, " * 100)
    [broken] = checks.check_memory()
    assert (broken.state, "python -m memory recover" in broken.mend) == ("missing", True)


def test_no_temporary_folder_is_a_finding_and_the_other_checks_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    findings = checks.check_disk()
    assert found("scratch", findings).state == "missing"
    assert "TMPDIR" in found("scratch", findings).mend
    assert found("disk", findings).said


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {"object": "list", "data": [{"id": "m", "object": "model"}]}, "1 models"),
        (200, {"object": "list", "data": [{"id": "other", "object": "model"}]}, "m is not among them"),
        (401, {"error": {"message": f"bad key {KEY}"}}, "refuses the key"),
        (404, {}, "HTTP 404"),
    ],
)
def test_an_endpoint_is_asked_where_it_is_configured_and_no_key_is_shown(
    quick, monkeypatch, capsys, tmp_path, status, body, said
):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["authorization"])
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args):
            pass

    asked = []
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert main(["doctor"]) == 0
    assert asked == []  # a key alone sends nothing anywhere
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:{KEY}@127.0.0.1:{web.server_port}/v1")
    monkeypatch.setenv("AUTOKERNEL_MODEL", "m")
    assert main(["doctor"]) == 0
    web.shutdown()
    web.server_close()
    out, err = capsys.readouterr()
    assert said in out
    assert asked
    assert KEY not in out + err


def test_a_server_that_nobody_runs_is_said(quick, monkeypatch):
    assert "cannot be reached" in checks.check_endpoint("http://127.0.0.1:9/v1", "", "m").said
    assert checks.check_endpoint("nonsense", "", "m").state == "note"


def test_a_card_without_published_facts_is_said_to_be_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(kept_gpus, "folder", lambda: tmp_path)
    assert checks.describe_card("NVIDIA H200") == "NVIDIA H200"
    assert "measured at the first run" in checks.describe_card("NVIDIA H20")
    kept_gpus.keep(complete(describe(properties(), FIGURES), CEILINGS))
    said = checks.describe_card("NVIDIA H20")
    assert said == "NVIDIA H20 (bandwidth asked of the driver, peaks derived from the driver's figures)"
