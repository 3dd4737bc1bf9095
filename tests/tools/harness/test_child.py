"""A child answers jobs, and its end is always noticed."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tools.harness.process import child as child_module
from tools.harness.process import run_delay
from tools.harness.process.child import Child, ChildDied, ChildKilled, ChildTimeout

pytestmark = pytest.mark.process


def echo(init):
    """The child's side of these tests."""

    def serve(job):
        if "sleep" in job:
            time.sleep(job["sleep"])
        if "kill" in job:
            os.kill(os.getpid(), job["kill"])
        if "print" in job:
            print(job["print"])
        if "raise" in job:
            raise ValueError(job["raise"])
        if "see" in job:
            return {"environment": os.environ.get("SEEN"), "folder": os.getcwd(), "niceness": os.nice(0)}
        if "variants" in job:
            from kernels.editing import variants

            return {"folder": str(variants._folder())}
        if "fork" in job:
            return {"pid": subprocess.Popen(["sleep", "100"]).pid}
        return {"init": init, "job": job, "pid": os.getpid()}

    return serve


@pytest.fixture(params=[False, True], ids=["started", "forked"])
def child(request):
    c = Child("tests.tools.harness.test_child:echo", {"a": 1}, forked=request.param)
    yield c
    c.kill()


def gone(pid: int) -> bool:
    """Whether `pid` ended within 5 s (a zombie has ended)."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_it_answers_in_another_process(child):
    answer = child.call({"x": 2}, 20)
    assert answer["init"] == {"a": 1}
    assert answer["job"] == {"x": 2}
    assert answer["pid"] != os.getpid()


def test_what_a_job_prints_stays_out_of_our_output_and_can_be_read(child, capfd):
    child.call({"print": "noise"}, 20)
    assert child.log_tail() == "noise"
    assert "noise" not in capfd.readouterr().out


def test_what_a_killed_child_cannot_remove_is_removed_by_its_parent(child):
    """A worker's edited variants, which Triton reads from files."""
    folder = Path(child.call({"variants": 1}, 20)["folder"])
    (folder / "variant.py").touch()
    with pytest.raises(ChildKilled):
        child.call({"kill": signal.SIGKILL}, 20)
    assert not folder.exists()
    assert not folder.parent.exists()
    assert folder.parent.name.startswith("autokernel-child-")


def test_a_job_past_its_deadline_is_killed(child):
    child.call({}, 20)
    started = time.monotonic()
    with pytest.raises(ChildTimeout, match=r"0\.3 s"):
        child.call({"sleep": 60}, 0.3)
    assert time.monotonic() - started < 30
    assert not child.alive


def test_a_crash_is_named_by_its_signal(child):
    with pytest.raises(ChildDied, match="SIGSEGV"):
        child.call({"kill": int(signal.SIGSEGV)}, 20)


def test_a_child_killed_between_jobs_is_noticed_at_the_next(child):
    pid = child.call({}, 20)["pid"]
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    with pytest.raises(ChildDied, match="SIGKILL"):
        child.call({}, 20)


def test_our_own_exception_in_a_child_is_raised_here(child):
    with pytest.raises(RuntimeError, match="ValueError: boom"):
        child.call({"raise": "boom"}, 20)
    assert child.call({}, 20)["init"] == {"a": 1}


def test_killing_takes_the_childs_own_children_along(child):
    pid = child.call({"fork": 1}, 20)["pid"]
    child.kill()
    assert gone(pid)


@pytest.mark.parametrize("forked", [False, True], ids=["started", "forked"])
def test_a_hung_child_ends_with_its_parent(forked):
    """The parent is killed with SIGKILL while the child sleeps in a job."""
    program = textwrap.dedent(f"""
        import threading, time
        from tools.harness.process.child import Child
        c = Child("tests.tools.harness.test_child:echo", {{}}, forked={forked})
        print(c.call({{}}, 20)["pid"], c.call({{"variants": 1}}, 20)["folder"], flush=True)
        threading.Thread(target=lambda: c.call({{"sleep": 600}}, 600), daemon=True).start()
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid, folder = parent.stdout.readline().split()
    assert Path(folder).is_dir()
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(int(pid))
    assert not Path(folder).parent.exists()


@pytest.mark.parametrize("forked", [False, True], ids=["started", "forked"])
def test_an_idle_child_whose_parent_is_gone_removes_all_its_files(forked):
    """Both of its threads learn of it, and the one that waits for a job ends the process."""
    child = Child("tests.tools.harness.test_child:echo", {}, forked=forked)
    folder = Path(child.call({"variants": 1}, 20)["folder"]).parent
    for number in range(3000):
        (folder / str(number)).touch()
    child._connection.close()
    os.close(child._life)
    child.process.wait(20)
    assert not folder.exists()
    child._life = -1
    child.kill()


def test_time_without_a_processor_does_not_count(child, monkeypatch):
    """The machine is so busy that the child runs every other second."""
    child.call({"x": 1}, 20)
    looks = iter(range(1, 100))
    monkeypatch.setattr(child_module, "LOOK_S", 0.1)
    monkeypatch.setattr(child_module.RunDelay, "seconds", lambda self: 0.05 * next(looks))
    assert child.call({"sleep": 0.7, "x": 2}, 0.5)["job"]["x"] == 2


def test_a_busy_machine_puts_the_end_off_but_not_for_ever(child, monkeypatch):
    child.call({"x": 1}, 20)
    monkeypatch.setattr(child_module, "LOOK_S", 0.05)
    monkeypatch.setattr(child_module.RunDelay, "seconds", lambda self: 1e9)
    started = time.monotonic()
    with pytest.raises(ChildTimeout):
        child.call({"sleep": 60}, 0.1)
    assert time.monotonic() - started >= 0.1 * child_module.MOST_TIMES


def test_what_waited_most_since_the_last_look_is_added_up(tmp_path, monkeypatch):
    def threads(process, group, waited):
        for thread, ns in waited.items():
            folder = tmp_path / process / "task" / thread
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "schedstat").write_text(f"5 {ns} 1\n")
        (tmp_path / process / "stat").write_text(f"{process} (a) b) R 1 {group} 7 0\n")

    monkeypatch.setattr(run_delay, "PROC", tmp_path)
    (tmp_path / "meminfo").write_text("")
    threads("10", 10, {"10": 2_000_000_000, "11": 0})
    threads("20", 99, {"20": 0})
    delay = run_delay.RunDelay(10)
    assert delay.seconds() == 0
    threads("10", 10, {"10": 2_500_000_000, "11": 1_000_000_000})
    threads("12", 10, {"12": 250_000_000})  # an assembler that it has started
    threads("20", 99, {"20": 9_000_000_000})
    assert delay.seconds() == 1.0
    shutil.rmtree(tmp_path / "12")
    threads("10", 10, {"10": 2_500_000_000, "11": 1_500_000_000})
    (tmp_path / "13").mkdir()
    assert delay.seconds() == 1.5


def test_a_process_that_must_share_a_processor_has_waited():
    """Two that want one processor: each waits while the other runs."""
    one = min(os.sched_getaffinity(0))
    spin = (
        f"import os, time; os.sched_setaffinity(0, {{{one}}}); end = time.time() + 0.6\nwhile time.time() < end: pass"
    )
    first, second = (subprocess.Popen([sys.executable, "-c", spin], start_new_session=True) for _ in range(2))
    delay, most = run_delay.RunDelay(first.pid), 0.0
    while first.poll() is None:
        most = max(most, delay.seconds())
        time.sleep(0.05)
    second.wait()
    assert most > 0.05 or not os.path.exists("/proc/self/schedstat")
