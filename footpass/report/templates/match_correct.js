// ---- Correcting: the events as a person leaves them, another source beside the predictions.
// An event is { id, frame, row, cls, score, accepted }; every step makes new lists, so undoing is going back to an old one.

const work = { events: null, undo: [], redo: [], next: 0, held: null, source: null, safe: true };
const corrected = () => work.source !== null && source() === work.source;
const chosen = () => (corrected() && view.item ? work.events.find(one => `c${one.id}` === view.item.id) : null);

function began() {
  const from = D.sources[work.from] || D.truth;
  const flags = i => (from.replay ? { flags: [from.box_visible[i], from.replay[i]] } : {});  // a true event has its own
  const one = (frame, i) => ({ id: i, frame, row: from.row[i], cls: from.cls[i], score: from.score?.[i] ?? null, accepted: false, ...flags(i) });
  return { events: from?.frame.map(one) || [], rows: [] };
}

// Pages of many files share what a browser keeps: work goes on only where events and players are the same.
function digest(text) {
  let sum = 0;
  for (let i = 0; i < text.length; i++) sum = (31 * sum + text.charCodeAt(i)) | 0;
  return sum;
}

function correct(on, id = null) {
  stop();
  if (on && !work.source) {
    work.key = `footpass ${D.half} ${digest(JSON.stringify([D.rows, source() || D.truth]))}`;
    work.from = view.source;
    const { events, rows } = kept() || began();
    rows.forEach(row => D.rows.push(row));
    work.source = { name: "corrected", frame: [], cls: [], row: [], score: [], truth: [], kind: [], id: [] };
    D.sources.push(work.source);
    work.rows = D.rows.length - rows.length;
    Object.assign(work, { events, next: Math.max(-1, ...events.map(one => one.id)) + 1 });
  }
  view.source = on ? D.sources.indexOf(work.source) : work.from;
  $("correct").setAttribute("aria-pressed", on);
  $("work").hidden = $("work-help").hidden = !on;
  if ($("source")) { $("source").disabled = on; $("source").value = work.from; }
  view.item = null;
  if (on) { offerRows(); show(id === null ? null : Number(id.slice(1))); } else { offerKinds(); load(); changed(); }
}

// What is drawn, from the events.
function show(id = null) {
  work.events.sort((a, b) => a.frame - b.frame || a.id - b.id);
  for (const name of ["id", "frame", "row", "cls", "score"]) work.source[name] = work.events.map(one => one[name]);
  work.source.truth = work.events.map(() => -1);
  work.source.kind = work.events.map(one => (one.accepted ? KIND.accepted : KIND.open));
  offerKinds(); arrange(); load();
  view.item = id === null ? null : items.find(item => item.id === `c${id}`) || null;
  if (view.item) work.held ? (view.at = view.item.frame) : goTo(view.item.frame, view.item);
  changed();
}

// ---- Steps

function step(events, id) {
  work.undo.push(work.events); work.redo = [];
  work.events = events;
  keep(); show(id);
}
function back(from, to) {
  if (!work[from].length) return;
  work[to].push(work.events);
  const before = new Map(work.events.map(one => [one.id, one]));
  work.events = work[from].pop();
  const touched = work.events.find(one => before.get(one.id) !== one);  // so that one sees what came back
  keep(); show(touched ? touched.id : null);
}
function change(to) {
  const old = chosen();
  if (!old) return;
  const changed = { ...old, accepted: true, ...to };
  changed.frame = Math.max(D.first, Math.min(Math.round(changed.frame), D.last));
  if (changed.frame !== old.frame || changed.row !== old.row) delete changed.flags;
  if (changed.row < 0 || changed.row >= D.rows.length || Object.keys(changed).every(key => changed[key] === old[key])) return;
  step(work.events.map(one => (one === old ? changed : one)), old.id);
}
function add(frame, row, cls) {
  if (!(row >= 0)) return;
  const one = { id: work.next++, frame: Math.max(D.first, Math.min(Math.round(frame), D.last)), row, cls, score: null, accepted: true };
  step([...work.events, one], one.id);
}
function following(old, fits = () => true) {
  return work.events.find(one => one !== old && (one.frame > old.frame || (one.frame === old.frame && one.id > old.id)) && fits(one));
}
function accept() {
  const old = chosen(), next = old && following(old, one => !one.accepted);
  if (!old) return;
  change({});
  if (next) select(items.find(item => item.id === `c${next.id}`));
}
function remove() {
  const old = chosen(), next = old && following(old);
  if (old) step(work.events.filter(one => one !== old), next ? next.id : null);
}
function toNeighbour(way) {
  const old = chosen(), order = D.rows.map((_, row) => row).sort((a, b) => placeOf[a] - placeOf[b]);
  if (old) change({ row: order[placeOf[old.row] + way] ?? old.row });
}

function edit(key) {
  const move = { ",": -1, ".": 1, "<": -5, ">": 5, ";": -5, ":": 5 }[key], old = chosen();
  if (key === "a") accept();
  else if (key === "x" || key === "Delete" || key === "Backspace") remove();
  else if (/^[1-8]$/.test(key)) { $("to-class").value = key; change({ cls: Number(key) }); }
  else if (key === "ArrowUp" || key === "ArrowDown") toNeighbour(key === "ArrowUp" ? -1 : 1);
  else if (move) { if (old) change({ frame: old.frame + move }); }
  else if (key === "i") add(view.at, Number($("to-row").value), Number($("to-class").value));
  else if (key === "u") back("undo", "redo");
  else if (key === "r") back("redo", "undo");
  else if (key === "s") download();
  else return false;
  return true;
}

// ---- Mouse: an event is taken to another time or player; a double click adds one.

function hold(e) {
  const item = corrected() && near(e.offsetX, e.offsetY), one = item && work.events.find(event => `c${event.id}` === item.id);
  work.held = one ? { one, before: work.events, dx: e.offsetX - x(one.frame), dy: e.offsetY - y(one.row) } : null;
}
function drag(e) {
  if (!work.held) return false;
  if (travelled <= 4) return true;
  const { one: { flags, ...one }, before, dx, dy } = work.held, row = rowAt(e.offsetY - dy);
  const frame = Math.max(D.first, Math.min(Math.round(frameAt(e.offsetX - dx)), D.last));
  work.held.now = { ...one, accepted: true, frame, row: row < 0 ? one.row : row };
  work.events = before.map(event => (event.id === one.id ? work.held.now : event));
  show(one.id);
  return true;
}
// The end of a drag: one step, or none if it was only a click. True if the event was moved.
function drop(moved) {
  const held = work.held;
  work.held = null;
  if (!held?.now) return false;
  const now = work.events;
  work.events = held.before;
  if (moved) step(now, held.one.id); else show(held.one.id);
  return moved;
}
timeline.addEventListener("dblclick", e => {
  if (corrected() && e.offsetX > GUTTER && !near(e.offsetX, e.offsetY)) add(frameAt(e.offsetX), rowAt(e.offsetY), Number($("to-class").value));
});

// ---- The bar

function offerRows() {
  arrange();
  const order = D.rows.map((_, row) => row).sort((a, b) => placeOf[a] - placeOf[b]), list = $("to-row"), now = list.value;
  list.replaceChildren(...order.map(row => new Option(player(row), row)), new Option("another …", "new"));
  if (now) list.value = now;
}
function showWork() {
  const one = chosen(), open = work.events.filter(event => !event.accepted).length;
  if (one) { $("to-class").value = one.cls; $("to-row").value = one.row; }
  $("to-frame").value = Math.round(one ? one.frame : view.at);
  $("to-frame").disabled = !one;
  $("undo").disabled = !work.undo.length; $("redo").disabled = !work.redo.length;
  $("progress").textContent = `${work.events.length - open} of ${work.events.length} accepted`;
}
$("to-class").addEventListener("change", () => change({ cls: Number($("to-class").value) }));
$("to-frame").addEventListener("change", () => { if ($("to-frame").value) change({ frame: Number($("to-frame").value) }); else showWork(); });
$("to-row").addEventListener("change", () => {
  if ($("to-row").value === "new") {
    const [, side, jersey] = /^\s*(left|right)\s+(\d{1,3}|\?)\s*$/i.exec(prompt("Side and shirt number, such as: left 7, or left ?") || "") || [];
    const key = side && [SIDES.indexOf(side.toLowerCase()), jersey === "?" ? -1 : Number(jersey)];
    let row = key ? D.rows.findIndex(one => one[0] === key[0] && one[1] === key[1]) : (chosen()?.row ?? 0);
    if (row < 0) { row = D.rows.length; D.rows.push([...key, ""]); }
    offerRows();
    $("to-row").value = row;
  }
  change({ row: Number($("to-row").value) });
  redraw();
});
$("correct").disabled = !D.sources.length && !D.truth && !D.rows.length;
document.addEventListener("keydown", e => {
  if (!corrected() || e.target === timeline || e.target.closest("input:not([type=checkbox]), select")) return;
  if (e.ctrlKey || e.metaKey || e.altKey || (e.key === " " && e.target.closest("button, summary, input"))) return;
  if (press(e.key, e.shiftKey)) e.preventDefault();
});
document.addEventListener("keydown", e => {
  if (!corrected() || !(e.ctrlKey || e.metaKey) || !"zy".includes(e.key.toLowerCase()) || e.target.closest("input")) return;
  if (e.key.toLowerCase() === "y" || e.shiftKey) back("redo", "undo"); else back("undo", "redo");
  e.preventDefault();
});

// ---- Keeping and giving

function keep() {
  const rows = D.rows.slice(work.rows);
  try { localStorage.setItem(work.key, JSON.stringify({ events: work.events, rows })); }
  catch { work.safe = false; }  // nothing can be kept: what is not downloaded is lost with the page
}
function kept() {
  try { return JSON.parse(localStorage.getItem(work.key)); } catch { return null; }
}
$("restart").addEventListener("click", () => {
  step(began().events, null);
  try { localStorage.removeItem(work.key); } catch { /* nothing was kept */ }
});
// Whether a player is in the picture, and whether nobody is: at either of the two positions around that the page holds,
// for at a cut the nearest may be beyond it, and what was found was in the picture.
function pictured(frame, row) {
  if (!where?.samples) return [1, 0];
  const place = Math.max(0, Math.min((frame - D.positions.first) / where.step, where.samples - 1)), slots = [...Array(where.slots).keys()];
  const inPicture = [Math.floor(place), Math.ceil(place)].flatMap(k => slots.map(slot => where.get(2, slot, k))).filter(who => who >= 0 && who & 1);
  return [Number(inPicture.some(who => who >> 1 === row)), Number(!inPicture.length)];
}
function playByPlay() {
  const events = $("only-accepted").checked ? work.events.filter(one => one.accepted) : work.events;
  const rows = events.map(one => [one.frame, D.rows[one.row][0], D.rows[one.row][1], one.cls, ...(one.flags || pictured(one.frame, one.row))]);
  return JSON.stringify({ keys: [D.half], events: { [D.half]: rows } });
}
function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([playByPlay()], { type: "application/json" }));
  link.download = `playbyplay_${D.half}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  work.safe = true;
}
addEventListener("beforeunload", e => { if (!work.safe) e.preventDefault(); });
