// The page's script. It speaks the JSON dialect (src/wire/json.rs) over WebSocket. Its parts, in order:
// HELPERS · CONVERSATIONS · WHAT THIS BROWSER KEEPS · OTHER TABS · CONNECTION · ENTERING AND CATCHING UP ·
// IGNORING · SERVER EVENTS · SENDING · COMMANDS · PEOPLE ·
// DRAWING · CONTROLS · START
// It is one script with texts.js, which is in front of it and makes it strict.

// === HELPERS ===

const $ = id => document.getElementById(id);

/** Makes an element. Strings among `children` become text nodes, never markup. */
function make(tag, properties = {}, ...children) {
  const { act, hue, label, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  if (act) element.addEventListener("click", act);
  if (hue !== undefined) element.style.setProperty("--hue", hue);
  if (label) element.setAttribute("aria-label", label);
  element.append(...children);
  return element;
}

/** The nodes of a text such as "{name} joined", each part isolated, so that no name can turn the sentence around. */
function fill(text, parts) {
  return text.split(/\{(\w+)\}/).flatMap((piece, i) =>
    i % 2 === 0 ? [piece] : Array.isArray(parts[piece]) ? parts[piece] : [make("bdi", {}, String(parts[piece]))]);
}

const textOf = nodes => nodes.map(node => node.textContent ?? node).join("");

/** The same as a string, for the title, labels and screen readers: parts between FIRST STRONG ISOLATE and POP. */
const plain = (text, parts) => text.replace(/\{(\w+)\}/g, (_, key) => `\u2068${parts[key]}\u2069`);

/** A colour angle that belongs to the name for ever (FNV-1a, so that similar names differ). */
function hueOf(name) {
  let hash = 0x811c9dc5;
  for (const c of fold(name)) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  return (hash >>> 0) % 360;
}

/** Sets the text of an element, unless it is that already: a change costs a layout, and is read out where that is wanted. */
function put(element, text) { if (element.textContent !== String(text)) element.textContent = text; }

const fold = name => name.normalize("NFKC").toLowerCase();
const face = name => make("span", { className: "face", hue: hueOf(name), ariaHidden: "true" }, [...name][0].toUpperCase());
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Makes `nodes` the children of `parent`, touching only what differs: focus, selection and scrolling survive. */
function sync(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => { if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null); });
}

const clock = new Intl.DateTimeFormat(navigator.language, { timeStyle: "short" });
const moment = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "medium" });
const date = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full" });
const alphabet = new Intl.Collator(LOCALE);
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });

const midnightOf = ts => new Date(ts).setHours(0, 0, 0, 0);

/** "Today", "Yesterday", else the date. */
function dayName(ts) {
  const days = Math.round((midnightOf(ts) - midnightOf(Date.now())) / 864e5);
  const text = days === 0 || days === -1 ? relative.format(days, "day") : date.format(ts);
  return text[0].toUpperCase() + text.slice(1);
}

/** The room that the page's address leads to, `…/#dev`. */
function roomInAddress() { try { return decodeURIComponent(location.hash.slice(1)).slice(0, 128); } catch { return ""; } }

/** What a browser remembers. Storage may be forbidden; then it remembers nothing. */
const memory = {
  keep(key, value) { try { localStorage.setItem(key, value); } catch { /* then not */ } },
  drop(key) { try { localStorage.removeItem(key); } catch { /* it was never there */ } },
  keys() { try { return Object.keys(localStorage); } catch { return []; } },
  get(key) { try { return sessionStorage.getItem(key) ?? localStorage.getItem(key) ?? ""; } catch { return ""; } },
  set(key, value) { try { sessionStorage.setItem(key, value); localStorage.setItem(key, value); } catch { /* then not */ } },
};

/** Tells screen readers; a burst is summed up, since nobody can listen to a hundred lines. */
const announce = (() => {
  let lines = [], timer;
  return line => {
    lines.push(line);
    timer ??= setTimeout(() => {
      $("announcer").replaceChildren(...(lines.length > 4 ? [T.fresh(lines.length)] : lines).map(text => make("p", {}, text)));
      lines = []; timer = undefined;
    }, 400);
  };
})();

// === CONVERSATIONS ===
// A conversation is a room or a private talk. It keeps its items sorted and knows which slice of them,
// its window, is in the document: so the document stays small however long the conversation is.

const KEEP = 5000;    // items kept per conversation; what is older is dropped
const TAIL = 150;     // items in the document while the reader is at the newest one
const WINDOW = 300;   // at most so many while the reader is elsewhere
const STEP = 75;      // the window moves by so many
const GROUP_MS = 5 * 60_000; // messages of one person closer than this stand together
const LAST = Number.MAX_SAFE_INTEGER;

class Conversation {
  constructor(key, name, isRoom) {
    Object.assign(this, { key, name, isRoom });
    this.items = [];
    this.first = this.last = 0; // the window is items[first..last]
    this.pinned = true;         // the reader is at the newest item and follows
    this.unread = 0;
    this.mentions = 0;          // of the unread ones, those that name us
    this.mark = null;           // the first item that was new when the reader was away
    this.draft = "";
    this.hidden = [];           // of people who are ignored
    // Rooms: ids are comparable within an `epoch` of the server; `era` counts the epochs seen here.
    this.epoch = null;
    this.era = 0;
    this.newest = 0;            // the highest id seen
    this.complete = 0;          // every id up to this one was seen
    this.catchingUp = false;
    this.more = false;          // the server keeps older messages than items[0]
    this.dropped = false;
  }

  /** Can older messages be had? Not while we are in another room, nor those of an earlier era, nor what was dropped. */
  get canLoad() { return this.more && !this.dropped && this.era === 0 && this.key === roomKey(me.room); }

  get title() { return this.isRoom ? "#" + this.name : this.name; }

  /** Puts an item where it belongs: by era, then by id; what is not delivered yet is last. False: it is here already. */
  insert(item) {
    let low = 0, high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1, other = this.items[middle];
      if (other.era < item.era || (other.era === item.era && other.n <= item.n)) low = middle + 1; else high = middle;
    }
    if (item.id) {
      for (let i = low - 1; i >= 0 && this.items[i].n === item.n && this.items[i].era === item.era; i--) {
        if (this.items[i].id === item.id) return false;
      }
    }
    const following = this.last === this.items.length;
    this.items.splice(low, 0, item);
    if (low < this.first) { this.first++; this.last++; }
    else if (low < this.last || (low === this.last && following)) this.last++;
    this.trim();
    return true;
  }

  /** Puts an item aside, out of sight, until its writer is no longer ignored. */
  hide(item) {
    this.hidden.push(item);
    if (this.hidden.length > KEEP) this.hidden.shift();
  }

  remove(item) {
    const at = this.items.indexOf(item);
    if (at < 0) return;
    this.items.splice(at, 1);
    if (at < this.first) this.first--;
    if (at < this.last) this.last--;
  }

  trim() {
    const surplus = this.items.length - KEEP;
    if (surplus > 0) {
      this.items.splice(0, surplus);
      this.first = Math.max(0, this.first - surplus);
      this.last = Math.max(0, this.last - surplus);
      this.dropped = true;
    }
    if (this.pinned) this.toTail();
    this.last = Math.min(this.last, this.first + WINDOW);
  }

  toTail() {
    this.last = this.items.length;
    this.first = Math.max(0, this.last - TAIL);
  }

  slide(step) {
    if (step < 0) {
      this.first = Math.max(0, this.first + step);
      this.last = Math.min(this.last, this.first + WINDOW);
    } else {
      this.last = Math.min(this.items.length, this.last + step);
      this.first = Math.max(this.first, this.last - WINDOW);
    }
  }

  /** A line of the page's own: it belongs behind message `n`, by default the newest. */
  note(nodes, className = "", n = this.newest, ts = Date.now()) {
    const item = { kind: "note", era: this.era, n, ts, nodes, className, version: 0 };
    this.insert(item);
    refresh();
    return item;
  }
}

const conversations = new Map();
const roomKey = name => "#" + fold(name), talkKey = name => "@" + fold(name);

function conversation(key, name, isRoom) {
  if (!conversations.has(key)) conversations.set(key, new Conversation(key, name, isRoom));
  return conversations.get(key);
}
const roomOf = name => conversation(roomKey(name), name, true);
const talkWith = name => conversation(talkKey(name), name, false);

/** Has the reader this page before them? */
const attentive = () => document.visibilityState === "visible" && document.hasFocus();

/** Somebody else said something: count it, unless it is being read right now. */
function arrived(talk, item) {
  const reading = talk === current && talk.pinned && attentive();
  const isForUs = !talk.isRoom || mentionsUs(item.body);
  if (!reading && talk.unread++ === 0) talk.mark = item;
  if (!reading && talk.isRoom && isForUs) talk.mentions++;
  if (isForUs && !attentive()) notify(talk, item);
  if (talk === current || !talk.isRoom) {
    announce(plain(talk.isRoom ? T.says : T.saysPrivately, { name: item.from, body: item.body }));
  }
}

function markRead() {
  if (current.pinned && attentive() && current.unread > 0) { current.unread = current.mentions = 0; refresh(); }
}

/** Our name as a word of its own. In scripts that write no spaces, any letter may be beside it. */
const ourName = (() => {
  let name = null, pattern = /(?!)/;
  return () => {
    if (name !== me.name) {
      name = me.name;
      const letter = "(?![\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}])[\\p{L}\\p{M}\\p{N}_]";
      const [first, last] = [name, [...name].reverse().join("")].map(text => new RegExp("^" + letter, "u").test(text));
      const before = first ? `(?<!${letter}|${letter}[-.])` : "", after = last ? `(?!${letter}|[-.]${letter})` : "";
      pattern = name ? new RegExp(`${before}(${name.replace(/\./g, "\\$&")})${after}`, "iu") : /(?!)/;
    }
    return pattern;
  };
})();

const mentionsUs = body => partsOf(body).some(({ kind, text }) => kind === "text" && ourName().test(text));

// The browser asks only after a click, and a notification goes out only while nobody looks at the page.
const notices = {
  get areOn() { return window.Notification?.permission === "granted" && memory.get("roomd-notices") !== "off"; },
  async toggle() {
    if (this.areOn) memory.keep("roomd-notices", "off");
    else if (!window.isSecureContext || !window.Notification) complain([T.noNotices]);
    else if (await Notification.requestPermission() === "granted") memory.drop("roomd-notices");
    else complain([T.noticesDenied]);
    refresh();
  },
};

function notify(talk, { from, body }) {
  if (!notices.areOn) return;
  try {
    const notice = new Notification(talk.isRoom ? `${from} · ${talk.title}` : from, { body, tag: talk.key, renotify: true, lang: LOCALE });
    notice.addEventListener("click", () => { window.focus(); show(talk); notice.close(); });
  } catch { /* some phones know notifications, but let no page make them */ }
}

// === WHAT THIS BROWSER KEEPS ===
// The server keeps no private conversations, and nobody else has our drafts: they are in the browser's storage, one
// record per name, so that a reload loses nothing. What is oldest goes first, messages as well as names.

const KEPT = "roomd-kept:";
const KEPT_NAMES = 5, KEPT_MESSAGES = 1000, KEPT_BYTES = 256 * 1024, KEPT_DRAFT_BYTES = 32 * 1024;
const KEEP_MS = 200; // a burst of changes is written once

const kept = { name: null, timer: 0 }; // whose record this page has read, and writes

const keepSoon = () => { kept.timer ||= setTimeout(keepNow, KEEP_MS); };

function keepNow() {
  clearTimeout(kept.timer);
  kept.timer = 0;
  if (kept.name === null || link.state === "elsewhere") return; // the other tab knows more
  const talks = [...conversations.values()], messages = [], drafts = [];
  let bytes = 0;
  const fits = (text, limit) => (bytes += bytesOf(text) + 64) <= limit; // with what is around it
  for (const talk of talks) {
    const draft = talk === current ? entry.value : talk.draft;
    if (draft.trim() && fits(draft, KEPT_DRAFT_BYTES)) drafts.push([talk.isRoom, talk.name, draft]);
  }
  const all = talks.filter(talk => !talk.isRoom).flatMap(talk => talk.items.filter(item => item.kind === "private").map(item => ({ talk, item })));
  all.sort((a, b) => b.item.ts - a.item.ts);
  for (const { talk, item } of all.slice(0, KEPT_MESSAGES)) {
    if (!fits(talk.name + item.body, KEPT_BYTES)) break;
    messages.push([talk.name, item.ts, item.own ? item.state : "", item.body]);
  }
  const key = KEPT + kept.name;
  if (!messages.length && !drafts.length) return memory.drop(key);
  memory.keep(key, JSON.stringify({ ts: Date.now(), messages: messages.reverse(), drafts }));
  const others = keptKeys().filter(other => other !== key);
  others.sort((a, b) => keptIn(b).ts - keptIn(a).ts).slice(KEPT_NAMES - 1).forEach(memory.drop);
}

const keptKeys = () => memory.keys().filter(key => key.startsWith(KEPT));

/** A record; whatever is not one counts as an empty one. */
function keptIn(key) {
  try {
    const { ts, messages, drafts } = JSON.parse(memory.get(key));
    if (Array.isArray(messages) && Array.isArray(drafts)) return { ts: Number(ts), messages, drafts };
  } catch { /* somebody else wrote it */ }
  return { ts: 0, messages: [], drafts: [] };
}

/** We are this one now: their conversations are added to those that are here. */
function restore(name) {
  if (!name || kept.name === fold(name)) return;
  kept.name = fold(name);
  const { messages, drafts } = keptIn(KEPT + kept.name), here = new Set(conversations.keys());
  for (const [who, ts, state, body] of messages) {
    const talk = talkWith(String(who));
    if (here.has(talk.key)) continue;
    const own = state !== "";
    const item = { kind: "private", era: 0, n: ++talk.newest, ts: Number(ts), from: own ? name : talk.name, body: String(body), own, version: 0 };
    // What had not arrived when the page went away is not sent by itself any more: its writer decides.
    if (own) Object.assign(item, { state: state === "delivered" ? state : "unknown", attempts: 0, talk });
    if (item.state === "unknown") { item.era = item.n = LAST; outbox.push(item); }
    talk.insert(item);
  }
  for (const [isRoom, where, text] of drafts) {
    const talk = (isRoom ? roomOf : talkWith)(String(where));
    if (talk !== current) talk.draft ||= String(text);
    else if (!entry.value) setEntry(String(text), false);
  }
  refresh();
}

/** Forgets all private conversations and drafts, under whatever name. */
function forgetKept() {
  dropTalks();
  for (const room of conversations.values()) room.draft = "";
  setEntry("", false);
  keptKeys().forEach(memory.drop);
}

function dropTalks() {
  show(roomOf(me.room));
  outbox = outbox.filter(item => item.talk.isRoom);
  for (const talk of [...conversations.values()]) if (!talk.isRoom) conversations.delete(talk.key);
  kept.name = null;
  refresh();
}

// === OTHER TABS ===
// A name belongs to one connection, so two tabs of one browser with the same name would take it from each other for
// ever. Whoever comes asks first; who is there answers, and the reader decides which tab it shall be.

const CLAIM_MS = 150;   // so long an answer is waited for
const RELOAD_MS = 3000; // so long a tab may take to load anew

const tabs = (() => {
  const id = Math.random().toString(36).slice(2);
  let channel, answered = null; // how to end a claim that is under way
  try { channel = new BroadcastChannel("roomd"); } catch { /* then every tab is alone */ }
  const post = (type, name, to) => channel?.postMessage({ type, name, to, tab: id });
  const isOurs = name => fold(String(name)) === fold(me.name);
  const holds = () => me.name && !["nameless", "left", "elsewhere"].includes(link.state);

  channel?.addEventListener("message", ({ data: { type, name, tab, to } }) => {
    if (!isOurs(name)) return;
    // Of two that claim at the same moment, the one with the smaller id was first.
    if (type === "claim" && holds() && (!answered || id < tab)) post("here", name, tab);
    if (type === "here" && to === id) answered?.(false);
    if (type === "yield" && holds()) stepAside();
    // A tab that is loaded anew is gone for a moment only.
    if (type === "gone" && link.state === "elsewhere") setTimeout(() => { if (link.state === "elsewhere") come(); }, RELOAD_MS);
  });
  addEventListener("pagehide", () => { keepNow(); if (holds()) post("gone", me.name); });

  function stepAside() {
    keepNow();
    if (link.socket?.readyState === WebSocket.OPEN) request({ type: "quit" }).catch(() => {});
    abandon();
    setState("elsewhere");
  }

  return {
    /** Is nobody there under this name? */
    claim(name) {
      if (!channel) return true;
      return new Promise(resolve => {
        const answer = answered = isFree => { if (answered === answer) answered = null; resolve(isFree); };
        setTimeout(answer, CLAIM_MS, true);
        post("claim", name);
      });
    },
    takeOver() { post("yield", me.name); come(); },
  };
})();

/** Connects under our name, unless another tab of this browser is there with it. */
async function come() {
  if (link.state === "elsewhere") dropTalks(); // the other tab may have written to them: they are read again
  abandon();
  setState("connecting");
  const turn = link.turn, isFree = await tabs.claim(me.name);
  if (turn !== link.turn) return;
  if (!isFree) return setState("elsewhere");
  restore(me.name);
  connect();
}

/** Ends whatever is under way. */
function abandon() {
  link.turn++;
  clearTimeout(link.timer);
  link.socket?.close();
  link.socket = null;
  for (const { reject } of waiting.values()) reject({ lost: true });
  waiting.clear();
}

// === CONNECTION ===
// The states: nameless → connecting → entering → catching-up → open → waiting → connecting → …
// `left` after /quit; `elsewhere` while another tab holds our name; `retaking` is `entering` while an old connection of ours still holds the name.

const RETRY_FIRST_MS = 500, RETRY_MAX_MS = 30_000;
const STEADY_MS = 15_000; // a connection that lived shorter was no success: the next attempt waits longer still
const HURRY_MS = 5000;    // a reader who looks at the page makes it try again at most so often
const ATTEMPTS_MAX = 3;   // a message that is on its way when a connection breaks may be the reason
const BODY_BYTES = 4096;  // a message may have so many, unless the server says otherwise
const UPGRADE_REQUIRED = 426; // the status of a server that is there, and of our kind
const TOO_BIG = 1009;     // the close code of a server that could not take what we sent
const SILENCE_MS = 30_000, ANSWER_MS = 10_000; // ask after so much silence; dead if no answer comes in time
const RETAKE_TRIES = 7;

const link = { socket: null, state: "nameless", turn: 0, tries: 0, triedAt: 0, retryAt: 0, timer: 0, welcomed: 0, heard: 0, probed: 0,
  shutdown: false, limit: BODY_BYTES, answer: "" };
const me = { name: memory.get("roomd-name"), room: roomInAddress() || "lobby", chosen: false };
const waiting = new Map(); // ref → the promise of an answer
let refs = 0;

function setState(state) { link.state = state; refresh(); }

function connect() {
  clearTimeout(link.timer);
  link.socket?.close();
  link.triedAt = Date.now();
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, "roomd.json");
  link.socket = socket;
  setState("connecting");
  // An abandoned socket may still speak; only the newest one is listened to.
  const listen = (type, act) => socket.addEventListener(type, event => {
    if (socket !== link.socket) return;
    link.heard = Date.now();
    act(event);
  });
  listen("open", enter);
  listen("message", event => receive(JSON.parse(event.data)));
  listen("close", event => {
    if (link.state === "connecting") diagnose();
    if (event.code === TOO_BIG) {
      // It does not say which: most likely the longest one. Sent again, it would break the next connection, too.
      const [longest] = outbox.filter(item => item.state === "sent").sort((a, b) => bytesOf(b.body) - bytesOf(a.body));
      if (longest) update(longest, "failed", T.tooLongForServer);
    }
    disconnected(event.wasClean && event.code === 1001);
  });
}

/**
 * A WebSocket that is refused does not say why: a proxy that changes `Host`, say. So the same is asked for by `fetch`,
 * which shows the answer. It sends no `Origin` to its own server; that is what the parameter is for.
 */
async function diagnose() {
  try {
    const { turn } = link, ask = path => fetch(path, { cache: "no-store" });
    let answer = await ask("/ws");
    if (answer.status === UPGRADE_REQUIRED) answer = await ask(`/ws?origin=${encodeURIComponent(location.origin)}`);
    const status = `${answer.status} ${answer.statusText}`.trim(), said = await answer.text();
    const isPlain = /^text\/plain/.test(answer.headers.get("content-type"));
    const text = (isPlain ? said : /<title>([^<]*)/i.exec(said)?.[1] ?? "").trim().slice(0, 300);
    if (turn !== link.turn) return;
    const isReached = answer.ok || answer.status === UPGRADE_REQUIRED;
    link.answer = isReached ? T.noUpgrade : T.answered(text.startsWith(answer.status) ? text : `${status} ${text}`.trim());
  } catch { link.answer = ""; /* there is no server at all */ }
  refresh();
}

/**
 * The connection is gone. `orderly`: the server said that it goes away (1001), after everything it had to say;
 * so whatever it has not acknowledged it has not carried out. Otherwise nobody knows yet: see `settle`.
 */
function disconnected(orderly) {
  const had = link.state, socket = link.socket;
  link.socket = null;
  socket?.close();
  for (const item of outbox) if (item.state === "sent" && orderly) update(item, "queued");
  for (const { reject } of waiting.values()) reject({ lost: true });
  waiting.clear();
  if (["left", "nameless", "elsewhere"].includes(had)) return setState(had);
  if (link.welcomed && Date.now() - link.welcomed >= STEADY_MS) link.tries = 0;
  link.welcomed = 0;
  // "Equal jitter": at least half of the growing delay, so that a thousand pages do not come back at once.
  const delay = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** link.tries++) * (0.5 + Math.random() / 2);
  link.retryAt = Date.now() + delay;
  link.timer = setTimeout(connect, delay);
  setState("waiting");
}

/** Sends a request. Its promise is kept by the answer with the same `ref`, or broken by an error or the connection's end. */
function request(message) {
  const ref = "p" + ++refs;
  return new Promise((resolve, reject) => {
    if (link.socket?.readyState !== WebSocket.OPEN) return reject({ lost: true });
    waiting.set(ref, { resolve, reject });
    link.socket.send(JSON.stringify({ ...message, ref }));
  });
}

/** A dead network closes nothing by itself, so after some silence the server is asked for a sign of life. */
function everySecond() {
  if (link.state === "waiting") return drawBanner(); // its clock
  if (link.state !== "open") return;
  const now = Date.now();
  if (link.probed > link.heard) { if (now - link.probed > ANSWER_MS) disconnected(false); }
  else if (now - link.heard > SILENCE_MS) probe();
}

function probe() {
  if (link.probed > link.heard) return;
  link.probed = Date.now();
  loadRooms(); // any answer will do, and this one keeps the list of rooms fresh
}

/** The network or the reader came back: do not wait for the timer. Should it fail, the next delay is longer all the same. */
function hurry() {
  if (link.state === "waiting" && Date.now() - link.triedAt > HURRY_MS) connect();
  else if (link.state === "open" && Date.now() - link.heard > ANSWER_MS) probe();
}

// === ENTERING AND CATCHING UP ===

/** Says who we are, and asks for another name if that one is somebody else's. */
async function enter() {
  link.shutdown = false;
  const turn = ++link.turn; // a newer connection or another name ends this one
  setState("entering");
  for (let attempt = 0; ;) {
    try {
      return entered(await request({ type: "hello", name: me.name, room: me.room }));
    } catch (error) {
      if (error.lost || turn !== link.turn) return;
      if (error.code === "name-taken" && !me.chosen && attempt < RETAKE_TRIES) {
        // Most likely it is still ours: the server has not noticed yet that the old connection is dead.
        setState("retaking");
        await pause(250 * 1.6 ** attempt++);
        if (turn !== link.turn) return;
      } else if (error.code.startsWith("name-")) {
        setState("nameless");
        return askName(explain(error));
      } else if (me.room !== "lobby") {
        me.room = "lobby"; // that room cannot be had: no such name, or no space for one more
        current = roomOf(me.room);
        complain([explain(error)]);
      } else {
        complain([explain(error)]);
        return disconnected(false); // full, perhaps: later, then
      }
    }
  }
}

/** We are in a room: on connecting and after /join. */
async function entered(hello) {
  const socket = link.socket;
  me.name = hello.name;
  me.chosen = false;
  me.room = hello.room;
  memory.set("roomd-name", me.name);
  restore(me.name);
  history.replaceState(null, "", me.room === "lobby" ? location.pathname : "#" + encodeURIComponent(me.room));
  link.welcomed ||= Date.now();
  link.answer = "";
  link.limit = hello.limit > 0 ? hello.limit : BODY_BYTES;
  setState("catching-up");
  people.set(hello.users, hello.total);
  const room = roomOf(hello.room);
  if (current.isRoom) show(room);
  announce(plain(T.youAreIn, { name: me.name, room: room.title }));
  try {
    settle(room, await catchUp(room, hello));
  } catch (error) {
    if (error.lost || socket !== link.socket) return;
    room.note([explain(error)], "trouble");
  }
  setState("open");
  flush();
  loadRooms();
}

/** Fetches what was said while we were away, by id. True: nothing is missing between what was here and what is new. */
async function catchUp(room, { id, epoch }) {
  room.catchingUp = true;
  try {
    // The server was restarted, or gave up this room while it was empty and made it anew: ids began at 1 again.
    const restarted = room.epoch !== null && (room.epoch !== epoch || id < room.complete);
    if (restarted) {
      // What is here already stays as it is, and what comes is put behind it.
      room.era++;
      room.newest = room.complete = 0;
      room.note([T.restarted], "gap");
    }
    let whole = !restarted;
    if (restarted || room.epoch === null) {
      room.epoch = epoch;
      const { events, more } = await request({ type: "history", limit: 100 });
      events.forEach(event => keep(room, event));
      if (!restarted) room.more = more;
    } else {
      for (let more = id > room.complete; more;) {
        const after = room.complete, reply = await request({ type: "history", after, limit: 200 });
        const missing = (reply.events[0]?.id ?? id + 1) - after - 1;
        if (missing > 0) {
          room.note([T.gap(missing)], "gap", after, reply.events[0]?.ts);
          whole = false;
        }
        for (const event of reply.events) {
          const item = keep(room, event);
          if (item && !item.own) arrived(room, item);
        }
        room.complete = reply.events.at(-1)?.id ?? id;
        more = reply.more;
      }
    }
    room.complete = room.newest = Math.max(room.newest, id);
    return whole;
  } finally {
    room.catchingUp = false;
    refresh();
  }
}

/**
 * Messages that were on their way when the connection broke. We hold our name again, and a name belongs to one
 * connection at a time, so the old one is gone for good: what it brought is in the history by now, what is not there
 * never arrived and is sent again. If the history cannot tell (restart, gap, private), the writer decides.
 */
function settle(room, whole) {
  for (const item of outbox.filter(item => item.state === "sent")) {
    if (item.talk !== room || !whole || item.as !== me.name) { update(item, "unknown"); continue; }
    const twin = room.items.find(other => other.own && other.id > item.after && other.era === room.era && !other.claimed && same(other, item));
    if (twin) { twin.claimed = true; forget(item); } else update(item, item.attempts < ATTEMPTS_MAX ? "queued" : "unknown");
  }
}

/** The page was scrolled to its first message: are there older ones? */
async function loadOlder(room, limit = 100) {
  if (!room.canLoad || room.loading || link.state !== "open") return;
  room.loading = true;
  try {
    const ids = [...room.items, ...room.hidden].filter(item => item.id && item.era === 0).map(item => item.id);
    const oldest = ids.length ? Math.min(...ids) : 0;
    const { events, more } = await request({ type: "history", limit, ...(oldest && { before: oldest }) });
    events.forEach(event => keep(room, event));
    room.more = more;
  } catch { /* the button stays */
  } finally {
    room.loading = false;
    refresh();
  }
}

// === IGNORING ===
// Somebody who is ignored says nothing here: neither in the rooms nor in private. The server knows nothing of it; the
// names are kept in this browser.

const IGNORED_MAX = 500;

const ignored = {
  names: new Map(), // folded → as written
  has(name) { return this.names.has(fold(name)); },
  load() {
    try { for (const name of JSON.parse(memory.get("roomd-ignored"))) this.names.set(fold(String(name)), String(name)); } catch { /* nobody */ }
  },
  save() {
    for (const key of this.names.keys()) if (this.names.size > IGNORED_MAX) this.names.delete(key);
    if (this.names.size) memory.keep("roomd-ignored", JSON.stringify([...this.names.values()])); else memory.drop("roomd-ignored");
    people.changed(people.total);
  },
  add(name) {
    this.names.set(fold(name), name);
    for (const room of conversations.values()) {
      if (!room.isRoom) continue;
      for (const item of room.items.filter(item => item.id && !item.own && fold(item.from) === fold(name))) {
        room.remove(item);
        room.hide(item);
      }
    }
    this.save();
  },
  delete(name) {
    this.names.delete(fold(name));
    for (const room of conversations.values()) {
      const back = room.hidden.filter(item => fold(item.from) === fold(name));
      room.hidden = room.hidden.filter(item => !back.includes(item));
      back.forEach(item => room.insert(item));
    }
    this.save();
  },
};
ignored.load();
addEventListener("storage", event => { if (event.key === "roomd-ignored") { ignored.names.clear(); ignored.load(); refresh(); } });

// === SERVER EVENTS ===

function receive(event) {
  const asked = waiting.get(event.ref);
  waiting.delete(event.ref);
  if (asked) event.type === "error" ? asked.reject(event) : asked.resolve(event);
  else on[event.type]?.(event);
}

/** Takes a message of a room into its conversation, from the history or fresh; false if it was there or is ignored. */
function keep(room, { type, id, ts, from, body }) {
  const item = { kind: type, era: room.era, n: id, id, ts, from, body, own: from === me.name, version: 0 };
  if (item.own) item.state = "delivered";
  room.newest = Math.max(room.newest, id);
  if (!item.own && ignored.has(from)) return void room.hide(item);
  return room.insert(item) && item;
}

/** The same words? A server may have changed the white space between them. */
const same = (one, other) => one.kind === other.kind && words(one.body) === words(other.body);
const words = body => body.replace(/\s+/g, " ").trim();

function heardInRoom(event) {
  const room = roomOf(event.room);
  const hole = !room.catchingUp && event.id > room.complete + 1;
  const item = keep(room, event);
  if (item && !item.own) arrived(room, item);
  // In a crowd not all are listed, but who speaks is here.
  if (room.key === roomKey(me.room) && !people.names.has(event.from) && people.names.size < people.total) people.add(event.from, people.total);
  // Our own words came back before their ack: no need to show them twice for a moment.
  const echoed = item?.own && outbox.find(other => other.state === "sent" && other.talk === room && same(other, item));
  if (echoed) forget(echoed);
  if (hole) catchUp(room, { id: event.id, epoch: room.epoch }).catch(() => {}); // the next connection repeats it
  else if (!room.catchingUp) room.complete = room.newest;
  refresh();
}

const on = {
  public: heardInRoom,
  action: heardInRoom,
  private({ ts, from, to, body }) {
    if (from === me.name) return; // the copy of our own: its `ack` tells us all we need
    if (ignored.has(from)) return;
    const talk = talkWith(from);
    talk.name = from;
    const item = { kind: "private", era: 0, n: ++talk.newest, ts, from, body, own: false, version: 0 };
    talk.insert(item);
    arrived(talk, item);
    keepSoon();
    refresh();
  },
  join({ room, name, total }) {
    people.add(name, total);
    if (name !== me.name && !ignored.has(name)) comings(roomOf(room), name, T.joined);
  },
  leave({ room, name, total, why }) {
    people.delete(name, total);
    if (name === me.name || ignored.has(name)) return;
    const [word, target] = (why ?? "").split(" "); // "timeout", or "room dev"
    const reason = word && (T.whys[word] ?? word).replace("{room}", target);
    comings(roomOf(room), name, reason ? T.goneWhy.replace("{why}", () => reason) : T.gone);
  },
  nick({ room, from, name }) {
    const isMe = from === me.name;
    if (isMe) {
      me.name = name;
      memory.set("roomd-name", name);
      restore(name);
    }
    people.rename(from, name);
    if (!isMe && ignored.has(from)) return ignored.add(name); // another name is no way around it
    roomOf(room).note(isMe ? fill(T.renamedYou, { name }) : fill(T.renamed, { from, name }));
    const talk = conversations.get(talkKey(from));
    if (talk) {
      conversations.delete(talk.key);
      Object.assign(talk, { name, key: talkKey(name) });
      conversations.set(talk.key, talk);
      talk.note(fill(T.renamed, { from, name }));
    }
  },
  presence({ room, joined, left, total }) {
    roomOf(room).note([T.crowd(joined, left)]);
    people.total = total;
    people.reload();
  },
  error(event) { current.note([explain(event)], "trouble"); },
  bye({ why }) { link.shutdown = /shut/.test(why); },
};

const explain = ({ code, text }) => T.errors[code] ?? text ?? code;

/** Joins and leaves in a row share one line, and somebody who comes back takes only one place in it. */
function comings(room, name, text) {
  const last = room.items.findLast(item => item.era !== LAST);
  const shared = last?.comings?.length < 20 && last.n === room.newest && Date.now() - last.ts < GROUP_MS;
  const line = shared ? last : Object.assign(room.note([]), { comings: [] });
  line.comings = [...line.comings.filter(other => other.name !== name), { name, text }];
  const names = Map.groupBy(line.comings, coming => coming.text);
  line.nodes = [...names].flatMap(([text, who], i) => [i ? T.comma : "", ...fill(text, { name: listed(who.map(({ name }) => name)) })]);
  line.version++;
  refresh();
}

const people = {
  names: new Set(), total: 0, timer: 0, inOrder: [],
  set(names, total) { this.names = new Set(names); this.changed(total); },
  add(name, total) { this.names.add(name); this.changed(total); },
  delete(name, total) { this.names.delete(name); this.changed(total); },
  rename(from, name) { if (this.names.delete(from)) this.names.add(name); this.changed(this.total); },
  changed(total) {
    this.total = total;
    this.inOrder = null;
    refresh();
  },
  /** We are the first, then by the alphabet; put in order only when somebody looks. */
  get sorted() {
    return this.inOrder ??= [...this.names].sort((a, b) => (b === me.name) - (a === me.name) || alphabet.compare(a, b));
  },
  /** In a crowd only sums are told: ask for the names now and then, and not all pages at the same moment. */
  reload() {
    this.timer ||= setTimeout(async () => {
      this.timer = 0;
      if (document.visibilityState !== "visible") return;
      try { const { users, total } = await request({ type: "users" }); this.set(users, total); } catch { /* with the next connection */ }
    }, 2000 + Math.random() * 3000);
  },
};

let rooms = []; // [{name, members}]
async function loadRooms() {
  try { rooms = (await request({ type: "rooms" })).rooms; refresh(); } catch { /* with the next connection */ }
}

// === SENDING ===
// An own message is `queued` (no connection), `sent` (no ack yet), `delivered`, `failed` (refused) or
// `unknown` (the connection broke and the history cannot tell). All but the delivered ones are in the outbox.

let outbox = [];

/** What the daemon removes too: C0 and C1 but tab and newline, bidi controls, line separators. So both agree on what was said. */
const FORBIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** What is sent of a text: its lines and their indentation, but no blank ones around it. */
const cleaned = text => text.replace(/\r\n?/g, "\n").replace(FORBIDDEN, "").replace(/^(?:[^\S\n]*\n)+/, "").trimEnd();

const encoder = new TextEncoder();
const bytesOf = text => encoder.encode(text).length;

/** Has `send` say a text. One that is longer than the server takes stays where it was written, and the writer decides: false. */
function sayWith(send, text) {
  const body = cleaned(text), bytes = bytesOf(body);
  if (!body.trim()) return;
  if (bytes <= link.limit) return void send(body);
  const parts = split(body, link.limit), canSplit = parts.length <= PARTS_MAX;
  $("long-text").textContent = T.tooLong(bytes, link.limit) + (canSplit ? "" : " " + T.noSplit(PARTS_MAX));
  $("long-split").hidden = !canSplit;
  $("long-split").textContent = T.splitInto(parts.length);
  $("long-split").onclick = () => {
    const written = current;
    $("long-dialog").close();
    parts.forEach(send);
    if (current === written) setEntry(""); else written.draft = "";
  };
  openDialog("long-dialog");
  return false;
}

const PARTS_MAX = 20; // who has more to say wants to send a file

/**
 * Cuts a text into parts of at most `limit` bytes: between lines if possible, else between words, never within a
 * character. A block of code that is cut is closed at the end of the part and opened again in the next one.
 */
function split(text, limit) {
  const parts = [];
  let rest = text, fence = ""; // what opened the block that we are in
  while (bytesOf(fence + rest) > limit) {
    const room = limit - bytesOf(fence) - "\n```".length;
    const { read } = encoder.encodeInto(rest, new Uint8Array(Math.max(room, 4)));
    const between = mark => { const at = rest.lastIndexOf(mark, read); return at > read / 2 ? at : 0; };
    let cut = between("\n") || between(" ") || read, start = cut + (cut < read || /\s/.test(rest[cut]) ? 1 : 0);
    if (start === cut) {
      // Marks, joiners and back quotes belong to what is before them.
      while (cut > 1 && (/^[\p{M}\p{Emoji_Modifier}\u200d]/u.test(rest.slice(cut, cut + 2)) || /[\u200d`]/.test(rest[cut - 1]))) cut--;
      if (/[\udc00-\udfff]/.test(rest[cut])) cut--;
      start = cut = cut > 1 ? cut : read;
    }
    const part = rest.slice(0, cut), fences = [...part.matchAll(/```([\w+#.-]*\n)?/g)];
    const open = fences.length % 2 ? (fence ? "" : fences.at(-1)[0].trim() + "\n") : fence;
    parts.push(fence + part + (open ? "\n```" : ""));
    fence = open;
    rest = rest.slice(start);
  }
  if (rest.trim()) parts.push(fence + rest);
  return parts;
}

function say(talk, kind, body) {
  const item = { kind: talk.isRoom ? kind : "private", era: LAST, n: LAST, ts: Date.now(), from: me.name, body, own: true, version: 0,
    state: "queued", attempts: 0, talk };
  talk.pinned = true;
  talk.mark = null;
  talk.insert(item);
  outbox.push(item);
  flush();
  refresh();
}

function flush() {
  if (link.state === "open") outbox.filter(item => item.state === "queued").forEach(transmit);
}

async function transmit(item) {
  const { talk, kind, body } = item;
  if (bytesOf(body) > link.limit) return update(item, "failed", T.longerThan(link.limit)); // written before this server was known
  if (talk.isRoom && roomKey(me.room) !== talk.key) return update(item, "failed", T.wrongRoom);
  item.as = me.name;
  item.after = talk.complete;
  item.attempts++;
  update(item, "sent");
  try {
    const ack = await request(talk.isRoom ? { type: kind, body } : { type: kind, to: talk.name, body });
    forget(item); // from "not delivered" at the end …
    const n = talk.isRoom ? ack.id : ++talk.newest;
    Object.assign(item, { era: talk.era, n, id: ack.id, ts: ack.ts, from: me.name });
    update(item, "delivered");
    talk.insert(item); // … to its place; nothing happens if the room's own echo of it was faster
    talk.newest = Math.max(talk.newest, n);
    if (talk.complete === n - 1 && !talk.catchingUp) talk.complete = n;
    refresh();
  } catch (error) {
    if (!error.lost) update(item, "failed", explain(error)); // else: see `disconnected` and `settle`
  }
}

function update(item, state, trouble = "") {
  Object.assign(item, { state, trouble });
  item.version++;
  keepSoon();
  refresh();
}

function forget(item) {
  outbox = outbox.filter(other => other !== item);
  item.talk.remove(item);
  keepSoon();
  refresh();
}

// === COMMANDS ===

const isCommand = line => /^\/(?!\/)/.test(line); // `//x` says `/x`

/** Carries out a command. False: it was refused. A mistyped /msg must not be read by everybody, so it is not sent at all. */
function perform(line) {
  const [, word, rest] = /^\/(\S*)[^\S\n]*([^]*)$/.exec(line), name = word.toLowerCase();
  if (!Object.hasOwn(commands, name)) return complain(fill(T.unknownCommand, { command: "/" + word }));
  return commands[name](rest);
}

let complaint = null; // the last one; it goes when the next line is entered

function complain(nodes) {
  complaint?.talk.remove(complaint.item);
  complaint = { talk: current, item: current.note(nodes, "trouble") };
  announce(textOf(nodes));
  return false;
}

const written = name => `/${name} ${T.commands[name][0]}`;
const usage = name => complain(fill(T.usage, { usage: written(name) }));

/** Asks the server and shows the answer in the conversation. */
function ask(message, showAnswer) {
  if (link.state !== "open") return complain([T.noConnection]);
  const talk = current;
  request(message).then(
    answer => {
      const nodes = showAnswer(answer);
      if (nodes) { talk.note(nodes); announce(textOf(nodes)); }
    },
    error => { if (!error.lost) complain([explain(error)]); });
}

const listed = names => names.flatMap((name, i) => [i ? T.comma : "", make("bdi", {}, name)]);

const commands = {
  msg(rest) {
    const [, name, text] = /^(\S+)[^\S\n]*([^]*)$/.exec(rest) ?? [];
    if (!name) return usage("msg");
    if (!text.trim()) return openTalk(name);
    return sayWith(body => {
      openTalk(name);
      if (!current.isRoom) say(current, "private", body); // nobody talks to themselves
    }, text);
  },
  me(text) {
    if (!current.isRoom) return complain([T.roomsOnly]);
    if (!text) return usage("me");
    const talk = current;
    return sayWith(body => say(talk, "action", body), text);
  },
  nick(name) { return name ? ask({ type: "nick", name }, () => null) : usage("nick"); },
  join(name) { return name ? join(name.replace(/^#/, "")) : usage("join"); },
  who() {
    return ask({ type: "users" }, ({ users, total }) => {
      people.set(users, total);
      const more = total > users.length ? [T.comma, T.more(total - users.length)] : [];
      return fill(T.whoIs, { total, names: [...listed(users), ...more] });
    });
  },
  rooms() {
    return ask({ type: "rooms" }, answer => {
      rooms = answer.rooms;
      return fill(T.roomList, { names: listed(rooms.map(room => `#${room.name} (${room.members})`)) });
    });
  },
  history(count) {
    if (!current.isRoom) return complain([T.roomsOnly]);
    if (link.state !== "open") return complain([T.noConnection]);
    const talk = current;
    loadOlder(talk, Math.min(1000, Math.max(1, parseInt(count, 10) || 100))).then(() => {
      talk.pinned = false;
      talk.first = 0;
      talk.last = Math.min(talk.items.length, WINDOW);
      refresh();
      requestAnimationFrame(() => { log.scrollTop = 0; });
    });
  },
  ignore(name) {
    if (!name) return tell(ignored.names.size ? fill(T.ignoredAre, { names: listed([...ignored.names.values()]) }) : [T.ignoredNone]);
    if (fold(name) === fold(me.name)) return usage("ignore");
    ignore(name);
  },
  unignore(name) {
    if (!ignored.has(name)) return name ? complain(fill(T.notIgnored, { name })) : usage("unignore");
    unignore(name);
  },
  ping() {
    const start = performance.now();
    return ask({ type: "ping" }, () => [T.pong(Math.round(performance.now() - start))]);
  },
  help() { openDialog("help-dialog"); },
  quit() {
    if (link.state === "open") request({ type: "quit" }).catch(() => {});
    clearTimeout(link.timer);
    setState("left");
  },
};

function ignore(name) {
  ignored.add(name);
  tell(fill(T.ignoring, { name }));
}

function unignore(name) {
  ignored.delete(name);
  tell(fill(T.notIgnoring, { name }));
}

/** A line of the page's own in the visible conversation, which is read out, too. */
function tell(nodes) {
  current.note(nodes);
  announce(textOf(nodes));
}

function join(name) {
  if (roomKey(name) === roomKey(me.room)) return void show(roomOf(name));
  if (link.state !== "open") return complain([T.noConnection]);
  setState("entering");
  request({ type: "join", room: name }).then(
    hello => { show(roomOf(hello.room)); entered(hello); },
    error => { if (!error.lost) { setState("open"); complain([explain(error)]); flush(); } });
}

function openTalk(name) {
  if (fold(name) === fold(me.name)) return askName();
  show(talkWith(name));
}

// === PEOPLE ===
// The list of people is a listbox: one stop of Tab, arrow keys within. Only the rows in view are in the document,
// so that it may have thousands.

const MARGIN_ROWS = 6; // beyond the edges of what is in view

const crowd = {
  box: $("people"), scroller: document.querySelector(".lists"), filter: $("filter"),
  shown: [], from: null, wanted: "", // the names that fit the filter; what they were made of
  active: "",                        // the row that the keyboard is at
  rows: new Map(), count: 0,

  get height() { return parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize); },

  /** The names that fit the filter. */
  list() {
    const wanted = fold(this.filter.value.trim());
    if (this.from !== people.sorted || this.wanted !== wanted) {
      this.shown = wanted ? people.sorted.filter(name => fold(name).includes(wanted)) : people.sorted;
      this.from = people.sorted;
      this.wanted = wanted;
    }
    return this.shown;
  },

  /** Makes the keyboard's row another one, and brings it into view. */
  go(index) {
    const names = this.list(), at = Math.max(0, Math.min(names.length - 1, index));
    this.active = names[at] ?? "";
    const { scroller, box, height } = this, view = scroller.getBoundingClientRect(), cover = $("people-head").offsetHeight;
    const top = box.getBoundingClientRect().top + at * height;
    if (top < view.top + cover) scroller.scrollTop -= view.top + cover - top;
    else if (top + height > view.bottom) scroller.scrollTop += top + height - view.bottom;
    drawPeople();
  },
};

function drawPeople() {
  const { box, scroller, rows, height } = crowd, names = crowd.list();
  const { top, bottom } = scroller.getBoundingClientRect(), start = box.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((top - start) / height) - MARGIN_ROWS);
  const last = Math.min(names.length, Math.ceil((bottom - start) / height) + MARGIN_ROWS);
  const at = names.indexOf(crowd.active), indexes = [];
  for (let i = first; i < last; i++) indexes.push(i);
  if (at >= 0 && (at < first || at >= last)) indexes.push(at); // a screen reader is there
  const style = `${names.length * height}px`;
  if (box.style.height !== style) box.style.height = style;
  const drawn = new Set(indexes.map(i => names[i]));
  for (const name of rows.keys()) if (!drawn.has(name)) rows.delete(name);
  sync(box, indexes.map(i => personRow(names[i], i, names.length, i === at)));
  if (at >= 0) box.setAttribute("aria-activedescendant", rows.get(crowd.active).id); else box.removeAttribute("aria-activedescendant");

  const { total } = people, isFiltered = crowd.wanted !== "";
  put($("total"), total ? isFiltered ? `${names.length} / ${total}` : total : "");
  put($("people-none"), isFiltered && !names.length ? T.nobodyFits : "");
  put($("more-people"), total > people.names.size ? T.more(total - people.names.size) : "");
}

function personRow(name, index, total, isActive) {
  const { rows } = crowd;
  if (!rows.has(name)) {
    const more = make("span", { className: "icon more", title: T.menuOf }); // the keyboard has its own way there
    more.setAttribute("aria-hidden", "true");
    more.append($("dots").content.cloneNode(true));
    const row = make("div", { className: "entry", id: `person-${++crowd.count}` },
      face(name), make("bdi", { className: "cut" }, name), make("span", { className: "aside" }), more);
    row.setAttribute("role", "option");
    row.dataset.name = name;
    rows.set(name, row);
  }
  const row = rows.get(name), isMe = name === me.name, isIgnored = ignored.has(name);
  const set = (key, value) => { if (row.getAttribute(key) !== String(value)) row.setAttribute(key, value); };
  set("aria-posinset", index + 1);
  set("aria-setsize", total);
  set("aria-selected", isActive);
  set("title", isMe ? T.changeName : plain(T.talkTo, { name }));
  row.classList.toggle("ignored", isIgnored);
  put(row.querySelector(".aside"), isMe ? T.you : isIgnored ? T.ignoredSign : "");
  row.style.setProperty("--at", index);
  return row;
}

/** What one can do with somebody. */
function openMenu(name, near) {
  const menu = $("person-menu"), isMe = name === me.name;
  const item = (label, act) => {
    const button = make("button", { type: "button", className: "entry", tabIndex: -1, act: event => { menu.hidePopover(); act(); afterChoice(event); } }, label);
    button.setAttribute("role", "menuitem");
    return button;
  };
  menu.setAttribute("aria-label", name);
  menu.replaceChildren(...(isMe ? [item(T.changeName, () => askName())] : [
    item(T.talk, () => openTalk(name)),
    item(T.mention, () => { entry.setRangeText(name + " ", entry.selectionStart, entry.selectionEnd, "end"); fitEntry(); keepSoon(); }),
    ignored.has(name) ? item(T.unignore, () => unignore(name)) : item(T.ignore, () => ignore(name)),
  ]));
  menu.showPopover();
  const { left, bottom, top } = near.getBoundingClientRect();
  menu.style.left = Math.max(8, Math.min(left + 24, innerWidth - menu.offsetWidth - 8)) + "px";
  menu.style.top = (bottom + menu.offsetHeight + 8 < innerHeight ? bottom : Math.max(8, top - menu.offsetHeight)) + "px";
  menu.firstElementChild.focus();
}

crowd.box.addEventListener("click", event => {
  const row = event.target.closest("[role=option]");
  if (!row) return;
  crowd.active = row.dataset.name;
  if (event.target.closest(".more")) return openMenu(crowd.active, row);
  openTalk(crowd.active);
  afterChoice(event);
});
crowd.box.addEventListener("contextmenu", event => {
  const row = event.target.closest("[role=option]") ?? crowd.rows.get(crowd.active);
  if (!row) return;
  event.preventDefault();
  openMenu(row.dataset.name, row);
});
crowd.box.addEventListener("focus", () => { if (!crowd.list().includes(crowd.active)) crowd.active = crowd.shown[0] ?? ""; drawPeople(); });
crowd.box.addEventListener("keydown", event => {
  const at = crowd.list().indexOf(crowd.active), row = crowd.rows.get(crowd.active);
  const page = Math.max(1, Math.floor(crowd.scroller.clientHeight / crowd.height) - 2);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: Infinity, PageDown: at + page, PageUp: at - page }[event.key];
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (to !== undefined) crowd.go(to);
  else if ((event.key === "Enter" || event.key === " ") && row) { openTalk(crowd.active); afterChoice({ detail: 0 }); }
  else if ((event.key === "ArrowRight" || event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) && row) openMenu(crowd.active, row);
  else if (event.key.length === 1) return crowd.filter.focus(); // and there it is typed
  else return;
  event.preventDefault();
});
crowd.filter.addEventListener("input", () => { crowd.active = ""; crowd.go(0); crowd.active = ""; drawPeople(); });
crowd.filter.addEventListener("keydown", event => {
  const name = crowd.list()[0];
  if (event.key === "ArrowDown" && name) { crowd.active = name; crowd.box.focus(); }
  else if (event.key === "Enter" && name && crowd.wanted) { openTalk(name); afterChoice({ detail: 0 }); }
  else if (event.key === "Escape" && crowd.filter.value) { crowd.filter.value = ""; drawPeople(); event.stopPropagation(); }
  else return;
  event.preventDefault();
});
crowd.scroller.addEventListener("scroll", () => requestAnimationFrame(drawPeople), { passive: true });
new ResizeObserver(() => requestAnimationFrame(drawPeople)).observe(crowd.scroller);
$("person-menu").addEventListener("keydown", event => {
  const items = [...$("person-menu").children], at = items.indexOf(document.activeElement), n = items.length;
  const to = { ArrowDown: (at + 1) % n, ArrowUp: (at + n - 1) % n, Home: 0, End: n - 1 }[event.key];
  if (event.key === "Tab" || event.key === "Escape") { $("person-menu").hidePopover(); crowd.box.focus(); }
  else if (to !== undefined) items[to].focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
});

// === DRAWING ===
// State changes call `refresh`; at most once per frame `draw` makes the document agree with the state.

const log = $("log");
let frame = 0;
let current = roomOf(me.room);
let drawn = []; // the items in the document

function refresh() {
  const unread = [...conversations.values()].reduce((sum, talk) => sum + talk.unread, 0);
  const mentions = [...conversations.values()].reduce((sum, talk) => sum + talk.mentions, 0);
  const title = `${unread ? `(${unread}) ` : ""}${mentions ? `@${mentions} ` : ""}${current.title} · roomd`;
  if (document.title !== title) document.title = title; // here, since a hidden page draws nothing
  frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
}

function draw() {
  drawSide();
  drawTop();
  drawLog();
}

const rows = new Map(); // kept, so that a row keeps the focus while the list around it changes
const used = new Set(); // the rows of this drawing; the others are forgotten

function row(key, name, { act, symbol = () => face(name), title = "", isCurrent = false, unread = 0, aside = "" }) {
  used.add(key);
  if (!rows.has(key)) {
    const count = make("span");
    const button = make("button", { type: "button", className: "entry", act: event => { act(); afterChoice(event); } },
      symbol(), make("bdi", { className: "cut" }, name), count);
    rows.set(key, { item: make("li", {}, button), button, count });
  }
  const { item, button, count } = rows.get(key);
  if (button.title !== title) button.title = title;
  if (button.ariaCurrent !== String(isCurrent)) button.ariaCurrent = String(isCurrent);
  put(count, unread || aside);
  count.className = unread ? "badge" : "aside";
  return item;
}

function drawSide() {
  const here = { name: me.room, members: people.total };
  const others = rooms.filter(room => roomKey(room.name) !== roomKey(me.room));
  sync($("rooms"), [here, ...others].sort((a, b) => alphabet.compare(a.name, b.name)).map(({ name, members }) => {
    const key = roomKey(name), symbol = () => make("span", { className: "hash", ariaHidden: "true" }, "#");
    return row(key, name, { act: () => join(name), symbol, isCurrent: key === current.key, unread: conversations.get(key)?.unread, aside: members || "" });
  }));

  const talks = [...conversations.values()].filter(talk => !talk.isRoom);
  $("no-talks").hidden = talks.length > 0;
  sync($("talks"), talks.map(({ name, key, unread }) =>
    row(key + name, name, { act: () => show(talkWith(name)), isCurrent: key === current.key, unread })));

  drawPeople();

  for (const key of rows.keys()) if (!used.has(key)) rows.delete(key);
  used.clear();

  const name = me.name || "?";
  put($("me-name"), me.name || T.chooseName);
  put($("me-face"), [...name][0].toUpperCase());
  $("me-face").style.setProperty("--hue", hueOf(name));
  put($("me-state"), link.state === "open" ? T.connected : T.notConnected);
  $("me").dataset.state = link.state;
}

function drawTop() {
  put($("title"), current.title);
  put($("subtitle"), current.isRoom ? people.total ? T.here(people.total) : "" : T.privately);
  $("close-talk").hidden = current.isRoom;
  const invitation = current.isRoom ? plain(T.writeRoom, { room: current.title }) : plain(T.writeTalk, { name: current.name });
  if (entry.placeholder !== invitation) entry.placeholder = entry.ariaLabel = invitation;
  const elsewhere = [...conversations.values()].reduce((sum, talk) => sum + (talk === current ? 0 : talk.unread), 0);
  put($("menu-badge"), elsewhere);
  $("menu-badge").hidden = elsewhere === 0;
  $("notices").setAttribute("aria-pressed", notices.areOn);
  drawBanner();
}

const BANNER = {
  nameless: { text: () => T.nameless, button: () => T.chooseName, act: () => askName() },
  connecting: { text: () => T.connecting },
  retaking: { text: () => T.retaking, button: () => T.changeName, act: () => askName() },
  "catching-up": { text: () => T.catchingUp },
  waiting: { text: waitingText, button: () => T.tryNow, act: connect },
  left: { text: () => T.left, button: () => T.comeBack, act: come },
  elsewhere: { text: () => plain(T.elsewhere, { name: me.name }), button: () => T.useThisTab, act: tabs.takeOver,
    other: () => T.changeName, otherAct: () => askName() },
};

function waitingText() {
  if (!navigator.onLine) return T.offline;
  if (link.answer) return `${link.answer} ${T.tryingAgain}`;
  return link.shutdown ? T.shutdown : T.waiting;
}

function drawBanner() {
  const banner = BANNER[link.state], kept = outbox.filter(item => item.state === "queued").length;
  const seconds = Math.max(1, Math.ceil((link.retryAt - Date.now()) / 1000));
  const clock = link.state !== "waiting" ? "" : (navigator.onLine ? T.seconds(seconds) + " " : "") + (kept ? T.kept(kept) : "");
  const text = banner?.text() ?? "";
  $("banner").hidden = !banner;
  $("banner").classList.toggle("brief", link.state === "catching-up" || link.state === "connecting");
  put($("banner-text"), text);
  put($("banner-clock"), clock);
  $("banner-button").hidden = !banner?.button;
  put($("banner-button"), banner?.button?.() ?? "");
  $("banner-other").hidden = !banner?.other;
  put($("banner-other"), banner?.other?.() ?? "");
}

function drawLog() {
  const talk = current;
  if (talk.pinned) talk.toTail();
  const anchor = talk.pinned ? null : firstVisible();
  const left = new Set(drawn);
  drawn = talk.items.slice(talk.first, talk.last);
  for (const item of drawn) left.delete(item);
  for (const item of left) item.node = item.look = undefined; // an element out of sight is made again when it is needed
  sync($("items"), drawn.map((item, i) => nodeOf(item, talk.items[talk.first + i - 1], talk)));

  const atStart = talk.first === 0, empty = talk.items.length === 0 && link.state === "open";
  $("older-button").hidden = !(atStart && talk.canLoad);
  put($("older-text"), !atStart ? "" : talk.dropped ? T.dropped : talk.isRoom && !talk.more && talk.items.length > 30 ? T.beginning : "");
  $("blank").hidden = !empty;
  put($("blank-title"), talk.isRoom ? T.emptyRoom : plain(T.emptyTalk, { name: talk.name }));
  put($("blank-text"), talk.isRoom ? T.emptyRoomHint : T.emptyTalkHint);

  if (talk.pinned) log.scrollTop = log.scrollHeight;
  else if (anchor?.item.node?.isConnected) log.scrollTop += anchor.item.node.getBoundingClientRect().top - anchor.top;
  $("jump").hidden = talk.pinned;
  $("jump").className = talk.unread ? "fresh" : "";
  put($("jump"), talk.unread ? T.fresh(talk.unread) + " ↓" : T.latest);
}

/** The topmost item on the screen: it must not move while the document changes around it. */
function firstVisible() {
  const edge = log.getBoundingClientRect().top;
  for (const item of drawn) {
    if (!item.node?.isConnected) continue;
    const { top, bottom } = item.node.getBoundingClientRect();
    if (bottom > edge) return { item, top };
  }
}

/** The element of an item, made anew only if it looks different from last time. */
function nodeOf(item, previous, talk) {
  const day = previous && midnightOf(previous.ts) === midnightOf(item.ts) ? "" : dayName(item.ts);
  const isNew = item === talk.mark;
  const follows = !day && !isNew && item.kind !== "note" && item.kind !== "action" && previous.kind === item.kind
    && previous.from === item.from && previous.own === item.own && item.ts - previous.ts < GROUP_MS;
  const look = [item.version, day, isNew, follows, item.own ? "" : me.name].join();
  if (item.look !== look) {
    item.look = look;
    item.node = make("div", {},
      ...(day ? [make("p", { className: "day" }, day)] : []),
      ...(isNew ? [make("p", { className: "day mark" }, T.unreadMark)] : []),
      item.kind === "note" ? make("p", { className: `note ${item.className}` }, ...item.nodes) : messageNode(item, follows));
  }
  return item.node;
}

function messageNode(item, follows) {
  const { kind, from, body, own, state, ts, id } = item;
  const article = make("article", { className: `message ${kind}${own ? " own" : ""}${follows ? " follow" : ""}`, hue: hueOf(from) });
  if (id) article.dataset.id = id;
  if (state) article.dataset.state = state;
  if (!own && kind !== "private" && mentionsUs(body)) article.classList.add("mentions");

  const who = make("button", { type: "button", className: own || follows ? "unseen" : "who cut", tabIndex: -1, act: () => openTalk(from) },
    make("bdi", {}, from));
  const time = make("time", { dateTime: new Date(ts).toISOString(), title: moment.format(ts) + (id ? ` · ${id}` : "") }, clock.format(ts));
  const sign = { queued: " · " + T.queued, sent: " …", delivered: " ✓" }[state];
  const meta = make("span", { className: "meta" }, time, sign ? make("span", { title: T[state], role: "img", label: T[state] }, sign) : "");
  const text = make("bdi", { className: "body" }, ...(kind === "action" ? [make("bdi", {}, from), " "] : []), ...formatted(body, own));
  const bubble = make("div", { className: "bubble" }, ...(kind === "action" ? [] : [who]), text, meta);
  if (!own && !follows) article.append(face(from));
  article.append(bubble);

  if (state === "failed" || state === "unknown") {
    const button = (label, act) => make("button", { type: "button", className: "link", act: () => { act(); entry.focus(); } }, label);
    article.append(make("div", { className: "remedy", role: "alert" },
      state === "failed" ? plain(T.refused, { text: item.trouble }) : T.unknown,
      state === "failed" ? button(T.edit, () => { forget(item); setEntry(body); }) : button(T.again, () => { item.attempts = 0; update(item, "queued"); flush(); }),
      button(T.discard, () => forget(item))));
  }
  return article;
}

/** The parts of a text: `block` (between ```), `code` (between `) and plain `text`. Nothing else of Markdown is known. */
function partsOf(body) {
  const pieces = body.split("```");
  if (pieces.length % 2 === 0) pieces.push("```" + pieces.splice(-1)); // the last one is not closed: it is no block
  const isBlock = i => i % 2 === 1 && i < pieces.length - 1 && pieces[i].trim() !== "";
  return pieces.flatMap((piece, i) => {
    if (isBlock(i)) {
      const [, language, code] = /^(?:([\w+#.-]*)[ \t]*\n)?([^]*)$/.exec(piece);
      return [{ kind: "block", text: code.replace(/\n$/, ""), language }];
    }
    let text = i % 2 === 1 && i < pieces.length - 1 ? "```" + piece + "```" : piece;
    if (isBlock(i - 1)) text = text.replace(/^\n/, ""); // a block stands on lines of its own anyway
    if (isBlock(i + 1)) text = text.replace(/\n$/, "");
    return text.split(/`([^`\n]+)`/).map((text, k) => ({ kind: k % 2 ? "code" : "text", text })).filter(part => part.text);
  });
}

/** A text as nodes: code in its own type, addresses as links. */
function formatted(body, own) {
  return partsOf(body).flatMap(({ kind, text, language }) => {
    if (kind === "block") return [make("pre", { title: language ?? "" }, make("code", {}, text))];
    if (kind === "code") return [make("code", {}, text)];
    return withLinks(text).flatMap(node => typeof node === "string" && !own ? withMentions(node) : [node]);
  });
}

const withMentions = text =>
  text.split(new RegExp(ourName(), "giu")).map((piece, i) => i % 2 ? make("mark", { className: "mention" }, piece) : piece);

/** The text, with its http and https addresses as links that say nothing about this page to the other side. */
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"'“”‘’「」『』《》，。、；：！？（）【】]+)/i).flatMap((piece, i) => {
    if (i % 2 === 0) return [piece];
    const address = addressIn(piece);
    let url;
    try { url = new URL(address); } catch { return [piece]; }
    if (url.protocol !== "http:" && url.protocol !== "https:") return [piece];
    // The title is the real host in ASCII, so that a look-alike address shows what it is.
    const anchor = make("a", { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
    return [anchor, piece.slice(address.length)];
  });
}

/** The address at the front of a piece of text: a bracket ends it unless it was opened within, and so does punctuation. */
function addressIn(piece) {
  const opened = [], closing = { "(": ")", "[": "]", "{": "}" };
  let end = 0;
  for (; end < piece.length; end++) {
    if (closing[piece[end]]) opened.push(closing[piece[end]]);
    else if (/[)\]}]/.test(piece[end]) && opened.pop() !== piece[end]) break;
  }
  return piece.slice(0, end).replace(/[.,;:!?([{]+$/, "");
}

// === CONTROLS ===

const entry = $("entry");

/** Makes another conversation the visible one. */
function show(talk) {
  if (talk !== current) {
    current.draft = entry.value;
    current.mark = null;
    current = talk;
    setEntry(talk.draft, false);
  }
  talk.pinned = true;
  markRead();
  refresh();
}

/** A choice was made in the side bar: back to writing. Touch screens keep their keyboard down. */
function afterChoice(event) {
  closeSide();
  const byKeyboard = event.detail === 0;
  if ((byKeyboard || matchMedia("(hover: hover)").matches) && !document.querySelector("dialog[open]")) entry.focus();
}

function setEntry(text, focus = true) {
  entry.value = text;
  keepSoon();
  fitEntry();
  if (focus) entry.focus();
}

function fitEntry() {
  const place = log.scrollTop;
  entry.style.height = "auto"; // to be measured; the log grows for that moment, and must not be scrolled by it
  entry.style.height = entry.scrollHeight + "px";
  entry.style.overflowY = entry.scrollHeight > entry.clientHeight ? "auto" : "hidden";
  const surplus = entry.value.length > link.limit / 4 ? bytesOf(cleaned(entry.value)) - link.limit : 0;
  $("surplus").hidden = surplus <= 0;
  put($("surplus"), surplus > 0 ? T.surplus(surplus) : "");
  log.scrollTop = current.pinned ? log.scrollHeight : place;
  const [, typed, space] = /^\/(\w*)(\s?)$/.exec(entry.value) ?? [];
  const fits = name => space ? name === typed : name.startsWith(typed.toLowerCase());
  const matches = typed === undefined ? [] : Object.keys(T.commands).filter(fits);
  $("hints").hidden = matches.length === 0;
  $("hints").replaceChildren(...matches.map(name =>
    make("li", {}, make("code", {}, written(name)), make("span", {}, T.commands[name][1]))));
  completion = matches[0] && !space ? `/${matches[0]} ` : "";
}
let completion = ""; // what Tab makes of it

let completing = null; // the names that fit what was typed, and which of them is there now

/** Completes the name before the cursor, or puts the next one (`step` 1) or the last one (-1) in its place. */
function completeName(step) {
  const { value, selectionStart: caret, selectionEnd: end } = entry;
  const goesOn = completing?.value === value && completing.caret === caret;
  if (caret !== end || (!goesOn && step < 0)) return false;
  if (!goesOn) {
    const names = [...new Set([...people.sorted, ...[...conversations.values()].filter(talk => !talk.isRoom).map(talk => talk.name)])];
    const word = /[\p{L}\p{M}\p{N}_.-]*$/u.exec(value.slice(0, caret))[0];
    // Without spaces between words, the name may begin anywhere in what looks like one.
    const starts = [0, ...[...word.matchAll(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu)].map(match => match.index)];
    for (const start of starts) {
      const typed = fold(word.slice(start)), fitting = names.filter(name => name !== me.name && fold(name).startsWith(typed));
      completing = { names: fitting, at: -1, start: caret - word.length + start, space: /^\s/.test(value.slice(caret)) ? "" : " " };
      if (typed && fitting.length) break;
      completing = null;
    }
    if (!completing) return false;
  }
  const { names, start, space } = completing;
  completing.at = (completing.at + step + names.length) % names.length;
  const name = names[completing.at];
  entry.setRangeText(name + space, start, caret, "end");
  Object.assign(completing, { value: entry.value, caret: entry.selectionStart });
  announce(name);
  fitEntry();
  keepSoon();
  return true;
}

function submit() {
  const text = entry.value, line = text.trim().replace(/^／/, "/"); // as some input methods write it
  if (!line) return;
  if (link.state === "nameless") return askName();
  if (link.state === "left") return complain([T.left]);
  if (link.state === "elsewhere") return complain([plain(T.elsewhere, { name: me.name })]);
  if (link.state === "entering" || link.state === "retaking") return; // which room will this be for? Ask again in a moment
  const talk = current;
  if (hidesCommand(line)) return complain([T.oneLine]);
  complaint?.talk.remove(complaint.item);
  complaint = null;
  if (isCommand(line)) { if (perform(line) === false) return keepEntry(); } // it stays there to be corrected
  else if (sayWith(body => say(talk, "public", body), text.replace(/^(\s*)\/\//, "$1/")) === false) return keepEntry();
  if (current === talk) setEntry(""); else talk.draft = "";
}
const keepEntry = () => { if (!document.querySelector("dialog[open]")) entry.select(); };

/** Would a command be said for everybody to read? Only the first line is obeyed; within a block of code nothing is meant. */
function hidesCommand(text) {
  const [first, ...others] = text.split("\n"), word = line => /^\s*\/(\S*)/.exec(line)?.[1].toLowerCase();
  if (others.length && isCommand(first) && !["me", "msg"].includes(word(first))) return true;
  return partsOf(text.replace(/^\s*\/+/, "")).some(({ kind, text }) =>
    kind === "text" && text.split("\n").some(line => Object.hasOwn(commands, word(line) ?? "")));
}

entry.addEventListener("input", () => { fitEntry(); keepSoon(); });
entry.addEventListener("keydown", event => {
  if (event.isComposing || event.keyCode === 229) return; // Enter chooses a character of the input method
  if (event.key === "Enter" && !event.shiftKey) submit();
  else if (event.key === "Tab" && !event.shiftKey && completion) setEntry(completion);
  else if (event.key === "Tab" && completeName(event.shiftKey ? -1 : 1)) { /* it is done */ }
  else if (event.key === "Escape" && !$("hints").hidden) setEntry("");
  else if (event.key === "PageUp") log.scrollBy(0, -0.85 * log.clientHeight);
  else if (event.key === "PageDown") log.scrollBy(0, 0.85 * log.clientHeight);
  else return;
  event.preventDefault();
});
$("composer").addEventListener("submit", event => { event.preventDefault(); submit(); entry.focus(); });

document.addEventListener("keydown", event => {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") { closeSide(); entry.focus(); }
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    const talks = [roomOf(me.room), ...[...conversations.values()].filter(talk => !talk.isRoom)];
    const at = talks.indexOf(current) + (event.key === "ArrowUp" ? -1 : 1);
    show(talks[(at + talks.length) % talks.length]);
    announce(current.title);
    entry.focus();
  }
});

log.addEventListener("scroll", () => {
  if (logSize !== log.clientWidth + "×" + log.clientHeight) return; // it scrolled because it was resized
  const talk = current, below = log.scrollHeight - log.scrollTop - log.clientHeight;
  const pinned = talk.last === talk.items.length && below < 40;
  if (pinned !== talk.pinned) { talk.pinned = pinned; refresh(); }
  if (pinned) markRead();
  else if (log.scrollTop < 500 && talk.first > 0) { talk.slide(-STEP); refresh(); }
  else if (log.scrollTop < 200) loadOlder(talk);
  else if (below < 500 && talk.last < talk.items.length) { talk.slide(STEP); refresh(); }
}, { passive: true });

// The log's size changes with the window, the composer and a phone's keyboard: who was at the end stays there.
let logSize = "";
new ResizeObserver(() => {
  logSize = log.clientWidth + "×" + log.clientHeight;
  fitEntry();
}).observe(log);

const clicks = {
  jump() { current.pinned = true; markRead(); refresh(); entry.focus(); },
  "older-button"() { loadOlder(current); },
  "banner-button"() { BANNER[link.state]?.act?.(); },
  "banner-other"() { BANNER[link.state]?.otherAct?.(); },
  "forget-kept"() { forgetKept(); restore(me.name); put($("kept-state"), T.keptForgotten); },
  "close-talk"() {
    if (outbox.some(item => item.talk === current)) return complain([T.unsent]);
    conversations.delete(current.key);
    keepSoon();
    show(roomOf(me.room));
    entry.focus();
  },
  skip(event) { event.preventDefault(); entry.focus(); },
  me() { askName(); },
  notices() { notices.toggle(); },
  help() { put($("kept-state"), ""); openDialog("help-dialog"); },
  "new-room"() { closeSide(); setEntry("/join "); },
  menu: openSide,
  "close-side": closeSide,
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);

function openSide() {
  document.body.classList.add("side-open");
  $("menu").setAttribute("aria-expanded", "true");
  document.querySelector("main").inert = true;
  $("close-side").focus();
  if (link.state === "open") loadRooms();
}
function closeSide() {
  if (!document.body.classList.contains("side-open")) return;
  document.body.classList.remove("side-open");
  $("menu").setAttribute("aria-expanded", "false");
  document.querySelector("main").inert = false;
  $("menu").focus();
}
document.addEventListener("click", event => { if (event.target === document.body) closeSide(); }); // beside it
matchMedia("(max-width: 46rem)").addEventListener("change", closeSide);

/** `showModal` keeps the focus inside, closes by Escape and gives the focus back. */
function openDialog(id) {
  closeSide();
  if (!$(id).open) $(id).showModal();
}
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", event => { if (event.target.matches("dialog, [data-close]")) dialog.close(); });
  dialog.addEventListener("close", () => entry.focus());
}

function askName(trouble = "") {
  $("name").value = me.name;
  $("name-trouble").textContent = trouble;
  openDialog("name-dialog");
  $("name").select();
}

$("name-form").addEventListener("submit", event => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  if (link.state === "open" || link.state === "catching-up") { // a new name for somebody who is in already
    request({ type: "nick", name }).then(
      () => $("name-dialog").close(),
      error => { $("name-trouble").textContent = error.lost ? T.noConnection : explain(error); $("name").select(); });
    return;
  }
  me.name = name;
  me.chosen = true;
  $("name-dialog").close();
  come();
});

addEventListener("hashchange", () => { if (roomInAddress()) join(roomInAddress()); });
addEventListener("online", hurry);
addEventListener("offline", refresh);
addEventListener("focus", markRead);
document.addEventListener("visibilitychange", () => { keepNow(); markRead(); if (document.visibilityState === "visible") hurry(); });
addEventListener("beforeunload", event => { if (outbox.some(item => item.state === "queued")) event.preventDefault(); });

// === START ===

document.documentElement.lang = LOCALE;
for (const element of document.querySelectorAll("[data-text]")) element.textContent = T[element.dataset.text];
for (const element of document.querySelectorAll("[data-label]")) {
  element.setAttribute("aria-label", T[element.dataset.label]);
  if (element.tagName === "BUTTON") element.title = T[element.dataset.label];
}
$("filter").placeholder = T.filter;
$("kept-text").textContent = T.keptWhere(KEPT_MESSAGES, KEPT_BYTES / 1024);
const explained = (code, text) => [make("dt", {}, make("code", {}, code)), make("dd", {}, text)];
$("help-list").append(
  ...Object.entries(T.commands).flatMap(([name, [, text]]) => explained(written(name), text)),
  ...explained(T.slashed, T.slashes), ...explained("`x` ```x```", T.code),
  ...Object.entries(T.keys).flatMap(([key, text]) => explained(key, text)));

setInterval(everySecond, 1000);
fitEntry();
refresh();
if (me.name) come(); else askName();
entry.focus({ preventScroll: true });
if ($("name-dialog").open) $("name").focus();
