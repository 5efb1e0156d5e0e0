// Who names us, and how we are told.

/** Our name as a word of its own. In scripts that write no spaces, any letter may be beside it. */
const ourName = (() => {
  let name = null, pattern = /(?!)/;
  return () => {
    if (name !== me.name) {
      name = me.name;
      const letter = "(?![\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}])[\\p{L}\\p{M}\\p{N}_]";
      const [first, last] = [name, [...name].reverse().join("")].map(text => new RegExp("^" + letter, "u").test(text));
      const before = first ? `(?<!${letter}|${letter}[-.])` : "", after = last ? `(?!${letter}|[-.]${letter})` : "";
      pattern = name ? new RegExp(`${before}(${name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")})${after}`, "iu") : /(?!)/;
    }
    return pattern;
  };
})();

const mentionsUs = body => partsOf(body).some(({ kind, text }) => kind === "text" && ourName().test(text));

// The browser asks only after a click, and a notification goes out only while nobody looks at the page.
const notices = {
  get areOn() { return window.Notification?.permission === "granted" && memory.get("roomd-notices") !== "off"; },
  async toggle() {
    if (this.areOn) memory.keep("roomd-notices", "off");
    else if (!window.isSecureContext || !window.Notification) complain([T.noNotices]);
    else if (await Notification.requestPermission() === "granted") memory.drop("roomd-notices");
    else complain([T.noticesDenied]);
    refresh();
  },
};

function notify(talk, { from, body }) {
  if (!notices.areOn) return;
  try {
    const notice = new Notification(talk.isRoom ? `${from} · ${talk.title}` : from, { body, tag: talk.key, renotify: true, lang: LOCALE });
    notice.addEventListener("click", () => { window.focus(); show(talk); notice.close(); });
  } catch { /* some phones know notifications, but let no page make them */ }
}
