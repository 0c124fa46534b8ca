"use strict";
// The page of a session. All text of movies is set as text, never as HTML. Plain SVG, no library.
(() => {
const ROW_HEIGHT = 60, OVERSCAN_ROWS = 6, REFRESH_SECONDS = 5, SILENT_SECONDS = 60, RATE_SECONDS = 1800, MANY_POINTS = 400;
const FILES = "report_files/";
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const view = { sort: "finished", descending: true, filter: "", show: "all", axis: "time", group: "none", limits: {}, marks: {} };
let data = null, version = null, shown = [], active = 0, opened = null, detailChunks = {}, drawn = new Map();

// small helpers
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
function shape(tag, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}
function plain(value, digits = 3) {
  if (value === undefined || value === null) return "–";
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  if (Math.abs(value) >= 10000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = (seconds) => new Date(seconds * 1000).toLocaleDateString([], { month: "short", day: "numeric" });
const median = (values) => { const sorted = [...values].sort((a, b) => a - b); return sorted[sorted.length >> 1]; };
const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
function storageKey() { return `restframe:${location.pathname}`; }
function remember() {
  try { localStorage.setItem(storageKey(), JSON.stringify({ limits: view.limits, marks: view.marks, theme: document.documentElement.dataset.theme })); }
  catch { /* a browser may forbid it; nothing but convenience is lost */ }
}
function recall() {
  try { return JSON.parse(localStorage.getItem(storageKey())) || {}; } catch { return {}; }
}

// which movies are marked
function beyond(movie, column) {
  const limit = view.limits[column.key], value = movie.values[column.key];
  if (limit === undefined || value === undefined) return false;
  return column.limit === "below" ? value < limit : value > limit;
}
function isMarked(movie) {
  if (movie.status !== "done") return false;
  const byHand = view.marks[movie.name];
  return byHand === undefined ? data.columns.some((column) => beyond(movie, column)) : byHand;
}
const isKept = (movie) => movie.status === "done" && !isMarked(movie);

// header
function runState() {
  const run = data.run;
  if (!run) return { running: false, silent: false };
  const silence = Date.now() / 1000 - Date.parse(run.heartbeat) / 1000;
  return { running: Boolean(run.is_running), silent: Boolean(run.is_running) && silence > SILENT_SECONDS, silence };
}
function rate() {
  const times = data.movies.filter((movie) => movie.status === "done" && movie.finished).map((movie) => movie.finished);
  if (times.length < 2) return null;
  const last = Math.max(...times.slice(-50)), recent = times.filter((time) => time > last - RATE_SECONDS);
  const span = last - Math.min(...recent);
  return span > 0 ? ((recent.length - 1) / span) * 3600 : null;
}
function drawHeader() {
  byId("title").textContent = data.title;
  document.title = data.title;
  const run = data.run, state = runState(), done = data.movies.filter((movie) => movie.status === "done").length;
  const failed = data.movies.length - done, marked = data.movies.filter(isMarked).length, perHour = rate();
  const line = byId("state"), last = data.movies.length ? data.movies[data.movies.length - 1].finished : null;
  line.className = state.silent ? "silent" : state.running ? "running" : "";
  line.textContent = state.silent ? `The batch has given no sign of life for ${Math.round(state.silence / 60)} min.`
    : state.running ? `Running on ${run.host || "a computer"}, ${count((run.running || []).length, "movie")} at work`
    : last ? `No batch is running. Last movie ${day(last)}, ${clock(last)}.` : "No movies yet.";
  const behind = !state.running ? null : run.oldest_waiting ? (Date.now() - Date.parse(run.oldest_waiting)) / 60000
    : run.waiting && perHour ? (run.waiting / perHour) * 60 : 0;
  const cards = [
    ["Corrected", plain(done, 6), ""], ["Failed", plain(failed, 6), failed ? "is-bad" : ""],
    ["Marked", plain(marked, 6), marked ? "is-warn" : ""], ["Waiting", state.running ? plain(run.waiting, 6) : "–", ""],
    ["Rate", perHour === null ? "–" : plain(perHour), "", "/ h"],
    ["Behind", behind === null ? "–" : plain(behind, 2), behind > 10 ? "is-warn" : "", "min"],
  ];
  byId("cards").replaceChildren(...cards.map(([label, value, kind, unit]) => element("div", { class: kind },
    element("dt", {}, label), element("dd", {}, value, unit && value !== "–" ? element("small", {}, ` ${unit}`) : null))));
  byId("made").textContent = data.made ? `Data of ${day(data.made)}, ${clock(data.made)}.` : "";
  const badge = byId("marked-count");
  badge.hidden = !marked;
  badge.textContent = `${marked} marked`;
  drawFailures(data.movies.filter((movie) => movie.status !== "done"));
}
function drawFailures(failures) {
  byId("failures").hidden = failures.length === 0;
  byId("failure-count").textContent = failures.length;
  const newest = failures.slice(-30).reverse();
  byId("failure-list").replaceChildren(...newest.map((movie) => element("li", {},
    element("button", { type: "button", onclick: () => openDetail(movie.name) }, movie.name), element("p", {}, movie.reason))));
  const retry = newest.find((movie) => movie.retry)?.retry;
  byId("retry").hidden = !retry;
  if (retry && byId("retry").dataset.command !== retry) {
    byId("retry").dataset.command = retry;
    byId("retry").replaceChildren(element("p", { class: "hint" }, "To correct them again:"), commandLine(retry));
  }
  byId("failure-more").textContent = failures.length > newest.length ? "Older ones are in the table: Show, failed." : "";
}

// a command, and a button that copies it
function commandLine(text) {
  const code = element("code", {}, text), button = element("button", { type: "button", class: "quiet copy" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text, code)) ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
  return element("div", { class: "command" }, code, button);
}
async function copied(text, code) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here: select it */ }
  getSelection().selectAllChildren(code);
  return document.execCommand("copy");
}

// groups of movies, which trends show in colours
const GROUPINGS = {
  optics: { label: "optics group", of: (movie) => movie.optics },
  shot: { label: "shot of a hole", of: (movie) => /_Data_(\d+)_\d/.exec(movie.name)?.[1] },  // names of EPU
};
const COLOURS = 8;
function groupsOf(kind) {
  if (!GROUPINGS[kind]) return [];
  const names = new Set(data.movies.filter((movie) => movie.status === "done").map(GROUPINGS[kind].of));
  return names.has(undefined) || names.size < 2 || names.size > COLOURS ? [] : [...names].sort();
}
function drawGroups() {
  const kinds = Object.keys(GROUPINGS).filter((kind) => groupsOf(kind).length);
  if (!kinds.includes(view.group)) view.group = "none";
  byId("groups").hidden = !kinds.length;
  const choices = [["none", "none"], ...kinds.map((kind) => [kind, GROUPINGS[kind].label])];
  const select = byId("group");
  if (select.options.length !== choices.length) select.replaceChildren(...choices.map(([key, label]) => element("option", { value: key }, label)));
  select.value = view.group;
  const names = groupsOf(view.group);
  byId("legend").hidden = !names.length;
  byId("legend").replaceChildren(...names.map((name, index) => element("li", { class: `group-${index}` }, String(name))));
}

// trends
function drawTrends() {
  drawGroups();
  const holder = byId("charts");
  const done = data.movies.filter((movie) => movie.status === "done");
  const columns = data.columns.filter((column) => column.trend && done.some((movie) => movie.values[column.key] !== undefined));
  holder.replaceChildren(...columns.map((column) => chart(column, done)));
}
function chart(column, movies) {
  const points = movies.map((movie, order) => ({ movie, order, value: movie.values[column.key], error: (movie.errors || {})[column.key] || 0 }))
    .filter((point) => point.value !== undefined && (view.axis === "order" || point.movie.finished));
  const width = 360, height = 150, left = 40, right = 6, top = 8, bottom = 20;
  const sorted = points.map((point) => point.value).sort((a, b) => a - b);
  const at = (part) => sorted[Math.round(part * (sorted.length - 1))];
  let low = Math.min(at(0.005), ...(column.key === "counts_dose" ? movies.slice(-1).map((movie) => movie.values.dose ?? Infinity) : []));
  let high = Math.max(at(0.995), ...(column.key === "counts_dose" ? movies.slice(-1).map((movie) => movie.values.dose ?? -Infinity) : []));
  const limit = view.limits[column.key];
  if (limit !== undefined) { low = Math.min(low, limit); high = Math.max(high, limit); }
  const spread = median(points.map((point) => point.error));
  [low, high] = [low - spread, high + spread];
  const margin = 0.08 * (high - low) || Math.abs(high) * 0.1 || 1;
  low = sorted[0] >= 0 ? Math.max(0, low - margin) : low - margin;
  high += margin;
  const xOf = view.axis === "time" ? (point) => point.movie.finished : (point) => point.order;
  const first = xOf(points[0]), last = xOf(points[points.length - 1]);
  const x = (point) => left + (width - left - right) * (last > first ? (xOf(point) - first) / (last - first) : 0.5);
  const yOf = (value) => top + (height - top - bottom) * (1 - Math.min(1, Math.max(0, (value - low) / (high - low))));
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.removeAttribute("preserveAspectRatio");
  for (const tick of ticks(low, high)) {
    svg.append(shape("line", { class: "rule", x1: left, x2: width - right, y1: yOf(tick), y2: yOf(tick) }));
    svg.append(shape("text", { x: left - 5, y: yOf(tick) + 4, "text-anchor": "end" }, plain(tick)));
  }
  const end = (point) => view.axis === "time" ? clock(point.movie.finished) : `${point.order + 1}`;
  svg.append(shape("text", { x: left, y: height - 5 }, end(points[0])));
  svg.append(shape("text", { x: width - right, y: height - 5, "text-anchor": "end" }, end(points[points.length - 1])));
  const many = points.length > MANY_POINTS;
  let errors = "";
  const step = Math.max(1, Math.ceil(points.length / MANY_POINTS));
  points.forEach((point, index) => {
    if (point.error && index % step === 0) errors += `M${x(point).toFixed(1)} ${yOf(point.value - point.error).toFixed(1)}V${yOf(point.value + point.error).toFixed(1)}`;
  });
  svg.append(shape("path", { class: "error", d: errors }));
  const dots = (chosen) => chosen.map((point) => `M${x(point).toFixed(1)} ${yOf(point.value).toFixed(1)}h0`).join("");
  const groups = groupsOf(view.group), kept = points.filter((point) => !isMarked(point.movie));
  if (!groups.length) svg.append(shape("path", { class: "dots", d: dots(kept) }));
  groups.forEach((name, index) => svg.append(shape("path", { class: `dots group-${index}`,
    d: dots(kept.filter((point) => GROUPINGS[view.group].of(point.movie) === name)) })));
  svg.append(shape("path", { class: "dots marked", d: dots(points.filter((point) => isMarked(point.movie))) }));
  const medianLine = (chosen, kind) => {
    if (chosen.length <= 8) return;
    const half = Math.max(3, Math.round(chosen.length / 30)), line = [], stride = Math.max(1, chosen.length / 150 | 0);
    for (let index = 0; index < chosen.length; index += stride) {
      const near = chosen.slice(Math.max(0, index - half), index + half + 1).map((point) => point.value);
      line.push(`${x(chosen[index]).toFixed(1)} ${yOf(median(near)).toFixed(1)}`);
    }
    svg.append(shape("path", { class: `median ${kind}`, d: `M${line.join("L")}` }));
  };
  if (!groups.length) medianLine(points, "");
  groups.forEach((name, index) => medianLine(points.filter((point) => GROUPINGS[view.group].of(point.movie) === name), `group-${index}`));
  if (column.key === "counts_dose") {
    const stated = points.filter((point) => point.movie.values.dose !== undefined);
    if (stated.length) svg.append(shape("path", { class: "reference", d: `M${stated.map((point) => `${x(point).toFixed(1)} ${yOf(point.movie.values.dose).toFixed(1)}`).join("L")}` }));
  }
  if (limit !== undefined) svg.append(shape("line", { class: "limit", x1: left, x2: width - right, y1: yOf(limit), y2: yOf(limit) }));
  const cursor = shape("circle", { class: "cursor", r: 5, visibility: "hidden" });
  svg.append(cursor);
  const say = (point) => `${point.movie.name}: ${plain(point.value)}${point.error ? ` ± ${plain(point.error, 2)}` : ""} ${column.unit}`;
  const slider = element("div", { class: `chart${many ? " many" : ""}`, role: "slider", tabindex: "0", "data-key": column.key,
    "aria-label": `Trend of ${column.label}${column.unit ? ` in ${column.unit}` : ""}`, "aria-valuemin": "1", "aria-valuemax": String(points.length) },
    element("h3", {}, `${column.label}${column.unit ? `, ${column.unit}` : ""}`,
      element("span", {}, column.key === "counts_dose" && points[points.length - 1].movie.values.dose !== undefined
        ? `stated ${plain(points[points.length - 1].movie.values.dose)}` : `median ${plain(median(sorted))}`)));
  slider.append(svg);
  let current = points.length - 1;
  const choose = (index) => {
    current = Math.min(points.length - 1, Math.max(0, index));
    slider.setAttribute("aria-valuenow", String(current + 1));
    slider.setAttribute("aria-valuetext", say(points[current]));
  };
  const point = () => points[current];
  const show = () => {
    cursor.setAttribute("cx", x(point()));
    cursor.setAttribute("cy", yOf(point().value));
    cursor.setAttribute("visibility", "visible");
    const box = svg.getBoundingClientRect();
    showTip(say(point()), box.left + (x(point()) / width) * box.width, box.top + (yOf(point().value) / height) * box.height);
  };
  const hide = () => { cursor.setAttribute("visibility", "hidden"); byId("tip").hidden = true; };
  const nearest = (event) => {
    const box = svg.getBoundingClientRect(), atX = ((event.clientX - box.left) / box.width) * width;
    const atY = ((event.clientY - box.top) / box.height) * height;
    let best = 0, distance = Infinity;
    points.forEach((one, index) => {
      const away = (x(one) - atX) ** 2 + 0.2 * (yOf(one.value) - atY) ** 2;
      if (away < distance) [best, distance] = [index, away];
    });
    return best;
  };
  choose(current);
  slider.addEventListener("focus", show);
  slider.addEventListener("blur", hide);
  svg.addEventListener("mousemove", (event) => { choose(nearest(event)); show(); });
  svg.addEventListener("mouseleave", hide);
  svg.addEventListener("click", () => openDetail(point().movie.name));
  slider.addEventListener("keydown", (event) => {
    const far = Math.max(1, Math.round(points.length / 10));
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -far, PageUp: far, Home: -points.length, End: points.length };
    if (event.key in moves) { choose(current + moves[event.key]); show(); event.preventDefault(); }
    if (event.key === "Enter") { openDetail(point().movie.name); event.preventDefault(); }
  });
  return slider;
}
function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(Number(tick.toPrecision(8)));
  return found;
}
function showTip(text, left, top) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  tip.style.left = `${Math.max(4, Math.min(innerWidth - tip.offsetWidth - 4, left + 10))}px`;
  tip.style.top = `${Math.max(4, top - tip.offsetHeight - 10)}px`;
}

// thresholds
function drawLimits() {
  const used = data.columns.filter((column) => data.movies.some((movie) => movie.values[column.key] !== undefined));
  byId("limit-fields").replaceChildren(...used.map((column) => {
    const field = element("input", { type: "number", step: "any", "data-key": column.key, inputmode: "decimal" });
    if (view.limits[column.key] !== undefined) field.value = view.limits[column.key];
    field.addEventListener("input", () => {
      if (field.value === "" || Number.isNaN(field.valueAsNumber)) delete view.limits[column.key];
      else view.limits[column.key] = field.valueAsNumber;
      remember();
      clearTimeout(drawLimits.timer);
      drawLimits.timer = setTimeout(marksChanged, 150);
    });
    return element("label", { title: column.description }, `${column.label} ${column.limit}${column.unit ? `, ${column.unit}` : ""}`, field);
  }));
}
function marksChanged() { drawHeader(); drawTrends(); chooseRows(); }

// table
function matcher(text) {
  const keys = new Map(data.columns.map((column) => [column.key.toLowerCase(), column.key]));
  const tests = text.trim().toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const parts = /^([a-z_]+)(<=|>=|<|>|=)(-?[\d.]+(?:e-?\d+)?)$/.exec(word);
    const key = parts && (keys.get(parts[1]) || [...keys.keys()].filter((one) => one.startsWith(parts[1])).map((one) => keys.get(one))[0]);
    if (!key) return (movie) => movie.name.toLowerCase().includes(word);
    const limit = Number(parts[3]), compare = { "<": (a) => a < limit, ">": (a) => a > limit, "<=": (a) => a <= limit, ">=": (a) => a >= limit, "=": (a) => a === limit }[parts[2]];
    return (movie) => movie.values[key] !== undefined && compare(movie.values[key]);
  });
  return (movie) => tests.every((test) => test(movie));
}
function chooseRows() {
  const matches = matcher(view.filter), keep = active < shown.length ? shown[active]?.name : null;
  const wanted = { all: () => true, kept: isKept, marked: isMarked, failed: (movie) => movie.status !== "done", warnings: (movie) => movie.warnings > 0 }[view.show];
  const key = view.sort, sign = view.descending ? -1 : 1;
  const valueOf = (movie) => key === "name" ? movie.name : key === "finished" ? movie.finished : key === "state" ? stateOf(movie) : movie.values[key];
  shown = data.movies.filter((movie) => wanted(movie) && matches(movie)).sort((first, second) => {
    const a = valueOf(first), b = valueOf(second);
    if (a === undefined || a === null) return b === undefined || b === null ? 0 : 1;
    if (b === undefined || b === null) return -1;
    return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  });
  active = Math.max(0, shown.findIndex((movie) => movie.name === keep));
  byId("shown").textContent = `${count(shown.length, "movie")} shown, ${data.movies.filter(isKept).length.toLocaleString("en")} kept.`;
  byId("grid").setAttribute("aria-rowcount", String(shown.length + 1));
  drawHead();
  drawRows(true);
}
const stateOf = (movie) => movie.status !== "done" ? "failed" : isMarked(movie) ? "marked" : "kept";
function tableColumns() {
  return data.columns.filter((column) => data.movies.some((movie) => movie.values[column.key] !== undefined));
}
function drawHead() {
  const columns = tableColumns();
  byId("grid").style.setProperty("--template", `74px minmax(200px, 2.4fr) 84px repeat(${columns.length}, minmax(84px, 1fr))`);
  byId("grid").style.setProperty("--table-width", `${420 + 94 * columns.length}px`);
  byId("grid").style.setProperty("--span", String(Math.max(columns.length, 1)));
  byId("grid").setAttribute("aria-colcount", String(columns.length + 3));
  const head = (key, label, unit, kind, hint) => {
    const cell = element("div", { role: "columnheader", class: kind, "data-key": key },
      element("button", { type: "button", title: hint, onclick: () => sortBy(key) }, label, unit ? element("small", {}, ` ${unit}`) : null));
    if (view.sort === key) cell.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
    return cell;
  };
  const focused = document.activeElement?.closest?.("#head [data-key]")?.dataset.key;
  byId("head").replaceChildren(element("div", { role: "row", class: "row", "aria-rowindex": "1" },
    head("finished", "Newest", "", "picture", "Sort by time"), head("name", "Movie", "", "name", "Sort by name"),
    head("state", "State", "", "state", "Sort by state"),
    ...columns.map((column) => head(column.key, column.label, column.unit, "value", column.description))));
  if (focused) byId("head").querySelector(`[data-key="${focused}"] button`)?.focus();
  const choices = [["finished", "time"], ["name", "name"], ...columns.map((column) => [column.key, column.label])];
  const select = byId("sort");
  if (select.options.length !== choices.length) select.replaceChildren(...choices.map(([key, label]) => element("option", { value: key }, label)));
  select.value = view.sort;
}
function sortBy(key) {
  if (view.sort === key) view.descending = !view.descending;
  else { view.sort = key; view.descending = key !== "name"; }
  byId("grid").scrollTop = 0;
  active = 0;
  chooseRows();
}
function firstValue(columns) { return columns.find((column) => column.key === view.sort) || columns[0]; }
function rowOf(movie, index, columns) {
  const state = stateOf(movie);
  const picture = element("div", { role: "gridcell", class: "picture" });
  if (movie.thumbnail) {
    const image = element("img", { alt: "", loading: "lazy", decoding: "async", width: "74", height: "52" });
    image.src = movie.thumbnail;
    picture.append(image);
  }
  const kind = { kept: "good", marked: "warn", failed: "bad" }[state];
  const row = element("div", { role: "row", class: "row", "aria-rowindex": String(index + 2), tabindex: index === active ? "0" : "-1", "data-index": String(index) },
    picture,
    element("div", { role: "gridcell", class: "name" }, element("strong", {}, movie.name),
      element("small", {}, movie.finished ? `${day(movie.finished)}, ${clock(movie.finished)}` : "", movie.warnings ? ` · ${count(movie.warnings, "warning")}` : "")),
    element("div", { role: "gridcell", class: "state" }, element("span", { class: `badge ${kind}` }, state)));
  if (movie.status !== "done") row.append(element("div", { role: "gridcell", class: "wide", "aria-colspan": String(columns.length) }, movie.reason));
  else for (const column of columns) {
    const error = (movie.errors || {})[column.key];
    row.append(element("div", { role: "gridcell", class: `value${column === firstValue(columns) ? " first" : ""}${beyond(movie, column) ? " beyond" : ""}` },
      plain(movie.values[column.key]), error ? element("span", { class: "deviation" }, `± ${plain(error, 2)}`) : null));
  }
  row.style.transform = `translateY(${index * ROW_HEIGHT}px)`;
  return row;
}
function drawRows(all = false) {
  const grid = byId("grid"), rows = byId("rows"), columns = tableColumns();
  const first = Math.max(0, Math.floor(grid.scrollTop / ROW_HEIGHT) - OVERSCAN_ROWS);
  const last = Math.min(shown.length, Math.ceil((grid.scrollTop + grid.clientHeight) / ROW_HEIGHT) + OVERSCAN_ROWS);
  const hadFocus = rows.contains(document.activeElement);
  rows.style.height = `${Math.max(shown.length, 1) * ROW_HEIGHT}px`;
  if (all) { rows.replaceChildren(); drawn.clear(); }
  const wanted = new Set();
  for (let index = first; index < last; index++) wanted.add(index);
  if (hadFocus && active < shown.length) wanted.add(active);
  for (const [index, row] of drawn) if (!wanted.has(index)) { row.remove(); drawn.delete(index); }
  for (const index of wanted) if (!drawn.has(index)) {
    const row = rowOf(shown[index], index, columns);
    drawn.set(index, row);
    rows.append(row);
  }
  if (all && ![...drawn.keys()].includes(active) && drawn.size) [...drawn.values()][0].tabIndex = 0;
  if (all && hadFocus) drawn.get(active)?.focus({ preventScroll: true });
  if (all && !shown.length) {
    rows.append(element("div", { role: "row", class: "row" }, element("div", { role: "gridcell", class: "wide" }, "No movie matches.")));
  }
}
function activate(index) {
  if (!shown.length) return;
  const grid = byId("grid"), head = byId("head").offsetHeight;
  for (const row of drawn.values()) row.tabIndex = -1;
  active = Math.min(shown.length - 1, Math.max(0, index));
  const top = active * ROW_HEIGHT;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + ROW_HEIGHT + head > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + ROW_HEIGHT + head - grid.clientHeight;
  drawRows();
  const row = drawn.get(active);
  if (row) { row.tabIndex = 0; row.focus({ preventScroll: true }); }
}
function tableKeys(event) {
  if (!event.target.closest("#rows")) return;
  const page = Math.max(1, Math.floor(byId("grid").clientHeight / ROW_HEIGHT) - 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length };
  if (event.key in moves) { activate(active + moves[event.key]); event.preventDefault(); }
  if ((event.key === "Enter" || event.key === " ") && shown[active]) { openDetail(shown[active].name); event.preventDefault(); }
}

// one movie
function load(address) {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: address, async: "" });
    script.onload = () => { script.remove(); resolve(); };
    script.onerror = () => { script.remove(); reject(new Error(address)); };
    document.head.append(script);
  });
}
async function detailOf(movie) {
  const chunk = `${movie.chunk}?${data.chunks[movie.chunk]}`;
  if (!detailChunks[chunk]) await load(`${FILES}details_${chunk.replace("?", ".js?")}`);
  return detailChunks[chunk]?.[movie.name];
}
async function openDetail(name) {
  const movie = data.movies.find((one) => one.name === name);
  if (!movie) return;
  opened = name;
  byId("detail-title").textContent = name;
  const body = byId("detail-body"), dialog = byId("detail");
  body.replaceChildren(element("p", { class: "hint" }, "Loading …"));
  drawMarkButton(movie);
  const place = shown.findIndex((one) => one.name === name);
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place >= shown.length - 1;
  if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
  let more = null;
  try { more = await detailOf(movie); } catch { /* told below */ }
  if (opened !== name) return;
  body.scrollTop = 0;
  body.replaceChildren(...(more ? detailParts(movie, more) : [element("p", { class: "notice" }, `More about this movie is in the folder ${FILES} beside this page, which was not found.`), facts(movie)]));
}
let opener = null;
function detailParts(movie, more) {
  if (movie.status !== "done") return [
    element("p", { class: "notice" }, movie.reason),
    element("h3", {}, "To try again"), movie.retry ? commandLine(movie.retry) : element("p", {}, "Give the command of the batch again, with ", element("code", {}, "--retry-failed 1"), "."),
    element("h3", {}, "Movie"), element("p", {}, element("code", {}, more.input || "–"))];
  const figures = element("div", { class: "figures" }, imageFigure(movie, more), spectrumFigure(movie, more), element("div", { class: "stacked" }, trackFigure(movie, more), ringsFigure(movie, more)));
  const list = (title, entries, code = false) => entries.length ? element("div", {}, element("h3", {}, title),
    element("ul", {}, ...entries.map((entry) => element("li", {}, code ? element("code", {}, entry) : entry)))) : null;
  const warnings = [...more.warnings, ...(more.gain_advice ? [more.gain_advice] : [])];
  return [figures, facts(movie), element("div", { class: "texts" }, list("Warnings", warnings), list("Decisions", more.decisions),
    list("Files", more.outputs, true), list("Movie", [more.input || "in memory"], true), list("Corrected by", [`${more.program} on ${more.host}`]))];
}
function facts(movie) {
  const entries = data.columns.filter((column) => movie.values[column.key] !== undefined).map((column) => {
    const error = (movie.errors || {})[column.key];
    return element("div", { class: beyond(movie, column) ? "beyond" : "", title: column.description }, element("dt", {}, column.label),
      element("dd", {}, `${plain(movie.values[column.key])}${error ? ` ± ${plain(error, 2)}` : ""} ${column.unit}`));
  });
  return element("dl", { class: "facts" }, ...entries);
}
function picture(address, text, proportions) {
  const frame = element("div", { class: "frame", style: `aspect-ratio:${proportions}` });
  if (address) {
    const image = element("img", { alt: text });
    image.src = address;
    image.addEventListener("error", () => frame.append(element("p", { class: "hint" }, "The picture was not found.")));
    frame.append(image);
  } else frame.append(element("p", { class: "hint" }, "No picture was made (--thumbnails)."));
  return frame;
}
function roundFactor(most) {
  const factors = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
  return factors.filter((factor) => factor <= most).pop() || 1;
}
function imageFigure(movie, more) {
  const frame = picture(movie.thumbnail, `Corrected image of ${movie.name}`, `${more.width} / ${more.height}`);
  let caption = "Corrected image.";
  if (more.local) {
    const longest = Math.max(...more.local.flatMap(([, , path]) => path.map(([dx, dy]) => Math.hypot(dx, dy))), 1e-9);
    const factor = roundFactor((0.12 * more.width) / longest);
    const svg = shape("svg", { viewBox: `0 0 ${more.width} ${more.height}`, "aria-hidden": "true" });
    for (const [x, y, path] of more.local) {
      const ends = path.map(([dx, dy]) => [x + factor * dx, more.height - 1 - (y + factor * dy)]);
      svg.append(shape("path", { class: "path", d: `M${ends.map((end) => end.map((value) => value.toFixed(0)).join(" ")).join("L")}${arrowHead(ends, more.width)}` }));
    }
    frame.append(svg);
    const scale = more.pixel_size ? `${plain(longest * more.pixel_size)} A` : `${plain(longest)} px`;
    caption = `Corrected image. Arrows: local motion of the specimen, magnified ${factor} times; the longest is ${scale}.`;
  }
  return element("figure", {}, frame, element("figcaption", {}, caption));
}
function arrowHead(ends, width) {
  const [x, y] = ends[ends.length - 1], [fromX, fromY] = ends[Math.max(0, ends.length - 3)];
  const angle = Math.atan2(y - fromY, x - fromX), size = width / 60;
  const side = (turn) => `${(x - size * Math.cos(angle + turn)).toFixed(0)} ${(y - size * Math.sin(angle + turn)).toFixed(0)}`;
  return `M${side(0.5)}L${x.toFixed(0)} ${y.toFixed(0)}L${side(-0.5)}`;
}
function spectrumFigure(movie, more) {
  const frame = picture(more.spectrum, `Power spectrum of ${movie.name}`, "1 / 1");
  const nyquist = more.spectrum_pixel_size ? 0.5 / more.spectrum_pixel_size : null;
  let caption = `Power spectrum, up to ${nyquist ? `${plain(1 / nyquist)} A` : "the Nyquist frequency"} at the edges.`;
  if (more.ctf && nyquist && more.spectrum) {
    const svg = shape("svg", { viewBox: "-1 -1 2 2", "aria-hidden": "true" });
    svg.append(shape("line", { class: "middle", x1: 0, x2: 0, y1: -1, y2: 1 }));
    for (let number = 1; number <= 8; number++) {
      const ring = [];
      for (let azimuth = -90; azimuth <= 90; azimuth += 3) ring.push([zeroAt(more, number, (azimuth * Math.PI) / 180) / nyquist, (azimuth * Math.PI) / 180]);
      if (ring.some(([radius]) => !(radius < 1))) break;
      svg.append(shape("path", { class: "ring", d: `M${ring.map(([radius, angle]) => `${(radius * Math.cos(angle)).toFixed(4)} ${(-radius * Math.sin(angle)).toFixed(4)}`).join("L")}` }));
    }
    const resolution = movie.values.fit_resolution;
    const radius = 1 / resolution / nyquist;
    if (resolution) svg.append(shape("path", { class: "ring fit", d: `M0 ${-radius}A${radius} ${radius} 0 0 1 0 ${radius}` }));
    frame.append(svg);
    caption += " Right half, green: zeros of the fitted CTF" + (resolution ? "; dashed: resolution of the fit." : ".");
  }
  return element("figure", {}, frame, element("figcaption", {}, caption));
}
function zeroAt(more, number, azimuth) {
  const volt = (more.voltage || 300) * 1000, wavelength = 12.2643 / Math.sqrt(volt * (1 + 0.978466e-6 * volt));
  const { defocus_u_a: u, defocus_v_a: v, astigmatism_angle_deg: axis, phase_shift_deg: shift } = more.ctf;
  const defocus = 0.5 * (u + v + (u - v) * Math.cos(2 * (azimuth - ((axis || 0) * Math.PI) / 180)));
  const aberration = (more.ctf.spherical_aberration_mm ?? 2.7) * 1e7, contrast = Math.asin(more.ctf.amplitude_contrast ?? 0.07);
  const a = 0.5 * aberration * wavelength ** 3, b = -wavelength * defocus, c = number - contrast / Math.PI - (shift || 0) / 180;
  const root = b * b - 4 * a * c;
  if (root < 0) return NaN;
  return Math.sqrt(a > 0 ? (-b - Math.sqrt(root)) / (2 * a) : -c / b);
}
function trackFigure(movie, more) {
  const track = more.track, unit = more.pixel_size ? "A" : "px", width = 300, height = 170, margin = 28;
  const xs = track.map(([x]) => x), ys = track.map(([, y]) => y);
  const span = Math.max(Math.max(...xs) - Math.min(...xs), (Math.max(...ys) - Math.min(...ys)) * (width / height), 1e-3) * 1.1;
  const scale = (width - 2 * margin) / span, middleX = (Math.max(...xs) + Math.min(...xs)) / 2, middleY = (Math.max(...ys) + Math.min(...ys)) / 2;
  const point = ([x, y]) => [width / 2 + (x - middleX) * scale, height / 2 - (y - middleY) * scale];
  const svg = shape("svg", { class: "track", viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(shape("title", {}, `Global motion of the specimen, ${count(track.length, "frame")}, total ${plain(movie.values.total)} ${unit}`));
  const step = ticks(0, span / 2).find((tick) => tick > 0) || span / 4, barWidth = step * scale;
  svg.append(shape("line", { class: "rule", x1: 12, x2: 12 + barWidth, y1: height - 12, y2: height - 12, "stroke-width": 3 }));
  svg.append(shape("text", { x: 12, y: height - 18 }, `${plain(step)} ${unit}`));
  svg.append(shape("path", { class: "line", d: `M${track.map((one) => point(one).map((value) => value.toFixed(1)).join(" ")).join("L")}` }));
  track.forEach((one, index) => {
    const [x, y] = point(one);
    svg.append(shape("circle", { class: index ? "dot" : "first", cx: x, cy: y, r: index ? 2.2 : 4 }));
  });
  const error = movie.values.stated_error;
  if (error && unit === "A") {
    const [x, y] = point(track[track.length - 1]);
    svg.append(shape("circle", { class: "error", cx: x, cy: y, r: error * scale }));
  }
  return element("figure", {}, svg, element("figcaption", {}, `Global motion of the specimen. Green: first used frame. Circle: stated error${error ? `, ${plain(error, 2)} A` : ""}.`));
}
function ringsFigure(movie, more) {
  if (!more.rings?.length) return null;
  const width = 300, height = 150, left = 34, right = 8, top = 8, bottom = 32, first = 5;
  const shownValues = more.rings.flatMap((curve) => curve.values.slice(first));
  const low = Math.min(...shownValues), high = Math.max(...shownValues), highest = Math.max(...more.rings.map((curve) => curve.nyquist));
  const x = (frequency) => left + (width - left - right) * frequency / highest;
  const y = (value) => top + (height - top - bottom) * (1 - (value - low) / (high - low || 1));
  const svg = shape("svg", { class: "track rings", viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(shape("title", {}, "Power of rings of the spectrum before and after the correction"));
  for (const tick of ticks(low, high)) {
    svg.append(shape("line", { class: "rule", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(shape("text", { x: left - 4, y: y(tick) + 4, "text-anchor": "end" }, plain(tick)));
  }
  for (const resolution of [20, 10, 6, 4, 3, 2, 1.5]) if (1 / resolution < highest) {
    svg.append(shape("text", { x: x(1 / resolution), y: height - 18, "text-anchor": "middle" }, String(resolution)));
  }
  svg.append(shape("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "resolution, A"));
  for (const curve of more.rings) {
    const step = curve.nyquist / (curve.values.length - 1);
    const ends = curve.values.map((value, ring) => `${x(ring * step).toFixed(1)} ${y(value).toFixed(1)}`).slice(first);
    svg.append(shape("path", { class: `curve ${curve.label}`, d: `M${ends.join("L")}` }));
  }
  const before = more.rings.some((curve) => curve.label === "before");
  return element("figure", {}, svg, element("figcaption", {}, `Power of rings (log10)${before ? ": grey before, blue after the correction" : ""}.`));
}
function drawMarkButton(movie) {
  const button = byId("mark");
  button.hidden = movie.status !== "done";
  button.textContent = isMarked(movie) ? "Keep" : "Mark";
  button.setAttribute("aria-pressed", String(isMarked(movie)));
  button.onclick = () => {
    view.marks[movie.name] = !isMarked(movie);
    remember();
    marksChanged();
    drawMarkButton(movie);
  };
}
function neighbour(step) {
  const place = shown.findIndex((movie) => movie.name === opened) + step;
  if (shown[place]) openDetail(shown[place].name);
}

// lists of kept movies
function save(name, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
function exportStar() {
  const kept = data.movies.filter(isKept).sort((first, second) => (first.name < second.name ? -1 : 1));
  save("kept_micrographs.star", `${data.star_optics}\n${data.star_labels}${kept.map((movie) => movie.star).join("")}\n`);
}
function exportList() {
  save("kept_micrographs.txt", data.movies.filter(isKept).map((movie) => `${movie.file || movie.name}\n`).sort().join(""));
}

// new data while the page is open
window.restframePage = {
  version(text, run) {
    const changed = text !== version;
    version = text;
    data.run = run;
    if (changed) load(`${FILES}summary.js?${encodeURIComponent(text)}`).catch(() => {});
    else drawHeader();
  },
  summary(fresh) { take(fresh); },
  details(chunk, hash, movies) { detailChunks[`${chunk}?${hash}`] = movies; },
};
function take(fresh) {
  data = fresh;
  version = fresh.version;
  drawHeader();
  drawTrends();
  if (!byId("limit-fields").contains(document.activeElement)) drawLimits();
  chooseRows();
}
function poll() {
  load(`${FILES}version.js?${Date.now()}`).catch(() => {}).finally(() => setTimeout(poll, REFRESH_SECONDS * 1000));
}

// start
const stored = recall();
Object.assign(view.limits, stored.limits);
Object.assign(view.marks, stored.marks);
const theme = byId("theme");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.querySelector("span").textContent = name;
}
setTheme(stored.theme || "auto");
theme.addEventListener("click", () => {
  const names = ["auto", "light", "dark"];
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
  remember();
});
byId("filter").addEventListener("input", (event) => {
  view.filter = event.target.value;
  clearTimeout(chooseRows.timer);
  chooseRows.timer = setTimeout(() => { byId("grid").scrollTop = 0; chooseRows(); }, 80);
});
byId("show").addEventListener("change", (event) => { view.show = event.target.value; byId("grid").scrollTop = 0; chooseRows(); });
byId("sort").addEventListener("change", (event) => sortBy(event.target.value));
byId("axis").addEventListener("change", (event) => { view.axis = event.target.value; drawTrends(); });
byId("group").addEventListener("change", (event) => { view.group = event.target.value; drawTrends(); });
byId("limits-clear").addEventListener("click", () => { view.limits = {}; view.marks = {}; remember(); drawLimits(); marksChanged(); });
byId("export-star").addEventListener("click", exportStar);
byId("export-list").addEventListener("click", exportList);
byId("grid").addEventListener("scroll", () => requestAnimationFrame(() => drawRows()), { passive: true });
byId("grid").addEventListener("keydown", tableKeys);
byId("rows").addEventListener("click", (event) => {
  const row = event.target.closest(".row[data-index]");
  if (row) { activate(Number(row.dataset.index)); openDetail(shown[active].name); }
});
byId("rows").addEventListener("focusin", (event) => {
  const row = event.target.closest(".row[data-index]");
  if (row) active = Number(row.dataset.index);
});
byId("close").addEventListener("click", () => byId("detail").close());
byId("previous").addEventListener("click", () => neighbour(-1));
byId("next").addEventListener("click", () => neighbour(1));
byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) byId("detail").close(); });
byId("detail").addEventListener("close", () => {
  opened = null;
  if (opener?.isConnected) opener.focus({ preventScroll: true }); else drawn.get(active)?.focus({ preventScroll: true });
});
byId("detail").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") neighbour(-1);
  if (event.key === "ArrowRight") neighbour(1);
});
addEventListener("resize", () => drawRows());
take(JSON.parse(byId("data").textContent));
setInterval(drawHeader, 15000);
poll();
})();
