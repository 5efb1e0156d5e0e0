//! HTTP: the page, health, metrics, upgrades, and who may come in from a browser.
//!
//! A browser lets any web page connect to any server. Two rules keep foreign pages out of the room:
//! `Host` must be ours (see [`super::host`]), and a request with an `Origin` must come from our own page or an
//! allowed one.

use std::sync::atomic::Ordering;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::journal::Kind;
use super::session::Subprotocol;
use super::{Bye, Host, Listener, Server, home_of, metrics};
use crate::chat::{Command, Hello, Name, RoomName};
use crate::reactor::{ConnectionId, Net, Then};
use crate::wire::Ask;
use crate::wire::http::{self, Refused, Request, Response, StatusCode};

/// The page, with its style and its script at the places where `index.html` names them.
const HTML: &str = match str::from_utf8(&put_together::<HTML_BYTES>()) {
    Ok(html) => html,
    Err(_) => panic!("what was UTF-8 in parts is UTF-8 as a whole"),
};
const HTML_BYTES: usize = {
    let [before, between, after] = FRAME;
    let tags = "<style></style><script></script></body>".len();
    before.len() + STYLE.len() + between.len() + SCRIPT.len() + after.len() + tags
};
const STYLE: &str = include_str!("../page/style.css");
/// One script made of several, and their names.
macro_rules! scripts {
    ($($name:literal),*) => {
        const SCRIPT: &str = concat!($(include_str!(concat!("../page/", $name))),*);
        #[cfg(test)]
        const SCRIPTS: &[&str] = &[$($name),*];
    };
}
scripts!(
    "texts.js",
    "helpers.js",
    "members.js",
    "conversations.js",
    "mentions.js",
    "kept.js",
    "tabs.js",
    "connection.js",
    "rooms.js",
    "ignored.js",
    "events.js",
    "sending.js",
    "people.js",
    "drawing.js",
    "side.js",
    "finder.js",
    "app.js"
);
/// What `index.html` has before, between and behind the two.
const FRAME: [&str; 3] = {
    let (before, rest) = split(INDEX, "<link rel=\"stylesheet\" href=\"style.css\">\n");
    let (between, _) = split(rest, "<script src=");
    let (_, after) = split(rest, "</body>");
    [before, between, after]
};
const INDEX: &str = include_str!("../page/index.html");
const PAGE: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
/// The content type of the Prometheus text format, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// At most so many characters of a `Host` or an `Origin` are quoted.
const CHARS_SHOWN_MAX: usize = 100;

/// The subprotocols, by falling preference.
const SUBPROTOCOLS: [(&str, Subprotocol); 2] =
    [("roomd.json", Subprotocol::Json), ("roomd.text", Subprotocol::Text)];

/// The page, and what is said about it in its header.
#[derive(Debug)]
pub(super) struct Page {
    etag: String,
    fields: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let etag = format!("\"{}\"", &hash(HTML)[..22]);
        let fields = format!(
            "Content-Security-Policy: default-src 'none'; connect-src 'self'; img-src data:; \
             style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'\r\nETag: {etag}\r\nCache-Control: no-cache\r\n",
            hash(STYLE),
            hash(SCRIPT),
        );
        Self { etag, fields }
    }
}

/// The beginning of what a client has sent, as it can be shown.
fn shown(text: &str) -> String {
    text.escape_debug().take(CHARS_SHOWN_MAX).collect()
}

fn hash(text: &str) -> String {
    BASE64.encode(&Sha256::digest(text))
}

/// What stands before and behind the first `mark`.
const fn split(text: &'static str, mark: &str) -> (&'static str, &'static str) {
    let mut at = 0;
    while at + mark.len() <= text.len() {
        if starts_with(text.as_bytes().split_at(at).1, mark.as_bytes()) {
            return (text.split_at(at).0, text.split_at(at + mark.len()).1);
        }
        at += 1;
    }
    panic!("index.html names neither style.css nor the scripts")
}

const fn starts_with(text: &[u8], mark: &[u8]) -> bool {
    let mut i = 0;
    while i < mark.len() {
        if text[i] != mark[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn put_together<const BYTES: usize>() -> [u8; BYTES] {
    let [before, between, after] = FRAME;
    let parts =
        [before, "<style>", STYLE, "</style>", between, "<script>", SCRIPT, "</script></body>", after];
    let mut html = [0; BYTES];
    let (mut i, mut at) = (0, 0);
    while i < parts.len() {
        let part = parts[i].as_bytes();
        html.split_at_mut(at).1.split_at_mut(part.len()).0.copy_from_slice(part);
        at += part.len();
        i += 1;
    }
    html
}

impl Server {
    /// Answers a request: with a page, with a refusal, or by becoming a WebSocket.
    pub(super) fn answer(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: Result<Request, Refused>,
        is_head: bool,
    ) -> Option<Then> {
        let outcome = request.and_then(|request| {
            self.check_source(net, id, &request)?;
            match request.path.as_str() {
                "/ws" => self.upgrade(net, id, &request),
                _ => self.get(net, id, &request),
            }
        });
        outcome.unwrap_or_else(|refused| {
            self.refuse_http(net, id, refused, is_head);
            None
        })
    }

    /// Whether the room that a WebSocket client wants to be in is open, or cannot be had: it is let in at once, or
    /// refused.
    pub(super) fn is_room_ready(&mut self, net: &mut Net, id: ConnectionId, request: &Request) -> bool {
        let is_upgrade = request.path == "/ws" && request.upgrade.is_some() && !self.is_stopping;
        if !is_upgrade || self.check_source(net, id, request).is_err() {
            return true;
        }
        let room = request.parameter("room").and_then(|room| RoomName::parse(&room).ok());
        let rooms = [room.unwrap_or_else(RoomName::lobby)];
        let ready = self.chat.prepare_rooms(&rooms, home_of(net, id), net.now());
        self.carry_out(net);
        ready.unwrap_or(true)
    }

    pub(super) fn time_out_http(&mut self, net: &mut Net, id: ConnectionId) {
        let why = "the request did not arrive in time";
        self.refuse_http(net, id, Refused::new(StatusCode::REQUEST_TIMEOUT, why), false);
    }

    fn refuse_http(&mut self, net: &mut Net, id: ConnectionId, refused: Refused, is_head: bool) {
        let mut out = Vec::new();
        refused.write(&mut out, is_head);
        self.log(net, id, Kind::Refuse, "", &format!("{}: {}", refused.status, refused.why));
        self.close(net, id, &out, None);
    }

    fn get(&mut self, net: &mut Net, id: ConnectionId, request: &Request) -> Result<Option<Then>, Refused> {
        let (metrics, sick);
        let saving = self.store.status();
        let trouble = saving.as_ref().and_then(|saving| saving.trouble.as_deref());
        let (status, content_type, fields, body) = match request.path.as_str() {
            "/" if request.if_none_match.as_ref() == Some(&self.page.etag) => {
                (StatusCode::NOT_MODIFIED, PAGE, self.page.fields.as_str(), "")
            }
            "/" => (StatusCode::OK, PAGE, self.page.fields.as_str(), HTML),
            "/healthz" if self.is_stopping => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "", "stopping\n"),
            "/healthz" if let Some(trouble) = trouble => {
                sick = format!("not-saved: {trouble}\n");
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "", sick.as_str())
            }
            "/healthz" => (StatusCode::OK, PLAIN, "", "ok\n"),
            "/metrics" if !self.may_read_metrics(net, id) => {
                return Err(Refused::new(StatusCode::FORBIDDEN, "see --metrics-from"));
            }
            "/metrics" => {
                let lost = self.config.log_lines_lost.load(Ordering::Relaxed);
                metrics = self.metrics.render(net, &self.chat, lost, saving.as_ref(), self.store.load());
                (StatusCode::OK, PROMETHEUS, "Cache-Control: no-store\r\n", metrics.as_str())
            }
            _ => return Err(Refused::new(StatusCode::NOT_FOUND, "there is /, /ws, /healthz and /metrics")),
        };
        let mut out = Vec::new();
        Response { status, content_type, fields, body }.write(&mut out, request.is_head);
        self.close(net, id, &out, None);
        Ok(None)
    }

    /// Refuses what a foreign web page makes its visitor's browser send.
    fn check_source(&self, net: &Net, id: ConnectionId, request: &Request) -> Result<(), Refused> {
        let Some(peer) = net.peer(id) else { return Ok(()) };
        let host = request.host.as_deref().unwrap_or_default();
        // No browser leaves it out.
        if request.host.is_some() && !self.is_allowed_host(host, self.listener(peer)) {
            let host = shown(host);
            let why = format!(
                "the Host \"{host}\" is no name of this machine that roomd knows; --allow-host would allow it"
            );
            return Err(Refused::new(StatusCode::FORBIDDEN, why));
        }
        // The page asks so why its WebSocket was refused: a browser says no `Origin` to its own server.
        let asked = (request.path == "/ws" && request.upgrade.is_none())
            .then(|| request.parameter("origin"))
            .flatten();
        let Some(origin) = request.origin.as_ref().or(asked.as_ref()) else { return Ok(()) };
        let host_of_origin = origin.split_once("://").map_or("", |(_, host)| host);
        let is_ours = !host.is_empty() && host_of_origin.eq_ignore_ascii_case(host);
        let allowed = &self.config.allowed_origins;
        if is_ours || allowed.iter().any(|allowed| allowed.allows(origin)) {
            return Ok(());
        }
        let (origin, host) = (shown(origin), shown(host));
        let why = format!(
            "pages of the Origin \"{origin}\" may not connect, because it is not the Host \"{host}\"; \
             --allow-origin would allow it"
        );
        Err(Refused::new(StatusCode::FORBIDDEN, why))
    }

    fn is_allowed_host(&self, host: &str, listener: Listener) -> bool {
        let allowed = &self.config.allowed_hosts;
        let is_allowed =
            |host: Host| host.is_own(listener.ip) || allowed.iter().any(|allowed| allowed.covers(&host));
        host.parse().is_ok_and(is_allowed)
    }

    fn may_read_metrics(&self, net: &Net, id: ConnectionId) -> bool {
        let Some(ip) = net.peer(id).map(|peer| peer.ip) else { return false };
        let from = &self.config.metrics_from;
        // A Unix socket has its own permissions, unless nobody may.
        ip.map_or(!from.is_empty(), |ip| from.iter().any(|net| net.contains(&ip.to_canonical())))
    }

    fn upgrade(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: &Request,
    ) -> Result<Option<Then>, Refused> {
        let Some(upgrade) = request.upgrade.as_ref().filter(|_| !request.is_head) else {
            return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, "this is for WebSocket clients"));
        };
        if self.is_stopping {
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"));
        }
        let offered = |name: &str| upgrade.protocols.iter().any(|p| p == name);
        let chosen = SUBPROTOCOLS.into_iter().find(|(name, _)| offered(name));
        net.send(id, &http::accept(upgrade, chosen.map(|(name, _)| name))?);
        let subprotocol = match chosen {
            Some((_, subprotocol)) => subprotocol,
            None if request.parameter("json").is_some() => Subprotocol::Json,
            None if request.parameter("name").is_some() => Subprotocol::None { has_spoken: false },
            None => Subprotocol::Guest,
        };
        if let Some(session) = self.session(id) {
            let before = metrics::place(&session.stage);
            session.upgrade(subprotocol, net.now().monotonic);
            let after = metrics::place(&session.stage);
            self.metrics.move_connection(before, after);
        }
        let then = self.introduce(net, id, request, subprotocol);
        self.rearm(net, id);
        Ok(then)
    }

    /// Lets a WebSocket client in under the name in its URL. Without one it is asked, or made a guest
    /// if it does not know our subprotocols.
    fn introduce(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: &Request,
        subprotocol: Subprotocol,
    ) -> Option<Then> {
        let room = match request.parameter("room").map(|room| RoomName::parse(&room)) {
            None => RoomName::lobby(),
            Some(Ok(room)) => room,
            Some(Err(refusal)) => {
                self.refuse(net, id, refusal, &None);
                RoomName::lobby()
            }
        };
        if let Some(name) = request.parameter("name") {
            // A name that is taken is not waited for.
            match Name::parse(&name)
                .and_then(|name| self.chat.check_free(&name, home_of(net, id), net.now()).map(|()| name))
            {
                Ok(name) => {
                    let then = self.say_hello(net, id, name, room.clone());
                    if then.is_some() || self.session(id)?.member.is_some() {
                        return then;
                    }
                }
                Err(refusal) => {
                    self.refuse(net, id, refusal, &None);
                    self.session(id)?.is_misnamed = true;
                }
            }
        }
        match subprotocol {
            Subprotocol::Guest | Subprotocol::None { .. } => {
                let name = self.chat.guest_name(home_of(net, id), net.now());
                let then = self.say_hello(net, id, name, room);
                if then.is_none() && self.session(id)?.member.is_none() {
                    self.dismiss(net, id, Bye::Quit, None);
                }
                return then;
            }
            Subprotocol::Text => net.send(id, &self.session(id)?.greeting()),
            Subprotocol::Json => {}
        }
        None
    }

    /// What the client would say in `hello`.
    fn say_hello(&mut self, net: &mut Net, id: ConnectionId, name: Name, room: RoomName) -> Option<Then> {
        let hello = Ask::Command(Command::Hello(Hello::new(name, Some(room))));
        self.fulfil_or_wait(net, id, hello.into(), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_exactly_one_style_and_one_script_and_both_are_hashed() {
        for (name, content) in [("style", STYLE), ("script", SCRIPT)] {
            assert_eq!(HTML.matches(&format!("<{name}")).count(), 1, "{name}");
            assert!(HTML.contains(&format!("<{name}>{content}</{name}>")), "{name}");
            assert_eq!(content.matches("</").count(), 0, "{name} would end early");
            assert!(Page::new().fields.contains(&hash(content)), "{name}");
        }
        assert!(HTML.starts_with("<!doctype html>") && HTML.ends_with("</html>\n"));
        assert!(!HTML.contains("href=\"style.css\"") && !HTML.contains("src="), "nothing is fetched");
        let named: Vec<_> =
            INDEX.split("<script src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(named, SCRIPTS, "index.html names all of them, in order");
    }
}
