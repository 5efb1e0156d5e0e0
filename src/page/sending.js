// === SENDING ===
// An own message is `queued` (no connection), `sent` (no ack yet), `delivered`, `failed` (refused) or `unknown` (the
// connection broke, and the server has forgotten our session). All but the delivered ones are in the outbox. It has one
// `ref` for its whole life, by which the server knows it again, and the `session` in which it may have been said.

let outbox = [];

/** What the daemon removes too: C0 and C1 but tab and newline, bidi controls, line separators. So both agree on what was said. */
const FORBIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** What is sent of a text: its lines and their indentation, but no blank ones around it. */
const cleaned = text => text.replace(/\r\n?/g, "\n").replace(FORBIDDEN, "").replace(/^(?:[^\S\n]*\n)+/, "").trimEnd();

const encoder = new TextEncoder();
const bytesOf = text => encoder.encode(text).length;
const linesOf = text => text.split("\n").length;
const fits = text => bytesOf(text) <= link.limit && linesOf(text) <= BODY_LINES;

/** What a text has too much of, said by `phrase` (how many there are, how many there may be, of what). */
const excess = (text, phrase) => [[bytesOf(text), link.limit, "bytes"], [linesOf(text), BODY_LINES, "lines"]]
  .filter(([n, most]) => n > most).map(([n, most, what]) => phrase(n, most, T[what])).join(" ");

/** Has `send` say a text. One that is longer than the server takes stays where it was written, and the writer decides: false. */
function sayWith(send, text) {
  const body = cleaned(text);
  if (!body.trim()) return;
  if (fits(body)) return void send(body);
  const parts = split(body, link.limit), canSplit = parts.length <= PARTS_MAX;
  $("long-text").textContent = excess(body, T.tooLong) + (canSplit ? "" : " " + T.noSplit(PARTS_MAX));
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
 * Cuts a text into parts of at most `limit` bytes and BODY_LINES lines: between lines if possible, else between words,
 * never within a character. A block of code that is cut is closed at the end of the part and opened again in the next one.
 */
function split(text, limit) {
  const parts = [], add = part => { if (part.trim()) parts.push(part.replace(/^\n+|\n+$/g, "")); };
  let rest = text, fence = ""; // what opened the block that we are in
  while (bytesOf(fence + rest) > limit || linesOf(fence + rest) > BODY_LINES) {
    const room = limit - bytesOf(fence) - "\n```".length;
    const bytes = encoder.encodeInto(rest, new Uint8Array(Math.max(room, 4))).read;
    const lines = BODY_LINES - (fence ? 1 : 0) - (text.includes("```") ? 1 : 0);
    const read = Math.min(bytes, rest.split("\n", lines).join("\n").length);
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
    add(fence + part + (open ? "\n```" : ""));
    fence = open;
    rest = rest.slice(start);
  }
  if (rest.trim()) add(fence + rest);
  return parts;
}

function say(talk, kind, body) {
  const item = { kind: talk.isRoom ? kind : "private", era: LAST, n: LAST, ts: Date.now(), from: me.name, body, own: true, version: 0,
    state: "queued", ref: newRef(), session: "", attempts: 0, talk };
  talk.pinned = true;
  talk.mark = null;
  talk.insert(item);
  outbox.push(item);
  flush();
  refresh();
}

function flush() {
  // The history of the room goes first: the reader waits for it, and many messages might be throttled.
  const isReady = ({ isRoom, joined, catchingUp }) => !isRoom || (joined && !catchingUp);
  if (isIn()) outbox.filter(item => item.state === "queued" && isReady(item.talk)).forEach(transmit);
}

async function transmit(item) {
  const { talk, kind, body, ref } = item;
  if (bytesOf(body) > link.limit) return update(item, "failed", T.longerThan(link.limit)); // written before this server was known
  item.session = me.session;
  item.attempts++;
  update(item, "sent");
  try {
    const ack = await request({ type: kind, [talk.isRoom ? "room" : "to"]: talk.name, body }, ref);
    forget(item); // from "not delivered" at the end …
    const n = talk.isRoom ? ack.id : ++talk.newest;
    Object.assign(item, { era: talk.era, n, id: ack.id, ts: ack.ts, from: me.name });
    update(item, "delivered");
    talk.insert(item); // … to its place; nothing happens if the room's own echo of it was faster
    talk.newest = Math.max(talk.newest, n);
    if (talk.complete === n - 1 && !talk.catchingUp) talk.complete = n;
    refresh();
  } catch (error) {
    if (error.lost) return; // see `sendOrAsk`
    item.session = ""; // it was not said in any
    if (error.code === "not-here" && item.attempts < ATTEMPTS_MAX) return enterAgain(item);
    update(item, "failed", explain(error));
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

/** The writer wants it, whatever became of it before. */
function sendAgain(item) {
  const { talk } = item;
  item.attempts = 0;
  update(item, "queued");
  if (talk.isRoom && !talk.joined && isIn()) enterRoom(talk); else flush();
}

// === COMMANDS ===

const isCommand = line => /^\/(?!\/)/.test(line); // `//x` says `/x`

const ALIASES = { w: "msg", names: "who", list: "rooms", part: "leave" };

/** The command that a word means, in any case and by the names that it has elsewhere; the word itself if it is none. */
function commandOf(word) {
  const name = word.toLowerCase();
  return Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
}

/** Carries out a command. False: it was refused. A mistyped /msg must not be read by everybody, so it is not sent at all. */
function perform(line) {
  const [, word, rest] = /^\/(\S*)[^\S\n]*([^]*)$/.exec(line), name = commandOf(word);
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
  if (!isIn()) return complain([T.noConnection]);
  const talk = current;
  request(message).then(
    answer => {
      const nodes = showAnswer(answer);
      if (nodes) { talk.note(nodes); announce(textOf(nodes)); }
    },
    error => { if (!error.lost) complain([explain(error)]); });
}

const withoutHash = name => name.trim().replace(/^#/, "");

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
  join(name) { return name ? join(withoutHash(name)) : usage("join"); },
  leave(name) {
    const talk = name ? conversations.get(roomKey(withoutHash(name))) : current;
    return talk ? leave(talk) : complain(fill(T.notIn, { room: "#" + withoutHash(name) }));
  },
  who(name) {
    return ask({ type: "users", room: name ? withoutHash(name) : me.room.name }, ({ room, users, total }) => {
      conversations.get(roomKey(room))?.people.set(users, total);
      const more = total > users.length ? [T.comma, T.more(total - users.length)] : [];
      return [name ? `#${room}: ` : "", ...fill(T.whoIs, { total, names: [...listed(users), ...more] })];
    });
  },
  rooms() {
    return ask({ type: "rooms" }, ({ rooms }) =>
      fill(T.roomList, { names: listed(rooms.map(room => `#${room.name} (${room.members}${room.joined ? ", " + T.joinedMark : ""})`)) }));
  },
  history(count) {
    if (!current.isRoom) return complain([T.roomsOnly]);
    if (!isIn()) return complain([T.noConnection]);
    const talk = current;
    talk.pinned = false; // or what is fetched would be dropped at once from a long conversation
    loadOlder(talk, Math.min(1000, Math.max(1, parseInt(count, 10) || 100))).then(() => {
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
    setSession("");
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

function openTalk(name) {
  if (fold(name) === fold(me.name)) return askName();
  show(talkWith(name));
}
