// Prescribing without a line: a doctor writes, signs with his own key under the PIN, and prints a slip
// whose QR code a pharmacy can trust. What the record knows is not asked here: the platform does it later.
import { Refusal, localDay, numberedDay } from "./offline-bytes.js";
import { at, desk, element, say, shownDay, shownNumber, shownTime, t } from "./offline-desk.js";
import { openPrescribing } from "./prescribing-desk.js";
import { checkAge, checkKit, checkMedicine, initials, makeIndex, makeToken, readLine, readPerson, readYear } from "./prescribing-rules.js";
import { qrcode } from "./vendor/qrcode/qrcode.js";

const WAIT_MS = 3_000;
const QUIET = 4;
const SVG = "http://www.w3.org/2000/svg";
const { clockNow, did, freeNumbers, look, own, ownKit, show, sign, start, state } = openPrescribing({
  badges: { signed: "good", asked: "warn", refused: "bad", dropped: "", waiting: "warn" },
  isKit: (facts) => facts.user === desk.dataset.user,
  isMine: (row) => row.user === desk.dataset.user,
  link: (row) => row.path && { href: row.path, text: row.outcome === "asked" ? t("answer") : shownNumber(row.number) },
  beside: (row) => [" ", slipButton(row)],
  state: shownNumbers, show: showForm,
});
const fresh = () => ({ diagnosis: null, lines: [], isBegun: false });
let draft = fresh();
let slip = null;
let hasWaited = false;
const FIELDS = {
  person_form: "f-person", person_digit: "f-person", no_initials: "f-family", no_year: "f-born", child: "f-born",
  no_diagnosis: "diagnosis-q", no_items: "medicine-q", not_asked: "f-asked",
};

async function shownNumbers(device) {
  const count = device ? (await freeNumbers(device)).length : 0;
  return [[count ? "good" : "bad", count ? t("numbers", { count }) : t("no.no_number")]];
}

// What is written -------------------------------------------------------------------------------

const figure = (text) => document.documentElement.lang === "en" ? text : text.replace(".", ",");
let indexed = { issued: "" };

// What is searched as one types, made once a kit.
async function index() {
  const kit = await ownKit();
  if (indexed.issued !== kit.issued) {
    indexed = {
      issued: kit.issued,
      diagnoses: makeIndex(kit.diagnoses, ([code, label]) => `${code} ${code.replace(".", "")} ${label}`),
      medicines: makeIndex(kit.register, (row) => `${row.label} ${row.names}`),
    };
  }
  return indexed;
}

function option(value, lead, text, note) {
  const made = element("div", { className: "option", data: { value, text: "" } }, ...(lead ? [element("b", { className: "num" }, lead), " "] : []),
    element("span", {}, text), element("span", { className: "faint" }, note));
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  return made;
}

// A box whose list this page fills itself; the keys are those of every picker.
function wirePicker(id, search, picked) {
  const [box, list] = [at(id), at(`${id}-list`)];
  box.addEventListener("input", async () => {
    const typed = box.value;
    let found;
    try { found = typed.trim() ? await search(typed) : []; } catch (fault) { did(() => { throw fault; }); return; }
    if (box.value !== typed) return;
    list.replaceChildren(...(found.length || !typed.trim() ? found : [element("div", { className: "options-none" }, t("nothing"))]));
    list.dispatchEvent(new CustomEvent("filled", { bubbles: true }));
  });
  box.addEventListener("picked", () => { const { value } = at(`${id}-value`); did(() => picked(value)); });
}

async function pickDiagnosis(code) {
  draft.diagnosis = (await ownKit()).diagnoses.find(([each]) => each === code) ?? null;
  showDiagnosis();
  if (draft.diagnosis) at("medicine-q").focus();
}

async function pickMedicine(key) {
  const kit = await ownKit();
  const row = kit.register.find((each) => each.key === key);
  if (!row) return;
  checkMedicine(kit, draft.lines, row);
  draft.lines.push({ row, typed: { dose: figure(row.dose), times: String(row.times), days: String(row.days) }, note: "", asNeeded: false });
  at("offline-notes").replaceChildren();
  showLines(kit);
  at(`item-${draft.lines.length - 1}-dose`).focus();
}

function showDiagnosis() {
  at("diagnosis").hidden = Boolean(draft.diagnosis);
  at("diagnosis-chosen").hidden = !draft.diagnosis;
  const [code, label] = draft.diagnosis ?? ["", ""];
  at("diagnosis-code").textContent = code;
  at("diagnosis-label").textContent = label;
}

const dosage = (line) => t("dosage", { dose: figure(line.dose.text), unit: line.row.dose_unit, times: line.times, days: line.days }) + (line.asNeeded ? `, ${t("as_needed")}` : "");

function showLines(kit) {
  at("rx-items").replaceChildren(...draft.lines.map((line, place) => shownLine(kit, line, place)));
  at("medicine").hidden = draft.lines.length >= kit.limits.items;
}

function shownLine(kit, line, place) {
  const { row, typed } = line;
  const id = (name) => `item-${place}-${name}`;
  const quantity = element("b", { className: "num", data: { quantity: "" } });
  const wrong = element("p", { className: "say bad", id: id("say"), hidden: true });
  const section = element("section", { className: "item", data: { preparation: row.key } });
  // The line is judged as it is typed, beside what is typed.
  const judge = () => {
    let refusal = null;
    try { line.read = readLine(kit, line); } catch (fault) {
      if (!(fault instanceof Refusal)) throw fault;
      [line.read, refusal] = [null, fault];
    }
    quantity.textContent = line.read ? `${line.read.quantity} ${row.unit}` : "—";
    wrong.hidden = !refusal;
    wrong.textContent = refusal ? t(`no.${refusal.message}`, refusal.values) : "";
    section.classList.toggle("is-stop", Boolean(refusal));
  };
  const box = (name, label, after, most) => {
    const input = element("input", { className: "field num", id: id(name), value: typed[name], inputMode: "decimal", autocomplete: "off", maxLength: most });
    input.setAttribute("aria-describedby", id("say"));
    input.addEventListener("input", () => { typed[name] = input.value; judge(); });
    return element("label", { htmlFor: id(name) }, element("span", { className: "sr" }, label), input, ` ${after}`);
  };
  const needed = element("input", { type: "checkbox", id: id("as_needed"), checked: line.asNeeded });
  needed.addEventListener("change", () => { line.asNeeded = needed.checked; });
  const note = element("input", { className: "field", id: id("note"), value: line.note, maxLength: 200, autocomplete: "off" });
  note.addEventListener("input", () => { line.note = note.value; });
  const remove = element("button", { className: "bare", type: "button", title: t("remove", { name: row.label }) }, element("span", { ariaHidden: "true" }, "✕"));
  remove.setAttribute("aria-label", t("remove", { name: row.label }));
  remove.addEventListener("click", () => { draft.lines.splice(place, 1); showLines(kit); at("medicine-q").focus(); });
  section.setAttribute("aria-label", row.label);
  section.append(
    element("div", { className: "t" }, element("b", {}, row.label), element("span", { className: "faint num" }, `${place + 1} / ${kit.limits.items}`), remove),
    element("div", { className: "dose" },
      box("dose", t("dose"), `${row.dose_unit} ×`, 10), box("times", t("times"), t("times_after"), 2), box("days", t("days"), t("days_after"), 3),
      element("label", { className: "check", htmlFor: id("as_needed") }, needed, ` ${t("as_needed")}`),
      element("span", { className: "amount" }, `${t("quantity")} `, quantity)),
    wrong, element("div", { className: "fieldset" }, element("label", { htmlFor: id("note") }, t("note")), note));
  judge();
  return section;
}

// What a PINFL tells is not typed twice; what it tells otherwise is said, and does not stop anybody.
function heedPerson() {
  const says = at("f-person-say");
  says.dataset.hint ||= says.textContent;
  let told = says.dataset.hint;
  try {
    const person = readPerson(at("f-person").value);
    if (person.year && !at("f-born").value.trim()) at("f-born").value = String(person.year);
    if (person.isDoubtful) told = t("pinfl_doubtful");
    else if (person.year && Number(at("f-born").value) !== person.year) told = t("pinfl_year", { year: person.year });
  } catch (fault) {
    if (!(fault instanceof Refusal)) throw fault;
    if (at("f-person").value.trim()) told = t(`no.${fault.message}`);
  }
  says.textContent = told;
  says.classList.toggle("bad", told !== says.dataset.hint);
}

// The signature ---------------------------------------------------------------------------------

// The act as far as it is the doctor's word, and its lines read; a Refusal where something is missing.
async function written(isAsked) {
  const kit = await ownKit();
  const now = await clockNow();
  checkKit(kit, now);
  const today = localDay(now);
  const { kind, value } = readPerson(at("f-person").value);
  const letters = initials(at("f-family").value, at("f-given").value);
  const born = readYear(at("f-born").value, today);
  checkAge(kit, born, today);
  if (!draft.diagnosis) throw new Refusal("no_diagnosis");
  if (!draft.lines.length) throw new Refusal("no_items");
  const lines = [];
  for (const line of draft.lines) {
    // A kit that came meanwhile may know the medicine otherwise.
    const row = kit.register.find((each) => each.key === line.row.key);
    if (!row) throw new Refusal("class");
    checkMedicine(kit, lines, row);
    lines.push({ ...line, row, ...readLine(kit, { ...line, row }) });
  }
  if (!isAsked) throw new Refusal("not_asked");
  const act = {
    id: crypto.randomUUID(), at: new Date(now).toISOString(), kit: kit.issued, person: { kind, value }, initials: letters,
    birth_year: born, diagnosis: draft.diagnosis[0], asked: true,
    items: lines.map((line) => ({
      preparation: line.row.key, dose: line.dose.text, times_per_day: line.times, duration_days: line.days,
      quantity: String(line.quantity), as_needed: line.asNeeded, note: line.note.trim(),
    })),
  };
  return { kit, act, lines };
}

async function signRx(form) {
  // A PIN stays nowhere, and is typed for each signature; the focus goes before anything is said, so
  // that it never jumps under typing fingers.
  const box = form.elements.namedItem("pin");
  const pin = box.value;
  box.value = "";
  box.focus();
  const { kit, act, lines } = await written(at("f-asked").checked).catch((fault) => {
    at(FIELDS[fault.message])?.focus();
    throw fault;
  });
  let made;
  await sign(pin, [act], async (plain, signed) => {
    const device = await own();
    const [number, code] = (await freeNumbers(device))[0] ?? [];
    if (!number) throw new Refusal("no_number");
    const token = await makeToken({ number, at: act.at, device: device.id, initials: act.initials, born: act.birth_year, lines }, signed);
    made = {
      number, code, text: `UZRX:${number}/${code}/${token.text}`, initials: act.initials, born: act.birth_year, at: act.at,
      until: numberedDay(token.valid), doctor: kit.doctor, organisation: kit.organisation_name,
      lines: lines.map((line) => ({ label: line.row.label, dosage: dosage(line), note: line.note.trim(), quantity: `${line.quantity} ${line.row.unit}` })),
    };
    return { ...plain, number, token: token.text, marks: [number], told: { shown: `${act.initials}, ${act.birth_year}`, slip: made } };
  });
  clear();
  say("good", t("kept"));
  showSlip(made);
  await show();
  at("slip-print").focus();
  look();
}

// Everything is empty again for the next one.
function clear() {
  draft = fresh();
  at("rx").reset();
  at("rx-sign").reset();
  delete at("rx").dataset.dirty;
  at("rx-items").replaceChildren();
  at("medicine").hidden = false;
  showDiagnosis();
  heedPerson();
}

// The slip --------------------------------------------------------------------------------------

function qrPicture(text) {
  const code = qrcode(0, "M");
  code.addData(text, "Alphanumeric");
  code.make();
  const size = code.getModuleCount();
  let path = "";
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) if (code.isDark(y, x)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
  }
  const [svg, ground, dark] = ["svg", "rect", "path"].map((name) => document.createElementNS(SVG, name));
  const side = size + 2 * QUIET;
  for (const [part, facts] of [[svg, { viewBox: `0 0 ${side} ${side}`, "shape-rendering": "crispEdges" }],
    [ground, { width: side, height: side, fill: "#fff" }], [dark, { d: path, fill: "#000" }]]) {
    for (const [name, value] of Object.entries(facts)) part.setAttribute(name, value);
  }
  svg.append(ground, dark);
  return svg;
}

function slipButton(row) {
  const made = element("button", { className: "link", type: "button", data: { slip: row.id } }, t("slip"));
  made.addEventListener("click", () => { showSlip(row.slip); showForm(); });
  return made;
}

function showSlip(told) {
  slip = told;
  at("slip-number").textContent = shownNumber(told.number);
  at("slip-code").textContent = `${told.code.slice(0, 4)}-${told.code.slice(4, 8)}`;
  at("slip-qr").replaceChildren(qrPicture(told.text));
  at("slip-person").textContent = `${told.initials}, ${told.born}`;
  at("slip-until").textContent = t("until", { date: shownDay(told.until) });
  at("slip-written").textContent = t("written", { time: shownTime(told.at) });
  at("slip-doctor").textContent = told.doctor;
  at("slip-organisation").textContent = told.organisation;
  at("slip-lines").replaceChildren(...told.lines.map((line) => element("li", { className: "line" },
    element("span", { ariaHidden: "true" }, "•"),
    element("div", {}, element("b", {}, line.label), element("div", { className: "muted" }, line.dosage), ...(line.note ? [element("div", { className: "muted" }, line.note)] : [])),
    element("b", { className: "num nowrap" }, line.quantity))));
}

// What is shown ---------------------------------------------------------------------------------

// With a line everything is checked at once: the form opens where there is none, and what was begun
// without one may be ended.
function showForm() {
  const isHere = state.line === "here";
  const isOpen = !slip && (isHere ? draft.isBegun : state.line !== "wait" || hasWaited);
  const wasHidden = at("rx").hidden;
  at("rx-here").hidden = !isHere || draft.isBegun || Boolean(slip);
  at("rx-back").hidden = !isOpen || !isHere;
  at("rx").hidden = at("rx-sign").hidden = !isOpen;
  at("rx-slip").hidden = !slip;
  if (isOpen && wasHidden && document.activeElement === document.body) at("f-person").focus();
}

function begin() {
  const form = at("rx");
  wirePicker("diagnosis-q", async (typed) => (await index()).diagnoses(typed).map(([code, label]) => option(code, code, label, "")),
    pickDiagnosis);
  wirePicker("medicine-q", async (typed) => (await index()).medicines(typed).map((row) => option(row.key, "", row.label, row.allowed ? "" : t("only_line"))),
    pickMedicine);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { draft.isBegun = true; form.dataset.dirty = "1"; });
  for (const id of ["f-person", "f-born"]) at(id).addEventListener("change", heedPerson);
  at("diagnosis-change").addEventListener("click", () => { draft.diagnosis = null; showDiagnosis(); at("diagnosis-q").focus(); });
  at("rx-sign").addEventListener("submit", (event) => { event.preventDefault(); did(() => signRx(event.target)); });
  at("slip-next").addEventListener("click", () => { slip = null; at("offline-notes").replaceChildren(); showForm(); });
  // A line that swallows what is sent must not hide the form for long.
  setTimeout(() => { hasWaited = true; showForm(); }, WAIT_MS);
}

start(begin);
