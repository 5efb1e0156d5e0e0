// Who is in a room, as far as the server lists them.

class Members {
  names = new Set();
  total = 0;
  inOrder = []; // null: to be put in order when somebody looks
  isStale = false;
  timer = 0;

  constructor(room) { this.room = room; }

  set(names, total) {
    this.names = new Set(names);
    this.inOrder = null;
    this.isStale = false;
    this.count(total);
  }
  add(name, total) {
    if (!this.names.has(name)) this.inOrder = this.inOrder?.toSpliced(this.place(name), 0, name);
    this.names.add(name);
    this.count(total);
  }
  delete(name, total) {
    if (this.names.delete(name)) this.inOrder = this.inOrder?.toSpliced(this.place(name), 1);
    this.count(total);
  }
  /** False: this one is not here, or not listed. */
  rename(from, name) {
    if (!this.names.delete(from)) return false;
    this.names.add(name);
    this.inOrder = null;
    return true;
  }
  count(total) {
    this.total = total;
    refresh();
  }
  /** We are the first, then by the alphabet; what that holds for equal is in order, too, so that it is found again. */
  order = (a, b) => (b === me.name) - (a === me.name) || alphabet.compare(a, b) || (a < b ? -1 : a > b);
  /** Always a new list, so that one sees that it has changed. */
  get sorted() { return this.inOrder ??= [...this.names].sort(this.order); }
  /** Where a name is in order, or would be. */
  place(name) {
    let low = 0, high = this.inOrder.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order(this.inOrder[middle], name) < 0) low = middle + 1; else high = middle;
    }
    return low;
  }
  /** In a crowd only sums are told. The names are asked for now and then, not by all pages at the same moment, and only
   * for the room on show: the others are asked about when they are shown. */
  crowded(total) {
    this.isStale = true;
    this.count(total);
    this.reload(2000 + Math.random() * 3000);
  }
  reload(delay = 0) {
    if (!this.isStale) return;
    this.timer ||= setTimeout(async () => {
      this.timer = 0;
      if (document.visibilityState !== "visible" || me.room !== this.room) return;
      try {
        const { users, total } = await request({ type: "users", room: this.room.name });
        this.set(users, total);
      } catch { /* with the next connection */ }
    }, delay);
  }
}
