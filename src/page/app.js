// What the reader does: writing, keys, clicks, dialogs; and how the page begins.

// === CONTROLS ===

const entry = $("entry");

/** Makes another conversation the visible one, with what the page has of it: the server is not asked. */
function show(talk) {
  if (talk === current) talk.pinned = true;
  else {
    current.draft = entry.value;
    current.mark = null;
    if (drawnTalk === current) current.place = firstVisible();
    current = talk;
    if (talk.isRoom) {
      me.room = talk;
      talk.people.reload();
    }
    setEntry(talk.draft, false);
    const address = talk.isRoom && talk.key !== LOBBY ? "#" + encodeURIComponent(talk.name) : location.pathname;
    history.replaceState(null, "", address);
  }
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
  const isLong = entry.value.length > link.limit / 4 || linesOf(entry.value) > BODY_LINES;
  const surplus = isLong ? excess(cleaned(entry.value), T.surplus) : "";
  $("surplus").hidden = !surplus;
  put($("surplus"), surplus);
  log.scrollTop = current.pinned ? log.scrollHeight : place;
  const [, typed, space] = /^\/(\w*)(\s?)$/.exec(entry.value) ?? [];
  const isMeant = name => space ? name === commandOf(typed) : name.startsWith(typed.toLowerCase());
  const matches = typed === undefined ? [] : Object.keys(T.commands).filter(isMeant);
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
    const names = [...new Set([...me.room.people.sorted, ...talks().map(talk => talk.name)])];
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
  const [first, ...others] = text.split("\n"), word = line => commandOf(/^\s*\/(\S*)/.exec(line)?.[1] ?? "");
  if (others.length && isCommand(first) && !["me", "msg"].includes(word(first))) return true;
  return partsOf(text.replace(/^\s*\/+/, "")).some(({ kind, text }) =>
    kind === "text" && text.split("\n").some(line => Object.hasOwn(commands, word(line))));
}

entry.addEventListener("input", () => { fitEntry(); keepSoon(); });
entry.addEventListener("keydown", event => {
  if (event.isComposing || event.keyCode === 229) return; // Enter chooses a character of the input method
  if (event.key === "Enter" && !event.shiftKey) submit();
  else if (event.key === "Tab" && !event.shiftKey && completion) setEntry(completion);
  else if (event.key === "Tab" && completeName(event.shiftKey ? -1 : 1)) { /* it is done */ }
  else if (event.key === "Escape" && !$("hints").hidden) setEntry("");
  else if (event.key === "PageUp") { log.scrollBy(0, -0.85 * log.clientHeight); loadNearTop(); }
  else if (event.key === "PageDown") log.scrollBy(0, 0.85 * log.clientHeight);
  else return;
  event.preventDefault();
});
$("composer").addEventListener("submit", event => { event.preventDefault(); submit(); entry.focus(); });

document.addEventListener("keydown", event => {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") { closeSide(); entry.focus(); }
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || !event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  event.preventDefault();
  const list = event.shiftKey && current.isRoom ? rooms() : event.shiftKey ? talks() : [...rooms(), ...talks()];
  const to = (list.indexOf(current) + step + list.length) % list.length;
  if (event.shiftKey) move(current, to); else visit(list[to]);
  announce(event.shiftKey ? T.moved(to + 1, list.length) : spoken(current));
  entry.focus();
});

/** Older messages are fetched before the reader comes to the first one. */
function loadNearTop() { if (current.first === 0 && log.scrollTop < 200) loadOlder(current); }

log.addEventListener("scroll", () => {
  if (logSize !== log.clientWidth + "×" + log.clientHeight) return; // it scrolled because it was resized
  if (drawnTalk !== current) return; // nor is it that one any more
  const talk = current, below = log.scrollHeight - log.scrollTop - log.clientHeight;
  const pinned = talk.last === talk.items.length && below < 40;
  if (pinned !== talk.pinned) { talk.pinned = pinned; refresh(); }
  if (pinned) refresh();
  else if (log.scrollTop < 500 && talk.first > 0) { talk.slide(-STEP); refresh(); }
  else if (log.scrollTop < 200) loadNearTop();
  else if (below < 500 && talk.last < talk.items.length) { talk.slide(STEP); refresh(); }
}, { passive: true });

/** Where there is nothing to scroll, the wish to go up is no event of scrolling. */
log.addEventListener("keydown", event => { if (["PageUp", "Home", "ArrowUp"].includes(event.key)) loadNearTop(); });
log.addEventListener("wheel", event => { if (event.deltaY < 0) loadNearTop(); }, { passive: true });

// The log's size changes with the window, the composer and a phone's keyboard: who was at the end stays there.
let logSize = "";
new ResizeObserver(() => {
  logSize = log.clientWidth + "×" + log.clientHeight;
  fitEntry();
}).observe(log);

const clicks = {
  jump() { show(current); draw(); entry.focus(); }, // at once: an event of scrolling may be on its way, and mean the old place
  "older-button"() { loadOlder(current); },
  "banner-button"() { BANNER[link.state]?.act?.(); },
  "banner-other"() { BANNER[link.state]?.otherAct?.(); },
  "forget-kept"() { forgetKept(); restore(me.name); put($("kept-state"), T.keptForgotten); },
  skip(event) { event.preventDefault(); entry.focus(); },
  me() { askName(); },
  notices() { notices.toggle(); },
  help() { put($("kept-state"), ""); openDialog("help-dialog"); },
  "new-room": openFinder,
  menu: openSide,
  "close-side": closeSide,
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);

function openSide() {
  document.body.classList.add("side-open");
  $("menu").setAttribute("aria-expanded", "true");
  document.querySelector("main").inert = true;
  $("close-side").focus();
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
  $(id).querySelector(".scroll")?.scrollTo(0, 0);
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
  if (isIn()) { // a new name for somebody who is in already
    request({ type: "nick", name }).then(
      () => $("name-dialog").close(),
      error => { $("name-trouble").textContent = error.lost ? T.noConnection : explain(error); $("name").select(); });
    return;
  }
  me.name = name;
  $("name-dialog").close();
  come();
});

addEventListener("hashchange", () => { if (roomInAddress()) join(roomInAddress()); });
addEventListener("online", hurry);
addEventListener("offline", refresh);
addEventListener("focus", refresh);
document.addEventListener("visibilitychange", () => {
  keepNow();
  refresh();
  if (document.visibilityState === "visible") hurry();
});
addEventListener("beforeunload", event => { if (outbox.some(item => item.state === "queued")) event.preventDefault(); });

// === START ===

document.documentElement.lang = LOCALE;
for (const element of document.querySelectorAll("[data-text]")) element.textContent = T[element.dataset.text];
for (const element of document.querySelectorAll("[data-label]")) {
  element.setAttribute("aria-label", T[element.dataset.label]);
  if (element.tagName === "BUTTON") element.title = T[element.dataset.label];
}
$("filter").placeholder = T.filter;
$("room").placeholder = T.findRoom;
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
