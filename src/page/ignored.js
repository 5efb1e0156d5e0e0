// Somebody who is ignored says nothing here: neither in the rooms nor in private. The server knows nothing of it; the
// names are kept in this browser.

const IGNORED_MAX = 500;

const ignored = {
  names: new Map(), // folded → as written
  has(name) { return this.names.has(fold(name)); },
  load() {
    try { for (const name of JSON.parse(memory.get("roomd-ignored"))) this.names.set(fold(String(name)), String(name)); } catch { /* nobody */ }
  },
  save() {
    for (const key of this.names.keys()) if (this.names.size > IGNORED_MAX) this.names.delete(key);
    if (this.names.size) memory.keep("roomd-ignored", JSON.stringify([...this.names.values()])); else memory.drop("roomd-ignored");
    refresh();
  },
  add(name) {
    this.names.set(fold(name), name);
    for (const room of rooms()) {
      for (const item of room.items.filter(item => item.id && !item.own && fold(item.from) === fold(name))) {
        room.remove(item);
        room.hide(item);
      }
    }
    this.save();
  },
  delete(name) {
    this.names.delete(fold(name));
    for (const room of rooms()) {
      const back = room.hidden.filter(item => fold(item.from) === fold(name));
      room.hidden = room.hidden.filter(item => !back.includes(item));
      back.forEach(item => room.insert(item));
    }
    this.save();
  },
};
ignored.load();
addEventListener("storage", event => { if (event.key === "roomd-ignored") { ignored.names.clear(); ignored.load(); refresh(); } });
