"""The rules of docs/ARCHITECTURE.md hold in this tree, and each of them notices what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layout import MOST_DOOR_LINES, MOST_MODULES, RULES, TWINS, modules

ROOT = Path(__file__).parents[1]

BROKEN = {
    "upward imports": {
        "memory/a.py": "def ask():\n    import agent.b\n",
        "agent/b.py": "",
        "kernels/c.py": "from memory.store import Memory\n",
        "memory/store.py": "Memory = None\n",
        "tools/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from evals import e\n",
        "evals/e.py": "",
        "kernels/__main__.py": "import evals.e\n" * (MOST_DOOR_LINES + 1),
    },
    "crowded folders": {f"tools/{'abcdefghijklmnop'[i]}.py": "" for i in range(MOST_MODULES + 1)},
    "homonyms": {"agent/replay.py": "", "kernels/ops/replay.py": ""},
    "torch at import": {
        "agent/a.py": "import torch\n",
        "kernels/spec.py": "from torch import Tensor\n",
        "tools/b.py": "try:\n    import torch.nn as nn\nexcept ImportError:\n    nn = None\n",
    },
    "import circles": {
        "agent/a.py": "from agent import b\n",
        "agent/b.py": "def call():\n    from agent.c import C\n",
        "agent/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from agent.a import A\n",
    },
}
VIOLATIONS = {
    "upward imports": 4,
    "crowded folders": 1,
    "homonyms": 1,
    "torch at import": 3,
    "import circles": 1,
}
FINE = {
    "memory/terms.py": "Status = str\n",
    "kernels/spec.py": "from memory.terms import Status\n\ndef make():\n    import torch\n    return torch\n",
    "kernels/gemm/spec.py": "import torch\nfrom kernels.spec import make\n",
    "kernels/__main__.py": "from evals.bench import main\n",
    "evals/bench.py": "from kernels.spec import make\nmain = make\n",
}


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_the_rule(rule):
    assert RULES[rule](ROOT) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_planted_violation_is_found(rule, tmp_path):
    found = RULES[rule](tree(tmp_path, BROKEN[rule]))
    assert len(found) == VIOLATIONS[rule], found


@pytest.mark.parametrize("rule", RULES)
def test_a_tree_that_keeps_the_rules_passes(rule, tmp_path):
    assert RULES[rule](tree(tmp_path, FINE)) == []


def test_every_twin_is_one():
    stems = [path.stem for path in modules(ROOT).values()]
    assert [twin for twin in TWINS if stems.count(twin) < 2] == []
