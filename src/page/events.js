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

/** The same from somebody, who may be heard now for the first time. */
function take(room, event) {
  const item = keep(room, event);
  if (item && !item.own && item.id > room.read) arrived(room, item);
  return item;
}

/** The room that an event is about; none if we have left it since. */
function roomIn({ room: name }) {
  const room = conversations.get(roomKey(name));
  return room?.joined ? room : undefined;
}

function heardInRoom(event) {
  const room = roomIn(event);
  if (!room) return;
  // Our own words are not shown twice for a moment: the `ack` that follows puts them here. If it is lost, there is a hole.
  if (event.from === me.name && outbox.some(item => item.state === "sent" && item.talk === room)) return;
  const hole = !room.catchingUp && event.id > room.complete + 1;
  take(room, event);
  const { people } = room;
  // In a crowd not all are listed, but who speaks is here.
  if (!people.names.has(event.from) && people.names.size < people.total) people.add(event.from, people.total);
  if (hole) {
    room.told = event.id;
    catchUp(room).then(flush, () => {}); // the next connection repeats it
  } else if (!room.catchingUp) room.complete = room.newest;
  refresh();
}

const on = {
  hello: event => { admit(event); }, // where we are when the last room was left
  room: event => { admit(event); },
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
  join(event) {
    const room = roomIn(event), { name, total } = event;
    room?.people.add(name, total);
    if (room && name !== me.name && !ignored.has(name)) comings(room, name, T.joined);
  },
  leave(event) {
    const room = roomIn(event), { name, total, why } = event;
    room?.people.delete(name, total);
    if (!room || name === me.name || ignored.has(name)) return;
    comings(room, name, why ? T.goneWhy.replace("{why}", () => T.whys[why] ?? why) : T.gone);
  },
  nick({ from, name }) {
    const isMe = from === me.name, isQuiet = !isMe && ignored.has(from);
    if (isMe) {
      me.name = name;
      memory.set("roomd-name", name);
      restore(name);
    }
    if (isQuiet) ignored.add(name); // another name is no way around it
    const text = () => isMe ? fill(T.renamedYou, { name }) : fill(T.renamed, { from, name });
    for (const room of rooms()) if (room.people.rename(from, name) && !isQuiet) room.note(text());
    const talk = conversations.get(talkKey(from));
    if (talk && !isQuiet) { rename(talk, name); talk.note(text()); }
    refresh();
  },
  presence(event) {
    const room = roomIn(event);
    room?.note([T.crowd(event.joined, event.left)]);
    room?.people.crowded(event.total);
  },
  error(event) {
    const room = event.room && conversations.get(roomKey(event.room));
    if (room && !room.joined) refused(room, event); else current.note([explain(event)], "trouble");
  },
  bye({ why }) {
    link.shutdown = /shut/.test(why);
    if (why === "taken-over") stepAside();
  },
};

const explain = ({ code, text = code }) => T.errors[code]?.replace("{text}", () => text) ?? text;

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
