// The list of the conversations: rooms first, each kind in the order that the reader chose.

const rows = new Map(); // kept, so that a row keeps the focus while the list around it changes

/** What a screen reader says of a conversation. */
const spoken = talk => [talk.title, talk.news ? T.unread(talk.news, talk.mentions) : ""].filter(Boolean).join(", ");

function newRow(talk) {
  const symbol = talk.isRoom ? make("span", { className: "hash", ariaHidden: "true" }, "#") : face(talk.name);
  const call = make("span", { className: "call", ariaHidden: "true" }, "@");
  const count = make("span", { ariaHidden: "true" }), state = make("span", { className: "unseen" });
  const does = act => event => { act(talk); afterChoice(event); };
  const button = make("button", { type: "button", className: "entry", act: does(visit) },
    symbol, make("bdi", { className: "cut" }, talk.name), call, count, state);
  const close = make("button", { type: "button", className: "icon close", act: does(leave) });
  close.append($("cross").content.cloneNode(true));
  const item = make("li", { draggable: true }, button, close);
  item.addEventListener("dragstart", event => {
    dragged = talk;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", talk.title); // some browsers drag nothing else
  });
  item.addEventListener("dragover", event => {
    if (dragged?.isRoom !== talk.isRoom) return;
    event.preventDefault(); // it may be dropped here
    const to = (talk.isRoom ? rooms() : talks()).indexOf(talk);
    if (dragged !== talk && to >= 0) move(dragged, to);
  });
  item.addEventListener("drop", event => event.preventDefault()); // or the browser looks for the text
  item.addEventListener("dragend", () => { dragged = null; refresh(); });
  return { name: talk.name, item, button, call, count, state, close };
}
let dragged = null;

function row(talk) {
  if (rows.get(talk)?.name !== talk.name) rows.set(talk, newRow(talk));
  const { item, button, call, count, state, close } = rows.get(talk), { news, mentions, isRoom } = talk;
  const isCurrent = String(talk === current), members = talk.joined ? talk.people.total : 0;
  if (button.ariaCurrent !== isCurrent) button.ariaCurrent = isCurrent;
  item.classList.toggle("dragged", talk === dragged);
  item.classList.toggle("news", news > 0);
  call.hidden = mentions === 0;
  put(count, news || members || "");
  count.className = news ? "badge" : "aside";
  put(state, news ? T.unread(news, mentions) : members ? T.here(members) : "");
  const label = plain(isRoom ? T.leaveRoom : T.closeTalk, { name: talk.title });
  if (close.ariaLabel !== label) close.ariaLabel = close.title = label;
  close.hidden = isLastLobby(talk);
  return item;
}

function drawSide() {
  for (const talk of rows.keys()) if (conversations.get(talk.key) !== talk) rows.delete(talk);
  sync($("rooms"), rooms().map(row));
  sync($("talks"), talks().map(row));
  $("no-talks").hidden = talks().length > 0;
  drawPeople();

  const name = me.name || "?";
  put($("me-name"), me.name || T.chooseName);
  put($("me-face"), [...name][0].toUpperCase());
  $("me-face").style.setProperty("--hue", hueOf(name));
  put($("me-state"), link.state === "open" ? T.connected : T.notConnected);
  $("me").dataset.state = link.state;
}
