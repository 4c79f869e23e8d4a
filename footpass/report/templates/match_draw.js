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

// Where each row is drawn: rows that come in while correcting stand with their team.
let placeOf = [];
function arrange() {
  const order = D.rows.map((_, row) => row).sort((a, b) => D.rows[a][0] - D.rows[b][0] || a - b);
  placeOf = order.map((_, row) => order.indexOf(row));
}
arrange();
const rowHeight = () => Math.max(13, Math.min(innerWidth < 600 ? 14 : 20, 540 / Math.max(D.rows.length, 1)));
const y = row => TOP + (placeOf[row] + .5) * rowHeight() + (D.rows[row][0] ? GAP : 0);
const height = () => TOP + D.rows.length * rowHeight() + GAP + 6;
const x = frame => GUTTER + (frame - view.left) * view.scale;
const rowAt = py => D.rows.findIndex((_, row) => Math.abs(y(row) - py) <= rowHeight() / 2);
const frameAt = px => view.left + (px - GUTTER) / view.scale;
const inner = () => timeline.clientWidth - GUTTER - 8;
const widest = () => inner() / total;

function drawTimeline() {
  const { g, width, colour } = prepare(timeline, height()), rh = rowHeight();
  const [from, to] = [frameAt(GUTTER), frameAt(width)];
  drawStrip(g, width, colour, from, to);
  // Time: the first and last numbers are moved inwards, so that they are whole.
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 36000], seconds = view.scale * D.fps;
  const step = steps.find(one => one * seconds > 56) || 360000;
  g.textAlign = "center";
  for (let s = Math.ceil((from - D.first) / D.fps / step) * step; s * D.fps + D.first <= to; s += step) {
    const px = x(D.first + s * D.fps), text = clock(D.first + s * D.fps).replace(/\.0$/, ""), half = g.measureText(text).width / 2;
    g.fillStyle = colour("--line"); g.fillRect(px, TOP - 3, 1, height() - TOP);
    g.fillStyle = colour("--soft"); g.fillText(text, Math.max(GUTTER + half, Math.min(px, width - half - 2)), STRIP + AXIS / 2);
  }
  g.save();
  g.beginPath(); g.rect(GUTTER, STRIP, width - GUTTER, height()); g.clip();
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
  if (view.hover) drawHint(g, width, colour, ...spotsOf(view.hover).at(-1), describe(view.hover));
}

// What is under the pointer, in words beside it.
function drawHint(g, width, colour, px, py, text) {
  const wide = Math.min(g.measureText(text).width + 12, width), left = Math.max(0, Math.min(px - wide / 2, width - wide)), top = py > TOP + 40 ? py - 32 : py + 12;
  g.fillStyle = colour("--ink"); g.fillRect(left, top, wide, 20);
  g.fillStyle = colour("--paper"); g.textAlign = "left"; g.fillText(text, left + 6, top + 10, wide - 12);
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
    g.fillStyle = visible ? ["#20e0d0", "#a050ff"][team] : "#24502f"; g.fill();
    g.lineWidth = 2; g.strokeStyle = ["#20e0d0", "#a050ff"][team]; g.stroke();
    g.fillStyle = visible && team === 0 ? "#000" : "#fff"; g.fillText(jersey < 0 ? "?" : jersey, at[0], at[1] + .5);
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
