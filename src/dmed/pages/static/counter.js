// The counter without a line: keeps the kit and the shell while there is one, works from them while
// there is none, and sends what was done when it is back. It runs on /counter and /counter/offline.
import { Refusal, asMeant, check, isWhole, localDay, mayHold, readDay, readPack, readPrescription } from "./counter-token.js";
import * as store from "./counter-store.js";

const SHELL = "dmed-counter";
const KIT_FRESH_MS = 10 * 60_000;
const LOOK_MS = 15_000;
const AT_ONCE = 20;
const WRONG_MAX = 5;
const WAIT_MS = 60_000;
const desk = document.getElementById("offline");
const at = (id) => document.getElementById(id);
const texts = desk ? JSON.parse(desk.dataset.texts) : {};
const t = (key, values = {}) => (texts[key] ?? key).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);

// While there is a line ------------------------------------------------------------------------

// The offline page as the server makes it now: whose it is, its token, and what it is made of.
// null: no line; undefined: nobody is signed in here who may use it.
async function page() {
  let answer;
  try { answer = await fetch("/counter/offline", { cache: "no-store" }); } catch { return null; }
  if (answer.status >= 500) return null;
  if (!answer.ok || answer.redirected) return undefined;
  const kept = answer.clone();
  const made = new DOMParser().parseFromString(await answer.text(), "text/html");
  const own = made.getElementById("offline");
  if (!own) return undefined;
  return {
    csrf: JSON.parse(made.body.getAttribute("hx-headers"))["X-CSRF-Token"], user: own.dataset.user,
    pharmacy: own.dataset.pharmacy, assets: JSON.parse(own.dataset.assets), answer: kept,
  };
}

async function keepShell(now) {
  const cache = await caches.open(SHELL);
  const wanted = new Set(now.assets.map((path) => new URL(path, location.href).href));
  // Versioned files are fetched once; the plain ones each time, as they may have changed.
  const missing = [];
  for (const path of now.assets) if (!path.includes("?v=") || !await cache.match(path)) missing.push(path);
  await cache.addAll(missing.map((path) => new Request(path, { cache: "no-cache" })));
  await cache.put("/counter/offline", now.answer);
  for (const { url } of await cache.keys()) if (!wanted.has(url) && !url.endsWith("/counter/offline")) await cache.delete(url);
}

async function freshKit(now) {
  const before = await store.kit();
  const isOurs = before && before.facts.pharmacy === now.pharmacy && before.facts.user === now.user;
  if (isOurs && Date.now() + before.offset - Date.parse(before.facts.issued) < KIT_FRESH_MS) return;
  const asked = Date.now();
  const answer = await fetch("/counter/offline/kit", { cache: "no-store" });
  if (!answer.ok || answer.redirected) return;
  const [text, seal] = [await answer.text(), answer.headers.get("DMED-Seal")];
  if (!await isWhole(text, seal)) return;
  // How far this computer's clock is off: the middle of question and answer was the kit's moment.
  await store.keepKit(text, seal, Date.parse(JSON.parse(text).issued) - (asked + Date.now()) / 2);
}

async function post(path, csrf, value) {
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(value), cache: "no-store",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
  });
  if (!answer.ok || answer.redirected) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// Sends the queue in the order of its acts; a lost answer leaves them here, and they go again.
async function send(now) {
  for (;;) {
    const rows = (await store.queued()).filter((row) => row.pharmacy === now.pharmacy).slice(0, AT_ONCE);
    if (!rows.length) return;
    const acts = await Promise.all(rows.map(store.unsealed));
    try {
      const { results } = await post("/counter/offline/acts", now.csrf, { acts });
      for (const [place, row] of rows.entries()) await store.settled(row, results[place]);
    } catch (fault) {
      // One act that the server stumbles over must not hold the others back: each alone, once.
      if (!/: 5\d\d$/.test(fault.message) || rows.length === 1) throw fault;
      for (const [place, row] of rows.entries()) {
        try {
          const { results } = await post("/counter/offline/acts", now.csrf, { acts: [acts[place]] });
          await store.settled(row, results[0]);
        } catch { /* It stays in the queue. */ }
      }
      return;
    }
    await show();
  }
}

let line = "wait";
let looked = 0;
const isReached = () => fetch("/livez", { cache: "no-store" }).then((answer) => answer.ok, () => false);

// Where nothing waits a word of the line is enough; the whole is looked at every few minutes.
async function glance() {
  if (line === "here" && Date.now() - looked < KIT_FRESH_MS / 2 && !(await store.queued()).length && await isReached()) return;
  await look();
}

async function look() {
  looked = Date.now();
  // One window of this computer does it at a time.
  await navigator.locks.request("dmed-counter", async () => {
    const now = await page();
    line = now === null ? "none" : now === undefined ? "signed-out" : "here";
    if (!now) return;
    if (desk && (now.user !== desk.dataset.user || now.pharmacy !== desk.dataset.pharmacy)) { location.reload(); return; }
    await keepShell(now);
    await freshKit(now);
    await send(now);
    await store.forget();
  }).catch(() => { line = "none"; });
  await show();
}

// The page without a line ----------------------------------------------------------------------

let rx = null;
let pending = null;

function element(name, options = {}, ...children) {
  const { className, data, ...rest } = options;
  const made = Object.assign(document.createElement(name), rest);
  if (className) made.className = className;
  for (const [key, value] of Object.entries(data ?? {})) made.dataset[key] = value;
  made.append(...children);
  return made;
}

function say(kind, sentence) {
  if (!desk) return;
  const sign = { bad: "⛔", warn: "△", good: "✓", info: "ℹ" }[kind];
  const note = element("div", { className: `note ${kind}` }, element("span", { ariaHidden: "true" }, sign), element("div", {}, sentence));
  note.setAttribute("role", kind === "bad" ? "alert" : "status");
  at("offline-notes").replaceChildren(note);
}
const refused = (fault) => {
  if (!(fault instanceof Refusal)) throw fault;
  say("bad", t(`no.${fault.message}`, fault.values));
};
const shownNumber = (number) => `${number.slice(0, 4)}-${number.slice(4, 8)}-${number.slice(8, 12)}-${number.slice(12)}`;
const shownDay = (iso) => iso.split("-").reverse().join(".");
const shownTime = (iso) => new Date(iso).toLocaleString("ru", { timeZone: "Asia/Tashkent", day: "2-digit", month: "2-digit", hour: "2-digit", minute: "2-digit" });

async function clockNow() {
  const kept = await store.kit();
  return Date.now() + (kept?.offset ?? 0);
}

// The day's acts of this computer that the kit's own count does not hold yet.
async function actsToday(kit, now) {
  const today = localDay(now);
  const waiting = (await store.queued()).filter((row) => localDay(Date.parse(row.at)) === today);
  const sent = (await store.results()).filter((row) => Date.parse(row.at) > Date.parse(kit.issued) && localDay(Date.parse(row.at)) === today);
  return waiting.length + sent.length;
}

async function openPrescription(scanned) {
  // With a line the server decides at once, and nothing has to be made good later.
  if (line === "here" && await isReached()) throw new Refusal("line_here");
  const kept = await store.kit();
  if (!kept || kept.facts.pharmacy !== desk.dataset.pharmacy) throw new Refusal("no_kit");
  const now = await clockNow();
  const read = await readPrescription(scanned, kept.facts.keys);
  const done = { has: store.isDone, acts: await actsToday(kept.facts, now) };
  for (const item of read.items) {
    item.packs = [];
    try { item.allowed = await check(kept.facts, read, item, now, done); } catch (fault) {
      if (!(fault instanceof Refusal)) throw fault;
      item.refusal = t(`no.${fault.message}`, fault.values);
    }
    const row = kept.facts.register.find(([inn, form, strength]) => inn === item.inn && form === item.form && strength === item.strength);
    item.label = row ? row[3] : `${item.inn} ${item.strength}`;
    item.unit = row ? row[4] : "";
  }
  rx = { ...read, kit: kept.facts.issued, limits: kept.facts.limits };
  pending = null;
  at("offline-notes").replaceChildren();
}

const ready = (item) => item.packs.reduce((sum, pack) => sum + Number(pack.quantity), 0);

async function openPack(raw) {
  const pack = readPack(raw);
  const fits = rx.items.filter((item) => item.allowed?.packs.some(([gtin]) => gtin === pack.gtin));
  if (!fits.length) throw new Refusal("not_prescribed");
  const item = fits.find((each) => ready(each) < each.allowed.most);
  if (!item) throw new Refusal("enough");
  if (item.packs.length >= rx.limits.packs) throw new Refusal("enough");
  if (await store.isDone(pack.identity) || rx.items.some((each) => each.packs.some((other) => other.identity === pack.identity))) throw new Refusal("pack_done");
  if (await mayHold((await store.kit()).facts.used, pack.identity)) throw new Refusal("pack_used");
  const [, content, trade] = item.allowed.packs.find(([gtin]) => gtin === pack.gtin);
  const most = Math.min(Number(content), item.allowed.most - ready(item));
  // Of the whole pack, as the price list of the last sync says: the till knows no newer one.
  const price = ((await store.kit()).facts.prices ?? {})[pack.gtin];
  pending = { ...pack, raw, item, most, trade, price, content: Number(content) };
  at("offline-notes").replaceChildren();
}

/** A batch is typed by hand: case and blanks do not matter. No batch in the list is every batch. */
async function isRecalled(gtin, lot) {
  const same = (text) => text.replace(/\s/g, "").toUpperCase();
  const listed = (await store.kit()).facts.recalls ?? [];
  return listed.some(([product, batch]) => product === gtin && (!batch || same(batch) === same(lot)));
}

async function addPack(form) {
  if (!pending) return;
  const { lot, expiry, quantity } = Object.fromEntries(new FormData(form));
  const until = readDay(expiry);
  const amount = quantity.trim().replace(",", ".");
  if (!until) throw new Refusal("no_day");
  if (until < localDay(await clockNow())) throw new Refusal("pack_expired", { date: shownDay(until) });
  if (await isRecalled(pending.gtin, lot)) throw new Refusal("pack_recalled");
  if (!/^\d+(\.\d+)?$/.test(amount) || !(Number(amount) > 0)) throw new Refusal("no_quantity");
  if (Number(amount) > pending.most) throw new Refusal("too_much", { most: pending.most });
  const { item, raw, identity, serial, trade, price, content } = pending;
  item.packs.push({ raw, identity, serial, trade, price, content, quantity: amount, lot: lot.trim(), expiry: until });
  pending = null;
  form.reset();
  at("offline-notes").replaceChildren();
}

async function handOver(form) {
  if (!rx) return;
  const pin = form.elements.namedItem("pin").value;
  const kept = await store.device(desk.dataset.user, desk.dataset.pharmacy);
  if (!kept) throw new Refusal("no_key");
  if (kept.wrong >= WRONG_MAX && Date.now() < kept.until) throw new Refusal("pin_wait");
  const now = new Date(await clockNow()).toISOString();
  const acts = rx.items.filter((item) => item.packs.length).map((item) => ({
    id: crypto.randomUUID(), at: now, kit: rx.kit, token: rx.token, item: item.number,
    // JSON leaves out a price that is not known.
    packs: item.packs.map(({ raw, quantity, lot, expiry, price }) => ({ raw, quantity, lot, expiry, price })),
    marks: [`${rx.number}:${item.number}`, ...item.packs.map(({ identity }) => identity)],
    shown: `${item.label} · ${ready(item)} ${item.unit}`,
  }));
  form.reset();
  const isSigned = await store.queue(kept, pin, acts);
  const wrong = isSigned ? 0 : (kept.wrong >= WRONG_MAX ? 1 : kept.wrong + 1);
  const latest = await store.device(desk.dataset.user, desk.dataset.pharmacy);
  await store.keepDevice({ ...latest, wrong, until: Date.now() + WAIT_MS });
  if (!isSigned) throw new Refusal("pin_wrong");
  rx = pending = null;
  say("good", t("kept"));
  await show();
  look();
}

async function setKey(form) {
  const { pin, again } = Object.fromEntries(new FormData(form));
  if (pin !== again) throw new Refusal("pin_differs");
  if (!/^\d{6,12}$/.test(pin)) throw new Refusal("pin_short");
  // Rows and repetitions are what is tried first.
  if (/^(\d)\1+$/.test(pin) || "01234567890123456789 98765432109876543210".includes(pin)) throw new Refusal("pin_plain");
  const now = await page();
  if (!now) throw new Refusal("no_line");
  const made = await store.makeDevice(desk.dataset.user, desk.dataset.pharmacy, pin);
  const { id, last_seq: seq } = await post("/counter/offline/key", now.csrf, { x: made.x, y: made.y });
  await store.keepDevice({ ...made, id, seq });
  form.reset();
  await store.stay();
  say("good", t("key_kept"));
}

// What is shown --------------------------------------------------------------------------------

const money = (sum) => t("price", { sum: Number(sum).toLocaleString("ru", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) });

function shownItem(item) {
  const isFull = item.allowed && ready(item) >= item.allowed.most;
  const line_ = element("section", { className: `line ${item.refusal ? "is-bad" : isFull ? "is-good" : ""}`, data: { item: item.number } },
    element("span", { className: `sq ${item.refusal ? "bad" : isFull ? "good" : ""}`, ariaHidden: "true" }, item.refusal ? "!" : isFull ? "✓" : String(item.number)),
    element("div", {}, element("b", {}, item.label), element("span", { className: "faint" }, ` · ${item.quantity} ${item.unit}`),
      element("div", { className: "muted" }, item.refusal || t("most", { most: item.allowed.most, unit: item.unit })),
      element("div", { className: "packs" }, ...item.packs.map((pack) => element("span", { className: "chip good num", data: { pack: pack.serial } },
        `✓ ${pack.trade} · ${pack.quantity} ${item.unit} · ${pack.lot} · ${shownDay(pack.expiry)} · ${pack.price ? money(pack.price * pack.quantity / pack.content) : t("no_price")}`)))),
    element("b", { className: "num nowrap" }, item.allowed ? `${ready(item)} / ${item.allowed.most}` : "—"));
  line_.setAttribute("aria-label", item.label);
  return line_;
}

function showPrescription() {
  const box = at("offline-rx");
  box.hidden = !rx;
  at("offline-pack").hidden = !pending;
  at("offline-hand").hidden = !rx || Boolean(pending) || !rx.items.some((item) => item.packs.length);
  const label = document.querySelector("#offline-scan-form label b");
  const isOpen = rx?.items.some((item) => item.allowed);
  label.textContent = isOpen ? t("scan_pack") : t("scan_rx");
  at("scan-say").textContent = isOpen ? t("pack_how") : t("scan_hint");
  if (!rx) { box.replaceChildren(); return; }
  box.replaceChildren(
    element("section", { className: "card head" }, element("div", { className: "row" },
      element("div", {}, element("div", { className: "faint" }, element("b", { className: "num ink" }, shownNumber(rx.number))),
        element("h2", { className: "who" }, `${rx.initials}, ${rx.born}`)),
      element("span", { className: "badge good" }, t("token_good")), element("span", { className: "muted" }, t("until", { date: shownDay(rx.until) })))),
    ...rx.items.map(shownItem));
  if (pending) at("offline-pack-name").textContent = `${pending.trade} · ${pending.serial}`;
}

// The shell's own line at the foot learns of the line only every twenty seconds.
function showFoot(count) {
  const told = document.querySelector("[data-connection]");
  const unsent = document.querySelector("[data-unsent]");
  if (line === "none" || line === "here") {
    told.classList.toggle("is-offline", line === "none");
    const said = told.querySelector("[role=status]");
    const now = line === "none" ? t("line.none") : told.dataset.online;
    if (said.textContent !== now) said.textContent = now;
  }
  unsent.classList.toggle("is-unsent", count > 0);
  unsent.textContent = count ? unsent.dataset.some.replace("{count}", count) : unsent.dataset.none;
}

async function show() {
  const waiting = await store.queued();
  const badge = document.querySelector("[data-offline-waiting]");
  if (badge) { badge.hidden = !waiting.length; badge.textContent = String(waiting.length); }
  if (!desk) return;
  showFoot(waiting.length);
  const kept = await store.kit();
  const own = await store.device(desk.dataset.user, desk.dataset.pharmacy);
  const now = await clockNow();
  const isFresh = kept && kept.facts.pharmacy === desk.dataset.pharmacy && now < Date.parse(kept.facts.until);
  const rows = [
    [line === "here" ? "good" : "warn", t(`line.${line}`)],
    [isFresh ? "good" : "bad", isFresh ? t("kit_until", { time: shownTime(kept.facts.until) }) : t("no.no_kit")],
    [own ? "good" : "bad", own ? t("key_here") : t("no.no_key")],
  ];
  at("offline-state").replaceChildren(...rows.map(([kind, sentence]) => element("li", { data: { state: kind } },
    element("span", { ariaHidden: "true" }, kind === "good" ? "✓ " : "△ "), sentence)));
  if (line === "signed-out") at("offline-state").append(element("li", {}, element("a", { href: "/signin?next=/counter/offline" }, t("sign_in"))));
  at("offline-key").hidden = Boolean(own) || line !== "here";
  at("offline-send").disabled = !waiting.length;
  at("offline-queue").replaceChildren(...(waiting.length ? waiting.map((row) => element("li", { data: { queued: row.id } },
    element("span", { className: "num faint" }, `${shownTime(row.at)} `), row.shown)) : [element("li", { className: "faint" }, t("queue_none"))]));
  const results = await store.results();
  at("offline-results").replaceChildren(...(results.length ? results.map((row) => element("li", { data: { outcome: row.outcome } },
    element("span", { className: `badge ${{ accepted: "good", questioned: "warn", conflict: "warn", refused: "bad" }[row.outcome]}` }, t(`outcome.${row.outcome}`)),
    ` ${row.shown} `, ...row.said.map((sentence) => element("div", { className: "muted" }, sentence)),
    ...(row.case ? [element("a", { href: `/offline/cases/${row.case}` }, t("case", { number: row.case }))] : []))) : [element("li", { className: "faint" }, t("results_none"))]));
  showPrescription();
}

// One work after the other, as a quick hand scans on; the focus moves when the last has ended, so
// that it never jumps away under typing fingers.
let turn = Promise.resolve();
let works = 0;
function did(work, focus) {
  works++;
  turn = turn.then(work).catch(refused).then(show).catch(() => say("bad", t("no.fault"))).then(() => { if (!--works) focus?.(); });
  return turn;
}

function start() {
  const scanned = document.getElementById("scan");
  at("offline-scan-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const raw = scanned.value;
    scanned.value = "";
    if (!raw.trim()) return;
    did(async () => {
      if (/^uzrx:/i.test(asMeant(raw.trim()))) await openPrescription(raw);
      else if (rx) await openPack(raw);
      else throw new Refusal("no_prescription");
    }, () => (pending ? pendingFocus() : scanned.focus()));
  });
  at("offline-pack").addEventListener("submit", (event) => {
    event.preventDefault();
    did(() => addPack(event.target), () => { if (rx && !pending) (isFull() ? at("f-hand-pin") : scanned).focus(); });
  });
  at("offline-pack-drop").addEventListener("click", () => { pending = null; did(async () => {}, () => scanned.focus()); });
  at("offline-next").addEventListener("click", () => { rx = pending = null; did(async () => {}, () => scanned.focus()); });
  at("offline-hand").addEventListener("submit", (event) => { event.preventDefault(); did(() => handOver(event.target)); });
  at("offline-key").addEventListener("submit", (event) => { event.preventDefault(); did(() => setKey(event.target)); });
  at("offline-send").addEventListener("click", look);
  store.takeScan().then((raw) => raw && did(() => openPrescription(raw)));
}

// Whether nothing is left to scan; until then a scanner must not type into the PIN.
const isFull = () => rx.items.every((item) => !item.allowed || ready(item) >= item.allowed.most);

function pendingFocus() {
  const form = at("offline-pack");
  form.elements.namedItem("quantity").value = String(pending.most);
  form.elements.namedItem("lot").focus();
}

// On the counter itself: a scan that found no line goes on without one.
document.addEventListener("htmx:sendError", async (event) => {
  if (event.detail.elt.id !== "scan-form") return;
  const raw = String(event.detail.requestConfig.parameters.scan ?? "");
  if (/^uzrx:/i.test(asMeant(raw.trim()))) await store.keepScan(raw);
  location.assign("/counter/offline");
});

if ("serviceWorker" in navigator && window.isSecureContext) {
  navigator.serviceWorker.register("/counter-worker.js", { scope: "/counter" });
  if (desk) start();
  show();
  look();
  document.addEventListener("htmx:afterSettle", () => show());
  addEventListener("online", look);
  addEventListener("offline", () => { line = "none"; show(); });
  setInterval(glance, desk ? LOOK_MS : KIT_FRESH_MS / 2);
}
