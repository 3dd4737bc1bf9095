"""The schema, as numbered migrations in order. A migration that has shipped is never edited: add the next one.

``PRAGMA user_version`` counts the applied migrations, so that an up-to-date file is recognised without loading
sqlite-utils. ``PRAGMA application_id`` marks a file of this project. ``kernels/ops/memory_file.py`` reads the tables
``verdicts``, ``problems``, ``kernels``, ``environments`` and ``configs`` by SQL of its own.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlite_utils import Migrations

from memory.views import VIEWS

migrations = Migrations("triton-autokernel")

TABLES = """
CREATE TABLE environments (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('live', 'recorded')),
    name TEXT NOT NULL,
    hardware TEXT, driver TEXT, cuda TEXT, torch TEXT, triton TEXT,
    landscape TEXT, recorded_at TEXT, host TEXT, power_limit_w REAL,
    device TEXT GENERATED ALWAYS AS (
        name || CASE kind WHEN 'live' THEN ' (live)' ELSE ' (recorded' || coalesce(': ' || landscape, '') || ')' END
    ) VIRTUAL
) STRICT;

CREATE TABLE kernels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    source_hash TEXT NOT NULL,
    reference_hash TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    UNIQUE (name, source_hash, reference_hash)
) STRICT;

CREATE TABLE problems (
    id INTEGER PRIMARY KEY,
    kernel_id INTEGER NOT NULL REFERENCES kernels (id),
    problem TEXT NOT NULL CHECK (json_valid(problem)),
    label TEXT NOT NULL,
    UNIQUE (kernel_id, problem)
) STRICT;

CREATE TABLE configs (
    id TEXT PRIMARY KEY,
    kernel TEXT NOT NULL,
    config TEXT NOT NULL CHECK (json_valid(config))
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    goal TEXT NOT NULL,
    objective TEXT NOT NULL CHECK (json_valid(objective)),
    model TEXT NOT NULL,
    environment_id INTEGER NOT NULL REFERENCES environments (id),
    problem_id INTEGER NOT NULL REFERENCES problems (id),
    budget TEXT NOT NULL CHECK (json_valid(budget)),
    trace TEXT,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    outcome TEXT CHECK (outcome IN ('proven', 'unproven', 'error', 'stopped')),
    evaluations INTEGER, seconds REAL, tokens INTEGER, cost_usd REAL,
    summary TEXT CHECK (summary IS NULL OR json_valid(summary))
) STRICT;
CREATE INDEX runs_started ON runs (started_at);

CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    tool_call_id TEXT NOT NULL,
    environment_id INTEGER NOT NULL REFERENCES environments (id),
    problem_id INTEGER NOT NULL REFERENCES problems (id),
    config_id TEXT NOT NULL REFERENCES configs (id),
    kind TEXT NOT NULL CHECK (kind IN ('compile', 'check', 'benchmark', 'proof')),
    created_at TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'correct', 'constraints', 'compile', 'runtime',
        'timeout', 'correctness', 'implausible', 'infrastructure')),
    reason TEXT, seconds REAL,
    regime TEXT CHECK (regime IN ('burst', 'sustained')),
    ms REAL, ci_low REAL, ci_high REAL, samples TEXT CHECK (samples IS NULL OR json_valid(samples)),
    value REAL, unit TEXT,
    error REAL, bound REAL, checked_where TEXT,
    registers INTEGER, spill_bytes INTEGER, stack_bytes INTEGER, shared_bytes INTEGER, num_warps INTEGER,
    tensor_core TEXT, tma INTEGER, blocks_per_sm INTEGER, occupancy REAL, limited_by TEXT,
    warnings TEXT CHECK (warnings IS NULL OR json_valid(warnings)),
    sm_mhz REAL, memory_mhz REAL, power_w REAL, temperature_c REAL,
    throttle TEXT CHECK (throttle IS NULL OR json_valid(throttle)),
    joules REAL, comparisons TEXT CHECK (comparisons IS NULL OR json_valid(comparisons)), how TEXT
) STRICT;
CREATE INDEX attempts_by_call ON attempts (run_id, tool_call_id);
CREATE INDEX attempts_by_problem ON attempts (problem_id);

CREATE TRIGGER attempts_keep BEFORE UPDATE ON attempts WHEN OLD.status <> 'pending'
BEGIN SELECT RAISE(ABORT, 'a finished attempt is never changed'); END;
"""

DELETE_GUARD = """
CREATE TRIGGER attempts_keep_rows BEFORE DELETE ON attempts
BEGIN SELECT RAISE(ABORT, 'attempts are never deleted one by one: use prune'); END;
"""

# The latest verdict per config, kept by triggers so that a question reads one row per config, not one per attempt.
# An infrastructure failure never replaces a verdict about the config. Ties are broken by uid, so that merging A into B
# and B into A end the same.
VERDICTS = """
CREATE TABLE verdicts (
    problem_id INTEGER NOT NULL REFERENCES problems (id),
    environment_id INTEGER NOT NULL REFERENCES environments (id),
    kind TEXT NOT NULL,
    regime TEXT NOT NULL,
    config_id TEXT NOT NULL REFERENCES configs (id),
    status TEXT NOT NULL,
    ms REAL,
    attempts INTEGER NOT NULL,
    attempt_id INTEGER NOT NULL REFERENCES attempts (id),
    PRIMARY KEY (problem_id, environment_id, kind, regime, config_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX verdicts_fastest ON verdicts (problem_id, environment_id, regime, ms)
    WHERE kind = 'benchmark' AND status = 'correct';
"""

_COUNT_VERDICT = """
    INSERT INTO verdicts VALUES (NEW.problem_id, NEW.environment_id, NEW.kind, coalesce(NEW.regime, ''), NEW.config_id,
        NEW.status, NEW.ms, 1, NEW.id)
    ON CONFLICT DO UPDATE SET attempts = attempts + 1;
    UPDATE verdicts SET status = NEW.status, ms = NEW.ms, attempt_id = NEW.id
    WHERE problem_id = NEW.problem_id AND environment_id = NEW.environment_id AND kind = NEW.kind
        AND regime = coalesce(NEW.regime, '') AND config_id = NEW.config_id AND attempt_id <> NEW.id
        AND (NEW.status <> 'infrastructure', NEW.created_at, NEW.uid) > (
            SELECT a.status <> 'infrastructure', a.created_at, a.uid FROM attempts a WHERE a.id = attempt_id);
"""

VERDICT_TRIGGERS = f"""
CREATE TRIGGER verdict_on_finish AFTER UPDATE OF status ON attempts WHEN NEW.status <> 'pending'
BEGIN {_COUNT_VERDICT} END;
CREATE TRIGGER verdict_on_insert AFTER INSERT ON attempts WHEN NEW.status <> 'pending'
BEGIN {_COUNT_VERDICT} END;
"""

FILL_VERDICTS = """
DELETE FROM verdicts;
INSERT INTO verdicts
SELECT problem_id, environment_id, kind, regime, config_id, status, ms, n, id FROM (
    SELECT problem_id, environment_id, kind, coalesce(regime, '') AS regime, config_id, status, ms, id,
        count(*) OVER key AS n,
        row_number() OVER (key ORDER BY status <> 'infrastructure' DESC, created_at DESC, uid DESC) AS latest
    FROM attempts WHERE status <> 'pending'
    WINDOW key AS (PARTITION BY problem_id, environment_id, kind, coalesce(regime, ''), config_id)
) WHERE latest = 1;
"""

LESSONS = """
CREATE TABLE lessons (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    run_id TEXT REFERENCES runs (run_id),
    kernel TEXT NOT NULL,
    problem_id INTEGER REFERENCES problems (id),
    environment_id INTEGER REFERENCES environments (id),
    text TEXT NOT NULL CHECK (length(text) <= 2000),
    created_at TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE lessons_fts USING fts5 (
    text, kernel, content = 'lessons', content_rowid = 'id', tokenize = 'porter'
);
CREATE TRIGGER lessons_indexed AFTER INSERT ON lessons
BEGIN INSERT INTO lessons_fts (rowid, text, kernel) VALUES (NEW.id, NEW.text, NEW.kernel); END;
CREATE TRIGGER lessons_dropped AFTER DELETE ON lessons
BEGIN INSERT INTO lessons_fts (lessons_fts, rowid, text, kernel) VALUES ('delete', OLD.id, OLD.text, OLD.kernel); END;
"""

# What an agent has made of a kernel's device code. Speeds are in `attempts`: the config names the variant.
VARIANTS = """
CREATE TABLE variants (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,
    run_id TEXT REFERENCES runs (run_id),
    kernel TEXT NOT NULL,
    problem_id INTEGER REFERENCES problems (id),
    environment_id INTEGER REFERENCES environments (id),
    hash TEXT NOT NULL,
    parent TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (length(reason) <= 600),
    source TEXT NOT NULL,
    diff TEXT NOT NULL,
    meta TEXT NOT NULL,
    grid TEXT NOT NULL,
    verdict TEXT NOT NULL,
    why TEXT NOT NULL,
    limit_before TEXT NOT NULL,
    limit_after TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX variants_of_kernel ON variants (kernel, hash);
CREATE INDEX variants_by_limit ON variants (limit_before);
"""


def statements(script: str) -> list[str]:
    """The statements of an SQL script. A trigger's body stays whole. (``executescript`` would commit the migration.)"""
    found, part = [], ""
    for line in script.splitlines():
        part += line + "\n"
        if sqlite3.complete_statement(part):
            found.append(part.strip())
            part = ""
    return found


def _run(db: Any, script: str) -> None:
    for statement in statements(script):
        db.conn.execute(statement)


def m001_attempts(db: Any) -> None:
    _run(db, TABLES + DELETE_GUARD)


def m002_verdicts(db: Any) -> None:
    _run(db, VERDICTS + FILL_VERDICTS + VERDICT_TRIGGERS)


def m003_lessons(db: Any) -> None:
    _run(db, LESSONS)


def m004_views(db: Any) -> None:
    _run(db, VIEWS)


def m005_fingerprint(db: Any) -> None:
    """Adds the column by which configs with the same machine code on the same grid are found."""
    _run(db, "ALTER TABLE attempts ADD COLUMN fingerprint TEXT;")


def m006_assembler(db: Any) -> None:
    """Adds the assembler to an environment: it changes machine code as Triton's version does."""
    _run(db, "ALTER TABLE environments ADD COLUMN assembler TEXT;")


def m007_variants(db: Any) -> None:
    _run(db, VARIANTS)


def m008_overrides_and_facts(db: Any) -> None:
    """Adds to an environment the variables that change what the compiler makes, and as JSON what is known of a GPU that
    has no published facts."""
    _run(db, "ALTER TABLE environments ADD COLUMN overrides TEXT;\nALTER TABLE environments ADD COLUMN facts TEXT;")


for _step in (
    m001_attempts,
    m002_verdicts,
    m003_lessons,
    m004_views,
    m005_fingerprint,
    m006_assembler,
    m007_variants,
    m008_overrides_and_facts,
):
    migrations()(_step)
