//! HTTP: the page, health, metrics, upgrades, and who may come in from a browser.
//!
//! A browser lets any web page connect to any server. Two rules keep foreign pages out of the room:
//! a request with an `Origin` must come from our own page or an allowed one, and from this machine, `Host`
//! must be a name of this machine (DNS rebinding).

use std::net::IpAddr;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::input::{Taken, who};
use super::session::Stage;
use super::{Bye, Server, Why};
use crate::reactor::{ConnectionId, Net};
use crate::room::{Name, RoomName};
use crate::wire::http::{self, Refused, Request, Response};
use crate::wire::{Dialect, text, websocket};

const HTML: &str = include_str!("../wire/page.html");
const PLAIN: &str = "text/plain; charset=utf-8";
/// The content type of the Prometheus text format, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The subprotocols, by falling preference.
const SUBPROTOCOLS: [(&str, bool); 2] = [("roomd.json", true), ("roomd.text", false)];

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
            hash(element(HTML, "style")),
            hash(element(HTML, "script")),
        );
        Self { etag, fields }
    }
}

fn hash(text: &str) -> String {
    BASE64.encode(&Sha256::digest(text))
}

/// The content of the first element `name` of a page.
fn element<'a>(html: &'a str, name: &str) -> &'a str {
    let content = html.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
    content.split_once(&format!("</{name}>")).map_or("", |(content, _)| content)
}

impl Server {
    pub(super) fn take_http(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Taken {
        let outcome = match http::parse(input, self.config.http_head_bytes_max) {
            Ok(None) => return Taken::NeedsMore(0),
            Ok(Some(request)) => {
                let bytes = request.bytes;
                self.answer(net, id, &request).map(|is_upgraded| (is_upgraded, bytes))
            }
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok((true, bytes)) => Taken::Some(bytes),
            Ok((false, _)) => Taken::Closed,
            Err(refused) => {
                self.refuse_http(net, id, refused, input.starts_with(b"HEAD "));
                Taken::Closed
            }
        }
    }

    pub(super) fn time_out_http(&mut self, net: &mut Net, id: ConnectionId) {
        let why = "the request did not arrive in time";
        self.refuse_http(net, id, Refused { status: "408 Request Timeout", why }, false);
    }

    fn refuse_http(&mut self, net: &mut Net, id: ConnectionId, refused: Refused, is_head: bool) {
        let mut out = Vec::new();
        refused.write(&mut out, is_head);
        if let Some(session) = self.session(id) {
            log::info!("refuse {}: {}: {}", who(session), refused.status, refused.why);
        }
        self.close(net, id, &out, None);
    }

    /// Answers a request; returns whether it has become a WebSocket.
    fn answer(&mut self, net: &mut Net, id: ConnectionId, request: &Request) -> Result<bool, Refused> {
        if request.is_from_browser
            && let Some(session) = self.session(id)
            && let Some(ip) = session.peer_ip
        {
            self.browsers.note(ip, net.now().monotonic);
        }
        self.check_source(id, request)?;
        if request.path == "/ws" {
            return self.upgrade(net, id, request).map(|()| true);
        }
        let mut out = Vec::new();
        let metrics;
        let (status, content_type, fields, body) = match request.path.as_str() {
            "/" if request.if_none_match.as_ref() == Some(&self.page.etag) => {
                ("304 Not Modified", "text/html; charset=utf-8", self.page.fields.as_str(), "")
            }
            "/" => ("200 OK", "text/html; charset=utf-8", self.page.fields.as_str(), HTML),
            "/healthz" if self.is_stopping => ("503 Service Unavailable", PLAIN, "", "stopping\n"),
            "/healthz" => ("200 OK", PLAIN, "", "ok\n"),
            "/metrics" => {
                if !self.may_read_metrics(id) {
                    return Err(Refused { status: "403 Forbidden", why: "see --metrics-from" });
                }
                metrics = self.metrics.render(net, &self.chat);
                ("200 OK", PROMETHEUS, "Cache-Control: no-store\r\n", metrics.as_str())
            }
            _ => {
                return Err(Refused {
                    status: "404 Not Found",
                    why: "there is /, /ws, /healthz and /metrics",
                });
            }
        };
        Response { status, content_type, fields, body }.write(&mut out, request.is_head);
        self.close(net, id, &out, None);
        Ok(false)
    }

    /// Refuses what a foreign web page makes its visitor's browser send.
    fn check_source(&mut self, id: ConnectionId, request: &Request) -> Result<(), Refused> {
        let listener = self.session(id).map_or(0, |s| usize::from(s.listener));
        // Whoever calls from this machine, or could only do so, has to mean this machine.
        let is_local = self.config.loopback_listeners.get(listener).copied().unwrap_or(false)
            || self.session(id).and_then(|s| s.peer_ip).is_some_and(|ip| ip.to_canonical().is_loopback());
        let host = request.host.as_deref().unwrap_or_default();
        let host_of =
            |origin: &str| origin.split_once("://").map_or(String::new(), |(_, host)| host.to_lowercase());
        let is_allowed =
            |host: &str| self.config.allowed_origins.iter().any(|o| host_of(o) == host.to_lowercase());
        if is_local && request.host.is_some() && !is_loopback_host(host) && !is_allowed(host) {
            return Err(Refused {
                status: "403 Forbidden",
                why: "this Host is not this machine; see --allow-origin",
            });
        }
        let Some(origin) = &request.origin else { return Ok(()) };
        let is_ours = origin
            .split_once("://")
            .is_some_and(|(_, from)| !host.is_empty() && from.eq_ignore_ascii_case(host));
        if is_ours || self.config.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Ok(());
        }
        Err(Refused {
            status: "403 Forbidden",
            why: "pages of this Origin may not connect; see --allow-origin",
        })
    }

    fn may_read_metrics(&mut self, id: ConnectionId) -> bool {
        let Some(ip) = self.session(id).map(|s| s.peer_ip) else { return false };
        let from = &self.config.metrics_from;
        // A Unix socket has its own permissions, unless nobody may.
        ip.map_or(!from.is_empty(), |ip| from.iter().any(|net| net.contains(&ip.to_canonical())))
    }

    fn upgrade(&mut self, net: &mut Net, id: ConnectionId, request: &Request) -> Result<(), Refused> {
        let Some(upgrade) = request.upgrade.as_ref().filter(|_| !request.is_head) else {
            return Err(Refused { status: "426 Upgrade Required", why: "this is for WebSocket clients" });
        };
        let offered = |name: &str| upgrade.protocols.iter().any(|p| p == name);
        let chosen = SUBPROTOCOLS.into_iter().find(|(name, _)| offered(name));
        let answer = http::accept(upgrade, chosen.map(|(name, _)| name))?;
        net.send(id, &answer);
        let is_guest = chosen.is_none();
        let stage = Stage::WebSocket {
            decoder: websocket::Decoder::default(),
            is_json: chosen.is_some_and(|(_, is_json)| is_json),
            is_guest,
            may_switch: is_guest,
        };
        self.set_stage(id, stage);
        self.introduce(net, id, request, is_guest);
        self.rearm(net, id);
        Ok(())
    }

    /// Lets a WebSocket client in under the name in its URL. Without one it is asked, or made a guest
    /// if it does not know our subprotocols.
    fn introduce(&mut self, net: &mut Net, id: ConnectionId, request: &Request, is_guest: bool) {
        let room = match request.parameter("room").map(|room| RoomName::parse(&room)) {
            None => RoomName::lobby(),
            Some(Ok(room)) => room,
            Some(Err(refusal)) => {
                self.refuse(net, id, refusal, &None);
                RoomName::lobby()
            }
        };
        if let Some(name) = request.parameter("name") {
            let entered = Name::parse(&name).and_then(|name| self.enter(net, id, name, room.clone(), &None));
            match entered {
                Ok(_) => return,
                Err(refusal) => self.refuse(net, id, refusal, &None),
            }
        }
        if is_guest {
            let name = self.chat.guest_name();
            if let Err(refusal) = self.enter(net, id, name, room, &None) {
                self.refuse(net, id, refusal, &None);
                self.dismiss(net, id, Bye::Quit, None::<Why>);
            }
        } else if self.session(id).and_then(|s| s.dialect()) == Some(Dialect::TextFrames) {
            let mut out = Vec::new();
            Dialect::TextFrames.frame(&mut out, text::GREETING);
            net.send(id, &out);
        }
    }
}

/// Whether a `Host` names this machine: a loopback address, or a name that can only be one (RFC 6761).
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(ip, _)| ip),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "[::1]", "a.localhost."]
        {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "[::2]:1",
            "[::1",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn the_page_has_exactly_one_style_and_one_script_and_both_are_hashed() {
        for name in ["style", "script"] {
            assert_eq!(HTML.matches(&format!("<{name}")).count(), 1, "{name}");
            assert!(element(HTML, name).len() > 100, "{name}");
        }
        assert!(Page::new().fields.contains(&hash(element(HTML, "script"))));
    }
}
