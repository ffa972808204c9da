// What a doctor's page without a line decides by itself: pure reading, searching, counting and checking.
// The same rules as modules/prescriptions/rules/offline.py, courses.py, medid/rules/numbers.py and kit/text.py.
import { Refusal, dayNumber, pack, toBase45 } from "./offline-bytes.js";

const TOKEN_LENGTH_MAX = 400;
const FOUND_MAX = 8;
const QUANTITY_MAX = 99_999n;
const DAMM = [
  "0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
  "3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
];
const CENTURIES = { 1: 1800, 2: 1800, 3: 1900, 4: 1900, 5: 2000, 6: 2000 };
const APOSTROPHES = "'`´ʹʻʼʽˈˊˋ‘’‛′＇";
const LATIN = {
  а: "a", б: "b", в: "v", г: "g", д: "d", е: "e", ё: "yo", ж: "j", з: "z", и: "i", й: "y", к: "k", л: "l", м: "m", н: "n",
  о: "o", п: "p", р: "r", с: "s", т: "t", у: "u", ф: "f", х: "x", ц: "ts", ч: "ch", ш: "sh", щ: "sh", ъ: "", ы: "i", ь: "",
  э: "e", ю: "yu", я: "ya", ў: "o", қ: "q", ғ: "g", ҳ: "h", ә: "a", ө: "o", ү: "u", ң: "n", ı: "i",
};

// Decimals: whole numbers of the smallest part, never floats ------------------------------------

// "0,5" -> { text: "0.5", value: 5n, places: 1 }; null for no decimal, or for one not above nought.
export function decimal(text, placesMax = 3) {
  const parts = String(text).trim().match(/^(\d{1,6})(?:[.,](\d{1,9}))?$/);
  if (!parts) return null;
  const fraction = (parts[2] ?? "").replace(/0+$/, "");
  const value = BigInt(parts[1] + fraction);
  if (!value || fraction.length > placesMax) return null;
  return { text: fraction ? `${BigInt(parts[1])}.${fraction}` : `${BigInt(parts[1])}`, value, places: fraction.length };
}

const scaled = (one, other) => one.value * 10n ** BigInt(other.places);

// Units of presentation that a course takes, rounded up to whole ones.
export function quantityOf(row, line) {
  const unit = decimal(row.dose_per_unit, 9);
  const doses = scaled(line.dose, unit) * BigInt(line.times) * BigInt(line.days);
  const share = scaled(unit, line.dose);
  return (doses + share - 1n) / share;
}

// Whom it is for --------------------------------------------------------------------------------

// A MED-ID (Damm's check digit) or a PINFL by its form. A PINFL with a wrong check digit is doubtful,
// no more: such numbers are in use.
export function readPerson(text) {
  const value = text.replace(/[\s.\-–]+/g, "");
  if (/^\d{13}$/.test(value)) {
    const check = [...value].reduce((interim, digit) => DAMM[interim][digit], 0);
    if (Number(check)) throw new Refusal("person_digit");
    return { kind: "med-id", value };
  }
  if (!/^[1-6]\d{13}$/.test(value)) throw new Refusal("person_form");
  const born = { day: value.slice(1, 3), month: value.slice(3, 5), year: CENTURIES[value[0]] + Number(value.slice(5, 7)) };
  const made = new Date(Date.UTC(born.year, born.month - 1, born.day));
  if (made.getUTCMonth() + 1 !== Number(born.month) || made.getUTCDate() !== Number(born.day)) throw new Refusal("person_form");
  const sum = [...value.slice(0, 13)].reduce((total, digit, place) => total + Number(digit) * [7, 3, 1][place % 3], 0);
  return { kind: "pinfl", value, year: born.year, isDoubtful: sum % 10 !== Number(value[13]) };
}

// "K" and "J" -> "K.J."
export function initials(family, given) {
  const letters = [family, given].map((text) => text.trim().match(/^\p{L}/u)?.[0].toUpperCase());
  if (letters.includes(undefined)) throw new Refusal("no_initials");
  return letters.map((letter) => `${letter}.`).join("");
}

export function readYear(text, now) {
  const year = Number(text.trim());
  if (!/^\d{4}$/.test(text.trim()) || year < 1900 || year > Number(now.slice(0, 4))) throw new Refusal("no_year");
  return year;
}

// Search as you type ----------------------------------------------------------------------------

// Lower case, one script, no apostrophes and accents, as on the server.
export function fold(text) {
  let out = "";
  for (const sign of text.normalize("NFC").toLowerCase()) {
    if (!APOSTROPHES.includes(sign)) out += LATIN[sign] ?? sign.normalize("NFKD").replace(/\p{Mn}/gu, "");
  }
  return out.split(/\s+/).filter(Boolean).join(" ");
}

const wordsOf = (text) => fold(text).replaceAll(",", " ").split(" ").filter(Boolean);

// Things whose words begin with every typed part; those whose first word does come first.
export function makeIndex(things, textOf) {
  const rows = things.map((thing) => ({ thing, words: [...new Set(wordsOf(textOf(thing)))] }));
  return (typed) => {
    const parts = wordsOf(typed);
    if (!parts.length) return [];
    const found = rows.filter(({ words }) => parts.every((part) => words.some((word) => word.startsWith(part))));
    const isFirst = ({ words }) => words[0].startsWith(parts[0]);
    return [...found.filter(isFirst), ...found.filter((row) => !isFirst(row))].slice(0, FOUND_MAX).map(({ thing }) => thing);
  };
}

// What stands against it ------------------------------------------------------------------------

// Whether a medicine may join the others; a Refusal with its reason otherwise.
export function checkMedicine(kit, lines, row) {
  if (!row.allowed) throw new Refusal("class");
  if (lines.length >= kit.limits.items) throw new Refusal("items", { most: kit.limits.items });
  if (lines.some((line) => line.row.token[0] === row.token[0])) throw new Refusal("same_inn");
}

// What was typed in a line, read, with its quantity; a Refusal says what is wrong with it.
export function readLine(kit, { row, typed }) {
  const dose = decimal(typed.dose);
  const [times, days] = [typed.times, typed.days].map((text) => /^\s*\d{1,3}\s*$/.test(text) ? Number(text) : 0);
  if (!dose) throw new Refusal("no_dose");
  if (!times || times > 24) throw new Refusal("no_times");
  if (!days) throw new Refusal("no_days");
  if (days > kit.limits.days) throw new Refusal("days", { most: kit.limits.days });
  // A most of nought is none at all: only an absent one says that no table speaks of it.
  const most = row.most_daily == null ? null : decimal(row.most_daily, 9) ?? { text: "0", value: 0n, places: 0 };
  if (most && scaled(dose, most) * BigInt(times) > scaled(most, dose)) throw new Refusal("most_daily", { most: most.text, unit: row.dose_unit });
  const quantity = quantityOf(row, { dose, times, days });
  if (quantity > QUANTITY_MAX || dose.text.length > 6) throw new Refusal("no_dose");
  return { dose, times, days, quantity };
}

// Whether this computer may write now: its clock and the age of what it knows.
export function checkKit(kit, now) {
  if (now < Date.parse(kit.issued) - kit.limits.skew_seconds * 1000) throw new Refusal("clock");
  if (now >= Date.parse(kit.until)) throw new Refusal("kit_old");
}

// Doses of children go by weight, which nothing checks without the line.
export function checkAge(kit, born, today) {
  const most = kit.limits.child_years;
  if (most && Number(today.slice(0, 4)) - born <= most) throw new Refusal("child", { most });
}

// The signed token of the QR code ---------------------------------------------------------------

export async function makeToken({ number, at, device, initials: letters, born, lines }, sign) {
  const day = dayNumber(Date.parse(at));
  const valid = day + Math.min(...lines.map(({ row }) => row.validity_days));
  const payload = pack([
    Number(number), day, valid, device.slice(0, 8), new Uint8Array(8), letters, born,
    lines.map(({ row, quantity }) => [...row.token, Number(quantity)]),
  ]);
  for (;;) {
    const text = toBase45(new Uint8Array([...payload, ...await sign(payload)]));
    if (text.length > TOKEN_LENGTH_MAX) throw new Refusal("token_long");
    // Base45 has a blank, and whatever reads a scan strips the last one: signed until none is there.
    if (!text.endsWith(" ")) return { text, valid };
  }
}
