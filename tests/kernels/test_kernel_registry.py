import os
import subprocess
import sys

import pytest

from kernels import registry
from kernels.check_spec import examine
from kernels.spec import KernelSpec

pytestmark = pytest.mark.process

MINE = """
from kernels.matmul import Matmul

class Mine(Matmul):
    name = "mine"

mine = Mine()
not_a_kernel = 3
"""


def test_every_listed_kernel_loads_under_its_name():
    for name in registry.names():
        spec = registry.get(name)
        assert isinstance(spec, KernelSpec)
        assert spec.name == name
        assert spec.default_problem()


@pytest.mark.parametrize("name", registry.names())
def test_a_run_need_not_examine_a_built_in_kernel(name):
    """It looks for configs alone."""
    spec = registry.get(name)
    assert registry.is_builtin(spec)
    examine(spec)


def test_what_extends_a_built_in_kernel_is_none(mine):
    assert not registry.is_builtin(registry.get(f"{mine}:mine"))


def test_the_aliases_that_are_read_from_the_source_are_the_kernels_own():
    assert registry.aliases() == {name: registry.get(name).aliases for name in registry.names()}


def test_the_words_of_kernels_import_no_torch():
    """The contract, its defaults and what the agent's own modules need of kernels."""
    modules = [
        "kernels.spec",
        "kernels.defaults",
        "kernels.hardware",
        "agent.loop.actions",
        "agent.goal.words.vocabulary",
        "agent.api",
    ]
    modules += [
        "agent.campaign.plan",
        "agent.campaign.campaign_runs",
        "agent.export.pages.run_page",
        "tools.session.task",
    ]
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'triton', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_listing_names_imports_no_torch():
    code = "import sys, kernels.registry as r; r.names(); sys.exit('torch' in sys.modules or 'triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.mark.parametrize("attribute", ["Mine", "mine"])
def test_a_kernel_of_a_users_file_loads_as_class_or_instance(mine, attribute):
    spec = registry.get(f"{mine}:{attribute}")
    assert spec.name == "mine"
    assert len(spec.source_hash()) == 16


def test_an_edited_file_is_read_again(mine):
    registry.get(f"{mine}:Mine")
    mine.write_text(MINE.replace('"mine"', '"yours"'))
    assert registry.get(f"{mine}:Mine").name == "yours"


def test_an_edit_of_the_same_length_and_date_is_read_too(mine, monkeypatch):
    """As two edits in one second have it: what Python dates its bytecode by is as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    os.utime(mine, (1e9, 1e9))
    assert registry.get(f"{mine}:Mine").name == "mine"
    mine.write_text(MINE.replace('"mine"', '"ours"'))
    os.utime(mine, (1e9, 1e9))
    assert registry.get(f"{mine}:Mine").name == "ours"


def test_a_kernel_of_a_module_loads():
    assert registry.get("kernels.matmul:Matmul").name == "matmul"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("matmull", "no kernel named 'matmull': choose one of matmul, fused_matmul, softmax"),
        ("", "no kernel named ''"),
        ("kept_nothing/", "there is no file or folder kept_nothing/: name a kernel"),
        (":", "no kernel named ':'"),
        ("nowhere.py:Mine", "no kernel file at nowhere.py"),
        ("no.such.module:Mine", "cannot be imported: ModuleNotFoundError"),
        ("kernels.matmul:Nothing", "kernels.matmul has no Nothing; it has Matmul"),
        ("json:loads", "json:loads is no KernelSpec; it defines no KernelSpec"),
        ("kernels.gemm.spec:Gemm", "unfinished KernelSpec: define name, problem_type"),
    ],
)
def test_a_wrong_name_is_one_sentence(name, says):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        registry.get(name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def broken(:", "SyntaxError"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import a_package_that_is_not_there", "ModuleNotFoundError"),
        ("Mine = 3", "is no KernelSpec"),
        ("x = 3", "has no Mine; it defines no KernelSpec"),
        (
            "from kernels.matmul import Matmul\nclass Mine(Matmul):\n    def __init__(self, x): pass",
            "cannot be made without arguments",
        ),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        registry.get(f"{path}:Mine")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gated", "normalise"])
def test_a_bare_triton_kernel_is_answered_with_the_ways_to_go_on(name):
    with pytest.raises(ValueError, match=f"improve run.capture --kernel {name}.*docs/KERNELS.md"):
        registry.get(f"examples/captured_program.py:{name}")


def test_a_launch_that_cannot_be_found_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="check the path of the capture"):
        registry.get(f"{tmp_path}/none.capture#abc")
    (tmp_path / "a").write_text("no capture\n")
    with pytest.raises(ValueError, match="is no capture"):
        registry.get(f"{tmp_path}/a#abc")
