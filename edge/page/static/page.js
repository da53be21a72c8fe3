"use strict";
// The pages work without this: it shows levels, refreshes what changes, and records.
(() => {
  const find = (selector, within = document) => within.querySelector(selector);

  // What is new on this page: the server draws it, this puts it in place.
  function renew(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const old = document.querySelectorAll("[data-refresh]");
    const next = fresh.querySelectorAll("[data-refresh]");
    old.forEach((part, index) => {
      if (!next[index] || part.innerHTML === next[index].innerHTML) return;
      const opened = [...part.querySelectorAll("details")].map((each) => each.open);
      part.replaceChildren(...next[index].childNodes);
      part.querySelectorAll("details").forEach((each, at) => (each.open = Boolean(opened[at])));
    });
    const say = find("[data-say]"), words = find("[data-say]", fresh);
    if (say && words && say.textContent !== words.textContent) say.textContent = words.textContent;
    const error = find("main > .error"), newError = find("main > .error", fresh);
    if (error && !newError) error.remove();
  }

  async function refresh() {
    // Nobody clicked: it does not keep the session.
    const headers = { "Page-Refresh": "1" };
    const answer = await fetch(location.href, { credentials: "same-origin", headers });
    if (answer.redirected) location.reload(); // signed out
    else if (answer.ok) renew(await answer.text());
  }

  // One at a time, and once more if something happened meanwhile.
  let busy = false, again = false;
  async function refreshSoon() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await refresh();
    } catch {
      // The next event tries again.
    }
    busy = false;
    if (again) {
      again = false;
      refreshSoon();
    }
  }

  function follow(place) {
    const source = new EventSource("/events");
    const meter = find("[data-level]");
    const told = place.matches("[role=status]") ? place : null;
    source.addEventListener("open", () => {
      if (told) told.textContent = place.dataset.waiting;
      refreshSoon();
    });
    source.addEventListener("error", () => {
      if (told) told.textContent = place.dataset.lost;
    });
    source.addEventListener("gone", () => {
      if (told) told.textContent = place.dataset.lost;
      refreshSoon();
    });
    source.addEventListener("level", (event) => {
      if (told && told.textContent !== place.dataset.waiting) told.textContent = place.dataset.waiting;
      if (meter) show(meter, JSON.parse(event.data).level_dbfs);
    });
    source.addEventListener("signed-out", () => {
      source.close();
      location.reload();
    });
    for (const kind of new Set([place.dataset.live, "state"])) {
      source.addEventListener(kind, (event) => {
        refreshSoon();
        const { id } = JSON.parse(event.data);
        // It is in the history a moment after it was decided.
        if (kind === "decision") waitFor(id, 10);
      });
    }
  }

  function waitFor(id, tries) {
    setTimeout(async () => {
      if (find(`[data-id="${CSS.escape(id)}"]`)) return;
      await refreshSoon();
      if (tries > 1) waitFor(id, tries - 1);
    }, 300);
  }

  function show(meter, level) {
    meter.value = level;
    meter.textContent = `${Math.round(level)} dB`;
  }

  // --- the browser's microphone ---

  const RATE = 16000;

  function wav(parts) {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const view = new DataView(new ArrayBuffer(44 + 2 * length));
    const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 2 * length, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true); // PCM
    view.setUint16(22, 1, true); // one channel
    view.setUint32(24, RATE, true);
    view.setUint32(28, 2 * RATE, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, 2 * length, true);
    let at = 44;
    for (const part of parts) {
      for (const sample of part) {
        view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true);
        at += 2;
      }
    }
    return new Blob([view], { type: "audio/wav" });
  }

  class Recorder {
    constructor(form) {
      this.form = form;
      this.button = find("[data-record]", form);
      this.told = find("[data-told]", form);
      this.meter = find("[data-own-level]", form);
      this.longest = RATE * Number(form.dataset.longest);
      this.parts = null;
      find("[data-recording]", form).hidden = false;
      find("[data-file]", form).hidden = true;
      find("input[type=file]", form).required = false;
      this.button.addEventListener("click", () => (this.parts ? this.stop() : this.start()));
    }

    say(text) {
      this.told.textContent = text;
    }

    async start() {
      this.button.disabled = true;
      this.form.dataset.seconds = 0;
      try {
        await this.open();
      } catch (error) {
        const denied = error.name === "NotAllowedError";
        this.say(
          denied
            ? "The browser does not allow the microphone: allow it for this page, then try again."
            : "There is no microphone that can be used.",
        );
        this.close();
        this.button.disabled = false;
        return;
      }
      this.length = 0;
      this.parts = [];
      this.button.disabled = false;
      this.button.textContent = "Stop";
      this.say("Recording: wait a moment, then speak. Press Stop at the end.");
    }

    async open() {
      // Filters for calls change voices.
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...plain } });
      this.context = new AudioContext({ sampleRate: RATE });
      await this.context.audioWorklet.addModule("/static/capture.js");
      const node = new AudioWorkletNode(this.context, "capture", { channelCount: 1, channelCountMode: "explicit" });
      node.port.onmessage = (event) => this.hear(event.data);
      this.context.createMediaStreamSource(this.stream).connect(node);
    }

    hear(samples) {
      if (!this.parts) return;
      this.parts.push(samples);
      this.length += samples.length;
      this.form.dataset.seconds = Math.floor(this.length / RATE);
      this.power = (this.power || 0) + samples.reduce((sum, x) => sum + x * x, 0);
      if (this.parts.length % 12 === 0) {
        show(this.meter, Math.max(-70, 10 * Math.log10(this.power / (12 * samples.length) + 1e-10)));
        this.power = 0;
      }
      if (this.length >= this.longest) this.stop();
    }

    async stop() {
      const recording = wav(this.parts);
      this.parts = null;
      this.close();
      show(this.meter, -70);
      this.button.disabled = true;
      this.button.textContent = "Record";
      this.say("Listening to it.");
      const form = new FormData(this.form);
      form.set("recording", recording, "recording.wav");
      try {
        const answer = await fetch(this.form.action, { method: "POST", body: form, credentials: "same-origin" });
        const html = await answer.text();
        if (answer.ok) renew(html);
        this.say(answer.ok ? "Press Record for the next one." : this.problem(html));
      } catch {
        this.say("The device cannot be reached. Try again.");
      }
      this.button.disabled = false;
      this.button.focus();
    }

    problem(html) {
      const error = find(".error", new DOMParser().parseFromString(html, "text/html"));
      return error ? error.textContent : "That did not work. Try again.";
    }

    close() {
      if (this.stream) this.stream.getTracks().forEach((track) => track.stop());
      if (this.context) this.context.close();
      this.stream = this.context = null;
    }
  }

  const place = find("[data-live]");
  if (place && "EventSource" in window) follow(place);
  const recorder = find("[data-recorder]");
  // Browsers give the microphone only to pages that came over TLS, or from this machine.
  if (recorder && navigator.mediaDevices && "AudioWorkletNode" in window) new Recorder(recorder);
})();
