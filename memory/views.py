"""Views for people who open the file in Datasette (``datasette memory.db``). Every view names the device and whether it
is live or recorded, so that nobody takes the one for the other."""

VIEWS = """
CREATE VIEW best_per_problem AS
SELECT k.name AS kernel, p.label AS problem, e.device, e.kind AS device_kind, v.regime, min(v.ms) AS ms,
    a.value, a.unit, a.ci_low, a.ci_high, c.config, count(*) AS configs, a.run_id, a.created_at, k.source_hash
FROM verdicts v
JOIN attempts a ON a.id = v.attempt_id
JOIN problems p ON p.id = v.problem_id
JOIN kernels k ON k.id = p.kernel_id
JOIN environments e ON e.id = v.environment_id
JOIN configs c ON c.id = v.config_id
WHERE v.kind = 'benchmark' AND v.status = 'correct' AND v.ms IS NOT NULL
GROUP BY v.problem_id, v.environment_id, v.regime;

CREATE VIEW failures_by_reason AS
SELECT k.name AS kernel, p.label AS problem, e.device, e.kind AS device_kind, v.kind AS step, v.status, a.reason,
    count(*) AS configs, sum(v.attempts) AS attempts, max(a.created_at) AS last_seen, min(c.config) AS example
FROM verdicts v
JOIN attempts a ON a.id = v.attempt_id
JOIN problems p ON p.id = v.problem_id
JOIN kernels k ON k.id = p.kernel_id
JOIN environments e ON e.id = v.environment_id
JOIN configs c ON c.id = v.config_id
WHERE v.status <> 'correct'
GROUP BY v.problem_id, v.environment_id, v.kind, v.status, a.reason;

CREATE VIEW learning_curve AS
SELECT r.run_id, k.name AS kernel, p.label AS problem, e.device, e.kind AS device_kind, a.regime,
    row_number() OVER evaluations AS evaluation, a.status, a.ms,
    min(CASE a.status WHEN 'correct' THEN a.ms END) OVER evaluations AS best_ms, c.config, a.created_at
FROM attempts a
JOIN runs r ON r.run_id = a.run_id
JOIN problems p ON p.id = a.problem_id
JOIN kernels k ON k.id = p.kernel_id
JOIN environments e ON e.id = a.environment_id
JOIN configs c ON c.id = a.config_id
WHERE a.kind = 'benchmark' AND a.status NOT IN ('pending', 'infrastructure')
WINDOW evaluations AS (PARTITION BY a.run_id, a.problem_id, a.environment_id, a.regime ORDER BY a.id
    ROWS UNBOUNDED PRECEDING);

CREATE VIEW runs_overview AS
SELECT r.run_id, r.started_at, r.goal, r.model, k.name AS kernel, p.label AS problem, e.device, e.kind AS device_kind,
    coalesce(r.outcome, 'unfinished') AS outcome,
    (SELECT count(*) FROM attempts a WHERE a.run_id = r.run_id) AS attempts,
    (SELECT min(a.ms) FROM attempts a
     WHERE a.run_id = r.run_id AND a.kind = 'benchmark' AND a.status = 'correct') AS best_ms,
    r.evaluations, r.seconds, r.tokens, r.cost_usd, r.trace
FROM runs r
JOIN problems p ON p.id = r.problem_id
JOIN kernels k ON k.id = p.kernel_id
JOIN environments e ON e.id = r.environment_id;
"""
