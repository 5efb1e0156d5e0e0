// Coming into rooms and leaving them. The page does not wait for the server to show a room: what is written there
// meanwhile is sent once we are in.

/** Shows a conversation, and enters it if it is a room that we are not in. */
function visit(talk) {
  show(talk);
  if (talk.isRoom && !talk.joined && isIn()) enterRoom(talk);
}

function join(name) {
  if (link.state === "entering") return complain([T.noConnection]); // `hello` is on its way, and names other rooms
  visit(roomOf(name));
}

async function enterRoom(room) {
  try {
    admit(await request({ type: "join", room: room.name }), room);
  } catch (error) {
    if (!error.lost) refused(room, error); // else the next `hello` names it
  }
}

/** The server says that we are not there, although it had let us in. */
function enterAgain(item) {
  item.talk.joined = false;
  update(item, "queued");
  enterRoom(item.talk);
}

/** A room that cannot be had is forgotten, unless something was written there. */
function refused(room, error) {
  for (const item of outbox) if (item.talk === room) update(item, "failed", explain(error));
  if (room.items.length || draftOf(room).trim()) return void room.note([explain(error)], "trouble");
  drop(room);
  complain([explain(error)]);
}

const isLastLobby = talk => talk.key === LOBBY && rooms().length === 1;

/** Leaves a room, or closes a private conversation. False: it cannot be. */
function leave(talk) {
  if (outbox.some(item => item.talk === talk)) return complain([T.unsent]);
  if (isLastLobby(talk)) return complain([T.inLobby]);
  if (talk.isRoom && isIn()) tellLeft(talk.name); // else `hello` does not name it
  drop(talk);
  announce(plain(talk.isRoom ? T.leftRoom : T.closedTalk, { name: talk.title }));
}

/** If it is not heard, the next `hello` says the same. */
function tellLeft(name) { request({ type: "leave", room: name }).catch(() => {}); }

/** Takes a conversation off the list. What was on show gives its place to the next room. */
function drop(talk) {
  const at = rooms().indexOf(talk);
  conversations.delete(talk.key);
  // Whoever leaves the last room is in the lobby: the server will say so.
  if (talk === me.room) me.room = rooms()[at] ?? rooms().at(-1) ?? roomOf("lobby");
  if (talk === current) show(me.room);
  keepSoon();
  refresh();
}
