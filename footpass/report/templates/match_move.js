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
  if (corrected()) showWork();
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
  else if (key === "e") correct(!corrected());
  else return corrected() && edit(key);
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
function hover(item) {
  if (item === view.hover) return;
  view.hover = item;
  timeline.style.cursor = item ? "pointer" : "";
  redraw();
}
timeline.addEventListener("pointerleave", () => hover(null));
timeline.addEventListener("pointerdown", e => {
  hover(null);
  timeline.setPointerCapture(e.pointerId);
  fingers.set(e.pointerId, { x: e.offsetX, y: e.offsetY, strip: e.offsetY < STRIP });
  if (fingers.size === 1) travelled = 0;
  if (e.offsetY < STRIP) overview(e.offsetX);
  else if (fingers.size === 1) hold(e); else drop(false);
});
timeline.addEventListener("pointermove", e => {
  const finger = fingers.get(e.pointerId);
  if (!finger) return hover(near(e.offsetX, e.offsetY));
  const [px, py] = [e.offsetX, e.offsetY];
  travelled += Math.hypot(px - finger.x, py - finger.y);
  if (finger.strip) overview(px);
  else if (drag(e)) redraw();
  else if (fingers.size === 1) { if (travelled > 4) { view.left -= (px - finger.x) / view.scale; redraw(); } }
  else {
    const other = [...fingers].find(([id]) => id !== e.pointerId)[1];
    const [before, after] = [Math.abs(finger.x - other.x), Math.abs(px - other.x)];
    if (before > 8 && after > 8) zoom(after / before, (px + other.x) / 2);
  }
  Object.assign(finger, { x: px, y: py });
});
timeline.addEventListener("pointerup", e => {
  const finger = fingers.get(e.pointerId), dropped = drop(travelled > 4);
  if (!dropped && finger && !finger.strip && travelled <= 4 && fingers.size === 1) {
    stop();
    const item = near(e.offsetX, e.offsetY);
    if (item) select(item); else if (e.offsetX > GUTTER) goTo(frameAt(e.offsetX));
  }
  fingers.delete(e.pointerId);
});
timeline.addEventListener("pointercancel", e => { drop(false); fingers.delete(e.pointerId); });

// A player on the pitch leads to the own event that is nearest in time.
radar.addEventListener("click", e => {
  const close = playersAt(view.at).map(one => [one, Math.hypot(spot(one.x, one.y)[0] - e.offsetX, spot(one.x, one.y)[1] - e.offsetY)]);
  const [who, far] = close.sort((a, b) => a[1] - b[1])[0] || [null, 99];
  if (far > 16) return;
  if (corrected() && chosen() && Math.abs(view.at - view.item.frame) <= D.tolerance) return change({ row: who.row });
  const own = items.filter(item => shown(item) && spotRows(item).includes(who.row));
  own.sort((a, b) => Math.abs(a.frame - view.at) - Math.abs(b.frame - view.at));
  if (own.length) select(own[0]);
});
$("time").min = D.first; $("time").max = D.last;
$("time").addEventListener("input", () => { stop(); goTo(Number($("time").value)); });
$("evidence").addEventListener("change", redraw);
$("source")?.addEventListener("change", () => { view.source = Number($("source").value); view.item = null; load(); changed(); });

// ---- The address: #t=seconds&e=event&s=predictions&z=pixels a second, c=1 for correcting, leads to the same view again.

function remember() {
  const seconds = ((view.at - D.first) / D.fps).toFixed(1), zoomed = view.scale > widest() * 1.01;
  const parts = [`t=${seconds}`, ...(view.item ? [`e=${view.item.id}`] : []), ...(corrected() ? ["c=1"] : view.source ? [`s=${view.source}`] : []), ...(zoomed ? [`z=${(view.scale * D.fps).toFixed(1)}`] : [])];
  try { history.replaceState(null, "", "#" + parts.join("&")); } catch { /* a frame without an address */ }
}
function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  offerKinds();
  if (asked.has("c")) { correct(true, asked.get("e")); } else
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
  const length = `${clock(D.last).replace(/\.\d$/, "")} minutes from frame ${D.first}`;
  if (corrected()) showWork();
  $("summary").textContent = `${length}${where ? "" : " (of the first event)"}. ${source() ? source().name + ": " : "True events: "}${parts.join(", ")}.`;
  document.querySelectorAll(".figures").forEach((table, i) => { table.hidden = i !== view.source; });
}

function start() {
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
}
