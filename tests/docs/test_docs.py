"""The documentation is true: commands run, programs run, links lead somewhere, figures are those of their files."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from tests.docs import goals, reference
from tests.docs.pages import PAGES, ROOT, anchors, blocks, commands, headings, links

OPTIONAL = {"litellm", "datasette", "pip", "git", "export", "claude", "codex", "code"}
"""Programs that are not ours: their lines are for the reader's machine."""
ENOUGH_S = 600
"""Seconds after which a command hangs, on a busy machine too."""
SHORTENED = {"python -m agent maximise attention TFLOPS": ("--max-evals", "6")}
"""Lines that take over 20 s as they are printed: run with these options added, and as printed on demand (`-m long`)."""
pytestmark = pytest.mark.docs


def needs_more_than_this_machine(words: list[str]) -> bool:
    """A GPU, a cluster, a model's endpoint, the test suite itself, or a server that does not end."""
    text = " ".join(words)
    return bool(
        re.search(r"cuda|--ray|--model |--live|--base-url|pytest|tests\.bench|tools serve|langgraph dev", text)
        or re.search(r"-m (kernels (bench|fusion|sweep)|evals record)(?!.*--help)", text)
    )


@functools.cache
def help_of(*words: str) -> str:
    """What the command of these words says to ``--help``; nothing where there is no such command. Ours are asked in
    this process, where nothing has to be imported anew."""
    if words[2] in reference.COMMANDS:
        module, name = reference.COMMANDS[words[2]]
        run = CliRunner().invoke(getattr(importlib.import_module(module), name), [*words[3:], "--help"])
        return run.output if run.exit_code == 0 else ""
    told = subprocess.run([sys.executable, *words[1:], "--help"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout if told.returncode == 0 else ""


def understood(words: list[str]) -> bool:
    """Whether the command line that `words` name exists and has every option they use: its help says so."""
    path = words[: next((i for i, w in enumerate(words) if w.startswith("-") and i > 1), len(words))]
    options = [w.partition("=")[0] for w in words[3:] if w.startswith("--")]
    help_ = next(filter(None, (help_of(*path[:end]) for end in range(len(path), 2, -1))), "")
    return bool(help_) and all(option in help_ for option in options)


@pytest.fixture(scope="module")
def home(common):
    """One for all blocks: who reads on has the memory and the compiled code that the blocks before left."""
    (common / "reader").mkdir()
    return common / "reader"


@pytest.fixture(scope="module")
def environment(home):
    """No keys, models or folders of the developer's; the session's compile cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AUTOKERNEL_", "XDG_"))}
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"], "COLUMNS": "120"}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A checkout for each page: who reads it from the top has the files that the commands before left."""

    @functools.cache
    def folder(page):
        made = tmp_path_factory.mktemp("page")
        for entry in ROOT.iterdir():
            if entry.name not in (".git", ".venv", ".env"):
                (made / entry.name).symlink_to(entry)
        return made

    return folder


@pytest.fixture(scope="module")
def run(environment):
    """A function that runs ``python`` with `words` in a folder, once for all: a line that stands on a page twice, and
    whose folder and home are the same, is not run again."""

    @functools.cache
    def run(here, *words):
        out = subprocess.DEVNULL
        if ">" in words:
            words, target = words[: words.index(">")], words[words.index(">") + 1]
            out = (here / target).open("wb")
        return subprocess.run(
            [sys.executable, *words], cwd=here, env=environment, stdout=out, stderr=subprocess.PIPE, timeout=ENOUGH_S,
            text=True,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_commands_run_as_printed(block, folder_of, run):
    """In order; what needs a GPU or an endpoint must be understood."""
    here = folder_of(block.page)
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
            done = run(here, *words[1:], *SHORTENED.get(" ".join(words), ()))
            assert done.returncode == 0, f"{block}: {' '.join(words)}\n{done.stderr[-2000:]}"


@pytest.mark.long
@pytest.mark.parametrize("line", SHORTENED)
def test_commands_that_were_shortened_run_as_printed(line, folder_of, run):
    [words, *_] = [w for block in blocks("sh") for w in commands(block) if " ".join(w) == line]
    done = run(folder_of("README.md"), *words[1:])
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_programs_run_as_printed(block, environment, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(block.text, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=ENOUGH_S,
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
        value = functools.reduce(step, figure["at"].split("."), json.loads(source))
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


def test_the_page_of_goals_is_up_to_date():
    assert goals.page() == goals.PAGE.read_text(encoding="utf-8"), "run `python -m tests.docs.goals`"


def test_every_data_file_is_somebodys_source():
    told = {f["file"] for f in FIGURES} | {m for p in PAGES for m in re.findall(r"docs/data/[\w.-]+", p.read_text())}
    kept = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs" / "data").iterdir()}
    assert kept <= told
