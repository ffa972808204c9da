// The counter without a line: reads a prescription and packs, and hands over under the PIN. It runs on
// /counter, where it keeps kit and shell, and on /counter/offline, where it works from them.
import { asMeant, check, mayHold, readDay, readPack, readPrescription } from "./counter-token.js";
import { Refusal, localDay } from "./offline-bytes.js";
import { at, desk, element, isReached, openDesk, say, shownDay, shownNumber, t } from "./offline-desk.js";

const { clockNow, did, look, ownKit, show, sign, start, state, store } = openDesk({
  name: "dmed-counter", path: "/counter/offline", worker: "/counter-worker.js", scope: "/counter", place: "pharmacy",
  badges: { accepted: "good", questioned: "warn", conflict: "warn", refused: "bad" },
  link: (row) => row.case && { href: `/offline/cases/${row.case}`, text: t("case", { number: row.case }) },
  show: showPrescription,
});

let rx = null;
let pending = null;

// The day's acts of this computer that the kit's own count does not hold yet.
async function actsToday(kit, now) {
  const today = localDay(now);
  const waiting = (await store.queued()).filter((row) => localDay(Date.parse(row.at)) === today);
  const sent = (await store.results()).filter((row) => Date.parse(row.at) > Date.parse(kit.issued) && localDay(Date.parse(row.at)) === today);
  return waiting.length + sent.length;
}

async function openPrescription(scanned) {
  // With a line the server decides at once, and nothing has to be made good later.
  if (state.line === "here" && await isReached()) throw new Refusal("line_here");
  const kit = await ownKit();
  const now = await clockNow();
  // Signed by the platform, or by a doctor who had no line either.
  const read = await readPrescription(scanned, [...kit.keys, ...(kit.doctors ?? [])]);
  const done = { has: store.isDone, acts: await actsToday(kit, now) };
  for (const item of read.items) {
    item.packs = [];
    try { item.allowed = await check(kit, read, item, now, done); } catch (fault) {
      if (!(fault instanceof Refusal)) throw fault;
      item.refusal = t(`no.${fault.message}`, fault.values);
    }
    const row = kit.register.find(([inn, form, strength]) => inn === item.inn && form === item.form && strength === item.strength);
    item.label = row ? row[3] : `${item.inn} ${item.strength}`;
    item.unit = row ? row[4] : "";
  }
  rx = { ...read, kit: kit.issued, limits: kit.limits };
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
  const now = new Date(await clockNow()).toISOString();
  const acts = rx.items.filter((item) => item.packs.length).map((item) => ({
    id: crypto.randomUUID(), at: now, kit: rx.kit, token: rx.token, item: item.number,
    // JSON leaves out a price that is not known.
    packs: item.packs.map(({ raw, quantity, lot, expiry, price }) => ({ raw, quantity, lot, expiry, price })),
    marks: [`${rx.number}:${item.number}`, ...item.packs.map(({ identity }) => identity)],
    told: { shown: `${item.label} · ${ready(item)} ${item.unit}` },
  }));
  form.reset();
  await sign(pin, acts);
  rx = pending = null;
  say("good", t("kept"));
  await show();
  look();
}

// What is shown --------------------------------------------------------------------------------

const money = (sum) => {
  const written = Number(sum).toLocaleString("ru", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return t("price", { sum: document.documentElement.lang === "en" ? written.replace(",", ".") : written });
};

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

// What is scanned and pressed -------------------------------------------------------------------

function begin() {
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
  store.take("scan").then((raw) => raw && did(() => openPrescription(raw)));
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
  if (/^uzrx:/i.test(asMeant(raw.trim()))) await store.keep("scan", raw);
  location.assign("/counter/offline");
});

start(begin);
