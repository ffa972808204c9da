// What a counter keeps on its computer: the kit, the pharmacist's key under a PIN, and the queue.
// IndexedDB survives a reload and a restart. Acts lie encrypted with a key that no script can read
// out; they are removed when the server has judged them. Names of patients are never here.
import { toBase64Url } from "./counter-token.js";

const NAME = "dmed-counter";
const ROUNDS = 600_000;
const P256 = { name: "ECDSA", namedCurve: "P-256" };
const ES256 = { name: "ECDSA", hash: "SHA-256" };
const text = new TextEncoder();
const DONE_MS = 2 * 86_400_000;
const RESULTS_MAX = 50;
let opened;

function open() {
  opened ||= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => {
      for (const store of ["facts", "keys", "queue", "done", "results"]) asked.result.createObjectStore(store);
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => { opened = undefined; reject(asked.error); };
  });
  return opened;
}

// One transaction over stores; resolves when it has been written.
async function within(stores, mode, work) {
  const transaction = (await open()).transaction(stores, mode, { durability: "strict" });
  const ended = new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
  const answer = work(transaction);
  await ended;
  return answer?.result;
}
const get = (store, key) => within([store], "readonly", (all) => all.objectStore(store).get(key));
const put = (store, key, value) => within([store], "readwrite", (all) => { all.objectStore(store).put(value, key); });
const every = (store) => within([store], "readonly", (all) => all.objectStore(store).getAll());

// The kit

// A register of thousands of rows is read once, not with every look.
let parsed = { seal: "", facts: null };
export async function kit() {
  const kept = await get("facts", "kit");
  if (kept && kept.seal !== parsed.seal) parsed = { seal: kept.seal, facts: JSON.parse(kept.text) };
  return kept && { offset: kept.offset, facts: parsed.facts };
}
export const keepKit = (body, seal, offset) => put("facts", "kit", { text: body, seal, offset });

// The pharmacist's key: its private part lies here only wrapped by the PIN

const wrapper = async (pin, salt, rounds) => {
  const base = await crypto.subtle.importKey("raw", text.encode(pin), "PBKDF2", false, ["deriveKey"]);
  return crypto.subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds }, base,
    { name: "AES-GCM", length: 256 }, false, ["wrapKey", "unwrapKey"]);
};

export const device = (user, pharmacy) => get("keys", `${user} ${pharmacy}`);

// A new key under a PIN; what the server must know of it. It is kept once the server has it.
export async function makeDevice(user, pharmacy, pin) {
  const pair = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const wrapped = await crypto.subtle.wrapKey("pkcs8", pair.privateKey, await wrapper(pin, salt, ROUNDS), { name: "AES-GCM", iv });
  const { x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  return { user, pharmacy, salt, iv, wrapped, rounds: ROUNDS, x, y, seq: 0, wrong: 0 };
}
export const keepDevice = (made) => put("keys", `${made.user} ${made.pharmacy}`, made);

// The private key for one signature, or null for a wrong PIN.
async function unlocked(kept, pin) {
  try {
    return await crypto.subtle.unwrapKey("pkcs8", kept.wrapped, await wrapper(pin, kept.salt, kept.rounds),
      { name: "AES-GCM", iv: kept.iv }, P256, false, ["sign"]);
  } catch {
    return null;
  }
}

// The queue

async function sealingKey() {
  const kept = await get("keys", "queue");
  if (kept) return kept;
  const made = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  // Of two windows the first wins: the other's acts must open with the same key.
  const asked = await within(["keys"], "readwrite", (all) => {
    const store = all.objectStore("keys");
    const before = store.get("queue");
    before.onsuccess = () => { if (!before.result) store.put(made, "queue"); };
    return before;
  });
  return asked || made;
}

// Signs acts with the pharmacist's key and queues them in one transaction; false for a wrong PIN.
export async function queue(kept, pin, acts) {
  const key = await unlocked(kept, pin);
  if (!key) return false;
  const sealing = await sealingKey();
  const before = await device(kept.user, kept.pharmacy);
  const rows = [];
  for (const [place, { marks, shown, ...act }] of acts.entries()) {
    const whole = { ...act, seq: before.seq + place + 1 };
    const head = toBase64Url(text.encode(JSON.stringify({ alg: "ES256", kid: kept.id })));
    const body = toBase64Url(text.encode(JSON.stringify(whole)));
    const signature = toBase64Url(await crypto.subtle.sign(ES256, key, text.encode(`${head}.${body}`)));
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, sealing, text.encode(`${head}.${body}.${signature}`));
    rows.push({ id: act.id, seq: whole.seq, at: act.at, pharmacy: kept.pharmacy, shown, iv, sealed, marks: await Promise.all(marks.map(digest)) });
  }
  let isLate = false;
  await within(["keys", "queue", "done"], "readwrite", (all) => {
    const keys = all.objectStore("keys");
    const asked = keys.get(`${kept.user} ${kept.pharmacy}`);
    asked.onsuccess = () => {
      // Another window signed meanwhile: its running numbers are taken.
      if (asked.result.seq !== before.seq) { isLate = true; return; }
      keys.put({ ...asked.result, seq: before.seq + rows.length }, `${kept.user} ${kept.pharmacy}`);
      for (const { marks, ...row } of rows) {
        all.objectStore("queue").put(row, row.id);
        for (const mark of marks) all.objectStore("done").put({ mark, at: Date.now() }, mark);
      }
    };
  });
  return isLate ? queue(kept, pin, acts) : true;
}

export const queued = async () => (await every("queue")).sort((one, two) => one.at < two.at ? -1 : one.at > two.at ? 1 : one.seq - two.seq);

// The signed text of a queued act.
export async function unsealed(row) {
  return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv: row.iv }, await sealingKey(), row.sealed));
}

// The server has judged an act: the act goes, its outcome stays for the pharmacist to see.
export async function settled(row, result) {
  const told = { id: row.id, at: row.at, shown: row.shown, ...result };
  await within(["queue", "results"], "readwrite", (all) => {
    all.objectStore("queue").delete(row.id);
    all.objectStore("results").put(told, row.id);
  });
  const old = (await every("results")).sort((one, two) => one.at < two.at ? 1 : -1).slice(RESULTS_MAX);
  await within(["results"], "readwrite", (all) => { for (const each of old) all.objectStore("results").delete(each.id); });
}
export const results = async () => (await every("results")).sort((one, two) => one.at < two.at ? 1 : -1);

// What went out here, as digests: items "number:item" and packs

async function digest(key) {
  return toBase64Url(await crypto.subtle.digest("SHA-256", text.encode(key)));
}
export const isDone = async (key) => Boolean(await get("done", await digest(key)));
export async function forget() {
  const old = (await every("done")).filter((each) => Date.now() - each.at > DONE_MS);
  await within(["done"], "readwrite", (all) => { for (const { mark } of old) all.objectStore("done").delete(mark); });
}

// Scanned while the line went away: taken over by the offline counter once
export const keepScan = (scanned) => put("facts", "scan", scanned);
export async function takeScan() {
  const kept = await get("facts", "scan");
  if (kept) await within(["facts"], "readwrite", (all) => { all.objectStore("facts").delete("scan"); });
  return kept || "";
}

// Asks the browser not to throw this away when the disk is full.
export const stay = () => navigator.storage?.persist?.();
