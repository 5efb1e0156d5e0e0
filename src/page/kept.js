// The server keeps no private conversations, and nobody else has our drafts, or knows which rooms we are in and what we
// have read: that is in the browser's storage, one record per name, so that a reload loses nothing. What is oldest goes
// first, messages as well as names. What has still to be sent belongs to the tab that it was written in: two would send
// it twice.

const OUTBOX = "roomd-outbox";
const KEPT = "roomd-kept:";
const KEPT_NAMES = 5, KEPT_MESSAGES = 1000, KEPT_BYTES = 256 * 1024, KEPT_DRAFT_BYTES = 32 * 1024;
const KEEP_MS = 200; // a burst of changes is written once
const READ_MS = 2000; // what was read may be counted again after a crash: a busy room need not write all the time

const kept = { name: null, timer: 0 }; // whose record this page has read, and writes

const keepSoon = (ms = KEEP_MS) => { kept.timer ||= setTimeout(keepNow, ms); };

function keepNow() {
  clearTimeout(kept.timer);
  kept.timer = 0;
  if (kept.name === null) return;
  keepOutbox();
  if (["claiming", "elsewhere"].includes(link.state)) return; // another tab knows more, perhaps
  const messages = [], list = [];
  let bytes = 0;
  const fits = (text, limit) => (bytes += bytesOf(text) + 64) <= limit; // with what is around it
  for (const talk of conversations.values()) {
    const { isRoom, name, unread, epoch, read, items } = talk, written = draftOf(talk);
    const draft = written.trim() && fits(written, KEPT_DRAFT_BYTES) ? written : "";
    if (isRoom || draft || items.length) list.push([isRoom, name, draft, isRoom ? 0 : unread, epoch, read]);
  }
  const all = talks().flatMap(talk => talk.items.filter(item => item.kind === "private" && !outbox.includes(item)).map(item => ({ talk, item })));
  all.sort((a, b) => b.item.ts - a.item.ts);
  for (const { talk, item } of all.slice(0, KEPT_MESSAGES)) {
    if (!fits(talk.name + item.body, KEPT_BYTES)) break;
    messages.push([talk.name, item.ts, item.own ? item.state : "", item.body]);
  }
  const key = KEPT + kept.name;
  const session = kept.name === fold(me.name) ? me.session : ""; // it goes along to another name
  memory.keep(key, JSON.stringify({ ts: Date.now(), messages: messages.reverse(), talks: list, shown: current.key, session }));
  const others = keptKeys().filter(other => other !== key);
  if (others.length < KEPT_NAMES) return;
  others.sort((a, b) => keptIn(b).ts - keptIn(a).ts).slice(KEPT_NAMES - 1).forEach(memory.drop);
}

function keepOutbox() {
  memory.keepHere(OUTBOX, JSON.stringify(outbox.map(({ talk, node, look, ...item }) => ({ ...item, to: talk.name }))));
}

/** What this tab had still to send when it was loaded anew: under the `ref` that the server may know. */
function restoreOutbox() {
  let list = [];
  try { list = JSON.parse(memory.get(OUTBOX)); } catch { /* nothing */ }
  for (const { to, ...item } of list) {
    if (outbox.some(other => other.ref === item.ref)) continue;
    item.talk = item.kind === "private" ? talkWith(to) : roomOf(to);
    item.talk.insert(item);
    outbox.push(item);
  }
}

const draftOf = talk => talk === current ? entry.value : talk.draft;

const keptKeys = () => memory.keys().filter(key => key.startsWith(KEPT));

/** A record; whatever is not one counts as an empty one. */
function keptIn(key) {
  try {
    const { ts, messages, talks = [], shown, session = "" } = JSON.parse(memory.get(key));
    if ([messages, talks].every(Array.isArray)) return { ts: Number(ts), messages, talks, shown, session: String(session) };
  } catch { /* somebody else wrote it */ }
  return { ts: 0, messages: [], talks: [], session: "" };
}

/** We are this one now: their conversations are added to those that are here, their rooms only before we come in. */
function restore(name) {
  if (!name || kept.name === fold(name)) return;
  if (kept.name !== null) keepNow();
  const isFirst = kept.name === null, here = new Set(conversations.keys()), restored = [];
  kept.name = fold(name);
  const { messages, talks: list, shown } = keptIn(KEPT + kept.name);
  for (const [isRoom, who, draft, , epoch, read] of list) {
    const key = (isRoom ? roomKey : talkKey)(String(who));
    if (isRoom && link.socket && !here.has(key)) continue;
    const talk = conversation(key, String(who), Boolean(isRoom));
    restored.push(talk);
    if (talk !== current) talk.draft ||= String(draft);
    else if (!entry.value) setEntry(String(draft), false);
    if (isRoom && talk.epoch === null && epoch) Object.assign(talk, { epoch: Number(epoch), read: Number(read) });
  }
  for (const [who, ts, state, body] of messages) {
    const talk = talkWith(String(who));
    if (here.has(talk.key)) continue;
    const own = state !== "";
    talk.insert({ kind: "private", era: 0, n: ++talk.newest, ts: Number(ts), from: own ? name : talk.name, body: String(body), own, state: own ? "delivered" : "", version: 0 });
  }
  if (isFirst) restoreOutbox();
  for (const [isRoom, who, , unread] of list) {
    const talk = !isRoom && conversations.get(talkKey(String(who)));
    if (!talk || here.has(talk.key) || !unread) continue;
    talk.unread = Number(unread);
    talk.mark = talk.items.filter(item => !item.own).at(-talk.unread) ?? null;
  }
  if (isFirst) arrange([...new Set([...restored, ...conversations.values()])]);
  if (isFirst && restored.some(talk => talk.isRoom)) resume(restored, conversations.get(String(shown)));
}

/** Shows what was on show, unless the address names a room. */
function resume(restored, shown) {
  if (roomInAddress()) return;
  const provisional = current, typed = entry.value;
  me.room = restored.find(talk => talk.isRoom);
  show(shown ?? me.room);
  if (restored.includes(provisional)) return;
  conversations.delete(provisional.key);
  if (typed && !entry.value) setEntry(typed, false);
}

/** Forgets all private conversations and drafts, under whatever name. */
function forgetKept() {
  show(me.room);
  for (const room of rooms()) room.draft = "";
  dropConversations(talks());
  keepOutbox();
  setEntry("", false);
  keptKeys().forEach(memory.drop);
}

/** Another tab knows them better, so all conversations are read again, and the outbox with them. */
function dropAll() {
  keepOutbox();
  dropConversations([...conversations.values()]);
  me.room = roomOf(roomInAddress() || "lobby");
  show(me.room);
}

function dropConversations(gone) {
  outbox = outbox.filter(item => !gone.includes(item.talk));
  for (const talk of gone) conversations.delete(talk.key);
  kept.name = null;
  refresh();
}
