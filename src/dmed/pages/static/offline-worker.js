// Keeps the shell of an area: without a line, its pages show the one that works without a line.
// What is kept is put there by the page itself (offline-desk.js), which knows its own files.
"use strict";
const AREAS = {
  "/counter-worker.js": { shell: "dmed-counter", offline: "/counter/offline" },
  "/prescribing-worker.js": { shell: "dmed-prescribing", offline: "/prescribing/offline" },
};
const { shell: SHELL, offline: OFFLINE } = AREAS[self.location.pathname];
const AWAY = new Set([502, 503, 504]);
const ANSWER_MS_MAX = 10_000;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

async function shown(request) {
  const kept = await caches.match(OFFLINE, { cacheName: SHELL });
  if (!kept) return fetch(request);
  try {
    // A line that swallows packets is as good as none: the person at the desk waits.
    const answer = await Promise.race([
      fetch(request),
      new Promise((_, late) => setTimeout(() => late(new Error("late")), ANSWER_MS_MAX)),
    ]);
    return AWAY.has(answer.status) ? kept : answer;
  } catch {
    return kept;
  }
}

async function file(request) {
  const kept = await caches.match(request, { cacheName: SHELL });
  if (kept && new URL(request.url).searchParams.has("v")) return kept;
  try {
    return await fetch(request);
  } catch (fault) {
    if (kept) return kept;
    throw fault;
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(shown(request));
  else if (pathname.startsWith("/static/")) event.respondWith(file(request));
});
