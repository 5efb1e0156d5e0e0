// State changes call `refresh`; at most once per frame `draw` makes the document agree with the state.

const log = $("log");
let frame = 0;
let drawn = [], drawnTalk = current; // the items in the document, and whose they are

const sum = (list, what) => list.reduce((total, talk) => total + talk[what], 0);

function refresh() {
  const all = [...conversations.values()], news = sum(all, "news"), mentions = sum(all, "mentions");
  const title = `${news ? `(${news}) ` : ""}${mentions ? `@${mentions} ` : ""}${current.title} · roomd`;
  if (document.title !== title) document.title = title; // here, since a hidden page draws nothing
  frame ||= requestAnimationFrame(() => { frame = 0; draw(); });
}

function draw() {
  drawSide();
  drawTop();
  drawLog();
  markRead();
}

function drawTop() {
  put($("title"), current.title);
  const others = [...conversations.values()].filter(talk => talk !== current), news = sum(others, "news");
  const { people } = current, mentions = sum(others, "mentions");
  put($("here"), current.isRoom ? people.total ? T.here(people.total) : "" : T.privately);
  put($("elsewhere"), news ? " · " + T.elsewhereIs(T.unread(news, mentions)) : "");
  const invitation = current.isRoom ? plain(T.writeRoom, { room: current.title }) : plain(T.writeTalk, { name: current.name });
  if (entry.placeholder !== invitation) entry.placeholder = entry.ariaLabel = invitation;
  put($("menu-badge"), short(news));
  $("menu-badge").hidden = news === 0;
  $("menu-badge").classList.toggle("call", mentions > 0);
  $("notices").setAttribute("aria-pressed", notices.areOn);
  drawBanner();
}

const BANNER = {
  nameless: { text: () => T.nameless, button: () => T.chooseName, act: () => askName() },
  claiming: { text: () => T.connecting },
  connecting: { text: () => T.connecting },
  "catching-up": { text: () => T.catchingUp },
  waiting: { text: waitingText, button: () => T.tryNow, act: connect },
  left: { text: () => T.left, button: () => T.comeBack, act: come },
  elsewhere: { text: () => plain(T.elsewhere, { name: me.name }), button: () => T.useThisTab, act: tabs.takeOver,
    other: () => T.changeName, otherAct: () => askName() },
};

function waitingText() {
  if (!navigator.onLine) return T.offline;
  if (link.answer) return `${link.answer} ${T.tryingAgain}`;
  return link.shutdown ? T.shutdown : T.waiting;
}

function drawBanner() {
  const banner = BANNER[link.state], kept = outbox.filter(item => item.state === "queued").length;
  const seconds = Math.max(1, Math.ceil((link.retryAt - Date.now()) / 1000));
  const clock = link.state !== "waiting" ? "" : (navigator.onLine ? T.seconds(seconds) + " " : "") + (kept ? T.kept(kept) : "");
  const text = banner?.text() ?? "";
  $("banner").hidden = !banner;
  $("banner").classList.toggle("brief", ["claiming", "connecting", "catching-up"].includes(link.state));
  put($("banner-text"), text);
  put($("banner-clock"), clock);
  $("banner-button").hidden = !banner?.button;
  put($("banner-button"), banner?.button?.() ?? "");
  $("banner-other").hidden = !banner?.other;
  put($("banner-other"), banner?.other?.() ?? "");
}

function drawLog() {
  const talk = current;
  if (talk.pinned) talk.toTail();
  const anchor = talk.pinned ? null : drawnTalk === talk ? firstVisible() : talk.place;
  drawnTalk = talk;
  const left = new Set(drawn);
  drawn = talk.items.slice(talk.first, talk.last);
  for (const item of drawn) left.delete(item);
  for (const item of left) item.node = item.look = undefined; // an element out of sight is made again when it is needed
  sync($("items"), drawn.map((item, i) => nodeOf(item, talk.items[talk.first + i - 1], talk)));

  const atStart = talk.first === 0, empty = talk.items.length === 0 && link.state === "open" && !talk.catchingUp;
  $("older-button").hidden = !(atStart && talk.canLoad);
  put($("older-text"), atStart ? above(talk) : "");
  $("blank").hidden = !empty;
  put($("blank-title"), talk.isRoom ? T.emptyRoom : plain(T.emptyTalk, { name: talk.name }));
  put($("blank-text"), talk.isRoom ? T.emptyRoomHint : T.emptyTalkHint);

  if (talk.pinned) log.scrollTop = log.scrollHeight;
  else if (anchor?.item.node?.isConnected) log.scrollTop += anchor.item.node.getBoundingClientRect().top - anchor.top;
  if (!talk.pinned) loadNearTop();
  $("jump").hidden = talk.pinned;
  $("jump").className = talk.unread ? "fresh" : "";
  put($("jump"), talk.unread ? T.fresh(talk.unread) + " ↓" : T.latest);
}

/** What is said above the first item. */
function above({ title, items, era, fetched, loading, more, isFull, oldest }) {
  if (loading) return T.loading;
  if (more) return isFull ? T.full(KEEP_READING) : "";
  if (!fetched || items.length <= 30 || items[0].era !== era) return "";
  return oldest === 1 ? plain(T.beginning, { room: title }) : T.forgotten;
}

/**
 * The topmost item on the screen: it must not move while the document changes around it. Better a message than a line of
 * our own, which may stay at the top while older messages are put below it.
 */
function firstVisible() {
  const edge = log.getBoundingClientRect();
  let first;
  for (const item of drawn) {
    if (!item.node?.isConnected) continue;
    const { top, bottom } = item.node.getBoundingClientRect();
    if (top > edge.bottom) break;
    if (bottom <= edge.top) continue;
    first ??= { item, top };
    if (item.id) return { item, top };
  }
  return first;
}

/** The element of an item, made anew only if it looks different from last time. */
function nodeOf(item, previous, talk) {
  const day = previous && midnightOf(previous.ts) === midnightOf(item.ts) ? "" : dayName(item.ts);
  const isNew = item === talk.mark;
  const follows = !day && !isNew && item.kind !== "note" && item.kind !== "action" && previous.kind === item.kind
    && previous.from === item.from && previous.own === item.own && item.ts - previous.ts < GROUP_MS;
  const look = [item.version, day, isNew, follows, item.own ? "" : me.name].join();
  if (item.look !== look) {
    item.look = look;
    item.node = make("div", {},
      ...(day ? [make("p", { className: "day" }, day)] : []),
      ...(isNew ? [make("p", { className: "day mark" }, T.unreadMark)] : []),
      item.kind === "note" ? make("p", { className: `note ${item.className}` }, ...item.nodes) : messageNode(item, follows));
  }
  return item.node;
}

function messageNode(item, follows) {
  const { kind, from, body, own, state, ts, id } = item;
  const article = make("article", { className: `message ${kind}${own ? " own" : ""}${follows ? " follow" : ""}`, hue: hueOf(from) });
  if (id) article.dataset.id = id;
  if (state) article.dataset.state = state;
  if (!own && kind !== "private" && mentionsUs(body)) article.classList.add("mentions");

  const who = make("button", { type: "button", className: own || follows ? "unseen" : "who cut", tabIndex: -1, act: () => openTalk(from) },
    make("bdi", {}, from));
  const time = make("time", { dateTime: new Date(ts).toISOString(), title: moment.format(ts) + (id ? ` · ${id}` : "") }, clock.format(ts));
  const sign = { queued: " · " + T.queued, sent: " …", delivered: " ✓" }[state];
  const meta = make("span", { className: "meta" }, time, sign ? make("span", { title: T[state], role: "img", label: T[state] }, sign) : "");
  const text = make("bdi", { className: "body" }, ...(kind === "action" ? [make("bdi", {}, from), " "] : []), ...formatted(body, own));
  const bubble = make("div", { className: "bubble" }, ...(kind === "action" ? [] : [who]), text, meta);
  if (!own && !follows) article.append(face(from));
  article.append(bubble);

  if (state === "failed" || state === "unknown") {
    const button = (label, act) => make("button", { type: "button", className: "link", act: () => { act(); entry.focus(); } }, label);
    article.append(make("div", { className: "remedy", role: "alert" },
      state === "failed" ? plain(T.refused, { text: item.trouble }) : T.unknown,
      button(T.again, () => sendAgain(item)),
      ...(state === "failed" ? [button(T.edit, () => { forget(item); setEntry(body); })] : []),
      button(T.discard, () => forget(item))));
  }
  return article;
}

/** The parts of a text: `block` (between ```), `code` (between `) and plain `text`. Nothing else of Markdown is known. */
function partsOf(body) {
  const pieces = body.split("```");
  if (pieces.length % 2 === 0) pieces.push("```" + pieces.splice(-1)); // the last one is not closed: it is no block
  const isBlock = i => i % 2 === 1 && i < pieces.length - 1 && pieces[i].trim() !== "";
  return pieces.flatMap((piece, i) => {
    if (isBlock(i)) {
      const [, language, code] = /^(?:([\w+#.-]*)[ \t]*\n)?([^]*)$/.exec(piece);
      return [{ kind: "block", text: code.replace(/\n$/, ""), language }];
    }
    let text = i % 2 === 1 && i < pieces.length - 1 ? "```" + piece + "```" : piece;
    if (isBlock(i - 1)) text = text.replace(/^\n/, ""); // a block stands on lines of its own anyway
    if (isBlock(i + 1)) text = text.replace(/\n$/, "");
    return text.split(/`([^`\n]+)`/).map((text, k) => ({ kind: k % 2 ? "code" : "text", text })).filter(part => part.text);
  });
}

/** A text as nodes: code in its own type, addresses as links. */
function formatted(body, own) {
  return partsOf(body).flatMap(({ kind, text, language }) => {
    if (kind === "block") return [make("pre", { title: language ?? "" }, make("code", {}, text))];
    if (kind === "code") return [make("code", {}, text)];
    return withLinks(text).flatMap(node => typeof node === "string" && !own ? withMentions(node) : [node]);
  });
}

const withMentions = text =>
  text.split(new RegExp(ourName(), "giu")).map((piece, i) => i % 2 ? make("mark", { className: "mention" }, piece) : piece);

/** The text, with its http and https addresses as links that say nothing about this page to the other side. */
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"'“”‘’「」『』《》，。、；：！？（）【】]+)/i).flatMap((piece, i) => {
    if (i % 2 === 0) return [piece];
    const address = addressIn(piece);
    let url;
    try { url = new URL(address); } catch { return [piece]; }
    if (url.protocol !== "http:" && url.protocol !== "https:") return [piece];
    // The title is the real host in ASCII, so that a look-alike address shows what it is.
    const anchor = make("a", { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
    return [anchor, piece.slice(address.length)];
  });
}

/** The address at the front of a piece of text: a bracket ends it unless it was opened within, and so does punctuation. */
function addressIn(piece) {
  const opened = [], closing = { "(": ")", "[": "]", "{": "}" };
  let end = 0;
  for (; end < piece.length; end++) {
    if (closing[piece[end]]) opened.push(closing[piece[end]]);
    else if (/[)\]}]/.test(piece[end]) && opened.pop() !== piece[end]) break;
  }
  return piece.slice(0, end).replace(/[.,;:!?([{]+$/, "");
}
