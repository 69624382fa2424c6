// The page at `/`: lists exports, watches one, starts and cancels. It asks the REST API, as any client.
"use strict";

const at = (id) => document.getElementById(id);
const KEY = "offloom-key";
const REFRESH_MS = 5000;
const RATE_WINDOW_MS = 10000;
const names = { STARTED: "waiting", TRANSFERRING: "running", SUCCESS: "succeeded", FAILED: "failed", CANCELED: "canceled" };
const isOpen = (status) => status === "STARTED" || status === "TRANSFERRING";

// What is shown: the backend, the id of the export, and what watches it.
let shown = { backend: "", id: "", watch: null };
let listed = [];

/* Texts */

const count = (number) => Number(number).toLocaleString("en");
function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) { number /= 1024; unit += 1; }
  return `${unit === 0 ? number : number.toFixed(1)} ${units[unit]}`;
}
function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
const time = (text) => new Date(text).toLocaleString();

/* Elements */

function element(name, text, properties) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return Object.assign(made, properties);
}
function show(place, text) {
  place.textContent = text;
  place.hidden = text === "";
}
function state(body) {
  const isPartial = body.status === "SUCCESS" && body.partial;
  const text = isPartial ? "succeeded in part" : names[body.status];
  return element("span", text, { className: `status ${isPartial ? "PARTIAL" : body.status}` });
}

/* Requests */

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}
async function ask(path, options = {}) {
  const headers = { accept: "application/json", ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  const message = body.error?.[0]?.message ?? `The server answered ${answer.status}.`;
  if (answer.status === 401 && !at("key-dialog").open) enterKey();
  throw new Refused(answer.status, message);
}
const exportPath = (backend, id) => `/v1/export/${encodeURIComponent(backend)}/${encodeURIComponent(id)}`;
function report(error) {
  if (error.name !== "AbortError") show(at("message"), error.message);
}

/* The list */

function summary(body) {
  const link = element("a", undefined, { href: `#/${body.backend}/${body.id}` });
  if (body.id === shown.id) link.setAttribute("aria-current", "true");
  const line = element("span", undefined, { className: "line" });
  line.append(element("span", body.id, { className: "name" }), state(body));
  let more = `${time(body.startedAt)} · ${count(body.classes.length)} ${body.classes.length === 1 ? "class" : "classes"}`;
  if (body.progress) more += ` · ${count(body.progress.objectsExported)} of about ${count(body.progress.objectsTotal)} objects`;
  link.append(line, element("span", more, { className: "more" }));
  const item = element("li");
  item.append(link);
  return item;
}
async function list(after) {
  const { backend } = shown;
  const query = new URLSearchParams({ limit: "25" });
  if (at("status").value) query.set("status", at("status").value);
  if (after) query.set("after", after);
  try {
    const page = await (await ask(`/v1/export/${encodeURIComponent(backend)}?${query}`)).json();
    if (backend !== shown.backend) return;
    listed = after ? listed.concat(page.exports) : page.exports;
    const focused = document.activeElement?.getAttribute?.("href");
    at("exports").replaceChildren(...listed.map(summary));
    if (focused) at("exports").querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
    at("empty").hidden = listed.length > 0;
    at("more").hidden = page.next === undefined;
    show(at("message"), "");
  } catch (error) {
    report(error);
  }
}

/* One export */

function patched(value, patch) {
  // RFC 7396.
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const result = value !== null && typeof value === "object" && !Array.isArray(value) ? { ...value } : {};
  for (const [key, change] of Object.entries(patch)) {
    if (change === null) delete result[key];
    else result[key] = patched(result[key], change);
  }
  return result;
}
function fact(name, value) {
  return [element("dt", name), element("dd", value)];
}
function sums(body) {
  const all = Object.values(body.progress);
  const sum = (of) => all.reduce((total, each) => total + (of(each) ?? 0), 0);
  return { done: sum((each) => each.objectsExported), total: sum((each) => each.objectsTotal), size: sum((each) => each.fileSizeBytes) };
}
function pace(samples, { done, total }) {
  const now = performance.now();
  samples.push({ now, done });
  while (samples.length > 2 && now - samples[1].now > RATE_WINDOW_MS) samples.shift();
  const [first] = samples;
  const rate = now > first.now ? (1000 * (done - first.done)) / (now - first.now) : 0;
  if (rate <= 0) return [];
  const left = total > done ? [fact("Time left", `about ${duration((1000 * (total - done)) / rate)}`)] : [];
  return [fact("Rate", `${count(Math.round(rate))} objects a second`), ...left];
}
function classRow(name, progress) {
  const row = element("tr");
  const bar = element("progress", undefined, { max: Math.max(progress.objectsTotal ?? 0, progress.objectsExported, 1), value: progress.objectsExported });
  if (progress.status === "SUCCESS") bar.value = bar.max;
  bar.setAttribute("aria-label", `Progress of ${name}`);
  const cell = element("td");
  cell.append(bar);
  const status = element("td");
  status.append(state(progress));
  row.append(element("td", name), status, cell, element("td", count(progress.objectsExported), { className: "number" }),
    element("td", bytes(progress.fileSizeBytes ?? 0), { className: "number" }));
  if (progress.error) row.firstChild.append(element("p", progress.error, { className: "error" }));
  return row;
}
function quoted(text, quote) {
  return quote + text.replaceAll(quote, quote === "'" ? "''" : `\\${quote}`) + quote;
}
function reading(body, file) {
  const url = body.path + file.key;
  // Readers take files by their paths.
  const place = url.startsWith("file://") ? decodeURIComponent(url.slice("file://".length)) : url;
  const lines = element("div");
  const add = (title, text) => {
    const block = element("pre", undefined, { tabIndex: 0 });
    block.append(element("code", text));
    lines.append(element("p", title, { className: "help" }), block);
  };
  add("DuckDB", `DESCRIBE SELECT * FROM ${quoted(place, "'")};\nSELECT * FROM ${quoted(place, "'")} LIMIT 10;`);
  // The address of a container says nothing of its account, which pyarrow needs.
  if (!url.startsWith("az://")) add("pyarrow", `import pyarrow.parquet\ntable = pyarrow.parquet.read_table(${JSON.stringify(place)})`);
  return lines;
}
function files(body) {
  const known = body.files ?? [];
  at("files-part").hidden = known.length === 0;
  if (at("files").childElementCount === known.length) return;
  at("files").replaceChildren(...known.map((file) => {
    const details = element("details");
    details.append(element("summary", `${file.key}: ${count(file.rows)} objects, ${bytes(file.sizeBytes)}`));
    // Thousands of files are shown without the lines of each.
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(reading(body, file));
    });
    return details;
  }));
}
function missing(body) {
  const lines = (body.missing ?? []).map((each) => {
    const what = each.shard === undefined ? each.class : `${each.class}, ${each.shard}`;
    const objects = each.objects === undefined ? "" : `, ${count(each.objects)} objects`;
    return element("li", `${what}${objects}: ${each.reason}`);
  });
  at("missing").replaceChildren(...lines);
  at("missing-part").hidden = lines.length === 0;
}
function detail(body, samples) {
  at("export-title").textContent = body.id;
  at("export-status").replaceWith(Object.assign(state(body), { id: "export-status" }));
  at("cancel").hidden = !isOpen(body.status);
  show(at("export-error"), body.error ?? "");
  const sum = sums(body);
  const facts = [fact("Folder", body.path), fact("Began", time(body.startedAt))];
  if (body.completedAt) facts.push(fact("Ended", time(body.completedAt)), fact("Took", duration(body.tookInMs)));
  const of = isOpen(body.status) ? ` of about ${count(sum.total)}` : "";
  facts.push(fact("Objects", `${count(sum.done)}${of}`), fact("Size", bytes(sum.size)));
  if (body.status === "TRANSFERRING") facts.push(...pace(samples, sum));
  at("facts").replaceChildren(...facts.flat());
  at("classes").replaceChildren(...body.classes.filter((name) => body.progress[name]).map((name) => classRow(name, body.progress[name])));
  missing(body);
  files(body);
  at("export").hidden = false;
}
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n");
      const name = lines.find((line) => line.startsWith("event: "))?.slice("event: ".length);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice("data: ".length)).join("\n");
      if (name) yield { name, data: JSON.parse(data) };
    }
  }
}
async function watch(backend, id, chosen) {
  shown.watch?.abort();
  const aborter = new AbortController();
  shown = { backend, id, watch: aborter };
  at("files").replaceChildren();
  const samples = [];
  let body;
  while (!aborter.signal.aborted) {
    try {
      const answer = await ask(`${exportPath(backend, id)}?watch`, { signal: aborter.signal, headers: { accept: "text/event-stream" } });
      for await (const { name, data } of events(answer)) {
        const before = body?.status;
        body = name === "snapshot" ? data : patched(body, data);
        detail(body, samples);
        // On a phone it is below the list.
        if (before === undefined && chosen) at("export-title").focus();
        if (before !== undefined && before !== body.status) {
          at("said").textContent = `${body.id}: ${names[body.status]}`;
          list();
        }
      }
      if (body && !isOpen(body.status)) return;
    } catch (error) {
      report(error);
      if (error.name === "AbortError" || (error.status >= 400 && error.status < 500 && error.status !== 429)) return;
    }
    // The server has ended, or is not there yet.
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
  }
}

/* Dialogs */

function enterKey() {
  at("key-value").value = sessionStorage.getItem(KEY) ?? "";
  at("key-dialog").showModal();
}
function order() {
  const body = { id: at("new-id").value };
  const include = at("new-include").value.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (include.length > 0) body.include = include;
  if (at("new-partial").checked) body.allowPartial = true;
  return body;
}
async function send(body) {
  show(at("new-error"), "");
  try {
    const answer = await ask(`/v1/export/${encodeURIComponent(shown.backend)}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    return await answer.json();
  } catch (error) {
    show(at("new-error"), error.message);
    return undefined;
  }
}
function newId() {
  const now = new Date().toISOString().replaceAll(/[-:]/g, "").slice(0, 15).toLowerCase();
  return `export-${now}`;
}

/* Begin */

function route(event) {
  const [backend, id] = location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
  const known = [...at("backend").options].map((option) => option.value);
  if (backend && known.includes(backend)) at("backend").value = backend;
  shown.watch?.abort();
  shown = { backend: at("backend").value, id: id ?? "", watch: null };
  document.title = id ? `${id} · Offloom` : "Offloom";
  if (id) watch(shown.backend, id, event !== undefined).then(() => {}, report);
  else at("export").hidden = true;
  list();
}
async function begin() {
  try {
    const { offloom } = await (await ask("/v1/meta")).json();
    at("version").textContent = offloom.version;
    at("backend").replaceChildren(...offloom.backends.map((name) => element("option", name, { value: name })));
    at("backend-label").hidden = offloom.backends.length < 2;
  } catch (error) {
    report(error);
    return;
  }
  route();
  setInterval(() => {
    if (!document.hidden && listed.length <= 25) list();
  }, REFRESH_MS);
}

for (const button of document.querySelectorAll("dialog .close")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
at("backend").addEventListener("change", () => { location.hash = `#/${at("backend").value}`; });
at("status").addEventListener("change", () => list());
at("exports").addEventListener("click", (event) => {
  // Of the one that is shown the place does not change.
  if (event.target.closest("a")?.hash === location.hash) at("export-title").focus();
});
at("more").addEventListener("click", () => list(listed.at(-1).id));
at("key").addEventListener("click", enterKey);
at("key-form").addEventListener("submit", () => {
  const key = at("key-value").value.trim();
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  show(at("message"), "");
  route();
});
at("new").addEventListener("click", () => {
  at("new-id").value = newId();
  at("new-estimate").textContent = "";
  show(at("new-error"), "");
  at("new-dialog").showModal();
});
at("new-try").addEventListener("click", async () => {
  at("new-estimate").textContent = "";
  const found = await send({ ...order(), dryRun: true });
  if (found) {
    at("new-estimate").textContent = `${count(found.classes.length)} classes, ${count(found.shards)} shards, at most ${count(found.objects)} objects and ${bytes(found.estimatedBytes)}.`;
  }
});
at("new-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const made = await send(order());
  if (made) {
    at("new-dialog").close();
    location.hash = `#/${made.backend}/${made.id}`;
  }
});
at("cancel").addEventListener("click", () => at("cancel-dialog").showModal());
at("cancel-yes").addEventListener("click", async () => {
  at("cancel-dialog").close();
  try {
    await ask(exportPath(shown.backend, shown.id), { method: "DELETE" });
    list();
  } catch (error) {
    report(error);
  }
});
window.addEventListener("hashchange", route);
begin();
