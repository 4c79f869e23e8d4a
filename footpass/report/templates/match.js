"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const KIND = Object.fromEntries(D.kinds.map((name, number) => [name, number]));
const colourOf = kind => `--${D.kinds[kind].replace(" ", "-")}`;
const SIDES = ["left", "right"];  // where each team attacks from
const GUTTER = 74, STRIP = 34, AXIS = 20, GAP = 10, TOP = STRIP + AXIS;
const CLOSEST = 10, CLOSE = 2;  // pixels a frame: the most, and where one event is looked at
const total = D.last - D.first + 1;
const view = { left: D.first, scale: 0, at: D.first, item: null, source: 0, timer: null };
const timeline = $("timeline"), radar = $("radar");
let items = [];  // what came of each event, by frame: { id, kind, frame, t, p }, t and p being rows or -1

// ---- Data

function source() { return D.sources[view.source]; }

function load() {
  const judged = source(), paired = new Set(), unjudged = KIND.unjudged;
  items = [];
  judged?.frame.forEach((frame, p) => {
    const t = judged.truth[p];
    if (t >= 0) paired.add(t);
    items.push({ id: `p${p}`, kind: judged.kind[p], frame: t >= 0 ? D.truth.frame[t] : frame, t, p });
  });
  D.truth?.frame.forEach((frame, t) => {
    if (!paired.has(t)) items.push({ id: `t${t}`, kind: judged ? KIND.missed : unjudged, frame, t, p: -1 });
  });
  items.sort((a, b) => a.frame - b.frame);
}

// Positions: (3, slots, samples) of int16: x and y in centimetres, and 2 * row + visible.
const where = D.positions && (() => {
  const bytes = Uint8Array.from(atob(D.positions.data), letter => letter.charCodeAt(0));
  const values = new Int16Array(bytes.buffer), { slots, step } = D.positions;
  const samples = values.length / 3 / slots;
  return { slots, step, samples, get: (part, slot, sample) => values[(part * slots + slot) * samples + sample] };
})();

function playersAt(frame) {
  if (!where?.samples) return [];
  const place = Math.max(0, Math.min((frame - D.positions.first) / where.step, where.samples - 1));
  const k = Math.floor(place), next = Math.min(k + 1, where.samples - 1), players = [];
  for (let slot = 0; slot < where.slots; slot++) {
    const who = where.get(2, slot, k);
    if (who < 0) continue;
    const follows = where.get(2, slot, next) >> 1 === who >> 1 ? place - k : 0;
    const [x, y] = [0, 1].map(part => {
      const a = where.get(part, slot, k);
      return (a + follows * (where.get(part, slot, next) - a)) / 100;
    });
    players.push({ row: who >> 1, visible: who & 1, x, y });
  }
  return players;
}

// When each player is in the picture: [row, first frame, end frame].
const seen = [];
if (where) for (let slot = 0; slot < where.slots; slot++) {
  for (let k = 0, start = -1, row = -1; k <= where.samples; k++) {
    const who = k < where.samples ? where.get(2, slot, k) : -1;
    const now = who >= 0 && who & 1 ? who >> 1 : -1;
    if (now === row) continue;
    const frame = D.positions.first + k * where.step;
    if (row >= 0) seen.push([row, start, frame]);
    [row, start] = [now, frame];
  }
}

// ---- Words

function clock(frame) {
  const seconds = (frame - D.first) / D.fps, rest = (seconds % 60).toFixed(1).padStart(4, "0");
  return `${Math.floor(seconds / 60)}:${rest}`;
}
function player(row) {
  const [team, jersey, role] = D.rows[row];
  return `${jersey < 0 ? "?" : jersey}${role ? " " + role : ""} (${SIDES[team]})`;
}
function describe(item) {
  const { t, p } = item, s = source(), parts = [`${clock(item.frame)}, ${D.kinds[item.kind]}: `];
  if (t >= 0) {
    parts.push(`${D.classes[D.truth.cls[t]]} by ${player(D.truth.row[t])}`);
    if (D.truth.replay[t]) parts.push(", in a replay"); else if (!D.truth.box_visible[t]) parts.push(", out of the picture");
  }
  if (p >= 0) {
    if (t >= 0) parts.push("; predicted ");
    if (t < 0 || s.cls[p] !== D.truth.cls[t]) parts.push(`${D.classes[s.cls[p]]} `);
    if (t < 0 || s.row[p] !== D.truth.row[t]) parts.push(`by ${player(s.row[p])}${t < 0 ? "" : " "}`);
    const off = s.frame[p] - item.frame, frames = `${Math.abs(off)} frame${Math.abs(off) > 1 ? "s" : ""}`;
    if (t >= 0) parts.push(off ? `${frames} ${off > 0 ? "late" : "early"}` : "on its frame");
    parts.push(`, score ${s.score[p].toFixed(2)}`);
  }
  return parts.join("") + ".";
}

// ---- Shapes

const hollow = kind => kind === KIND.missed || kind === KIND["made up"];
// Shapes tell outcomes apart without colours: disc, diamond, triangle, cross, ring, square.
function outline(kind, r) {
  return [
    `M${-r},0 A${r},${r} 0 1 0 ${r},0 A${r},${r} 0 1 0 ${-r},0Z`,
    `M0,${-r * 1.2} L${r * 1.2},0 L0,${r * 1.2} L${-r * 1.2},0Z`,
    `M0,${-r * 1.1} L${r * 1.1},${r * .9} L${-r * 1.1},${r * .9}Z`,
    `M${-r * .8},${-r * .8} L${r * .8},${r * .8} M${-r * .8},${r * .8} L${r * .8},${-r * .8}`,
    `M${-r},0 A${r},${r} 0 1 0 ${r},0 A${r},${r} 0 1 0 ${-r},0Z`,
    `M${-r * .8},${-r * .8} h${r * 1.6} v${r * 1.6} h${-r * 1.6}Z`,
  ][kind];
}
const shapes = D.kinds.map((_, kind) => new Path2D(outline(kind, 4.5)));

// ---- Filters

function boxes(place, names, mark) {
  return names.map(name => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox"; box.checked = true;
    box.addEventListener("change", changed);
    label.append(box, ...(mark ? [mark(name)] : []), name);
    $(place).append(label);
    return box;
  });
}
function legendMark(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "mark"); svg.setAttribute("viewBox", "-7 -7 14 14"); svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path"), kind = KIND[name];
  path.setAttribute("d", outline(kind, 5));
  path.setAttribute("style", `fill: ${hollow(kind) ? "none" : `var(${colourOf(kind)})`}; stroke: var(${colourOf(kind)}); stroke-width: 2`);
  svg.append(path);
  return svg;
}
const usedKinds = D.kinds.filter(name => (name === "unjudged") !== Boolean(D.truth && D.sources.length));
const kindBoxes = boxes("kinds", usedKinds, legendMark);
const classBoxes = boxes("classes", D.classes.slice(1));
function shown(item) {
  const kind = usedKinds.indexOf(D.kinds[item.kind]);
  if (kind >= 0 && !kindBoxes[kind].checked) return false;
  const on = cls => classBoxes[cls - 1].checked;
  return (item.t >= 0 && on(D.truth.cls[item.t])) || (item.p >= 0 && on(source().cls[item.p]));
}

// ---- Drawing

function prepare(canvas, height) {
  const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  }
  const g = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, DejaVu Sans, sans-serif";
  g.textBaseline = "middle";
  return { g, width, colour: name => style.getPropertyValue(name).trim() };
}

const rowHeight = () => Math.max(13, Math.min(innerWidth < 600 ? 14 : 20, 540 / Math.max(D.rows.length, 1)));
const y = row => TOP + (row + .5) * rowHeight() + (D.rows[row][0] ? GAP : 0);
const height = () => TOP + D.rows.length * rowHeight() + GAP + 6;
const x = frame => GUTTER + (frame - view.left) * view.scale;
const frameAt = px => view.left + (px - GUTTER) / view.scale;
const inner = () => timeline.clientWidth - GUTTER - 8;
const widest = () => inner() / total;

function drawTimeline() {
  const { g, width, colour } = prepare(timeline, height()), rh = rowHeight();
  const [from, to] = [frameAt(GUTTER), frameAt(width)];
  drawStrip(g, width, colour, from, to);
  g.save();
  g.beginPath(); g.rect(GUTTER, STRIP, width - GUTTER, height()); g.clip();
  // Time.
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 36000], seconds = view.scale * D.fps;
  const step = steps.find(one => one * seconds > 56) || 360000;
  g.textAlign = "center";
  for (let s = Math.ceil((from - D.first) / D.fps / step) * step; s * D.fps + D.first <= to; s += step) {
    const px = x(D.first + s * D.fps);
    g.fillStyle = colour("--line"); g.fillRect(px, TOP - 3, 1, height() - TOP);
    g.fillStyle = colour("--soft"); g.fillText(clock(D.first + s * D.fps).replace(/\.0$/, ""), px, STRIP + AXIS / 2);
  }
  g.fillStyle = colour("--seen");
  for (const [row, start, end] of seen) if (start <= to && end >= from) g.fillRect(x(start), y(row) - rh / 2 + 1, Math.max((end - start) * view.scale, .5), rh - 2);
  // Evidence: the logits' peaks, and what the other prediction files say.
  if ($("evidence").checked) {
    g.fillStyle = colour("--evidence");
    const bar = Math.max(1.5, Math.min(6, view.scale * 3));
    for (const events of [D.evidence, ...D.sources.filter(one => one !== source())]) events?.frame.forEach((frame, i) => {
      if (frame < from || frame > to || !classBoxes[events.cls[i] - 1].checked) return;
      const tall = events.score[i] * (rh - 2);
      g.fillRect(x(frame) - bar / 2, y(events.row[i]) + rh / 2 - 1 - tall, bar, tall);
    });
  }
  g.fillStyle = colour("--accent"); g.fillRect(x(view.at) - .75, STRIP, 1.5, height());
  // Events.
  const named = seconds > 40, margin = 60 / view.scale;
  g.textAlign = "left";
  for (const item of items) {
    if (item.frame < from - margin || item.frame > to + margin || !shown(item)) continue;
    const ink = colour(colourOf(item.kind)), spots = spotsOf(item);
    g.strokeStyle = g.fillStyle = ink;
    if (item === view.item) { g.save(); g.strokeStyle = colour("--ink"); for (const [px, py] of spots) ring(g, px, py, 9, 1.5); g.restore(); }
    if (spots.length > 1) { g.lineWidth = 1.2; g.beginPath(); g.moveTo(...spots[0]); g.lineTo(...spots[1]); g.stroke(); }
    if (item.t >= 0 && item.p >= 0) ring(g, ...spots[0], 5, 1.3);  // the true one of a pair
    const [px, py] = spots.at(-1), shape = shapes[item.kind];
    g.save(); g.translate(px, py);
    if (item.kind === KIND.found) g.scale(.75, .75);
    g.lineWidth = 1.8;
    if (hollow(item.kind)) g.stroke(shape); else g.fill(shape);
    g.restore();
    if (named) {
      g.fillStyle = colour("--ink");
      const [row, ...other] = spotRows(item), right = Math.max(...spots.map(one => one[0])) + 8, names = namesOf(item);
      if (other.every(one => one === row)) g.fillText([...new Set(names)].join(" → "), right, py);
      else spots.forEach(([sx, sy], i) => g.fillText(names[i], sx + 8, sy));
    }
  }
  g.restore();
  // Names.
  g.textAlign = "right";
  D.rows.forEach(([team, jersey, role], row) => {
    const strong = view.item && spotRows(view.item).includes(row);
    g.font = `${strong ? "bold " : ""}11px system-ui, DejaVu Sans, sans-serif`;
    g.fillStyle = colour(team ? "--right" : "--left");
    g.fillRect(0, y(row) - rh / 2, 3, rh);
    g.fillStyle = colour(strong ? "--ink" : "--soft");
    g.fillText(role, 38, y(row));
    g.fillStyle = colour("--ink");
    g.fillText(jersey < 0 ? "?" : jersey, GUTTER - 10, y(row));
  });
}

function ring(g, px, py, r, line) { g.lineWidth = line; g.beginPath(); g.arc(px, py, r, 0, 7); g.stroke(); }
function spotRows(item) { return [...(item.t >= 0 ? [D.truth.row[item.t]] : []), ...(item.p >= 0 ? [source().row[item.p]] : [])]; }
function namesOf(item) { return [...(item.t >= 0 ? [D.classes[D.truth.cls[item.t]]] : []), ...(item.p >= 0 ? [D.classes[source().cls[item.p]]] : [])]; }
function spotsOf(item) {
  const spots = [];
  if (item.t >= 0) spots.push([x(D.truth.frame[item.t]), y(D.truth.row[item.t])]);
  if (item.p >= 0) spots.push([x(source().frame[item.p]), y(source().row[item.p])]);
  return spots;
}

// The whole half: how many of each outcome, and the part that is in view.
function drawStrip(g, width, colour, from, to) {
  const bins = Math.max(10, Math.floor(inner() / 6)), counts = Array.from({ length: bins }, () => D.kinds.map(() => 0));
  for (const item of items) if (shown(item)) counts[Math.max(0, Math.min(bins - 1, Math.floor((item.frame - D.first) / total * bins)))][item.kind]++;
  const most = Math.max(1, ...counts.map(one => one.reduce((a, b) => a + b))), bin = inner() / bins;
  counts.forEach((one, i) => {
    let base = STRIP - 4;
    one.forEach((count, kind) => {
      const tall = count / most * (STRIP - 8);
      g.fillStyle = colour(colourOf(kind)); g.fillRect(GUTTER + i * bin, base - tall, bin - 1, tall);
      base -= tall;
    });
  });
  const px = frame => GUTTER + (frame - D.first) / total * inner();
  g.strokeStyle = colour("--accent"); g.lineWidth = 1.5;
  g.strokeRect(px(Math.max(from, D.first)), 2, Math.max(px(Math.min(to, D.last)) - px(Math.max(from, D.first)), 3), STRIP - 4);
  g.fillStyle = colour("--accent"); g.fillRect(px(view.at) - .5, 2, 1.5, STRIP - 4);
}

const EDGE = 4;  // metres of grass around the pitch
const metre = () => radar.clientWidth / (D.pitch.size[0] + 2 * EDGE);
const spot = (px, py) => [(px + EDGE) * metre(), (py + EDGE) * metre()];

function drawRadar() {
  if (!where) return;
  const tall = (D.pitch.size[1] + 2 * EDGE) * metre(), { g, width, colour } = prepare(radar, tall), players = playersAt(view.at);
  g.fillStyle = "#24502f"; g.fillRect(0, 0, width, tall);
  g.strokeStyle = "#bed2c3"; g.lineWidth = 1;
  for (const line of D.pitch.lines) { g.beginPath(); line.forEach(([px, py]) => g.lineTo(...spot(px, py))); g.stroke(); }
  g.textAlign = "center"; g.font = "10px system-ui, DejaVu Sans, sans-serif";
  for (const { row, visible, x: px, y: py } of players) {
    const at = spot(px, py), [team, jersey] = D.rows[row];
    g.beginPath(); g.arc(...at, 8, 0, 7);
    g.fillStyle = visible ? ["#3a6fe0", "#d8392e"][team] : "#24502f"; g.fill();
    g.lineWidth = 2; g.strokeStyle = ["#7fa6ff", "#ff8077"][team]; g.stroke();
    g.fillStyle = "#fff"; g.fillText(jersey < 0 ? "?" : jersey, at[0], at[1] + .5);
  }
  const now = items.filter(item => shown(item) && Math.abs(item.frame - view.at) <= D.tolerance), lines = new Map();
  for (const item of now) for (const [events, i, ink] of [[D.truth, item.t, "#fff"], [source(), item.p, "#ffd728"]]) {
    if (i < 0) continue;
    const who = players.find(one => one.row === events.row[i]);
    if (!who) continue;
    const n = lines.get(who) || 0, at = spot(who.x, who.y), words = D.classes[events.cls[i]];
    lines.set(who, n + 1);
    g.strokeStyle = ink; ring(g, ...at, 11 + 3 * n, 2);
    const right = at[0] > width - 70;
    g.textAlign = right ? "right" : "left"; g.font = "bold 11px system-ui, DejaVu Sans, sans-serif";
    g.lineWidth = 3; g.strokeStyle = "#0a140c";
    const text = [words, at[0] + (right ? -17 : 17), at[1] - 6 + 14 * n];
    g.strokeText(...text); g.fillStyle = ink; g.fillText(...text);
  }
  g.textAlign = "left"; g.fillStyle = "#dce6df"; g.font = "11px system-ui, DejaVu Sans, sans-serif";
  g.fillText(`${clock(view.at)}  frame ${Math.round(view.at)}`, 6, tall - 7);
}

// ---- What is in view, as a list

function drawList() {
  const [from, to] = [frameAt(GUTTER), frameAt(timeline.clientWidth)];
  const inView = items.filter(item => item.frame >= from && item.frame <= to && shown(item));
  const table = document.createElement("table"), body = table.createTBody();
  table.createCaption().textContent = `${inView.length} in view${inView.length > 100 ? ", the first 100:" : ""}`;
  for (const item of inView.slice(0, 100)) {
    const row = body.insertRow(), button = document.createElement("button");
    button.textContent = describe(item); button.type = "button";
    button.addEventListener("click", () => select(item));
    if (item === view.item) row.setAttribute("aria-current", "true");
    row.insertCell().append(legendMark(D.kinds[item.kind]));
    row.insertCell().append(button);
  }
  $("list").replaceChildren(table);
}

// ---- Moving

let waiting = false, listTimer;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    view.scale = Math.max(widest(), Math.min(CLOSEST, view.scale || widest()));
    view.left = Math.max(D.first, Math.min(view.left, D.last + 1 - inner() / view.scale));
    view.at = Math.max(D.first, Math.min(view.at, D.last));
    drawTimeline(); drawRadar();
    $("time").value = Math.round(view.at); $("time").setAttribute("aria-valuetext", clock(view.at));
    $("event").textContent = view.item ? describe(view.item) : `${clock(view.at)}, frame ${Math.round(view.at)}.`;
  });
  clearTimeout(listTimer);
  listTimer = setTimeout(() => { drawList(); remember(); }, 120);
}
function changed() { summarise(); redraw(); }
function zoom(factor, px) {
  const frame = frameAt(px);
  view.scale = Math.max(widest(), Math.min(CLOSEST, view.scale * factor));
  view.left = frame - (px - GUTTER) / view.scale;
  redraw();
}
function goTo(frame, item = null) {
  view.at = frame; view.item = item;
  const [from, to] = [frameAt(GUTTER), frameAt(timeline.clientWidth)], edge = (to - from) * .05;
  if (frame < from + edge || frame > to - edge) view.left = frame - (to - from) / 2;
  redraw();
}
function select(item) { stop(); goTo(item.frame, item); }
function neighbour(way) {
  const list = items.filter(shown), now = view.item && list.indexOf(view.item);
  if (now !== null && now >= 0) return list[now + way];
  return way > 0 ? list.find(item => item.frame > view.at) : list.findLast(item => item.frame < view.at);
}
function stop() { clearInterval(view.timer); view.timer = null; $("play").textContent = "play"; }
function play() {
  if (view.timer) return stop();
  $("play").textContent = "pause";
  let last = performance.now();
  view.timer = setInterval(() => {
    const now = performance.now();
    goTo(view.at + (now - last) / 1000 * D.fps); last = now;
    if (view.at >= D.last) stop();
  }, 40);
}

function press(key, far) {
  const centre = Math.max(GUTTER, Math.min(x(view.at), timeline.clientWidth));
  if (key === "+" || key === "=") zoom(1.6, centre);
  else if (key === "-") zoom(1 / 1.6, centre);
  else if (key === "0") { view.scale = widest(); view.left = D.first; redraw(); }
  else if (key === "n" || key === "p") { const item = neighbour(key === "n" ? 1 : -1); if (item) { if (view.scale < CLOSE) { view.scale = CLOSE; view.left = item.frame - inner() / CLOSE / 2; } select(item); } }
  else if (key === "ArrowRight" || key === "ArrowLeft") { stop(); goTo(view.at + (key === "ArrowRight" ? 1 : -1) * D.fps * (far ? 10 : 1)); }
  else if (key === "Home") goTo(D.first);
  else if (key === "End") goTo(D.last);
  else if (key === " ") play();
  else return false;
  return true;
}
timeline.addEventListener("keydown", e => { if (!e.ctrlKey && !e.metaKey && !e.altKey && press(e.key, e.shiftKey)) e.preventDefault(); });
document.querySelectorAll("[data-key]").forEach(button => button.addEventListener("click", () => press(button.dataset.key)));

timeline.addEventListener("wheel", e => {
  e.preventDefault();
  const across = e.shiftKey ? e.deltaY : e.deltaX;
  if (Math.abs(across) > Math.abs(e.shiftKey ? 0 : e.deltaY)) { view.left += across / view.scale; redraw(); }
  else zoom(Math.exp(-e.deltaY * (e.deltaMode ? .05 : .002)), Math.max(e.offsetX, GUTTER));
}, { passive: false });

function near(px, py) {
  let best = null, least = 14;
  for (const item of items) {
    if (Math.abs(x(item.frame) - px) > 40 + D.tolerance * view.scale || !shown(item)) continue;
    for (const [mx, my] of spotsOf(item)) {
      const far = Math.hypot(mx - px, my - py);
      if (far < least) [best, least] = [item, far];
    }
  }
  return best;
}
const overview = px => { stop(); view.left = D.first + (px - GUTTER) / inner() * total - inner() / view.scale / 2; goTo(D.first + (px - GUTTER) / inner() * total); };
const fingers = new Map();
let travelled = 0;
timeline.addEventListener("pointerdown", e => {
  timeline.setPointerCapture(e.pointerId);
  fingers.set(e.pointerId, { x: e.offsetX, y: e.offsetY, strip: e.offsetY < STRIP });
  if (fingers.size === 1) travelled = 0;
  if (e.offsetY < STRIP) overview(e.offsetX);
});
timeline.addEventListener("pointermove", e => {
  const finger = fingers.get(e.pointerId);
  if (!finger) { const item = near(e.offsetX, e.offsetY); timeline.title = item ? describe(item) : ""; return; }
  const [px, py] = [e.offsetX, e.offsetY];
  travelled += Math.hypot(px - finger.x, py - finger.y);
  if (finger.strip) overview(px);
  else if (fingers.size === 1) { if (travelled > 4) { view.left -= (px - finger.x) / view.scale; redraw(); } }
  else {
    const other = [...fingers].find(([id]) => id !== e.pointerId)[1];
    const [before, after] = [Math.abs(finger.x - other.x), Math.abs(px - other.x)];
    if (before > 8 && after > 8) zoom(after / before, (px + other.x) / 2);
  }
  Object.assign(finger, { x: px, y: py });
});
timeline.addEventListener("pointerup", e => {
  const finger = fingers.get(e.pointerId);
  if (finger && !finger.strip && travelled <= 4 && fingers.size === 1) {
    stop();
    const item = near(e.offsetX, e.offsetY);
    if (item) select(item); else if (e.offsetX > GUTTER) goTo(frameAt(e.offsetX));
  }
  fingers.delete(e.pointerId);
});
timeline.addEventListener("pointercancel", e => fingers.delete(e.pointerId));

// A player on the pitch leads to his event that is nearest in time.
radar.addEventListener("click", e => {
  const close = playersAt(view.at).map(one => [one, Math.hypot(spot(one.x, one.y)[0] - e.offsetX, spot(one.x, one.y)[1] - e.offsetY)]);
  const [who, far] = close.sort((a, b) => a[1] - b[1])[0] || [null, 99];
  if (far > 16) return;
  const his = items.filter(item => shown(item) && spotRows(item).includes(who.row));
  his.sort((a, b) => Math.abs(a.frame - view.at) - Math.abs(b.frame - view.at));
  if (his.length) select(his[0]);
});
$("time").min = D.first; $("time").max = D.last;
$("time").addEventListener("input", () => { stop(); goTo(Number($("time").value)); });
$("evidence").addEventListener("change", redraw);
$("source")?.addEventListener("change", () => { view.source = Number($("source").value); view.item = null; load(); changed(); });

// ---- The address: #t=seconds&e=event&s=predictions&z=pixels a second leads to the same view again.

function remember() {
  const seconds = ((view.at - D.first) / D.fps).toFixed(1), zoomed = view.scale > widest() * 1.01;
  const parts = [`t=${seconds}`, ...(view.item ? [`e=${view.item.id}`] : []), ...(view.source ? [`s=${view.source}`] : []), ...(zoomed ? [`z=${(view.scale * D.fps).toFixed(1)}`] : [])];
  try { history.replaceState(null, "", "#" + parts.join("&")); } catch { /* a frame without an address */ }
}
function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (D.sources[asked.get("s")]) { view.source = Number(asked.get("s")); $("source").value = view.source; }
  load();
  view.item = items.find(item => item.id === asked.get("e")) || null;
  const seconds = parseFloat(asked.get("t"));
  view.at = view.item ? view.item.frame : D.first + (seconds > 0 ? seconds * D.fps : 0);
  view.scale = Math.min(CLOSEST, parseFloat(asked.get("z")) / D.fps) || (asked.has("t") || view.item ? CLOSE : widest());
  view.left = view.at - inner() / view.scale / 2;
  changed();
}
function summarise() {
  const counts = D.kinds.map((_, kind) => items.filter(item => item.kind === kind).length);
  const parts = usedKinds.map(name => `${counts[KIND[name]]} ${name}`);
  const length = `${Math.round(total / D.fps / 60)} minutes from frame ${D.first}`;
  $("summary").textContent = `${length}${where ? "" : " (of the first event)"}. ${source() ? source().name + ": " : "True events: "}${parts.join(", ")}.`;
  document.querySelectorAll(".figures").forEach((table, i) => { table.hidden = i !== view.source; });
}

radar.hidden = !where;
$("evidence-label").hidden = !D.evidence && D.sources.length < 2;
$("filters").open = window.innerWidth > 600;
new ResizeObserver(redraw).observe(timeline);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("hashchange", follow);
// On paper: dark ink.
addEventListener("beforeprint", () => { document.documentElement.classList.add("paper"); drawTimeline(); drawRadar(); });
addEventListener("afterprint", () => { document.documentElement.classList.remove("paper"); redraw(); });
follow();
