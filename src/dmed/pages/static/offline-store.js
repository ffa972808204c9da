// What a desk keeps on its computer: the kit, its people's keys under a PIN, and the queue.
// IndexedDB survives a reload and a restart. Acts and outcomes lie encrypted with a key that no script
// can read out; acts are removed when the server has judged them. Names of patients are never here.
import { ES256, P256, toBase64Url } from "./offline-bytes.js";

const ROUNDS = 600_000;
const text = new TextEncoder();
const DONE_MS = 2 * 86_400_000;
const RESULTS_MAX = 50;

const wrapper = async (pin, salt, rounds) => {
  const base = await crypto.subtle.importKey("raw", text.encode(pin), "PBKDF2", false, ["deriveKey"]);
  return crypto.subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds }, base,
    { name: "AES-GCM", length: 256 }, false, ["wrapKey", "unwrapKey"]);
};

// A new key under a PIN, for somebody at a place; what the server must know of it. It is kept once the
// server has it.
export async function makeDevice(user, place, pin) {
  const pair = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const wrapped = await crypto.subtle.wrapKey("pkcs8", pair.privateKey, await wrapper(pin, salt, ROUNDS), { name: "AES-GCM", iv });
  const { x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  return { user, place, salt, iv, wrapped, rounds: ROUNDS, x, y, seq: 0, wrong: 0 };
}

// The private key for one act, or null for a wrong PIN.
async function unlocked(kept, pin) {
  try {
    return await crypto.subtle.unwrapKey("pkcs8", kept.wrapped, await wrapper(pin, kept.salt, kept.rounds),
      { name: "AES-GCM", iv: kept.iv }, P256, false, ["sign"]);
  } catch {
    return null;
  }
}

async function digest(key) {
  return toBase64Url(await crypto.subtle.digest("SHA-256", text.encode(key)));
}

const byTime = (one, two) => one.at < two.at ? -1 : one.at > two.at ? 1 : one.seq - two.seq;

// The store of one desk, in a database of its own.
export function openStore(name) {
  let opened;

  function open() {
    opened ||= new Promise((resolve, reject) => {
      const asked = indexedDB.open(name, 1);
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
  const remove = (store, key) => within([store], "readwrite", (all) => { all.objectStore(store).delete(key); });

  // What lies encrypted

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

  async function sealed(words) {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    return { iv, sealed: await crypto.subtle.encrypt({ name: "AES-GCM", iv }, await sealingKey(), text.encode(words)) };
  }

  // The text of what was sealed; of a queued act its signed text.
  async function unsealed(row) {
    return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv: row.iv }, await sealingKey(), row.sealed));
  }

  const secret = async (fact) => { const kept = await get("facts", fact); return kept && JSON.parse(await unsealed(kept)); };
  const keepSecret = async (fact, value) => put("facts", fact, await sealed(JSON.stringify(value)));
  // What is told of an act beside the act: sealed too, plain in rows of the first release.
  const withTold = async (row) => ({ ...row, place: row.place ?? row.pharmacy, ...(row.told && JSON.parse(await unsealed(row.told))) });

  // The kit: a register of thousands of rows is read once, not with every look.

  let parsed = { seal: "", facts: null };
  async function kit() {
    const kept = await get("facts", "kit");
    if (kept && kept.seal !== parsed.seal) parsed = { seal: kept.seal, facts: JSON.parse(kept.text) };
    return kept && { offset: kept.offset, facts: parsed.facts };
  }
  const keepKit = (body, seal, offset) => put("facts", "kit", { text: body, seal, offset });

  // Keys of people: the private part lies here only wrapped by the PIN

  const deviceKey = (user, place) => `${user} ${place}`;
  const device = async (user, place) => { const kept = await get("keys", deviceKey(user, place)); return kept && { ...kept, place }; };
  const keepDevice = (made) => put("keys", deviceKey(made.user, made.place), made);

  const dropDevice = (made) => remove("keys", deviceKey(made.user, made.place));

  // The queue

  // Signs acts with their maker's key and queues them in one transaction; false for a wrong PIN.
  // `finish` completes an act with what has to be signed or drawn for it alone; it is asked again
  // where another window was quicker.
  async function queue(kept, pin, acts, finish = (act) => act) {
    const key = await unlocked(kept, pin);
    if (!key) return false;
    const sign = async (bytes) => new Uint8Array(await crypto.subtle.sign(ES256, key, bytes));
    const before = await device(kept.user, kept.place);
    const rows = [];
    for (const [turn, act] of acts.entries()) {
      const { marks, told, ...rest } = await finish(act, sign);
      const whole = { ...rest, seq: before.seq + turn + 1 };
      const head = toBase64Url(text.encode(JSON.stringify({ alg: "ES256", kid: kept.id })));
      const body = toBase64Url(text.encode(JSON.stringify(whole)));
      const signature = toBase64Url(await sign(text.encode(`${head}.${body}`)));
      rows.push({
        id: act.id, seq: whole.seq, at: act.at, place: kept.place, user: kept.user, ...await sealed(`${head}.${body}.${signature}`),
        told: await sealed(JSON.stringify(told)), marks: await Promise.all(marks.map(digest)),
      });
    }
    let isLate = false;
    await within(["keys", "queue", "done"], "readwrite", (all) => {
      const keys = all.objectStore("keys");
      const asked = keys.get(deviceKey(kept.user, kept.place));
      asked.onsuccess = () => {
        // Another window signed meanwhile: its running numbers are taken.
        if (asked.result.seq !== before.seq) { isLate = true; return; }
        keys.put({ ...asked.result, seq: before.seq + rows.length }, deviceKey(kept.user, kept.place));
        for (const { marks, ...row } of rows) {
          all.objectStore("queue").put(row, row.id);
          for (const mark of marks) all.objectStore("done").put({ mark, at: Date.now() }, mark);
        }
      };
    });
    return isLate ? queue(kept, pin, acts, finish) : true;
  }

  const queued = async () => (await Promise.all((await every("queue")).map(withTold))).sort(byTime);

  // The server has judged an act: the act goes, its outcome stays for its maker to see.
  async function settled(row, result) {
    const told = { id: row.id, at: row.at, user: row.user, told: await sealed(JSON.stringify({ shown: row.shown, ...result })) };
    await within(["queue", "results"], "readwrite", (all) => {
      all.objectStore("queue").delete(row.id);
      all.objectStore("results").put(told, row.id);
    });
    const old = (await every("results")).sort((one, two) => one.at < two.at ? 1 : -1).slice(RESULTS_MAX);
    await within(["results"], "readwrite", (all) => { for (const each of old) all.objectStore("results").delete(each.id); });
  }
  const results = async () => (await Promise.all((await every("results")).map(withTold))).sort((one, two) => one.at < two.at ? 1 : -1);

  // What was done here, as digests

  const isDone = async (mark) => Boolean(await get("done", await digest(mark)));
  async function forget() {
    const old = (await every("done")).filter((each) => Date.now() - each.at > DONE_MS);
    await within(["done"], "readwrite", (all) => { for (const { mark } of old) all.objectStore("done").delete(mark); });
  }

  // A fact that is taken over once
  const keep = (fact, value) => put("facts", fact, value);
  async function take(fact) {
    const kept = await get("facts", fact);
    if (kept) await remove("facts", fact);
    return kept || "";
  }

  return { device, dropDevice, forget, isDone, keep, keepDevice, keepKit, keepSecret, kit, queue, queued, results, secret, settled, take, unsealed };
}

// Asks the browser not to throw this away when the disk is full.
export const stay = () => navigator.storage?.persist?.();
