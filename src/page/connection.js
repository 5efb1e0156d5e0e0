// === CONNECTION ===
// The states: nameless → claiming → connecting → entering → catching-up → open → waiting → connecting → …
// `left` after /quit; `elsewhere` while another tab holds our name or has continued our session.

const RETRY_FIRST_MS = 500, RETRY_MAX_MS = 30_000;
const STEADY_MS = 15_000; // a connection that lived shorter was no success: the next attempt waits longer still
const HURRY_MS = 5000;    // a reader who looks at the page makes it try again at most so often
const ATTEMPTS_MAX = 3;   // a message that is on its way when a connection breaks may be the reason
const BODY_BYTES = 4096;  // a message may have so many, unless the server says otherwise
const BODY_LINES = 128;   // and so many lines, whatever the server says
const UPGRADE_REQUIRED = 426; // the status of a server that is there, and of our kind
const TOO_BIG = 1009, TAKEN_OVER = 4002; // close codes: we sent too much at once; another connection has continued our session
const SILENCE_MS = 30_000, ANSWER_MS = 10_000; // ask after so much silence; dead if no answer comes in time
const HISTORY_FIRST = 100; // so many messages of a room are fetched at first,
const HISTORY_MAX = 1000;  // or more, if more are new,
const HISTORY_BEFORE = 20; // and some before them

const link = { socket: null, state: "nameless", turn: 0, tries: 0, triedAt: 0, retryAt: 0, timer: 0, welcomed: 0, heard: 0, probed: 0,
  shutdown: false, limit: BODY_BYTES, answer: "" };
const me = { name: memory.get("roomd-name"),
  session: memory.get("roomd-session"), // what the server knows us by when we come back; "" if it does not
  room: current }; // the one on show, or the last one that was
const waiting = new Map(); // ref → the promise of an answer

// A session knows a `ref` for as long as it lasts, over reloads of the page: so no page ever uses one of another.
const refsBegin = Math.random().toString(36).slice(2);
let refs = 0;
const newRef = () => `${refsBegin}-${++refs}`;

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
    if (event.code === TAKEN_OVER) stepAside(); else disconnected();
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

/** The connection is gone, and is made anew unless there is a reason why not. */
function disconnected() {
  const had = link.state;
  hangUp();
  if (["left", "nameless", "elsewhere"].includes(had)) return setState(had);
  if (link.welcomed && Date.now() - link.welcomed >= STEADY_MS) link.tries = 0;
  link.welcomed = 0;
  // "Equal jitter": at least half of the growing delay, so that a thousand pages do not come back at once.
  const delay = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** link.tries++) * (0.5 + Math.random() / 2);
  link.retryAt = Date.now() + delay;
  link.timer = setTimeout(connect, delay);
  setState("waiting");
}

/** Nothing more is heard from this connection, nor answered. */
function hangUp() {
  const { socket } = link;
  link.socket = null;
  socket?.close();
  for (const { reject } of waiting.values()) reject({ lost: true });
  waiting.clear();
  for (const room of rooms()) room.joined = false;
}

/** Are we in, and can ask for more? */
const isIn = () => ["open", "catching-up"].includes(link.state) && link.socket?.readyState === WebSocket.OPEN;

/** Sends a request. Its promise is kept by the answer with the same `ref`, or broken by an error or the connection's end. */
function request(message, ref = newRef()) {
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
  if (link.probed > link.heard) { if (now - link.probed > ANSWER_MS) disconnected(); }
  else if (now - link.heard > SILENCE_MS) probe();
}

function probe() {
  if (link.probed > link.heard) return;
  link.probed = Date.now();
  request({ type: "ping" }).catch(() => {});
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
  for (;;) {
    const { room, session } = me, names = rooms().filter(other => other !== room).map(other => other.name);
    const hello = { type: "hello", name: me.name, room: room.name, rooms: names, session: session || undefined };
    try {
      return void entered(room, await request(hello));
    } catch (error) {
      if (error.lost || turn !== link.turn) return;
      if (error.code.startsWith("name-")) {
        setState("nameless");
        return askName(explain(error));
      } else if (room.key !== LOBBY) {
        // It cannot be had: no such name, or no space for one more.
        me.room = rooms().find(other => other !== room) ?? roomOf("lobby");
        refused(room, error);
      } else {
        complain([explain(error)]);
        return disconnected(); // full, perhaps: later, then
      }
    }
  }
}

/** We are in, in one room at least. What is said of the others comes behind it, and `admit` takes it. */
async function entered(room, hello) {
  const { socket } = link;
  me.name = hello.name;
  memory.set("roomd-name", me.name);
  setSession(hello.session ?? "");
  restore(me.name);
  link.welcomed ||= Date.now();
  link.answer = "";
  link.limit = hello.limit > 0 ? hello.limit : BODY_BYTES;
  setState("catching-up");
  announce(plain(T.youAreIn, { name: me.name, room: "#" + hello.room }));
  outbox.filter(item => item.state === "sent").forEach(sendOrAsk);
  await admit(hello, room);
  if (socket !== link.socket) return;
  setState("open");
  flush();
}

/**
 * A message was on its way when a connection broke. A server that has continued the session knows whether it came: sent
 * again with the same `ref`, it is not said again. Any other server does not know, so the writer decides.
 */
function sendOrAsk(item) {
  const isKnown = item.session && item.session === me.session;
  update(item, isKnown && item.attempts < ATTEMPTS_MAX ? "queued" : "unknown");
}

/** Its room was forgotten and made again: the first `ack` would have an id that is another message's by now. */
function askAnew(item) {
  Object.assign(item, { ref: newRef(), session: "" });
  if (item.state === "queued") update(item, "unknown");
}

/** The session is kept for a reload of this tab; and with the record of our name, for another one when this one is closed. */
function setSession(session) {
  me.session = session;
  memory.keepHere("roomd-session", session);
  keepSoon();
}

let queue = Promise.resolve(); // one room after the other, so that a slow network brings the room on show first

/** The server says that we are in a room: what we hold of it is brought up to date, once. */
function admit({ room: name, users, total, id, epoch }, room = conversations.get(roomKey(name))) {
  if (!room || conversations.get(room.key) !== room) return tellLeft(name); // we did so before this arrived
  if (room.name !== name) rename(room, name);
  room.people.set(users, total);
  if (room.joined) return;
  room.joined = room.catchingUp = true;
  if (room.epoch === null) room.read = id; // what was said before we first came is no news
  else if (room.epoch !== epoch) {
    room.beginAnew();
    outbox.filter(item => item.talk === room && item.session).forEach(askAnew);
  }
  room.epoch = epoch;
  room.told = id;
  refresh();
  keepSoon();
  const { socket } = link;
  return queue = queue.then(async () => {
    if (socket !== link.socket || conversations.get(room.key) !== room) return;
    try {
      await catchUp(room);
    } catch (error) {
      if (error.lost) return;
      room.note([explain(error)], "trouble");
    }
    flush();
  });
}

/** Fetches what was said while we were away, by id; at first, the last messages. */
async function catchUp(room) {
  const { told, fetched } = room;
  room.catchingUp = true;
  try {
    if (!fetched) {
      const limit = Math.min(HISTORY_MAX, Math.max(HISTORY_FIRST, told - room.read + HISTORY_BEFORE));
      const { events, more } = await request({ type: "history", room: room.name, limit });
      if (more) room.unread += Math.max(0, events[0].id - 1 - room.read); // so many have to be asked for by the reader
      room.begin(events, more);
      events.forEach(event => take(room, event));
    } else {
      for (let more = told > room.complete; more;) {
        const after = room.complete, reply = await request({ type: "history", room: room.name, after, limit: 200 });
        const missing = (reply.events[0]?.id ?? told + 1) - after - 1;
        if (missing > 0) room.note([T.gap(missing)], "gap", after, reply.events[0]?.ts);
        reply.events.forEach(event => take(room, event));
        room.complete = reply.events.at(-1)?.id ?? told;
        more = reply.more;
      }
    }
    room.complete = room.newest = Math.max(room.newest, told);
  } finally {
    room.catchingUp = false;
    refresh();
  }
}

/** Fetches older messages, one request at a time, until at least one of them is to be seen. */
async function loadOlder(room, limit = 100) {
  if (!room.canLoad) return;
  room.loading = true;
  refresh();
  try {
    for (let isSeen = false; room.more && !isSeen;) {
      const before = room.oldest, { events, more } = await request({ type: "history", room: room.name, limit, before });
      if (room.oldest !== before) return; // the reader went away, and those that these belong to were dropped
      Object.assign(room, { oldest: events[0]?.id ?? room.oldest, more: more && events.length > 0 });
      isSeen = events.map(event => keep(room, event)).some(Boolean);
    }
  } catch (error) {
    if (error.lost) return; // whoever is there when we are in again asks again
    room.more = false;
    room.note([explain(error)], "trouble");
  } finally {
    room.loading = false;
    refresh();
  }
}
