"use strict";
// Draws five charts as inline SVG. Text from the run is inserted only through textContent.

const SVG = "http://www.w3.org/2000/svg";
const FONT = 6.4; // an average glyph's width at 12px

function make(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function titled(node, text) { make(node, "title", {}, text); return node; }

function canvas(box, height, label, least) {
  box.replaceChildren();
  const width = Math.max(box.clientWidth || 800, least || 0);
  const attributes = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label };
  return [make(box, "svg", attributes), width];
}

function linear(from, to, low, high) {
  return (x) => from === to ? (low + high) / 2 : low + (x - from) / (to - from) * (high - low);
}

function steps(low, high, count) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= raw);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function short(x) {
  return Math.abs(x) >= 1000 ? x.toFixed(0) : Math.abs(x) >= 10 ? String(Number(x.toFixed(1))) : String(Number(x.toPrecision(4)));
}

function frame(svg, x, y, xs, ys, box, names) {
  for (const at of ys) {
    make(svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: y(at), y2: y(at) });
    make(svg, "text", { x: box.left - 6, y: y(at) + 4, "text-anchor": "end" }, short(at));
  }
  for (const at of xs) make(svg, "text", { x: x(at), y: box.bottom + 16, "text-anchor": "middle" }, short(at));
  make(svg, "text", { x: box.left, y: 12 }, names[1]);
  make(svg, "text", { x: box.right, y: box.bottom + 32, "text-anchor": "end" }, names[0]);
}

function named(config) { return Object.entries(config).map(([k, v]) => `${k}=${v}`).join(" "); }

function describe(run, a) {
  const time = a.ms === null ? `${a.status} ${a.reason}` : `${a.ms.toFixed(4)} ms, ${short(a.value)} ${run.unit}`;
  return `evaluation ${a.number}: ${time}\n${named(a.config)}`;
}

function drawProgress(box, run) {
  const [svg, width] = canvas(box, 340, "Best so far against evaluations");
  const area = { left: 56, right: width - 14, top: 24, bottom: 290 };
  const timed = run.attempts.filter((a) => a.ms !== null), lower = run.lower;
  const levels = run.baselines.filter((b) => b.value !== null);
  // The slowest quarter of the attempts would compress the rest, so the axis covers only the others and the baselines.
  const order = timed.map((a) => a.value).sort((p, q) => (lower ? p - q : q - p));
  const shown = order.slice(0, Math.max(3, Math.ceil(order.length * 0.75))).concat(levels.map((b) => b.value));
  const low = Math.min(...shown), high = Math.max(...shown), pad = (high - low) * 0.06 || high * 0.05 || 1;
  const x = linear(0, Math.max(1, run.attempts.length), area.left, area.right);
  const y = linear(low - pad, high + pad, area.bottom, area.top);
  const clamp = (v) => Math.min(area.bottom, Math.max(area.top, y(v)));
  if (shown.length) {
    frame(svg, x, y, steps(0, run.attempts.length, 8), steps(low - pad, high + pad, 5), area, ["evaluations", run.unit]);
  }
  let under = Infinity;
  for (const b of [...levels].sort((p, q) => p.value - q.value)) {
    make(svg, "line", { class: "base", x1: area.left, x2: area.right, y1: y(b.value), y2: y(b.value) });
    under = Math.min(y(b.value) - 4, under - 13); // the names of close baselines are stacked
    make(svg, "text", { class: "over", x: area.right, y: under, "text-anchor": "end" }, b.name);
  }
  let path = "", best = null;
  for (const a of run.attempts) {
    if (a.record) { path += path ? `H${x(a.number)}V${clamp(a.value)}` : `M${x(a.number)},${clamp(a.value)}`; best = a; }
    const at = { cx: x(a.number), cy: a.ms === null ? area.bottom : clamp(a.value), r: a.record ? 4.5 : 3 };
    const kind = a.ms === null ? "dot failed" : a.record ? "dot record" : "dot";
    titled(make(svg, "circle", { ...at, class: kind }), describe(run, a));
  }
  if (path) make(svg, "path", { class: "step", d: path + `H${area.right}` });
  if (best) make(svg, "text", { class: "strong", x: area.left + 6, y: area.top - 8, "text-anchor": "start", dx: 60 },
    `best ${short(best.value)} ${run.unit} at evaluation ${best.number}`);
}

function drawWays(box, run) {
  const names = run.parameters, axes = [...names, "time, ms"];
  const [svg, width] = canvas(box, 380, "Proposals over the space, as parallel coordinates", 92 * axes.length);
  const top = 44, bottom = 350, left = 50, right = width - 50;
  const place = linear(0, Math.max(1, axes.length - 1), left, right);
  const scales = names.map((name) => {
    const values = [...new Set(run.proposals.map((p) => p.config[name]))];
    values.sort((p, q) => (typeof p === "number" && typeof q === "number" ? p - q : String(p) < String(q) ? -1 : 1));
    const y = linear(0, Math.max(1, values.length - 1), bottom, top);
    return { values, y: (v) => (values.length > 1 ? y(values.indexOf(v)) : (top + bottom) / 2) };
  });
  const times = run.proposals.map((p) => p.ms).filter((ms) => ms !== null).sort((p, q) => p - q);
  const last = times[Math.max(0, Math.ceil(times.length * 0.9) - 1)];
  const time = linear(times[0], last, top, bottom);
  const places = new Map(times.map((ms, i) => [ms, i]));
  const rank = (ms) => Math.min(4, Math.floor(5 * places.get(ms) / times.length));
  const fastest = times[0];
  const ways = make(svg, "g", { opacity: Math.max(0.3, Math.min(1, 300 / run.proposals.length)) });
  const sorted = [...run.proposals].sort((p, q) => (q.ms ?? Infinity) - (p.ms ?? Infinity));
  for (const p of sorted) {
    const points = names.map((name, i) => `${place(i)},${scales[i].y(p.config[name])}`);
    if (p.ms !== null) points.push(`${place(names.length)},${Math.min(bottom, time(p.ms))}`);
    const kind = p.ms === null ? (p.failed ? "way failed" : "way q4") : p.ms === fastest ? "way best" : `way q${rank(p.ms)}`;
    const line = make(ways, "polyline", { class: kind, points: points.join(" ") });
    titled(line, `${p.ms === null ? p.status : p.ms.toFixed(4) + " ms"}\n${named(p.config)}`);
  }
  axes.forEach((name, i) => {
    make(svg, "line", { class: "axis", x1: place(i), x2: place(i), y1: top, y2: bottom });
    make(svg, "text", { class: "strong", x: place(i), y: i % 2 ? 30 : 14, "text-anchor": "middle" }, name);
    if (i < names.length) {
      const many = Math.ceil(scales[i].values.length / 12), room = Math.floor((place(i + 1) - place(i) - 12) / FONT);
      scales[i].values.forEach((v, k) => {
        const word = String(v), shown = word.length > room ? `${word.slice(0, room - 1)}…` : word;
        if (k % many === 0) titled(make(svg, "text", { x: place(i) + 5, y: scales[i].y(v) + 4 }, shown), word);
      });
    } else if (times.length) {
      for (const at of steps(fastest, last, 5)) make(svg, "text", { x: place(i) + 5, y: time(at) + 4 }, short(at));
    }
  });
}

function drawRoofline(box, run) {
  const roof = run.roof, flat = !roof || roof.intensity === 0;
  const timed = run.attempts.filter((a) => a.ms !== null);
  const [svg, width] = canvas(box, flat ? 80 : 340, "Roofline with the attempts on it");
  if (!roof) { make(svg, "text", { x: 10, y: 30 }, "No facts about this hardware are known."); return; }
  if (flat) {
    make(svg, "text", { x: 10, y: 22 }, "The kernel counts no operations.");
    make(svg, "text", { x: 10, y: 42 }, `Its roof is the bandwidth, ${short(roof.bandwidth)} TB/s.`);
    const share = 100 * roof.floor_ms / Math.min(...timed.map((a) => a.ms));
    if (timed.length) make(svg, "text", { x: 10, y: 62 }, `The best reaches ${share.toFixed(1)} % of it.`);
    return;
  }
  const area = { left: 56, right: width - 20, top: 24, bottom: 290 };
  const log = Math.log10, ridge = roof.peak / roof.bandwidth;
  const slowest = Math.min(...timed.map((a) => a.tflops), roof.peak);
  const low = Math.min(roof.intensity, ridge) / 8, high = Math.max(roof.intensity, ridge) * 8;
  const floor = Math.min(slowest / 3, Math.min(roof.peak, low * roof.bandwidth) * 1.5);
  const x = (v) => linear(log(low), log(high), area.left, area.right)(log(v));
  const y = (v) => linear(log(floor), log(roof.peak * 2), area.bottom, area.top)(log(v));
  const marks = (from, to, parts) => {
    const found = [];
    for (let k = Math.floor(log(from)); k <= log(to); k++) found.push(...parts.map((part) => part * 10 ** k));
    return found.filter((v) => v >= from && v <= to);
  };
  const frames = [marks(low, high, width > 600 ? [1, 2, 5] : [1]), marks(floor, roof.peak * 2, [1, 2, 5])];
  frame(svg, x, y, ...frames, area, ["FLOP per byte", "TFLOP/s"]);
  const start = Math.max(low, floor / roof.bandwidth);
  const d = `M${x(start)},${y(start * roof.bandwidth)}L${x(ridge)},${y(roof.peak)}L${area.right},${y(roof.peak)}`;
  make(svg, "path", { class: "roof", d });
  make(svg, "text", { x: area.right, y: y(roof.peak) - 6, "text-anchor": "end" }, `${short(roof.peak)} TFLOP/s, ${roof.origin || roof.hardware}`);
  const middle = Math.sqrt(start * ridge);
  make(svg, "text", { x: x(middle) + 8, y: y(middle * roof.bandwidth) + 14 }, `${short(roof.bandwidth)} TB/s`);
  make(svg, "line", { class: "one", x1: x(roof.intensity), x2: x(roof.intensity), y1: area.top, y2: area.bottom });
  for (const a of timed) {
    const kind = a.record ? "dot record" : "dot";
    titled(make(svg, "circle", { class: kind, cx: x(roof.intensity), cy: y(a.tflops), r: 4 }), describe(run, a));
  }
  for (const b of run.baselines.filter((b) => b.tflops !== null)) {
    const line = make(svg, "line", { class: "base", x1: x(roof.intensity) - 14, x2: x(roof.intensity) + 14, y1: y(b.tflops), y2: y(b.tflops) });
    titled(line, `${b.name}: ${short(b.tflops)} TFLOP/s`);
  }
  const best = timed.reduce((p, a) => (p === null || a.ms < p.ms ? a : p), null);
  if (best) {
    const left = x(roof.intensity) > (area.left + area.right) / 2;
    const at = { class: "strong", x: x(roof.intensity) + (left ? -20 : 20), y: y(best.tflops) + 4, "text-anchor": left ? "end" : "start" };
    make(svg, "text", at, `best ${short(best.tflops)} TFLOP/s = ${(100 * best.tflops / roof.roof).toFixed(1)} %`);
  }
}

function drawTime(box, run) {
  const lanes = ["think", "compile", "check", "measure", "look", "prove"];
  const [svg, width] = canvas(box, 40 + 26 * lanes.length, "Time line");
  const left = 74, right = width - 14, bottom = 12 + 26 * lanes.length;
  const x = linear(0, Math.max(run.seconds, 1e-3), left, right);
  lanes.forEach((lane, i) => {
    const spent = run.spans.filter((s) => s[0] === lane).reduce((sum, s) => sum + s[2], 0);
    titled(make(svg, "text", { x: left - 8, y: 26 + 26 * i, "text-anchor": "end" }, lane), `${spent.toFixed(2)} s`);
    make(svg, "line", { class: "axis", x1: left, x2: right, y1: 32 + 26 * i, y2: 32 + 26 * i });
  });
  for (const [lane, began, seconds, what] of run.spans) {
    const size = { x: x(began), y: 12 + 26 * lanes.indexOf(lane), width: Math.max(1.5, x(began + seconds) - x(began)), height: 18 };
    titled(make(svg, "rect", { class: lane, ...size }), `${what}: ${seconds.toFixed(3)} s at ${began.toFixed(1)} s`);
  }
  for (const at of steps(0, run.seconds, Math.max(2, Math.floor(width / 110)))) {
    make(svg, "text", { x: x(at), y: bottom + 20, "text-anchor": "middle" }, `${short(at)} s`);
  }
}

function drawProof(box, run) {
  const rows = run.baselines.filter((b) => b.speedup !== null && b.ci);
  const [svg, width] = canvas(box, 44 + 30 * rows.length, "Speed-up over each baseline with its 95 % interval");
  if (!rows.length) { make(svg, "text", { x: 10, y: 24 }, "No baseline was timed against the result."); return; }
  const left = Math.min(width * 0.3, 20 + FONT * Math.max(...rows.map((b) => b.name.length))), right = width - 74;
  const low = Math.min(1, ...rows.map((b) => b.ci[0])), high = Math.max(1, ...rows.map((b) => b.ci[1]));
  const pad = (high - low) * 0.08, x = linear(low - pad, high + pad, left, right), bottom = 12 + 30 * rows.length;
  make(svg, "line", { class: "one", x1: x(1), x2: x(1), y1: 4, y2: bottom });
  rows.forEach((b, i) => {
    const y = 20 + 30 * i;
    make(svg, "text", { x: left - 10, y: y + 4, "text-anchor": "end" }, b.name);
    titled(make(svg, "line", { class: "ci", x1: x(b.ci[0]), x2: x(b.ci[1]), y1: y, y2: y }), `${b.title}`);
    make(svg, "circle", { class: "dot record", cx: x(b.speedup), cy: y, r: 5 });
    make(svg, "text", { class: "strong", x: right + 8, y: y + 4 }, `${b.speedup.toFixed(3)}×`);
  });
  for (const at of steps(low - pad, high + pad, Math.max(2, Math.floor(width / 120)))) {
    make(svg, "text", { x: x(at), y: bottom + 20, "text-anchor": "middle" }, `${short(at)}×`);
  }
}

const CHARTS = { progress: drawProgress, ways: drawWays, roofline: drawRoofline, time: drawTime, proof: drawProof };
