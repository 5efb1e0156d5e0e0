// A conversation is a room that we are in or a private talk. It keeps its items sorted and knows which slice of them,
// its window, is in the document: so the document stays small however long the conversation is.

const KEEP = 5000;    // items kept per conversation; what is older is dropped, and fetched again for who scrolls there
const KEEP_READING = 50_000; // while somebody does
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
    this.place = null;          // else where they were when they went to another conversation
    this.unread = 0;
    this.mentions = 0;          // of the unread ones, those that name us
    this.mark = null;           // the first item that was new when the reader was away
    this.draft = "";
    this.hidden = [];           // of people who are ignored
    this.newest = 0;            // the highest id seen
    // Rooms: ids are comparable within an `epoch` of the room; `era` counts the epochs seen here.
    this.people = isRoom ? new Members(this) : null;
    this.joined = false;        // the server has said so over this connection
    this.epoch = null;
    this.era = 0;
    this.told = 0;              // the newest id when we came in
    this.read = 0;              // what was said up to this id is no news to the reader
    this.complete = 0;          // every id up to this one was seen
    this.fetched = false;       // the messages from before we came were
    this.catchingUp = false;
    this.oldest = 1;            // the lowest id fetched in this era
    this.more = false;          // the server keeps older ones, and nothing of an earlier era is here
    this.loading = false;       // they are on their way
  }

  /** How many messages the reader has not seen: those that are here, and those that we only know of. */
  get news() { return this.unread + Math.max(0, this.told - Math.max(this.complete, this.read)); }

  get isFull() { return this.items.length >= KEEP_READING; }
  get canLoad() { return this.more && !this.isFull && this.joined && !this.loading && !this.catchingUp; }

  get title() { return this.isRoom ? "#" + this.name : this.name; }

  /** The room was forgotten, and made again by the same name: its ids begin at 1. What is here stays above the new. */
  beginAnew() {
    if (this.items.length) this.era++;
    this.newest = this.complete = this.read = this.told = 0;
    this.fetched = this.more = false;
    if (this.items.length) this.note([T.restarted], "gap");
  }

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

  /** A room's first messages were fetched. Between them and an earlier era something would be missing. */
  begin(events, more) {
    if (more) this.dropOldest(this.items.findIndex(item => item.era >= this.era));
    this.oldest = events[0]?.id ?? this.told + 1;
    this.more = more;
    this.fetched = true;
  }

  trim() {
    this.dropOldest(this.items.length - (this.pinned ? KEEP : KEEP_READING));
    if (this.pinned) this.toTail();
    this.last = Math.min(this.last, this.first + WINDOW);
  }

  dropOldest(count) {
    if (count <= 0) return;
    const dropped = this.items.splice(0, count).findLast(item => item.id && item.era === this.era);
    if (dropped) Object.assign(this, { oldest: dropped.id + 1, more: true });
    this.first = Math.max(0, this.first - count);
    this.last = Math.max(0, this.last - count);
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

const conversations = new Map(); // in the order that the reader chose
const roomKey = name => "#" + fold(name), talkKey = name => "@" + fold(name);
const LOBBY = roomKey("lobby");

function conversation(key, name, isRoom) {
  if (!conversations.has(key)) conversations.set(key, new Conversation(key, name, isRoom));
  return conversations.get(key);
}
const roomOf = name => conversation(roomKey(name), name, true);
const talkWith = name => conversation(talkKey(name), name, false);
const rooms = () => [...conversations.values()].filter(talk => talk.isRoom);
const talks = () => [...conversations.values()].filter(talk => !talk.isRoom);

let current = roomOf(roomInAddress() || "lobby"); // the conversation on show

/** Puts the conversations in another order. */
function arrange(list) {
  conversations.clear();
  for (const talk of list) conversations.set(talk.key, talk);
  keepSoon();
  refresh();
}

/** Moves a conversation to a place among those of its kind. */
function move(talk, to) {
  const peers = (talk.isRoom ? rooms() : talks()).filter(other => other !== talk);
  peers.splice(to, 0, talk);
  arrange(talk.isRoom ? [...peers, ...talks()] : [...rooms(), ...peers]);
}

/** Gives a conversation another name, at its place. */
function rename(talk, name) {
  const list = [...conversations.values()], key = (talk.isRoom ? roomKey : talkKey)(name);
  Object.assign(talk, { name, key });
  arrange(list.filter(other => other === talk || other.key !== key));
}

/** Has the reader this page before them? */
const attentive = () => document.visibilityState === "visible" && document.hasFocus();
const isRead = talk => talk === current && talk.pinned && attentive();

/** Somebody else said something: count it, unless it is being read right now. */
function arrived(talk, item) {
  const isForUs = !talk.isRoom || mentionsUs(item.body);
  if (!isRead(talk)) {
    if (talk.unread++ === 0) talk.mark = item;
    if (talk.isRoom && isForUs) talk.mentions++;
  }
  if (isForUs && !attentive()) notify(talk, item);
  if (talk === current || isForUs) {
    const name = talk === current || !talk.isRoom ? item.from : `${talk.title} ${item.from}`;
    announce(plain(talk.isRoom ? T.says : T.saysPrivately, { name, body: item.body }));
  }
}

/** What is on show was read. */
function markRead() {
  if (!isRead(current)) return;
  if (current.read < current.newest) { current.read = current.newest; keepSoon(READ_MS); }
  if (current.unread) { current.unread = current.mentions = 0; keepSoon(); refresh(); }
}
