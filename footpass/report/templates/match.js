"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
D.kinds.push("open", "accepted");  // of events that are being corrected
const $ = id => document.getElementById(id);
const KIND = Object.fromEntries(D.kinds.map((name, number) => [name, number]));
const colourOf = kind => `--${D.kinds[kind].replace(" ", "-")}`;
const SIDES = ["left", "right"];  // where each team attacks from
const GUTTER = 74, STRIP = 34, AXIS = 20, GAP = 10, TOP = STRIP + AXIS;
const CLOSEST = 10, CLOSE = 2;  // pixels a frame: the most, and where one event is looked at
const total = D.last - D.first + 1;
const view = { left: D.first, scale: 0, at: D.first, item: null, hover: null, source: 0, timer: null };
const timeline = $("timeline"), radar = $("radar");
let items = [];  // what came of each event, by frame: { id, kind, frame, t, p }, t and p being rows or -1

// ---- Data

function source() { return D.sources[view.source]; }

function load() {
  const judged = source(), paired = new Set(), unjudged = KIND.unjudged;
  items = []; view.hover = null;
  judged?.frame.forEach((frame, p) => {
    const t = judged.truth[p];
    if (t >= 0) paired.add(t);
    items.push({ id: judged.id ? `c${judged.id[p]}` : `p${p}`, kind: judged.kind[p], frame: t >= 0 ? D.truth.frame[t] : frame, t, p });
  });
  if (!corrected()) D.truth?.frame.forEach((frame, t) => {
    if (!paired.has(t)) items.push({ id: `t${t}`, kind: judged ? KIND.missed : unjudged, frame, t, p: -1 });
  });
  items.sort((a, b) => a.frame - b.frame);
}

// Positions: (3, slots, samples) of int16: x and y in centimetres (or NOBODY), and 2 * row + visible.
const NOBODY = -(2 ** 15);
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
    if (who < 0 || where.get(0, slot, k) === NOBODY) continue;
    const stays = where.get(2, slot, next) >> 1 === who >> 1 && where.get(0, slot, next) !== NOBODY, follows = stays ? place - k : 0;
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
    if (s.score[p] !== null) parts.push(`, score ${s.score[p].toFixed(2)}`);
    if (corrected()) parts.push(`, frame ${s.frame[p]}`);
  }
  return parts.join("") + ".";
}

// ---- Shapes

const hollow = kind => [KIND.missed, KIND["made up"], KIND.open].includes(kind);
// Shapes tell outcomes apart without colours: disc, diamond, triangle, cross, ring, square; open square, disc.
function outline(kind, r) {
  return [
    `M${-r},0 A${r},${r} 0 1 0 ${r},0 A${r},${r} 0 1 0 ${-r},0Z`,
    `M0,${-r * 1.2} L${r * 1.2},0 L0,${r * 1.2} L${-r * 1.2},0Z`,
    `M0,${-r * 1.1} L${r * 1.1},${r * .9} L${-r * 1.1},${r * .9}Z`,
    `M${-r * .8},${-r * .8} L${r * .8},${r * .8} M${-r * .8},${r * .8} L${r * .8},${-r * .8}`,
    `M${-r},0 A${r},${r} 0 1 0 ${r},0 A${r},${r} 0 1 0 ${-r},0Z`,
    `M${-r * .8},${-r * .8} h${r * 1.6} v${r * 1.6} h${-r * 1.6}Z`,
    `M${-r * .8},${-r * .8} h${r * 1.6} v${r * 1.6} h${-r * 1.6}Z`,
    `M${-r},0 A${r},${r} 0 1 0 ${r},0 A${r},${r} 0 1 0 ${-r},0Z`,
  ][kind];
}
const shapes = D.kinds.map((_, kind) => new Path2D(outline(kind, 4.5)));

// ---- Filters

function boxes(place, names, mark) {
  $(place).querySelectorAll("label").forEach(label => label.remove());
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
const classBoxes = boxes("classes", D.classes.slice(1));
let usedKinds = [], kindBoxes = [];
function offerKinds() {
  const judged = D.kinds.slice(0, KIND.unjudged), now = corrected() ? ["open", "accepted"] : D.truth && D.sources.length ? judged : ["unjudged"];
  if (now.join() === usedKinds.join()) return;
  usedKinds = now;
  kindBoxes = boxes("kinds", usedKinds, legendMark);
}
function shown(item) {
  const kind = usedKinds.indexOf(D.kinds[item.kind]);
  if (kind >= 0 && !kindBoxes[kind].checked) return false;
  const on = cls => classBoxes[cls - 1].checked;
  return (item.t >= 0 && on(D.truth.cls[item.t])) || (item.p >= 0 && on(source().cls[item.p]));
}
