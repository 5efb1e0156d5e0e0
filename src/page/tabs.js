// A name belongs to one connection, so two tabs of one browser with the same name would take it from each other for
// ever. Whoever comes asks first; who is there answers, and the reader decides which tab it shall be.

const CLAIM_MS = 150;   // so long an answer is waited for
const RELOAD_MS = 3000; // so long a tab may take to load anew

const tabs = (() => {
  const id = Math.random().toString(36).slice(2);
  let channel, answered = null; // how to end a claim that is under way
  try { channel = new BroadcastChannel("roomd"); } catch { /* then every tab is alone */ }
  const post = (type, name, to) => channel?.postMessage({ type, name, to, tab: id });
  const isOurs = name => fold(String(name)) === fold(me.name);
  const holds = () => me.name && !["nameless", "left", "elsewhere"].includes(link.state);

  channel?.addEventListener("message", ({ data: { type, name, tab, to } }) => {
    if (!isOurs(name)) return;
    // Of two that claim at the same moment, the one with the smaller id was first.
    if (type === "claim" && holds() && (!answered || id < tab)) post("here", name, tab);
    if (type === "here" && to === id) answered?.(false);
    if (type === "yield" && holds()) stepAside();
    // A tab that is loaded anew is gone for a moment only.
    if (type === "gone" && link.state === "elsewhere") setTimeout(() => { if (link.state === "elsewhere") come(); }, RELOAD_MS);
  });
  addEventListener("pageshow", event => { if (event.persisted && holds()) come(); }); // the browser had put it aside
  addEventListener("pagehide", () => { keepNow(); if (holds()) post("gone", me.name); });

  function stepAside() {
    keepNow();
    if (link.socket?.readyState === WebSocket.OPEN) request({ type: "quit" }).catch(() => {});
    abandon();
    setState("elsewhere");
  }

  return {
    /** Is nobody there under this name? */
    claim(name) {
      if (!channel) return true;
      return new Promise(resolve => {
        const answer = answered = isFree => { if (answered === answer) answered = null; resolve(isFree); };
        setTimeout(answer, CLAIM_MS, true);
        post("claim", name);
      });
    },
    takeOver() { post("yield", me.name); come(); },
  };
})();

/** Connects under our name, unless another tab of this browser is there with it. */
async function come() {
  if (link.state === "elsewhere") dropAll();
  abandon();
  restore(me.name);
  setState("connecting");
  const turn = link.turn, isFree = await tabs.claim(me.name);
  if (turn !== link.turn) return;
  if (!isFree) return setState("elsewhere");
  connect();
}

/** Ends whatever is under way. */
function abandon() {
  link.turn++;
  clearTimeout(link.timer);
  hangUp();
}
