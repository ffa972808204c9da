// What a counter without a line can decide by itself: pure reading and checking, no storage, no page.
// The same rules as modules/pharmacy/rules/offline.py and prescriptions/rules/tokens.py on the server.
import { Refusal, SIGNATURE_BYTES, fromBase45, holds, localDay, numberedDay, unpack } from "./offline-bytes.js";

const KEYS_RU = "йцукенгшщзхъфывапролджэячсмитьбюё" + "ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮЁ" + "ўқғҳЎҚҒҲ" + '.,"№;:?/';
const KEYS_US = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`" + 'QWERTYUIOP{}ASDFGHJKL:"ZXCVBNM<>~' + "os-=OS_+" + "/?@#$^&|";

export function asMeant(text) {
  if (!/[\u0400-\u04ff]/.test(text)) return text;
  return [...text].map((sign) => { const at = KEYS_RU.indexOf(sign); return at < 0 ? sign : KEYS_US[at]; }).join("");
}

// The prescription in a QR text whose signature holds by a key of the kit; a Refusal says why not.
export async function readPrescription(scanned, keys) {
  const parts = asMeant(scanned.trim()).match(/^UZRX:([\d-]+)\/([^/]*)\/([\s\S]*)$/i);
  if (!parts) throw new Refusal("no_prescription");
  const token = parts[3].toUpperCase();
  if (!token) throw new Refusal("no_token");
  const bytes = fromBase45(token);
  if (bytes.length <= SIGNATURE_BYTES) throw new Refusal("token_damaged");
  const payload = bytes.subarray(0, -SIGNATURE_BYTES);
  let read;
  try { read = unpack(payload); } catch { throw new Refusal("token_damaged"); }
  const jwk = keys.find((each) => each.kid.slice(0, 8) === read[3]);
  if (!jwk) throw new Refusal("token_key");
  if (!await holds(jwk, bytes.subarray(-SIGNATURE_BYTES), payload)) throw new Refusal("token_false");
  const [number, signed, until, , , initials, born, items] = read;
  const full = String(number).padStart(13, "0");
  if (full !== parts[1].replaceAll("-", "")) throw new Refusal("token_false");
  return {
    token, number: full, signed: numberedDay(signed), until: numberedDay(until), initials, born,
    items: items.map(([inn, form, strength, quantity], place) => ({ number: place + 1, inn, form, strength, quantity: Number(quantity) })),
  };
}

// False: surely not in the filter. Kirsch and Mitzenmacher 2006, as on the server.
export async function mayHold(filter, key) {
  const digest = new DataView(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  const first = digest.getUint32(0);
  const step = (digest.getUint32(4) | 1) >>> 0;
  filter.bytes ||= Uint8Array.from(atob(filter.bits), (sign) => sign.charCodeAt(0));
  for (let turn = 0; turn < filter.hashes; turn++) {
    const place = (first + turn * step) % filter.size;
    if (!(filter.bytes[place >> 3] >> (place & 7) & 1)) return false;
  }
  return true;
}

// GTIN and serial of a pack's code; the raw text is what is kept, and the server reads it anew.
export function readPack(raw) {
  let text = asMeant(raw.trim()).replace(/_x001d_|<gs>|\{gs\}/gi, "\x1d").replace(/^\x1d/, "");
  if (/^\](D1|D2)/.test(text)) text = [...text].map((sign) => sign === sign.toUpperCase() ? sign.toLowerCase() : sign.toUpperCase()).join("");
  text = text.replace(/^\](d1|d2|c1|q3|e0)/i, "").replace(/^\x1d/, "");
  const found = text.match(/^\(01\)(\d{14})\(21\)(.{13})/) || text.match(/^01(\d{14})\x1d?21(.{13})/);
  if (!found) throw new Refusal("no_pack");
  const [, gtin, serial] = found;
  const sum = [...gtin].reverse().slice(1).reduce((total, digit, at) => total + Number(digit) * (at % 2 ? 1 : 3), 0);
  if ((10 - sum % 10) % 10 !== Number(gtin[13])) throw new Refusal("no_pack");
  return { gtin, serial, identity: `01${gtin}21${serial}` };
}

// What stands against an item of a prescription here and now: a Refusal with its reason, or nothing.
export async function check(kit, rx, item, now, done) {
  const limits = kit.limits;
  const issued = Date.parse(kit.issued);
  if (now < issued - limits.skew_seconds * 1000) throw new Refusal("clock");
  if (now > Date.parse(kit.until)) throw new Refusal("kit_old");
  if (localDay(now) > rx.until) throw new Refusal("expired", { date: rx.until.split("-").reverse().join(".") });
  if (kit.revoked.includes(rx.number)) throw new Refusal("revoked");
  if (await done.has(`${rx.number}:${item.number}`)) throw new Refusal("done_here");
  if (await mayHold(kit.used, rx.number) || await mayHold(kit.used, `${rx.number}:${item.number}`)) throw new Refusal("used");
  const row = kit.register.find(([inn, form, strength]) => inn === item.inn && form === item.form && strength === item.strength);
  if (!row) throw new Refusal("not_in_kit");
  if (!row[6]) throw new Refusal("class");
  if (limits.acts_today + done.acts >= limits.acts) throw new Refusal("acts", { most: limits.acts });
  return { label: row[3], unit: row[4], most: Math.min(Number(row[5]), item.quantity), packs: row[7] };
}

// "31.12.2029", "12.2029" (its last day), "2029-12-31" -> ISO; "" for anything else.
export function readDay(text) {
  const whole = text.trim().match(/^(?:(\d{1,2})[./-])?(\d{1,2})[./-](\d{4})$/);
  const iso = text.trim().match(/^(\d{4})-(\d{2})-(\d{2})$/);
  const [year, month, date] = iso ? [iso[1], iso[2], iso[3]] : whole ? [whole[3], whole[2], whole[1]] : [];
  if (!year) return "";
  const made = date ? new Date(Date.UTC(year, month - 1, date)) : new Date(Date.UTC(year, month, 0));
  return Number(month) === made.getUTCMonth() + 1 && (!date || Number(date) === made.getUTCDate()) ? made.toISOString().slice(0, 10) : "";
}
