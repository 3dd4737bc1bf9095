"use strict";
// Fills the page's tables and its conversation from the run's data. Text from the run is inserted only through
// textContent.

const run = JSON.parse(document.getElementById("data").textContent);

function element(parent, name, text, kind) {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text;
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}

function shown(value, digits) {
  if (value === null || value === undefined) return "";
  return typeof value === "number" && digits !== undefined ? value.toFixed(digits) : String(value);
}

const FIRST = 250; // rows of a long table that are shown at first

// columns: [heading, row => value, digits or undefined, is a number, class]
function table(box, columns, rows, rowKind) {
  const node = element(box, "table"), head = element(element(node, "thead"), "tr"), body = element(node, "tbody");
  const lines = new Map(), view = { order: rows, keep: () => true, limit: FIRST };
  const more = element(box, "button", "", "more");
  more.type = "button";
  more.addEventListener("click", () => { view.limit = Infinity; render(); });

  function lineOf(row) {
    if (lines.has(row)) return lines.get(row);
    const line = document.createElement("tr");
    line.className = rowKind(row);
    for (const [, value, digits, numeric, kind] of columns) {
      element(line, "td", shown(value(row), digits), numeric ? "number" : kind || "");
    }
    lines.set(row, line);
    return line;
  }

  function render() {
    const kept = view.order.filter(view.keep), visible = kept.slice(0, view.limit);
    body.replaceChildren(...visible.map(lineOf));
    more.hidden = visible.length === kept.length;
    more.textContent = `Show all ${kept.length} rows`;
  }

  for (const [heading, value, , numeric] of columns) {
    const cell = element(head, "th", null, numeric ? "number" : "");
    cell.scope = "col";
    const button = element(cell, "button", heading);
    button.type = "button";
    button.addEventListener("click", () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1, absent = (v) => v === null || v === undefined || v === "";
      view.order = [...rows].sort((p, q) => {
        const a = value(p), b = value(q);
        if (absent(a) || absent(b)) return absent(a) - absent(b); // absent values come last in both directions
        return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      });
      render();
    });
  }
  render();
  return (keep) => { view.keep = keep; render(); };
}

function attemptsTable(box) {
  const search = element(box, "input");
  search.type = "search";
  search.placeholder = "Filter: persistent_tma, num_warps=8, timeout …";
  search.setAttribute("aria-label", "Filter the attempts");
  const frame = element(box, "div", null, "tall");
  frame.tabIndex = 0;
  const rate = run.metric === "latency" ? [] : [[run.unit, (a) => a.value, 1, true]];
  const isNumber = (name) => run.attempts.every((a) => typeof (a.config[name] ?? 0) === "number");
  const columns = [
    ["#", (a) => a.number, 0, true], ["turn", (a) => a.turn, 0, true], ["status", (a) => a.status],
    ["ms", (a) => a.ms, 4, true], ...rate, ["predicted ms", (a) => a.predicted_ms, 4, true],
    ...run.parameters.map((name) => [name, (a) => a.config[name], undefined, isNumber(name)]),
    ["registers", (a) => a.compiled.registers, 0, true], ["spills B", (a) => a.compiled.spill_bytes, 0, true],
    ["shared B", (a) => a.compiled.shared_bytes, 0, true], ["why", (a) => a.reason || a.why, undefined, false, "wide"],
  ];
  const keep = table(frame, columns, run.attempts, (a) => (a.ms === null ? "failed" : a.record ? "record" : ""));
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/);
    keep((a) => {
      const text = `${a.status} ${named(a.config)} ${a.reason} ${a.why}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  });
}

function baselinesTable(box) {
  if (!run.baselines.length) return;
  const columns = [
    ["baseline", (b) => b.name], ["speed-up", (b) => b.speedup, 3, true],
    ["95 % interval", (b) => (b.ci ? `[${b.ci[0].toFixed(3)}, ${b.ci[1].toFixed(3)}]` : ""), undefined, true],
    ["ms", (b) => b.ms, 4, true], ["what is called", (b) => b.title, undefined, false, "wide"],
    ["kind", (b) => b.missing || (b.equivalent ? "computes the same" : "computes less: a ceiling"), undefined, false, "long"],
  ];
  table(box, columns, run.baselines, () => "");
}

function lazily(details, fill) {
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) fill(); });
}

function conversation(box) {
  for (const turn of run.turns) {
    const node = element(box, "details");
    const calls = turn.calls.map((call) => call.name).join(", ");
    element(node, "summary", `${turn.number}. ${turn.words || "(no words)"}${calls ? ` → ${calls}` : ""}`);
    lazily(node, () => {
      const about = [`${turn.began.toFixed(1)} s`, turn.model, turn.tokens ? `${turn.tokens} tokens` : "", `${turn.seconds.toFixed(2)} s`];
      element(node, "p", about.filter(Boolean).join(" · "), "soft");
      for (const message of turn.asked) {
        const item = element(node, "details");
        element(item, "summary", `${message.role} message`);
        lazily(item, () => element(item, "pre", message.content));
      }
      if (turn.words) element(node, "p", turn.words);
      for (const call of turn.calls) {
        const made = element(node, "details");
        const end = call.result === null ? ": no answer" : call.error ? `: ${call.error}` : "";
        element(made, "summary", `${call.name} · ${call.seconds.toFixed(2)} s${end}`, call.error ? "error" : "");
        lazily(made, () => {
          element(made, "pre", JSON.stringify(call.arguments, null, 1));
          element(made, "pre", JSON.stringify(call.result, null, 1));
        });
      }
    });
  }
}

function draw() {
  for (const [name, chart] of Object.entries(CHARTS)) {
    const box = document.getElementById(name);
    if (box) chart(box, run);
  }
}

function copyConfig(button, source) {
  button.addEventListener("click", () => {
    const range = document.createRange(), selection = window.getSelection();
    range.selectNodeContents(source); // works in a file that was opened from a disk, where the clipboard's API may not
    selection.removeAllRanges();
    selection.addRange(range);
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
  });
}

draw();
if (document.getElementById("copy")) copyConfig(document.getElementById("copy"), document.getElementById("config"));
baselinesTable(document.getElementById("baselines"));
attemptsTable(document.getElementById("attempts"));
conversation(document.getElementById("conversation"));
let width = window.innerWidth, waiting = 0;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(draw, 150);
});
