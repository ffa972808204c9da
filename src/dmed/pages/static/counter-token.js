// What a counter without a line can decide by itself: pure reading and checking, no storage, no page.
// The same rules as modules/pharmacy/rules/offline.py and prescriptions/rules/tokens.py on the server.
const BASE45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
const SIGNATURE_BYTES = 64;
const DAY_MS = 86_400_000;
const EPOCH = Date.UTC(2020, 0, 1);
const TASHKENT_MS = 5 * 3_600_000;
const P256 = { name: "ECDSA", namedCurve: "P-256" };
const ES256 = { name: "ECDSA", hash: "SHA-256" };
const KEYS_RU = "йцукенгшщзхъфывапролджэячсмитьбюё" + "ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮЁ" + "ўқғҳЎҚҒҲ" + '.,"№;:?/';
const KEYS_US = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`" + 'QWERTYUIOP{}ASDFGHJKL:"ZXCVBNM<>~' + "os-=OS_+" + "/?@#$^&|";

export class Refusal extends Error {
  constructor(name, values = {}) {
    super(name);
    this.values = values;
  }
}

export function asMeant(text) {
  if (!/[\u0400-\u04ff]/.test(text)) return text;
  return [...text].map((sign) => { const at = KEYS_RU.indexOf(sign); return at < 0 ? sign : KEYS_US[at]; }).join("");
}

// https://www.rfc-editor.org/rfc/rfc9285
export function fromBase45(text) {
  const out = [];
  for (let at = 0; at < text.length; at += 3) {
    const signs = [...text.slice(at, at + 3)].map((sign) => BASE45.indexOf(sign));
    if (signs.length === 1 || signs.includes(-1)) throw new Refusal("token_damaged");
    const number = signs.reduce((sum, value, place) => sum + value * 45 ** place, 0);
    if (number >= 256 ** (signs.length - 1)) throw new Refusal("token_damaged");
    if (signs.length === 3) out.push(number >> 8);
    out.push(number & 255);
  }
  return new Uint8Array(out);
}

// The few kinds of msgpack that a token is made of: https://github.com/msgpack/msgpack
export function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count) => { at += count; if (at > bytes.length) throw new Refusal("token_damaged"); return at - count; };
  const text = (count) => { const from = take(count); return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(from, from + count)); };
  const raw = (count) => { const from = take(count); return bytes.slice(from, from + count); };
  const list = (count) => Array.from({ length: count }, () => value());
  function value() {
    const head = view.getUint8(take(1));
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 256;
    if ((head & 0xf0) === 0x90) return list(head & 15);
    if ((head & 0xe0) === 0xa0) return text(head & 31);
    switch (head) {
      case 0xc4: return raw(view.getUint8(take(1)));
      case 0xcc: return view.getUint8(take(1));
      case 0xcd: return view.getUint16(take(2));
      case 0xce: return view.getUint32(take(4));
      case 0xcf: return Number(view.getBigUint64(take(8)));
      case 0xd9: return text(view.getUint8(take(1)));
      case 0xdc: return list(view.getUint16(take(2)));
      default: throw new Refusal("token_damaged");
    }
  }
  const found = value();
  if (at !== bytes.length) throw new Refusal("token_damaged");
  return found;
}

export const fromBase64Url = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
export const toBase64Url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const day = (number) => new Date(EPOCH + number * DAY_MS).toISOString().slice(0, 10);
export const localDay = (ms) => new Date(ms + TASHKENT_MS).toISOString().slice(0, 10);

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
  const { kty, crv, x, y } = jwk;
  const key = await crypto.subtle.importKey("jwk", { kty, crv, x, y }, P256, false, ["verify"]);
  if (!await crypto.subtle.verify(ES256, key, bytes.subarray(-SIGNATURE_BYTES), payload)) throw new Refusal("token_false");
  const [number, signed, until, , , initials, born, items] = read;
  const full = String(number).padStart(13, "0");
  if (full !== parts[1].replaceAll("-", "")) throw new Refusal("token_false");
  return {
    token, number: full, signed: day(signed), until: day(until), initials, born,
    items: items.map(([inn, form, strength, quantity], place) => ({ number: place + 1, inn, form, strength, quantity: Number(quantity) })),
  };
}

// Whether the sealed kit is whole: a detached JWS over its bytes by one of its own keys. That the
// keys are the platform's, the line says over which it came.
export async function isWhole(text, seal) {
  const [head, , signature] = seal.split(".");
  const { kid, alg } = JSON.parse(new TextDecoder().decode(fromBase64Url(head)));
  const jwk = JSON.parse(text).keys.find((each) => each.kid === kid);
  if (!jwk || alg !== "ES256") return false;
  const { kty, crv, x, y } = jwk;
  const key = await crypto.subtle.importKey("jwk", { kty, crv, x, y }, P256, false, ["verify"]);
  const body = toBase64UrlLong(new TextEncoder().encode(text));
  return crypto.subtle.verify(ES256, key, fromBase64Url(signature), new TextEncoder().encode(`${head}.${body}`));
}

function toBase64UrlLong(bytes) {
  const parts = [];
  // A multiple of three keeps the parts in step.
  for (let at = 0; at < bytes.length; at += 30_000) parts.push(toBase64Url(bytes.subarray(at, at + 30_000)));
  return parts.join("");
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
