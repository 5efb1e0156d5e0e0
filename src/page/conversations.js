// A conversation is a room or a private talk. It keeps its items sorted and knows which slice of them,
// its window, is in the document: so the document stays small however long the conversation is.

const KEEP = 5000;    // items kept per conversation; what is older is dropped
const TAIL = 150;     // items in the document while the reader is at the newest one
const WINDOW = 300;   // at most so many while the reader is elsewhere
const STEP = 75;      // the window moves by so many
const GROUP_MS = 5 * 60_000; // messages of one person closer than this stand together
const LAST = Number.MAX_SAFE_INTEGER;

class Conversation {
  constructor(key, name, isRoom) {
    Object.assign(this, { key, name, isRoom });
    this.items = [];
    this.first = this.last = 0; // the window is items[first..last]
    this.pinned = true;         // the reader is at the newest item and follows
    this.unread = 0;
    this.mentions = 0;          // of the unread ones, those that name us
    this.mark = null;           // the first item that was new when the reader was away
    this.draft = "";
    this.hidden = [];           // of people who are ignored
    // Rooms: ids are comparable within an `epoch` of the server; `era` counts the epochs seen here.
    this.epoch = null;
    this.era = 0;
    this.newest = 0;            // the highest id seen
    this.complete = 0;          // every id up to this one was seen
    this.catchingUp = false;
    this.more = false;          // the server keeps older messages than items[0]
    this.dropped = false;
  }

  /** Can older messages be had? Not while we are in another room, nor those of an earlier era, nor what was dropped. */
  get canLoad() { return this.more && !this.dropped && this.era === 0 && this.key === roomKey(me.room); }

  get title() { return this.isRoom ? "#" + this.name : this.name; }

  /** Puts an item where it belongs: by era, then by id; what is not delivered yet is last. False: it is here already. */
  insert(item) {
    let low = 0, high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1, other = this.items[middle];
      if (other.era < item.era || (other.era === item.era && other.n <= item.n)) low = middle + 1; else high = middle;
    }
    if (item.id) {
      for (let i = low - 1; i >= 0 && this.items[i].n === item.n && this.items[i].era === item.era; i--) {
        if (this.items[i].id === item.id) return false;
      }
    }
    const following = this.last === this.items.length;
    this.items.splice(low, 0, item);
    if (low < this.first) { this.first++; this.last++; }
    else if (low < this.last || (low === this.last && following)) this.last++;
    this.trim();
    return true;
  }

  /** Puts an item aside, out of sight, until its writer is no longer ignored. */
  hide(item) {
    this.hidden.push(item);
    if (this.hidden.length > KEEP) this.hidden.shift();
  }

  remove(item) {
    const at = this.items.indexOf(item);
    if (at < 0) return;
    this.items.splice(at, 1);
    if (at < this.first) this.first--;
    if (at < this.last) this.last--;
  }

  trim() {
    const surplus = this.items.length - KEEP;
    if (surplus > 0) {
      this.items.splice(0, surplus);
      this.first = Math.max(0, this.first - surplus);
      this.last = Math.max(0, this.last - surplus);
      this.dropped = true;
    }
    if (this.pinned) this.toTail();
    this.last = Math.min(this.last, this.first + WINDOW);
  }

  toTail() {
    this.last = this.items.length;
    this.first = Math.max(0, this.last - TAIL);
  }

  slide(step) {
    if (step < 0) {
      this.first = Math.max(0, this.first + step);
      this.last = Math.min(this.last, this.first + WINDOW);
    } else {
      this.last = Math.min(this.items.length, this.last + step);
      this.first = Math.max(this.first, this.last - WINDOW);
    }
  }

  /** A line of the page's own: it belongs behind message `n`, by default the newest. */
  note(nodes, className = "", n = this.newest, ts = Date.now()) {
    const item = { kind: "note", era: this.era, n, ts, nodes, className, version: 0 };
    this.insert(item);
    refresh();
    return item;
  }
}

const conversations = new Map();
const roomKey = name => "#" + fold(name), talkKey = name => "@" + fold(name);

function conversation(key, name, isRoom) {
  if (!conversations.has(key)) conversations.set(key, new Conversation(key, name, isRoom));
  return conversations.get(key);
}
const roomOf = name => conversation(roomKey(name), name, true);
const talkWith = name => conversation(talkKey(name), name, false);

/** Has the reader this page before them? */
const attentive = () => document.visibilityState === "visible" && document.hasFocus();

/** Somebody else said something: count it, unless it is being read right now. */
function arrived(talk, item) {
  const reading = talk === current && talk.pinned && attentive();
  const isForUs = !talk.isRoom || mentionsUs(item.body);
  if (!reading && talk.unread++ === 0) talk.mark = item;
  if (!reading && talk.isRoom && isForUs) talk.mentions++;
  if (isForUs && !attentive()) notify(talk, item);
  if (talk === current || !talk.isRoom) {
    announce(plain(talk.isRoom ? T.says : T.saysPrivately, { name: item.from, body: item.body }));
  }
}

function markRead() {
  if (current.pinned && attentive() && current.unread > 0) { current.unread = current.mentions = 0; keepSoon(); refresh(); }
}
