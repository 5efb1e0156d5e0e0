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
  const unread = talks.filter(talk => !talk.isRoom && talk.unread).map(talk => [talk.name, talk.unread]);
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
  memory.keep(key, JSON.stringify({ ts: Date.now(), messages: messages.reverse(), drafts, unread }));
  const others = keptKeys().filter(other => other !== key);
  others.sort((a, b) => keptIn(b).ts - keptIn(a).ts).slice(KEPT_NAMES - 1).forEach(memory.drop);
}

const keptKeys = () => memory.keys().filter(key => key.startsWith(KEPT));

/** A record; whatever is not one counts as an empty one. */
function keptIn(key) {
  try {
    const { ts, messages, drafts, unread } = JSON.parse(memory.get(key));
    if ([messages, drafts, unread].every(Array.isArray)) return { ts: Number(ts), messages, drafts, unread };
  } catch { /* somebody else wrote it */ }
  return { ts: 0, messages: [], drafts: [], unread: [] };
}

/** We are this one now: their conversations are added to those that are here. */
function restore(name) {
  if (!name || kept.name === fold(name)) return;
  kept.name = fold(name);
  const { messages, drafts, unread } = keptIn(KEPT + kept.name), here = new Set(conversations.keys());
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
  for (const [who, count] of unread) {
    const talk = conversations.get(talkKey(String(who)));
    if (!talk || here.has(talk.key)) continue;
    talk.unread = Number(count);
    talk.mark = talk.items.filter(item => !item.own).at(-talk.unread) ?? null;
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
