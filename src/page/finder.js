// The rooms that one is not in: found by typing, or made by a name that no room has.

const ROOMS_DRAWN = 100;

const finder = { rooms: [], isAsking: false, at: 0 }; // what the server listed; the choice that Enter takes

function openFinder() {
  Object.assign(finder, { rooms: [], isAsking: true, at: 0 });
  $("room").value = "";
  drawFinder();
  openDialog("rooms-dialog");
  $("room").focus();
  request({ type: "rooms" }).then(answer => { finder.rooms = answer.rooms; }, () => {}).finally(() => {
    finder.isAsking = false;
    drawFinder();
  });
}

/** What can be entered: the same name first, then those that begin so, then the largest; and a new room at the end. */
function choices() {
  const name = withoutHash($("room").value), wanted = fold(name), rank = room => fold(room.name).indexOf(wanted) && 1;
  const found = finder.rooms.filter(room => !conversations.has(roomKey(room.name)) && fold(room.name).includes(wanted));
  const isSame = room => fold(room.name) === wanted;
  found.sort((a, b) =>
    isSame(b) - isSame(a) || rank(a) - rank(b) || b.members - a.members || alphabet.compare(a.name, b.name));
  return name && !found.some(isSame) ? [...found, { name, isNew: true }] : found;
}

function drawFinder() {
  const all = choices(), shown = all.slice(0, ROOMS_DRAWN);
  finder.at = Math.max(0, Math.min(finder.at, shown.length - 1));
  $("others").replaceChildren(...shown.map((room, i) => choice(room, i === finder.at, i)));
  $("others").hidden = shown.length === 0;
  $("others").children[finder.at]?.scrollIntoView({ block: "nearest" });
  if (shown.length) $("room").setAttribute("aria-activedescendant", `other-${finder.at}`);
  else $("room").removeAttribute("aria-activedescendant");
  const more = all.length - shown.length;
  put($("others-none"), more ? T.moreRooms(more) : shown.length || finder.isAsking ? "" : T.noOthers);
}

function choice({ name, members, isNew }, isChosen, i) {
  const text = conversations.has(roomKey(name)) ? T.goTo : T.makeRoom;
  const row = make("div", { className: "entry", id: `other-${i}`, act: () => choose(name) },
    make("span", { className: "hash", ariaHidden: "true" }, isNew ? "+" : "#"),
    make("span", { className: "cut" }, ...(isNew ? fill(text, { room: "#" + name }) : [make("bdi", {}, name)])),
    make("span", { className: "aside" }, isNew ? "" : T.here(members)));
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", isChosen);
  return row;
}

function choose(name) {
  $("rooms-dialog").close();
  join(name);
}

$("room").addEventListener("input", () => { finder.at = 0; drawFinder(); });
$("room").addEventListener("keydown", event => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  finder.at += step;
  drawFinder();
});
$("rooms-form").addEventListener("submit", event => {
  event.preventDefault();
  const chosen = choices()[finder.at];
  if (chosen) choose(chosen.name);
});
