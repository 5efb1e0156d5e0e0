// Small things that all the others are made of.

const $ = id => document.getElementById(id);

/** Makes an element. Strings among `children` become text nodes, never markup. */
function make(tag, properties = {}, ...children) {
  const { act, hue, label, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  if (act) element.addEventListener("click", act);
  if (hue !== undefined) element.style.setProperty("--hue", hue);
  if (label) element.setAttribute("aria-label", label);
  element.append(...children);
  return element;
}

/** The nodes of a text such as "{name} joined", each part isolated, so that no name can turn the sentence around. */
function fill(text, parts) {
  return text.split(/\{(\w+)\}/).flatMap((piece, i) =>
    i % 2 === 0 ? [piece] : Array.isArray(parts[piece]) ? parts[piece] : [make("bdi", {}, String(parts[piece]))]);
}

const textOf = nodes => nodes.map(node => node.textContent ?? node).join("");

/** The same as a string, for the title, labels and screen readers: parts between FIRST STRONG ISOLATE and POP. */
const plain = (text, parts) => text.replace(/\{(\w+)\}/g, (_, key) => `\u2068${parts[key]}\u2069`);

/** A colour angle that belongs to the name for ever (FNV-1a, so that similar names differ). */
function hueOf(name) {
  let hash = 0x811c9dc5;
  for (const c of fold(name)) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  return (hash >>> 0) % 360;
}

/** Sets the text of an element, unless it is that already: a change costs a layout, and is read out where that is wanted. */
function put(element, text) { if (element.textContent !== String(text)) element.textContent = text; }

/** A number where there is little space. */
const short = n => n > 99 ? "99+" : n;

const fold = name => name.normalize("NFKC").toLowerCase();
const face = name => make("span", { className: "face", hue: hueOf(name), ariaHidden: "true" }, [...name][0].toUpperCase());

/** Makes `nodes` the children of `parent`, touching only what differs: focus, selection and scrolling survive. */
function sync(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => { if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null); });
}

const clock = new Intl.DateTimeFormat(navigator.language, { timeStyle: "short" });
const moment = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "medium" });
const date = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full" });
const alphabet = new Intl.Collator(LOCALE);
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });

const midnightOf = ts => new Date(ts).setHours(0, 0, 0, 0);

/** "Today", "Yesterday", else the date. */
function dayName(ts) {
  const days = Math.round((midnightOf(ts) - midnightOf(Date.now())) / 864e5);
  const text = days === 0 || days === -1 ? relative.format(days, "day") : date.format(ts);
  return text[0].toUpperCase() + text.slice(1);
}

/** The room that the page's address leads to, `…/#dev`. */
function roomInAddress() { try { return decodeURIComponent(location.hash.slice(1)).slice(0, 128); } catch { return ""; } }

/** What a browser remembers; `keepHere` is for this tab alone. Storage may be forbidden; then it remembers nothing. */
const memory = {
  keepHere(key, value) { try { sessionStorage.setItem(key, value); } catch { /* then not */ } },
  keep(key, value) { try { localStorage.setItem(key, value); } catch { /* then not */ } },
  drop(key) { try { localStorage.removeItem(key); } catch { /* it was never there */ } },
  keys() { try { return Object.keys(localStorage); } catch { return []; } },
  get(key) { try { return sessionStorage.getItem(key) ?? localStorage.getItem(key) ?? ""; } catch { return ""; } },
  set(key, value) { try { sessionStorage.setItem(key, value); localStorage.setItem(key, value); } catch { /* then not */ } },
};

/** Tells screen readers; a burst is summed up, since nobody can listen to a hundred lines. */
const announce = (() => {
  let lines = [], timer;
  return line => {
    lines.push(line);
    timer ??= setTimeout(() => {
      $("announcer").replaceChildren(...(lines.length > 4 ? [T.fresh(lines.length)] : lines).map(text => make("p", {}, text)));
      lines = []; timer = undefined;
    }, 400);
  };
})();
