// The desk of a doctor who prescribes without a line: where it keeps what it has, and the numbers that
// this computer was given.
import { openDesk } from "./offline-desk.js";

// `own` is what a page brings of its own: see openDesk.
export function openPrescribing(own = {}) {
  const desk = openDesk({
    name: "dmed-prescribing", path: "/prescribing/offline", worker: "/prescribing-worker.js", scope: "/prescribing", place: "organisation",
    // A number on a slip is never written on another, however long the server holds it for unused.
    remembers: true, more: topUp, ...own,
  });
  const { post, store } = desk;

  const numbersOf = (device) => `numbers ${device.id}`;

  // Numbers with their codes that no act of this computer has.
  async function freeNumbers(device) {
    const used = new Set((await store.queued()).map((row) => row.slip?.number));
    const free = [];
    for (const [number, code] of await store.secret(numbersOf(device)) ?? []) {
      if (!used.has(number) && !await store.isDone(number)) free.push([number, code]);
    }
    return free;
  }

  // Fetches numbers with each new kit, after each sending, and where none is left.
  async function topUp(now, isChanged) {
    const device = await store.device(now.user, now.place);
    if (!device || (!isChanged && (await freeNumbers(device)).length)) return;
    try {
      const { numbers } = await post("numbers", now.csrf, { key: device.id });
      await store.keepSecret(numbersOf(device), numbers);
    } catch (fault) {
      // The server knows this key no more, or it was withdrawn: a new PIN can be set.
      if (!/: 404$/.test(fault.message)) throw fault;
      await store.dropDevice(device);
    }
  }

  return { ...desk, freeNumbers };
}
