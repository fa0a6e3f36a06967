// Parts of a page that follow what happens, and times in the reader's zone.
// Without this script everything is there, too: by reload, and in UTC.
"use strict";
(() => {
  const POLL = 15000;  // when the server has no place for another live connection
  const REST = 1000;   // between two looks of this page, however much happens
  const GROW = 2000;   // between two looks at a log, which grows without a word of the server
  const live = document.currentScript.dataset.live;
  const note = document.getElementById("live-note");
  const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

  function showTimes(root) {
    for (const one of root.querySelectorAll("time[data-time]")) {
      const at = new Date(one.getAttribute("datetime"));
      if (isNaN(at)) continue;
      one.textContent = short.format(at);
      one.title = exact.format(at);
    }
  }

  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }

  // Change `old` into `fresh` and leave every node that stays: focus, scroll and selection hang on nodes.
  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    const own = (name) => name === "open" && old.nodeName === "DETAILS";  // the reader opened or closed it
    for (const { name, value } of fresh.attributes) {
      if (!own(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!own(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    const stay = new Map([...old.children].filter((one) => one.id).map((one) => [one.id, one]));
    const wanted = new Set([...fresh.children].map((one) => one.id));
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      while (next && next.id && !wanted.has(next.id)) {
        const gone = next;
        next = next.nextSibling;
        gone.remove();
      }
      const same = child.id && stay.get(child.id);
      if (same && same !== next) {
        old.insertBefore(same, next);
        next = same;
      }
      if (next && alike(next, child)) {
        const after = next.nextSibling;
        morph(next, child);
        next = after;
      } else {
        old.insertBefore(child, next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  function toEnd(logs) {
    for (const log of logs) log.scrollTop = log.scrollHeight;
  }

  function replace(part, fresh) {
    const focused = document.activeElement;
    const followed = [...part.querySelectorAll(".follows")].filter((one) => one.scrollHeight - one.scrollTop - one.clientHeight < 40);
    morph(part, fresh);
    toEnd(followed);
    if (focused !== document.activeElement && document.contains(focused)) focused.focus({ preventScroll: true });
  }

  // Fetch the parts that show any of these topics; null: all parts.
  async function refresh(topics) {
    const sources = new Map();
    for (const part of document.querySelectorAll("[data-live][id]")) {
      if (topics && !part.dataset.live.split(" ").some((topic) => topics.has(topic))) continue;
      const url = part.dataset.source || location.href.split("#")[0];
      sources.set(url, [...(sources.get(url) || []), part]);
    }
    for (const [url, parts] of sources) {
      const answer = await fetch(url);
      if (answer.status === 401) return stop("You are not signed in any more: load this page again.");
      if (!answer.ok || answer.redirected) continue;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      showTimes(page);
      for (const part of parts) {
        const fresh = page.getElementById(part.id);
        if (fresh) replace(part, fresh);
      }
    }
  }

  let source = null, timer = null, lost = 0, busy = false, ended = false, due = new Set(), all = false;

  async function work() {
    if (busy || ended || (!all && !due.size)) return;
    busy = true;
    const topics = all ? null : due;
    [due, all] = [new Set(), false];
    try {
      await refresh(topics);
    } catch {
      say("The server does not answer; this page is as it was.");
    }
    setTimeout(() => { busy = false; work(); }, REST);
  }

  function say(text) {
    if (note.textContent !== text) note.textContent = text;
  }

  function stop(text) {
    ended = true;
    leave();
    say(text);
  }

  function leave() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  function follow() {
    leave();
    if (ended || document.hidden || !document.querySelector("[data-live][id]")) return;
    source = new EventSource(live);
    source.onopen = () => { lost = 0; all = true; work(); say("This page follows what happens."); };
    source.onmessage = (event) => { for (const topic of event.data.split(" ")) due.add(topic); work(); };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) {  // it ended, which it does now and then, or was lost
        if (lost++) say("The server does not answer; this page is as it was.");
        return;
      }
      say(`This page looks again every ${POLL / 1000} seconds.`);
      timer = setTimeout(() => { all = true; work(); follow(); }, POLL);
    };
  }

  showTimes(document);
  if (!live) return;
  toEnd(document.querySelectorAll(".follows"));
  setInterval(() => {
    if (document.hidden || !document.querySelector('[data-live~="grows"]')) return;
    due.add("grows");
    work();
  }, GROW);
  document.addEventListener("visibilitychange", follow);  // a page that nobody sees holds no place
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  follow();
})();
