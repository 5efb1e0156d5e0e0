// A name belongs to one connection, so two tabs of one browser with the same name would take it from each other for
// ever. Whoever comes asks first; who is there answers, and the reader decides which tab it shall be. That one continues
// the session of the other, by the record of their name.

const CLAIM_MS = 150;   // so long an answer is waited for
const RELOAD_MS = 3000; // so long a tab may take to load anew

const tabs = (() => {
  const id = Math.random().toString(36).slice(2);
  let channel, answered = null; // how to end a claim that is under way
  try { channel = new BroadcastChannel("roomd"); } catch { /* then every tab is alone */ }
  const post = (type, to) => channel?.postMessage({ type, to, tab: id, name: me.name, session: me.session });
  const isOurs = name => fold(String(name)) === fold(me.name);
  const holds = () => me.name && !["nameless", "left", "elsewhere"].includes(link.state);

  channel?.addEventListener("message", ({ data: { type, name, tab, to, session } }) => {
    if (!isOurs(name)) return;
    // Of two that claim at the same moment, the one with the smaller id was first.
    if (type === "claim" && holds() && (!answered || id < tab)) post("here", tab);
    if (type === "here" && to === id) answered?.({ session });
    if (type === "yield" && holds()) stepAside();
    // A tab that is loaded anew is gone for a moment only.
    if (type === "gone" && link.state === "elsewhere") setTimeout(() => { if (link.state === "elsewhere") come(); }, RELOAD_MS);
  });
  addEventListener("pageshow", event => { if (event.persisted && holds()) come(); }); // the browser had put it aside
  addEventListener("pagehide", () => { keepNow(); if (holds()) post("gone"); });

  return {
    /** Who is there under our name: `null`, or the session of that tab. */
    claim() {
      if (!channel) return null;
      return new Promise(resolve => {
        const answer = answered = other => { if (answered === answer) answered = null; resolve(other); };
        setTimeout(answer, CLAIM_MS, null);
        post("claim");
      });
    },
    takeOver() { post("yield"); come(); },
  };
})();

/** Connects under our name, unless another tab of this browser is there with it. */
async function come() {
  if (link.state === "elsewhere") dropAll();
  abandon();
  restore(me.name);
  setState("claiming");
  const turn = link.turn, other = await tabs.claim();
  if (turn !== link.turn) return;
  if (other?.session && other.session === me.session) disown();
  if (other) return setState("elsewhere");
  if (!me.session) setSession(keptIn(KEPT + fold(me.name)).session);
  connect();
}

/** This tab is the copy of a living one, which has the same to send: so it sends nothing by itself. */
function disown() {
  setSession("");
  for (const item of outbox) if (["queued", "sent"].includes(item.state)) update(item, "unknown");
}

/** Another tab continues our session, and knows more than we do from now on. */
function stepAside() {
  keepNow();
  abandon();
  setState("elsewhere");
  setSession("");
}

/** Ends whatever is under way. */
function abandon() {
  link.turn++;
  clearTimeout(link.timer);
  hangUp();
}
