"""The documentation is true: commands run, programs run, links lead somewhere, figures are those of their files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from functools import reduce

import pytest

from tests.docs import reference
from tests.docs.pages import PAGES, ROOT, anchors, blocks, commands, headings, links

OPTIONAL = {"litellm", "datasette", "pip", "git", "export", "claude", "codex", "code"}
"""Programs that are not ours: their lines are for the reader's machine."""
ENOUGH_S = 240


def needs_more_than_this_machine(words: list[str]) -> bool:
    """A GPU, a cluster, a model's endpoint, the test suite itself, or a server that does not end."""
    text = " ".join(words)
    return bool(
        re.search(r"cuda|--ray|--model |--live|--base-url|pytest|tests\.bench|tools serve|langgraph dev", text)
        or re.search(r"-m (kernels (bench|fusion|sweep)|evals record)(?!.*--help)", text)
    )


def understood(words: list[str]) -> bool:
    """Whether the command line that `words` name exists and has every option they use: its help says so."""
    path = words[: next((i for i, w in enumerate(words) if w.startswith("-") and i > 1), len(words))]
    options = [w.partition("=")[0] for w in words[3:] if w.startswith("--")]
    help_ = ""
    for end in range(len(path), 2, -1):
        run = subprocess.run([sys.executable, *path[1:end], "--help"], cwd=ROOT, capture_output=True, text=True)
        if run.returncode == 0:
            help_ = run.stdout
            break
    return bool(help_) and all(option in help_ for option in options)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A checkout and a home for each page: who reads it from the top has what the commands before left."""
    made = {}

    def folder(page):
        if page not in made:
            made[page] = tmp_path_factory.mktemp("page")
            (made[page] / "home").mkdir()
            for entry in ROOT.iterdir():
                if entry.name not in (".git", ".venv", ".env"):
                    (made[page] / entry.name).symlink_to(entry)
        return made[page]

    return folder


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_commands_run_as_printed(block, folder_of):
    """In order, with a home of their own; what needs a GPU or an endpoint must be understood."""
    here = folder_of(block.page)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AUTOKERNEL_", "XDG_"))}
    environment = {**kept, "HOME": str(here / "home"), "COLUMNS": "120"}
    for words in commands(block):
        if words[0] in OPTIONAL:
            continue
        if words[0] == "autokernel":
            words = ["python", "-m", "agent", *words[1:]]
        assert words[0] in ("python", "bash"), f"{block}: {words[0]} is no command of ours; say what it is in OPTIONAL"
        if words[0] == "bash":
            assert (ROOT / words[1]).exists()
        elif needs_more_than_this_machine(words):
            assert "pytest" in words or understood(words), f"{block}: no such command or option: {' '.join(words)}"
        else:
            out = subprocess.DEVNULL
            if ">" in words:
                words, target = words[: words.index(">")], words[words.index(">") + 1]
                out = (here / target).open("wb")
            run = subprocess.run(
                [sys.executable, *words[1:]], cwd=here, env=environment, stdout=out, stderr=subprocess.PIPE,
                timeout=ENOUGH_S, text=True,
            )  # fmt: skip
            assert run.returncode == 0, f"{block}: {' '.join(words)}\n{run.stderr[-2000:]}"


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_programs_run_as_printed(block, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(block.text, encoding="utf-8")
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env={**os.environ, **home}, capture_output=True, text=True,
        timeout=ENOUGH_S,
    )  # fmt: skip
    assert run.returncode == 0, f"{block}\n{run.stderr[-2000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    missing = [target for target in links(page) if target and not (page.parent / target).exists()]
    assert not missing
    assert not [f"{to.name}#{anchor}" for to, anchor in anchors(page) if anchor not in headings(to)]


FIGURES = tomllib.loads((ROOT / "docs" / "figures.toml").read_text(encoding="utf-8"))["figure"]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f['text']} in {f['page']}")
def test_figures_are_those_of_their_files(figure):
    """`at` leads to a value in the JSON `file`; printed as `format` says it must be `text`, and `page` must say it. A
    file of text says it `as` it is, without `at`."""
    source = (ROOT / figure["file"]).read_text(encoding="utf-8")
    if "at" in figure:
        value = reduce(step, figure["at"].split("."), json.loads(source))
        assert figure.get("format", "{}").format(value * figure.get("times", 1)) == figure["text"]
    else:
        assert figure["as"] in source
    assert figure["text"] in (ROOT / figure["page"]).read_text(encoding="utf-8")


def step(value, name: str):
    if isinstance(value, list):
        if "=" in name:  # the entry whose field has that value
            field, _, wanted = name.partition("=")
            [value] = [v for v in value if str(v[field]) == wanted]
            return value
        return value[int(name)]
    return value[name]


def test_the_reference_is_up_to_date():
    assert reference.page() == reference.PAGE.read_text(encoding="utf-8"), "run `python -m tests.docs.reference`"


def test_every_data_file_is_somebodys_source():
    told = {f["file"] for f in FIGURES} | {m for p in PAGES for m in re.findall(r"docs/data/[\w.-]+", p.read_text())}
    kept = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs" / "data").iterdir()}
    assert kept <= told
