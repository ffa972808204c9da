// The keyboard, scan boxes, pickers, drafts and the connection line of every screen.
// Everything here is comfort: each page also works as plain links and forms.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const isShown = (element) => element.getClientRects().length > 0;
  const isTyping = (element) =>
    element && (element.matches("input:not([type=checkbox]):not([type=radio]), textarea, select") || element.isContentEditable);

  // Keys: data-key="F2", "Ctrl+Enter", "Alt+P", "1". Letters go by place on the keyboard, so that
  // a Cyrillic layout has the same keys.
  function combination(event) {
    let key = event.key;
    if (/^Key[A-Z]$/.test(event.code) && (event.ctrlKey || event.altKey)) key = event.code.slice(3);
    else if (/^(Digit|Numpad)\d$/.test(event.code)) key = event.code.slice(-1);
    else if (key === "Escape") key = "Esc";
    return (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + (event.altKey ? "Alt+" : "") + key;
  }
  function keyed(combo) {
    const open = one("dialog[open]");
    const found = all("[data-key]", open || document).filter(
      (element) => element.dataset.key === combo && isShown(element) && !element.disabled);
    return found.find((element) => element.closest(".side")) || found[found.length - 1];
  }
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const combo = combination(event);
    if (combo.length === 1 && isTyping(document.activeElement)) return;
    if (combo === "Esc" && closeOptions(document.activeElement)) { event.preventDefault(); return; }
    if (combo === "Esc" && one("dialog[open]")) return;
    if (combo === "Esc" && closeSheet()) { event.preventDefault(); return; }
    const target = keyed(combo);
    if (!target) return;
    event.preventDefault();
    if (isTyping(target)) { target.focus(); target.select?.(); } else target.click();
  });

  // The sheet of places on a phone opens and closes by itself; Esc and a touch elsewhere close it.
  function closeSheet(outside) {
    const sheet = one("details.rest[open]");
    if (!sheet || (outside && sheet.contains(outside))) return false;
    const hadFocus = sheet.contains(document.activeElement);
    sheet.open = false;
    if (hadFocus && !outside) one("summary", sheet).focus();
    return true;
  }
  document.addEventListener("click", (event) => closeSheet(event.target));

  // Pickers: type, arrows, Enter. Enter before the answer has come takes its first line.
  const pickerOf = (element) => element?.closest?.("[data-picker]");
  const options = (picker) => all("[role=option]", one("[role=listbox]", picker));
  function activate(picker, at) {
    const input = one("[role=combobox]", picker);
    const list = options(picker);
    list.forEach((option, index) => option.setAttribute("aria-selected", index === at ? "true" : "false"));
    input.setAttribute("aria-expanded", list.length ? "true" : "false");
    if (!list[at]) { input.removeAttribute("aria-activedescendant"); return; }
    list[at].id ||= `${input.id}-option-${at}`;
    input.setAttribute("aria-activedescendant", list[at].id);
    list[at].scrollIntoView({ block: "nearest" });
  }
  const activeAt = (picker) => options(picker).findIndex((option) => option.getAttribute("aria-selected") === "true");
  function closeOptions(element) {
    const picker = pickerOf(element);
    const list = picker && one("[role=listbox]", picker);
    if (!list || !list.childElementCount) return false;
    list.replaceChildren();
    activate(picker, -1);
    return true;
  }
  function pick(picker, option) {
    if (option.matches("a[href]")) { option.click(); return; }
    const input = one("[role=combobox]", picker);
    input.value = option.dataset.text || "";
    for (const hidden of all("input[data-from]", picker)) hidden.value = option.dataset[hidden.dataset.from] || "";
    closeOptions(input);
    input.dispatchEvent(new CustomEvent("picked", { bubbles: true }));
  }
  document.addEventListener("keydown", (event) => {
    const input = event.target;
    if (!input.matches?.("[role=combobox]")) return;
    const picker = pickerOf(input);
    const list = options(picker);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!list.length) return;
      const step = event.key === "ArrowDown" ? 1 : -1;
      activate(picker, (activeAt(picker) + step + list.length) % list.length);
      event.preventDefault();
    } else if (event.key === "Enter" && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      const chosen = list[Math.max(activeAt(picker), 0)];
      if (chosen && picker.dataset.shown === input.value) pick(picker, chosen);
      else if (input.value.trim()) picker.dataset.enter = "1";
    }
  });
  document.addEventListener("input", (event) => {
    const picker = pickerOf(event.target);
    if (!picker || !event.target.matches("[role=combobox]")) return;
    delete picker.dataset.enter;
    for (const hidden of all("input[data-from]", picker)) hidden.value = "";
  });
  function filled(list) {
    if (!list.matches?.("[role=listbox]")) return;
    const picker = pickerOf(list);
    const input = one("[role=combobox]", picker);
    picker.dataset.shown = input.value;
    activate(picker, 0);
    if (picker.dataset.enter) {
      delete picker.dataset.enter;
      const first = options(picker)[0];
      if (first) pick(picker, first);
    }
  }
  document.addEventListener("htmx:afterSwap", (event) => filled(event.detail.target));
  // A page that searches by itself says so of its list.
  document.addEventListener("filled", (event) => filled(event.target));
  // A press would move the focus before the click is known: keep it in the box.
  document.addEventListener("mousedown", (event) => { if (event.target.closest?.("[role=option]")) event.preventDefault(); });
  document.addEventListener("click", (event) => {
    const option = event.target.closest?.("[role=option]:not(a)");
    if (option) pick(pickerOf(option), option);
    for (const picker of all("[data-picker]")) {
      if (!picker.contains(event.target)) closeOptions(one("[role=combobox]", picker));
    }
  });

  // Scan boxes: a scanner types quickly and ends with Enter. GS comes as Ctrl+], as Alt+029, or
  // as the sign itself; text typed while nothing has the focus goes into the box.
  const GS = "\x1d";
  function insert(input, text) {
    input.setRangeText(text, input.selectionStart, input.selectionEnd, "end");
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.addEventListener("keydown", (event) => {
    const focused = document.activeElement;
    const box = focused?.matches?.("[data-scan]") ? focused : null;
    if (box) {
      if ((event.ctrlKey && event.code === "BracketRight") || event.key === GS || event.keyCode === 29) {
        event.preventDefault();
        insert(box, GS);
      }
      return;
    }
    if (isTyping(focused) || one("dialog[open]")) return;
    if (event.key.length !== 1 || event.ctrlKey || event.altKey || event.metaKey || event.key === " ") return;
    const scan = all("[data-scan]").find((element) => isShown(element) && !element.disabled);
    if (scan && !keyed(combination(event))) scan.focus();
  });

  // A quick hand scans on before the answer has come: whole codes wait in line, and what is typed
  // meanwhile goes over into the new box.
  const line = [];
  let isReading = false;
  const scanBox = () => all("[data-scan]").find((element) => element.form);
  document.addEventListener("submit", (event) => {
    const box = one("[data-scan]", event.target);
    if (!box) return;
    if (isReading) {
      event.preventDefault();
      event.stopImmediatePropagation();
      line.push(box.value);
      box.value = "";
    }
  }, true);
  document.addEventListener("htmx:beforeRequest", (event) => {
    const box = event.target.matches?.("form") && one("[data-scan]", event.target);
    if (box) { isReading = true; box.value = ""; }
  });
  document.addEventListener("htmx:beforeSwap", () => { const box = isReading && scanBox(); if (box && box.value) line.typed = box.value; });
  document.addEventListener("htmx:afterRequest", () => {
    if (!isReading) return;
    isReading = false;
    const box = scanBox();
    if (!box) return;
    if (line.length) {
      box.value = line.shift();
      box.form.requestSubmit();
    }
    if (line.typed) { scanBox().value = line.typed; line.typed = ""; }
  });

  // A number that is filled in is replaced by typing, not typed into.
  document.addEventListener("focusin", (event) => { if (event.target.matches(".dose input, [data-select]")) event.target.select(); });

  // Dialogs, theme, timers
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("[data-opens]");
    if (opener) { document.getElementById(opener.dataset.opens)?.showModal(); return; }
    if (event.target.closest?.("[data-closes]")) event.target.closest("dialog")?.close();
    if (event.target.closest?.("[data-theme-switch]")) {
      const root = document.documentElement;
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      // Over TLS with the prefix by which no other host can plant it.
      const name = location.protocol === "https:" ? "__Host-dmed_theme" : "dmed_theme";
      document.cookie = `${name}=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
    }
    const camera = event.target.closest?.("[data-camera]");
    if (camera) {
      const says = one("[data-camera-says]", camera.closest(".scan"));
      import(camera.dataset.source)
        .then((reader) => reader.start(document.getElementById(camera.dataset.camera)))
        .then(() => { says.hidden = true; }, () => { says.textContent = camera.dataset.failed; says.hidden = false; });
    }
    if (event.target.closest?.("[data-print]")) print();
    const filler = event.target.closest?.("[data-fills]");
    if (filler) for (const [name, value] of Object.entries(JSON.parse(filler.dataset.fills))) one(`[name=${name}]`).value = value;
  });
  setInterval(() => {
    for (const timer of all("[data-timer]")) {
      const seconds = (Number(timer.dataset.timer) || 0) + 1;
      timer.dataset.timer = seconds;
      timer.textContent = `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`;
    }
  }, 1000);

  // Kept forms: what was typed survives a reload of this tab, and nothing of it outlives the tab.
  const keeping = (form) => `dmed:${location.pathname}:${form.dataset.keep}`;
  function restore(form) {
    const kept = JSON.parse(sessionStorage.getItem(keeping(form)) || "{}");
    for (const [name, value] of Object.entries(kept)) {
      const field = form.elements.namedItem(name);
      if (field && "value" in field && !field.value) field.value = value;
    }
  }
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (!form?.dataset.keep) return;
    const values = Object.fromEntries([...new FormData(form)].filter(([name, value]) => name !== "csrf_token" && value));
    sessionStorage.setItem(keeping(form), JSON.stringify(values));
    form.dataset.dirty = "1";
  });
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.keep) { sessionStorage.removeItem(keeping(event.target)); delete event.target.dataset.dirty; }
    if (event.target.dataset.forgets) sessionStorage.clear();
  });

  // Connection and unsent work
  const unsent = new Set();
  function showUnsent() {
    const line = one("[data-unsent]");
    if (!line) return;
    line.textContent = unsent.size ? line.dataset.some.replace("{count}", unsent.size) : line.dataset.none;
    line.classList.toggle("is-unsent", unsent.size > 0);
  }
  function showConnection(isOnline) {
    const line = one("[data-connection]");
    if (!line) return;
    line.classList.toggle("is-offline", !isOnline);
    const said = isOnline ? line.dataset.online : line.dataset.offline;
    if (one("[role=status]", line).textContent !== said) one("[role=status]", line).textContent = said;
    if (isOnline) for (const element of unsent) { unsent.delete(element); htmx.trigger(element, "retry"); }
    showUnsent();
  }
  const probe = () => fetch("/livez", { cache: "no-store" }).then((answer) => showConnection(answer.ok), () => showConnection(false));
  addEventListener("online", probe);
  addEventListener("offline", () => showConnection(false));
  setInterval(probe, 20000);
  document.addEventListener("htmx:sendError", (event) => {
    if (event.detail.elt.matches("[data-retry]")) unsent.add(event.detail.elt);
    showConnection(false);
  });
  addEventListener("beforeunload", (event) => {
    if (unsent.size || one("form[data-dirty]")) event.preventDefault();
  });

  // Focus goes where the work goes on: after a swap to the part's [data-focus];
  // "first" goes before a scanner's box, which always asks for it.
  function settle(root) {
    const next = one("[aria-invalid]", root) || one("[data-focus=first]", root) || one("[data-focus]", root) || (root.matches?.("[data-focus]") ? root : null);
    if (next && isShown(next)) { next.focus(); if (next.value) next.select?.(); }
    for (const form of all("form[data-keep]", root)) restore(form);
    one("dialog[data-open]", root)?.showModal();
  }
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.matches?.("[role=listbox]")) return;
    const root = event.detail.elt?.isConnected ? event.detail.elt : document;
    settle(root);
    const notices = one("#notices");
    if (notices && event.detail.target !== notices) notices.replaceChildren();
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => settle(document));
  else settle(document);
})();
