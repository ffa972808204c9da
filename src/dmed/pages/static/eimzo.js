// Signs the shown document with the E-IMZO program of this computer, over its local WebSocket, and
// sends the PKCS#7 with the form. The program asks its user for the password of the key itself.
const form = document.getElementById("eimzo");
const keys = document.getElementById("eimzo-key");
const told = document.getElementById("eimzo-told");
const button = document.getElementById("eimzo-sign");
const ANSWER_MS_MAX = 120_000;

function tell(name) {
  told.textContent = name ? told.dataset[name] : "";
}

// One question and its answer; each has a connection of its own, as the program expects.
function ask(question) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(form.dataset.socket);
    const clock = setTimeout(() => socket.close(), ANSWER_MS_MAX);
    socket.onopen = () => socket.send(JSON.stringify(question));
    socket.onmessage = ({ data }) => {
      clearTimeout(clock);
      socket.onclose = null;
      socket.close();
      try {
        const answer = JSON.parse(data);
        answer.success ? resolve(answer) : reject(new Error("refused"));
      } catch {
        reject(new Error("refused"));
      }
    };
    socket.onclose = () => {
      clearTimeout(clock);
      reject(new Error("none"));
    };
  });
}

async function list() {
  tell("wait");
  if (form.dataset.key) {
    await ask({ name: "apikey", arguments: [location.hostname, form.dataset.key] });
  }
  const { certificates } = await ask({ plugin: "pfx", name: "list_all_certificates" });
  for (const one of certificates ?? []) {
    const option = new Option(/(?:^|,)cn=([^,]*)/i.exec(one.alias)?.[1] ?? one.name);
    option.value = JSON.stringify([one.disk, one.path, one.name, one.alias]);
    keys.append(option);
  }
  tell(keys.options.length ? "" : "noKeys");
  button.disabled = !keys.options.length;
  if (!button.disabled) button.focus();
}

async function sign() {
  button.disabled = true;
  const { keyId } = await ask({
    plugin: "pfx", name: "load_key", arguments: JSON.parse(keys.value),
  });
  const made = await ask({
    plugin: "pkcs7", name: "create_pkcs7", arguments: [form.dataset.document, keyId, "no"],
  });
  form.elements.pkcs7.value = made.pkcs7_64;
  form.submit();
}

function failed(error) {
  tell(error.message === "none" ? "none" : "refused");
  button.disabled = !keys.options.length;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sign().catch(failed);
});
list().catch(failed);
