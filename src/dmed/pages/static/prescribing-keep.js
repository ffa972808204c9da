// On the page where a doctor prescribes as usual: a computer that is prepared for the time without a line
// stays so, and sends what waits. Any other computer loads nothing more than this.
const AREA = "dmed-prescribing";

if (window.isSecureContext && await caches.has(AREA)) {
  const [{ KIT_FRESH_MS }, { openPrescribing }] = await Promise.all([import("./offline-desk.js"), import("./prescribing-desk.js")]);
  const { look, store } = openPrescribing();
  const glance = async () => {
    const kit = await store.kit();
    const isOld = kit && Date.now() + kit.offset - Date.parse(kit.facts.issued) > KIT_FRESH_MS;
    if (isOld || (await store.queued()).length) await look();
  };
  glance();
  addEventListener("online", glance);
  setInterval(glance, KIT_FRESH_MS / 2);
}
