// Niceties over pages that work without them: the reader's own time zone, live updates, keys, copying, dropping files.
const root = new URL("..", import.meta.url);
const REFRESH = 1500;           // milliseconds between two refreshes at least
const SHARE = 15;               // as many times as long as a refresh takes, nothing is asked for: a busy server is left in peace
const ROWS = 200;               // kept in a live list

// ---- times, in the reader's zone ------------------------------------------------------------------------------------
const part = (date, options) => date.toLocaleString(undefined, options);
const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const forms = {
  clock: (date) => `${part(date, clock)}.${String(date.getMilliseconds()).padStart(3, "0")}`,
  minute: (date) => part(date, { weekday: "short", day: "2-digit", month: "short", ...clock }),
  long: (date) => `${part(date, { year: "numeric", month: "short", day: "2-digit", ...clock })}.${String(date.getMilliseconds()).padStart(3, "0")}`,
};
function localise(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(+date)) continue;
    time.textContent = (forms[time.dataset.form] ?? forms.clock)(date);
    time.title = `${part(date, { dateStyle: "full", timeStyle: "long" })}  (${time.dateTime})`;
  }
  for (const text of within.querySelectorAll("text[data-time]")) {
    const date = new Date(text.dataset.time);
    text.textContent = part(date, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(text.dataset.form === "day" && { weekday: "short" }) });
  }
}

// ---- live -----------------------------------------------------------------------------------------------------------
let stale = false;
let refreshing = false;
let last = Date.now();
let took = 0;

/** Fetch this page again and let its live parts take the place of the old ones, where they differ and nobody is at work in them. */
async function refresh() {
  if (refreshing || document.hidden) { stale = true; return; }
  const wait = last + Math.max(REFRESH, SHARE * took) - Date.now();
  refreshing = true;
  stale = false;
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  const begun = Date.now();
  try {
    const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live][id]")) {
      const now = fresh.getElementById(old.id);
      if (!now || busy(old)) continue;
      localise(now);
      keepState(old, now);
      if (now.outerHTML !== old.outerHTML) old.replaceWith(document.adoptNode(now));
    }
    const token = fresh.querySelector("input[name=csrf]")?.value;
    if (token) for (const input of document.querySelectorAll("input[name=csrf]")) input.value = token;
    if (!fresh.body.dataset.live && source) { source.close(); source = null; show(""); }
  } catch { /* the stream says when the server is back */ } finally {
    last = Date.now();
    took = last - begun;
    refreshing = false;
    if (stale && !document.hidden) refresh();
  }
}
/** Somebody types, slides or reads a menu there. */
const busy = (element) => element.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")
  || element.querySelector("details.pop[open]") || String(getSelection()) && element.contains(getSelection().anchorNode);
function keepState(old, now) {
  const open = (all) => [...all.querySelectorAll("details:not(.pop)")];
  const before = open(old);
  open(now).forEach((details, number) => { if (before[number]) details.open = before[number].open; });
  now.querySelector("[data-state]")?.replaceWith(old.querySelector("[data-state]")?.cloneNode(true) ?? "");
}

function show(state) {
  for (const mark of document.querySelectorAll("[data-state]")) {
    mark.textContent = state || "not live";
    mark.classList.toggle("on", state === "live");
  }
}

let waiting = [];
function take(message) {
  const list = document.querySelector("[data-tail] tbody");
  tell(message);
  if (!list) return;
  const rows = document.createElement("tbody");
  rows.innerHTML = message.html;        // drawn by the server, which writes whatever an invocation holds as text
  for (const link of rows.querySelectorAll("a[href]")) link.href = new URL(link.getAttribute("href"), root).href;
  localise(rows);
  waiting = [...rows.children, ...waiting].slice(0, ROWS);
  const reads = list.getBoundingClientRect().top < 0 || list.contains(document.activeElement) || list.matches(":hover");
  if (reads) offer(); else pour();
}
/** Put the rows that have gathered on top of the list. */
function pour() {
  const list = document.querySelector("[data-tail] tbody");
  list.querySelector(".none")?.remove();
  for (const row of waiting) {
    row.classList.add("fresh");
    list.querySelector(`tr[data-id="${row.dataset.id}"]`)?.remove();
  }
  list.prepend(...waiting);
  while (list.children.length > ROWS) list.lastElementChild.remove();
  waiting = [];
  document.querySelector(".newer")?.remove();
}
/** Somebody reads the list: what is new waits until it is asked for, so that nothing moves under their eyes. */
function offer() {
  let newer = document.querySelector(".newer");
  if (!newer) {
    newer = Object.assign(document.createElement("div"), { className: "newer" });
    newer.append(Object.assign(document.createElement("button"), { className: "primary", type: "button", onclick: () => { pour(); scrollTo({ top: 0 }); } }));
    document.querySelector("[data-tail]").before(newer);
  }
  newer.firstChild.textContent = `${waiting.length}${waiting.length === ROWS ? " and more" : ""} new`;
}
document.addEventListener("mouseout", (event) => {
  if (waiting.length && event.target.closest?.("[data-tail]") && !event.relatedTarget?.closest?.("[data-tail], .newer") && scrollY < 200) pour();
});

let counted = 0, shown = 0;
function tell({ seen, shown: some }) { counted += seen; shown += some; }
setInterval(() => {
  for (const rate of document.querySelectorAll("[data-rate]"))
    rate.textContent = counted > shown ? `${counted.toLocaleString()} in this second, ${shown} of them shown; all are on record` : "";
  counted = shown = 0;
}, 1000);

let source = null;
if (document.body.dataset.live) {
  source = new EventSource(new URL(document.body.dataset.live, root));
  source.onopen = () => { show("live"); refresh(); };      // what happened between the page and this
  source.onerror = () => show("not live: no connection");
  source.addEventListener("rows", (event) => take(JSON.parse(event.data)));
  source.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && stale) refresh(); });
  addEventListener("pagehide", () => source?.close());
}

// ---- keys -----------------------------------------------------------------------------------------------------------
let going = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (going) {
    going = false;
    document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  const search = document.querySelector("[data-search]");
  if (event.key === "/") { event.preventDefault(); search ? search.focus() : location.assign(new URL("invocations", root)); }
  else if (event.key === "?") document.getElementById("keys")?.showModal();
  else if (event.key === "g") going = true;
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
});
function step(by) {
  const links = [...document.querySelectorAll("table.rows td.what a, table.functions td.name a")];
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}

// ---- forms ----------------------------------------------------------------------------------------------------------
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "Copied"; } catch { button.textContent = "Not allowed here"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
  for (const menu of document.querySelectorAll("details.pop[open], details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.pop[open], details.menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});
/** A slider says its value as it moves, and sends its form when it is let go. */
document.addEventListener("input", (event) => {
  if (event.target.matches("input[type=range]"))
    for (const output of event.target.form.querySelectorAll("output")) output.value = output.dataset.rest ? 100 - event.target.value : event.target.value;
});
document.addEventListener("change", async (event) => {
  const form = event.target.matches("input[type=range][data-send]") ? event.target.form : null;
  if (!form) return;
  const reply = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" } });
  const state = form.querySelector("[data-sent]");
  if (state) state.textContent = reply.ok ? "saved" : (await reply.json()).message;
  event.target.blur();
  last = 0;
  refresh();
});

for (const form of document.querySelectorAll("[data-upload]")) {
  const place = form.querySelector("[data-drop]");
  for (const name of ["dragenter", "dragover"]) place.addEventListener(name, (event) => { event.preventDefault(); place.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    form.querySelector("input[type=file]").files = event.dataTransfer.files;
    form.requestSubmit();
  });
}

/** What was chosen before this script had come counts too. (These have autocomplete="off": no browser fills in what an earlier visit left.) */
const moved = (control) => control.matches("input") ? control.value !== control.defaultValue
  : control.selectedIndex !== Math.max(0, [...control.options].findIndex((option) => option.defaultSelected));
for (const control of document.querySelectorAll("select[data-submit], input[data-send]"))
  if (moved(control)) control.dispatchEvent(new Event("change", { bubbles: true }));

localise(document);
const address = new URL(location.href);
if (address.searchParams.has("said")) {         // said once; a link to this page need not say it
  address.searchParams.delete("said");
  history.replaceState(null, "", address);
}
