// The list of who is in the room is a listbox: one stop of Tab, arrow keys within. Only the rows in view are in the
// document, so that it may have thousands.

const MARGIN_ROWS = 6; // beyond the edges of what is in view

const crowd = {
  box: $("people"), scroller: document.querySelector(".lists"), filter: $("filter"),
  shown: [], from: null, wanted: "", // the names that fit the filter; what they were made of
  active: "",                        // the row that the keyboard is at
  rows: new Map(), count: 0,

  get height() { return parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize); },

  /** The names that fit the filter. */
  list() {
    const wanted = fold(this.filter.value.trim()), { sorted } = me.room.people;
    if (this.from !== sorted || this.wanted !== wanted) {
      this.shown = wanted ? sorted.filter(name => fold(name).includes(wanted)) : sorted;
      this.from = sorted;
      this.wanted = wanted;
    }
    return this.shown;
  },

  /** Makes the keyboard's row another one, and brings it into view. */
  go(index) {
    const names = this.list(), at = Math.max(0, Math.min(names.length - 1, index));
    this.active = names[at] ?? "";
    const { scroller, box, height } = this, view = scroller.getBoundingClientRect(), cover = $("people-head").offsetHeight;
    const top = box.getBoundingClientRect().top + at * height;
    if (top < view.top + cover) scroller.scrollTop -= view.top + cover - top;
    else if (top + height > view.bottom) scroller.scrollTop += top + height - view.bottom;
    drawPeople();
  },
};

function drawPeople() {
  const { box, scroller, rows, height } = crowd, names = crowd.list();
  const { top, bottom } = scroller.getBoundingClientRect(), start = box.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor((top - start) / height) - MARGIN_ROWS);
  const last = Math.min(names.length, Math.ceil((bottom - start) / height) + MARGIN_ROWS);
  const at = names.indexOf(crowd.active), indexes = [];
  for (let i = first; i < last; i++) indexes.push(i);
  if (at >= 0 && (at < first || at >= last)) indexes.push(at); // a screen reader is there
  const style = `${names.length * height}px`;
  if (box.style.height !== style) box.style.height = style;
  const drawn = new Set(indexes.map(i => names[i]));
  for (const name of rows.keys()) if (!drawn.has(name)) rows.delete(name);
  sync(box, indexes.map(i => personRow(names[i], i, names.length, i === at)));
  if (at >= 0) box.setAttribute("aria-activedescendant", rows.get(crowd.active).id); else box.removeAttribute("aria-activedescendant");

  const { total, names: listed } = me.room.people, isFiltered = crowd.wanted !== "";
  put($("total"), total ? isFiltered ? `${names.length} / ${total}` : total : "");
  put($("people-none"), isFiltered && !names.length ? T.nobodyFits : "");
  put($("more-people"), total > listed.size ? T.more(total - listed.size) : "");
}

function personRow(name, index, total, isActive) {
  const { rows } = crowd;
  if (!rows.has(name)) {
    const more = make("span", { className: "icon more", title: T.menuOf }); // the keyboard has its own way there
    more.setAttribute("aria-hidden", "true");
    more.append($("dots").content.cloneNode(true));
    const row = make("div", { className: "entry", id: `person-${++crowd.count}` },
      face(name), make("bdi", { className: "cut" }, name), make("span", { className: "aside" }), more);
    row.setAttribute("role", "option");
    row.dataset.name = name;
    rows.set(name, row);
  }
  const row = rows.get(name), isMe = name === me.name, isIgnored = ignored.has(name);
  const set = (key, value) => { if (row.getAttribute(key) !== String(value)) row.setAttribute(key, value); };
  set("aria-posinset", index + 1);
  set("aria-setsize", total);
  set("aria-selected", isActive);
  set("title", isMe ? T.changeName : plain(T.talkTo, { name }));
  row.classList.toggle("ignored", isIgnored);
  put(row.querySelector(".aside"), isMe ? T.you : isIgnored ? T.ignoredSign : "");
  row.style.setProperty("--at", index);
  return row;
}

/** What one can do with somebody. */
function openMenu(name, near) {
  const menu = $("person-menu"), isMe = name === me.name;
  const item = (label, act) => {
    const button = make("button", { type: "button", className: "entry", tabIndex: -1, act: event => { menu.hidePopover(); act(); afterChoice(event); } }, label);
    button.setAttribute("role", "menuitem");
    return button;
  };
  menu.setAttribute("aria-label", name);
  menu.replaceChildren(...(isMe ? [item(T.changeName, () => askName())] : [
    item(T.talk, () => openTalk(name)),
    item(T.mention, () => { entry.setRangeText(name + " ", entry.selectionStart, entry.selectionEnd, "end"); fitEntry(); keepSoon(); }),
    ignored.has(name) ? item(T.unignore, () => unignore(name)) : item(T.ignore, () => ignore(name)),
  ]));
  menu.showPopover();
  const { left, bottom, top } = near.getBoundingClientRect();
  menu.style.left = Math.max(8, Math.min(left + 24, innerWidth - menu.offsetWidth - 8)) + "px";
  menu.style.top = (bottom + menu.offsetHeight + 8 < innerHeight ? bottom : Math.max(8, top - menu.offsetHeight)) + "px";
  menu.firstElementChild.focus();
}

crowd.box.addEventListener("click", event => {
  const row = event.target.closest("[role=option]");
  if (!row) return;
  crowd.active = row.dataset.name;
  if (event.target.closest(".more")) return openMenu(crowd.active, row);
  openTalk(crowd.active);
  afterChoice(event);
});
crowd.box.addEventListener("contextmenu", event => {
  const row = event.target.closest("[role=option]") ?? crowd.rows.get(crowd.active);
  if (!row) return;
  event.preventDefault();
  openMenu(row.dataset.name, row);
});
crowd.box.addEventListener("focus", () => { if (!crowd.list().includes(crowd.active)) crowd.active = crowd.shown[0] ?? ""; drawPeople(); });
crowd.box.addEventListener("keydown", event => {
  const at = crowd.list().indexOf(crowd.active), row = crowd.rows.get(crowd.active);
  const page = Math.max(1, Math.floor(crowd.scroller.clientHeight / crowd.height) - 2);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: Infinity, PageDown: at + page, PageUp: at - page }[event.key];
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (to !== undefined) crowd.go(to);
  else if ((event.key === "Enter" || event.key === " ") && row) { openTalk(crowd.active); afterChoice({ detail: 0 }); }
  else if ((event.key === "ArrowRight" || event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) && row) openMenu(crowd.active, row);
  else if (event.key.length === 1) return crowd.filter.focus(); // and there it is typed
  else return;
  event.preventDefault();
});
crowd.filter.addEventListener("input", () => { crowd.active = ""; crowd.go(0); crowd.active = ""; drawPeople(); });
crowd.filter.addEventListener("keydown", event => {
  const name = crowd.list()[0];
  if (event.key === "ArrowDown" && name) { crowd.active = name; crowd.box.focus(); }
  else if (event.key === "Enter" && name && crowd.wanted) { openTalk(name); afterChoice({ detail: 0 }); }
  else if (event.key === "Escape" && crowd.filter.value) { crowd.filter.value = ""; drawPeople(); event.stopPropagation(); }
  else return;
  event.preventDefault();
});
crowd.scroller.addEventListener("scroll", () => requestAnimationFrame(drawPeople), { passive: true });
new ResizeObserver(() => requestAnimationFrame(drawPeople)).observe(crowd.scroller);
$("person-menu").addEventListener("keydown", event => {
  const items = [...$("person-menu").children], at = items.indexOf(document.activeElement), n = items.length;
  const to = { ArrowDown: (at + 1) % n, ArrowUp: (at + n - 1) % n, Home: 0, End: n - 1 }[event.key];
  if (event.key === "Tab" || event.key === "Escape") { $("person-menu").hidePopover(); crowd.box.focus(); }
  else if (to !== undefined) items[to].focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
});
