// What every desk without a line does: keeps its kit and its shell while there is one, sends what waits
// when it is back, and says how this computer stands. What is done at it, the page brings (counter.js,
// prescribing.js).
import { Refusal, isWhole } from "./offline-bytes.js";
import { makeDevice, openStore, stay } from "./offline-store.js";

export const KIT_FRESH_MS = 10 * 60_000;
const LOOK_MS = 15_000;
const AT_ONCE = 20;
const WRONG_MAX = 5;
const WAIT_MS = 60_000;
export const desk = document.getElementById("offline");
export const at = (id) => document.getElementById(id);
const texts = desk ? JSON.parse(desk.dataset.texts) : {};
const FORMS = ["one", "few", "many"];
const plurals = new Intl.PluralRules(document.documentElement.lang === "ru" ? "ru" : "en");

// The text of a key: `{name}` is filled, `{count?one|few|many}` takes the word that fits the number.
export function t(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)(?:\?([^{}]*))?\}/g, (place, name, words) => {
    const value = values[name];
    if (value === undefined) return place;
    if (words === undefined) return value;
    const choices = words.split("|");
    const form = FORMS.indexOf(plurals.select(Number(value)));
    return choices[form < 0 ? choices.length - 1 : Math.min(form, choices.length - 1)];
  });
}

export function element(name, options = {}, ...children) {
  const { className, data, ...rest } = options;
  const made = Object.assign(document.createElement(name), rest);
  if (className) made.className = className;
  for (const [key, value] of Object.entries(data ?? {})) made.dataset[key] = value;
  made.append(...children);
  return made;
}

export const shownNumber = (number) => `${number.slice(0, 4)}-${number.slice(4, 8)}-${number.slice(8, 12)}-${number.slice(12)}`;
export const shownDay = (iso) => iso.split("-").reverse().join(".");
export const shownTime = (iso) => new Date(iso).toLocaleString("ru", { timeZone: "Asia/Tashkent", day: "2-digit", month: "2-digit", hour: "2-digit", minute: "2-digit" });
export const isReached = () => fetch("/livez", { cache: "no-store" }).then((answer) => answer.ok, () => false);
const MARKS = { bad: "⛔", warn: "△", good: "✓", info: "ℹ" };

export function say(kind, sentence) {
  if (!desk) return;
  const note = element("div", { className: `note ${kind}` }, element("span", { ariaHidden: "true" }, MARKS[kind]), element("div", {}, sentence));
  note.setAttribute("role", kind === "bad" ? "alert" : "status");
  at("offline-notes").replaceChildren(note);
}

const listed = (made, none) => made.length ? made : [element("li", { className: "faint" }, t(none))];

// A desk of one area. `area` names its database, cache and lock (`name`), its page (`path`), its worker
// and the worker's scope, and the fact that names its place (`place`); it brings the badges of outcomes
// (`badges`), and may bring more of the state (`state`), what follows each look (`more`), whether its
// kit is this user's (`isKit`) and its rows are (`isMine`), what stands beside a queued act (`beside`),
// where an outcome leads (`link`), whether marks are kept for good (`remembers`), and what it shows
// itself (`show`).
export function openDesk(area) {
  const store = openStore(area.name);
  const own = () => desk && store.device(desk.dataset.user, desk.dataset[area.place]);
  const state = { line: "wait" };
  const whys = new Map();
  let looked = 0;

  // While there is a line ----------------------------------------------------------------------

  // The page as the server makes it now: whose it is, its token, and what it is made of.
  // null: no line; undefined: nobody is signed in here who may use it.
  async function page() {
    let answer;
    try { answer = await fetch(area.path, { cache: "no-store" }); } catch { return null; }
    if (answer.status >= 500) return null;
    if (!answer.ok || answer.redirected) return undefined;
    const kept = answer.clone();
    const made = new DOMParser().parseFromString(await answer.text(), "text/html");
    const told = made.getElementById("offline");
    if (!told) return undefined;
    return {
      csrf: JSON.parse(made.body.getAttribute("hx-headers"))["X-CSRF-Token"], user: told.dataset.user,
      place: told.dataset[area.place], assets: JSON.parse(told.dataset.assets), answer: kept,
    };
  }

  async function keepShell(now) {
    const cache = await caches.open(area.name);
    const wanted = new Set(now.assets.map((path) => new URL(path, location.href).href));
    // Versioned files are fetched once; the plain ones each time, as they may have changed.
    const missing = [];
    for (const path of now.assets) if (!path.includes("?v=") || !await cache.match(path)) missing.push(path);
    await cache.addAll(missing.map((path) => new Request(path, { cache: "no-cache" })));
    await cache.put(area.path, now.answer);
    for (const { url } of await cache.keys()) if (!wanted.has(url) && !url.endsWith(area.path)) await cache.delete(url);
  }

  // Whether a new kit came; one that is fresh stays.
  async function freshKit(now) {
    const before = await store.kit();
    const isOurs = before && before.facts[area.place] === now.place && before.facts.user === now.user;
    if (isOurs && Date.now() + before.offset - Date.parse(before.facts.issued) < KIT_FRESH_MS) return false;
    const asked = Date.now();
    const answer = await fetch(`${area.path}/kit`, { cache: "no-store" });
    if (!answer.ok || answer.redirected) return false;
    const [text, seal] = [await answer.text(), answer.headers.get("DMED-Seal")];
    if (!await isWhole(text, seal)) return false;
    // How far this computer's clock is off: the middle of question and answer was the kit's moment.
    await store.keepKit(text, seal, Date.parse(JSON.parse(text).issued) - (asked + Date.now()) / 2);
    return true;
  }

  async function post(name, csrf, value) {
    const answer = await fetch(`${area.path}/${name}`, {
      method: "POST", body: JSON.stringify(value), cache: "no-store",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    });
    if (!answer.ok || answer.redirected) throw new Error(`${area.path}/${name}: ${answer.status}`);
    return answer.json();
  }

  // Sends the queue in the order of its acts, and says whether anything went; a lost answer leaves
  // them here, and they go again. What the server lets wait is not asked twice in one look.
  async function send(now) {
    const waiting = new Set();
    const judged = async (row, result) => {
      if (result.outcome !== "waiting") { await store.settled(row, result); return; }
      waiting.add(row.id);
      whys.set(row.id, result.said);
    };
    let hasSent = false;
    for (;;) {
      const rows = (await store.queued()).filter((row) => row.place === now.place && !waiting.has(row.id)).slice(0, AT_ONCE);
      if (!rows.length) return hasSent;
      const acts = await Promise.all(rows.map(store.unsealed));
      hasSent = true;
      try {
        const { results } = await post("acts", now.csrf, { acts });
        for (const [place, row] of rows.entries()) await judged(row, results[place]);
      } catch (fault) {
        // One act that the server stumbles over must not hold the others back: each alone, once.
        if (!/: 5\d\d$/.test(fault.message) || rows.length === 1) throw fault;
        for (const [place, row] of rows.entries()) {
          try {
            const { results } = await post("acts", now.csrf, { acts: [acts[place]] });
            await judged(row, results[0]);
          } catch { /* It stays in the queue. */ }
        }
        return hasSent;
      }
      await show();
    }
  }

  // Where nothing waits a word of the line is enough; the whole is looked at every few minutes.
  async function glance() {
    if (state.line === "here" && Date.now() - looked < KIT_FRESH_MS / 2 && !(await store.queued()).length && await isReached()) return;
    await look();
  }

  async function look() {
    looked = Date.now();
    // One window of this computer does it at a time.
    await navigator.locks.request(area.name, async () => {
      const now = await page();
      state.line = now === null ? "none" : now === undefined ? "signed-out" : "here";
      if (!now) return;
      if (desk && (now.user !== desk.dataset.user || now.place !== desk.dataset[area.place])) { location.reload(); return; }
      await keepShell(now);
      const hasKit = await freshKit(now);
      const hasSent = await send(now);
      await area.more?.(now, hasKit || hasSent);
      if (!area.remembers) await store.forget();
    }).catch(() => { state.line = "none"; });
    await show();
  }

  // Keys and signatures ------------------------------------------------------------------------

  async function setKey(form) {
    const { pin, again } = Object.fromEntries(new FormData(form));
    if (pin !== again) throw new Refusal("pin_differs");
    if (!/^\d{6,12}$/.test(pin)) throw new Refusal("pin_short");
    // Rows and repetitions are what is tried first.
    if (/^(\d)\1+$/.test(pin) || "01234567890123456789 98765432109876543210".includes(pin)) throw new Refusal("pin_plain");
    const now = await page();
    if (!now) throw new Refusal("no_line");
    const made = await makeDevice(desk.dataset.user, desk.dataset[area.place], pin);
    const { id, last_seq: seq } = await post("key", now.csrf, { x: made.x, y: made.y });
    await store.keepDevice({ ...made, id, seq });
    form.reset();
    await area.more?.(now, true);
    await stay();
    say("good", t("key_kept"));
  }

  // Signs acts with the PIN and queues them; after five wrong ones in a row each waits a minute.
  async function sign(pin, acts, finish) {
    const kept = await own();
    if (!kept) throw new Refusal("no_key");
    if (kept.wrong >= WRONG_MAX && Date.now() < kept.until) throw new Refusal("pin_wait");
    const isSigned = await store.queue(kept, pin, acts, finish);
    const wrong = isSigned ? 0 : (kept.wrong >= WRONG_MAX ? 1 : kept.wrong + 1);
    await store.keepDevice({ ...await own(), wrong, until: Date.now() + WAIT_MS });
    if (!isSigned) throw new Refusal("pin_wrong");
  }

  async function clockNow() {
    const kept = await store.kit();
    return Date.now() + (kept?.offset ?? 0);
  }

  // The kit if it is this place's; a Refusal where it is not. Its age is judged by the caller.
  async function ownKit() {
    const kept = await store.kit();
    if (!kept || kept.facts[area.place] !== desk.dataset[area.place] || area.isKit?.(kept.facts) === false) throw new Refusal("no_kit");
    return kept.facts;
  }

  // What is shown ------------------------------------------------------------------------------

  // The shell's own line at the foot learns of the line only every twenty seconds.
  function showFoot(count) {
    const told = document.querySelector("[data-connection]");
    const unsent = document.querySelector("[data-unsent]");
    if (state.line === "none" || state.line === "here") {
      told.classList.toggle("is-offline", state.line === "none");
      const said = told.querySelector("[role=status]");
      const now = state.line === "none" ? t("line.none") : told.dataset.online;
      if (said.textContent !== now) said.textContent = now;
    }
    unsent.classList.toggle("is-unsent", count > 0);
    unsent.textContent = count ? unsent.dataset.some.replace("{count}", count) : unsent.dataset.none;
  }

  async function showState(kept) {
    const kit = await ownKit().catch(() => null);
    const isFresh = kit && await clockNow() < Date.parse(kit.until);
    const rows = [
      [state.line === "here" ? "good" : "warn", t(`line.${state.line}`)],
      [isFresh ? "good" : "bad", isFresh ? t("kit_until", { time: shownTime(kit.until) }) : t("no.no_kit")],
      [kept ? "good" : "bad", kept ? t("key_here") : t("no.no_key")],
      ...(area.state ? await area.state(kept) : []),
    ];
    at("offline-state").replaceChildren(...rows.map(([kind, sentence]) => element("li", { data: { state: kind } },
      element("span", { ariaHidden: "true" }, kind === "good" ? "✓ " : "△ "), sentence)));
    if (state.line === "signed-out") at("offline-state").append(element("li", {}, element("a", { href: `/signin?next=${area.path}` }, t("sign_in"))));
    at("offline-key").hidden = Boolean(kept) || state.line !== "here";
  }

  function shownResult(row) {
    const link = area.link?.(row);
    return element("li", { data: { outcome: row.outcome } },
      element("span", { className: `badge ${area.badges[row.outcome]}` }, t(`outcome.${row.outcome}`)),
      ` ${row.shown} `, ...row.said.map((sentence) => element("div", { className: "muted" }, sentence)),
      ...(link ? [element("a", { href: link.href }, link.text)] : []));
  }

  async function show() {
    const waiting = await store.queued();
    const badge = document.querySelector("[data-offline-waiting]");
    if (badge) { badge.hidden = !waiting.length; badge.textContent = String(waiting.length); }
    if (!desk) return;
    showFoot(waiting.length);
    await showState(await own());
    at("offline-send").disabled = !waiting.length;
    const isMine = area.isMine ?? (() => true);
    const others = waiting.filter((row) => !isMine(row)).length;
    at("offline-queue").replaceChildren(...listed([
      ...waiting.filter(isMine).map((row) => element("li", { data: { queued: row.id } },
        element("span", { className: "num faint" }, `${shownTime(row.at)} `), row.shown, ...(area.beside?.(row) ?? []),
        ...(whys.get(row.id) ?? []).map((sentence) => element("div", { className: "muted" }, sentence)))),
      ...(others ? [element("li", { className: "faint" }, t("queue_others", { count: others }))] : []),
    ], "queue_none"));
    at("offline-results").replaceChildren(...listed((await store.results()).filter(isMine).map(shownResult), "results_none"));
    await area.show?.();
  }

  // Work ---------------------------------------------------------------------------------------

  const refused = (fault) => {
    if (!(fault instanceof Refusal)) throw fault;
    say("bad", t(`no.${fault.message}`, fault.values));
  };

  // One work after the other, as a quick hand scans on; the focus moves when the last has ended, so
  // that it never jumps away under typing fingers.
  let turn = Promise.resolve();
  let works = 0;
  function did(work, focus) {
    works++;
    turn = turn.then(work).catch(refused).then(show).catch(() => say("bad", t("no.fault"))).then(() => { if (!--works) focus?.(); });
    return turn;
  }

  // Where a browser can keep a page, work begins; `begin` wires what the page itself has.
  function start(begin) {
    if (!("serviceWorker" in navigator) || !window.isSecureContext) return;
    navigator.serviceWorker.register(area.worker, { scope: area.scope });
    if (desk) {
      at("offline-key").addEventListener("submit", (event) => { event.preventDefault(); did(() => setKey(event.target)); });
      at("offline-send").addEventListener("click", look);
      begin();
    }
    show();
    look();
    document.addEventListener("htmx:afterSettle", () => show());
    addEventListener("online", look);
    addEventListener("offline", () => { state.line = "none"; show(); });
    setInterval(glance, desk ? LOOK_MS : KIT_FRESH_MS / 2);
  }

  return { clockNow, did, look, own, ownKit, post, show, sign, start, state, store };
}
