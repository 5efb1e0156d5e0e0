// What the server says, and what becomes of it.

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

let rooms = []; // [{name, members}]
async function loadRooms() {
  try { rooms = (await request({ type: "rooms" })).rooms; refresh(); } catch { /* with the next connection */ }
}
