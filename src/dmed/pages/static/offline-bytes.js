// Reading and writing bytes without a server: base45, msgpack, base64url, days, seals. No storage, no page.
// The same rules as modules/prescriptions/rules/numbers.py and tokens.py on the server.
const BASE45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
const DAY_MS = 86_400_000;
const EPOCH = Date.UTC(2020, 0, 1);
const TASHKENT_MS = 5 * 3_600_000;
export const SIGNATURE_BYTES = 64;
export const P256 = { name: "ECDSA", namedCurve: "P-256" };
export const ES256 = { name: "ECDSA", hash: "SHA-256" };

export class Refusal extends Error {
  constructor(name, values = {}) {
    super(name);
    this.values = values;
  }
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

export function toBase45(bytes) {
  let out = "";
  for (let at = 0; at < bytes.length; at += 2) {
    const isPair = at + 1 < bytes.length;
    let number = isPair ? bytes[at] * 256 + bytes[at + 1] : bytes[at];
    for (let sign = isPair ? 3 : 2; sign; sign--) {
      out += BASE45[number % 45];
      number = Math.floor(number / 45);
    }
  }
  return out;
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

// The same kinds written: whole numbers from 0, texts and bytes of less than 256 bytes, short lists.
export function pack(value) {
  const out = [];
  const number = (kinds, whole) => {
    const [head, count] = kinds.find(([, size]) => whole < 256 ** size) ?? [];
    if (head === undefined) throw new RangeError(`too large for a token: ${whole}`);
    out.push(head);
    for (let at = count - 1; at >= 0; at--) out.push(Math.floor(whole / 256 ** at) % 256);
  };
  const write = (each) => {
    if (Array.isArray(each)) {
      if (each.length < 16) out.push(0x90 | each.length); else number([[0xdc, 2]], each.length);
      each.forEach(write);
    } else if (each instanceof Uint8Array) {
      number([[0xc4, 1]], each.length);
      out.push(...each);
    } else if (typeof each === "string") {
      const bytes = new TextEncoder().encode(each);
      if (bytes.length < 32) out.push(0xa0 | bytes.length); else number([[0xd9, 1]], bytes.length);
      out.push(...bytes);
    } else if (Number.isSafeInteger(each) && each >= 0) {
      if (each < 0x80) out.push(each); else number([[0xcc, 1], [0xcd, 2], [0xce, 4], [0xcf, 8]], each);
    } else throw new TypeError(`no part of a token: ${each}`);
  };
  write(value);
  return new Uint8Array(out);
}

export const fromBase64Url = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
export const toBase64Url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// Days in Tashkent, as dates and as the count since 2020 that tokens have.
export const localDay = (ms) => new Date(ms + TASHKENT_MS).toISOString().slice(0, 10);
export const dayNumber = (ms) => Math.floor((ms + TASHKENT_MS - EPOCH) / DAY_MS);
export const numberedDay = (number) => new Date(EPOCH + number * DAY_MS).toISOString().slice(0, 10);

export async function holds(jwk, signature, bytes) {
  const { kty, crv, x, y } = jwk;
  const key = await crypto.subtle.importKey("jwk", { kty, crv, x, y }, P256, false, ["verify"]);
  return crypto.subtle.verify(ES256, key, signature, bytes);
}

// Whether the sealed kit is whole: a detached JWS over its bytes by one of its own keys. That the
// keys are the platform's, the line says over which it came.
export async function isWhole(text, seal) {
  const [head, , signature] = seal.split(".");
  const { kid, alg } = JSON.parse(new TextDecoder().decode(fromBase64Url(head)));
  const jwk = JSON.parse(text).keys.find((each) => each.kid === kid);
  if (!jwk || alg !== "ES256") return false;
  const body = toBase64UrlLong(new TextEncoder().encode(text));
  return holds(jwk, fromBase64Url(signature), new TextEncoder().encode(`${head}.${body}`));
}

function toBase64UrlLong(bytes) {
  const parts = [];
  // A multiple of three keeps the parts in step.
  for (let at = 0; at < bytes.length; at += 30_000) parts.push(toBase64Url(bytes.subarray(at, at + 30_000)));
  return parts.join("");
}
