//! What clients say, in each dialect, and what becomes of it.

use std::borrow::Cow;

use super::Server;
use super::session::{Session, Stage};
use crate::clock::Millis;
use crate::reactor::{ConnectionId, FeedId, Net};
use crate::room::{Bye, Command, ErrorCode, MemberId, Name, Reference, Refusal, RoomName};
use crate::wire::line::{Found, Lines};
use crate::wire::websocket::{self, Received, Violation};
use crate::wire::{self, Dialect, Sniffed, json, text};

/// A WebSocket message may come in so many frames.
const FRAGMENTS_MAX: u32 = 64;

/// What was done with the input of a connection.
#[derive(Debug)]
pub(super) enum Taken {
    /// So many bytes are dealt with; there may be more to do.
    Some(usize),
    /// So many bytes are dealt with; the rest is not a whole frame.
    NeedsMore(usize),
    /// It has said too much for now. It is not read until then.
    Wait(Millis),
    /// It is closed: the rest does not matter.
    Closed,
}

impl Server {
    /// Takes the first thing from the front of `input`.
    pub(super) fn take(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Taken {
        let now = net.now().monotonic;
        let Self { config, .. } = self;
        let Some(session) = self.sessions[id.index as usize].as_mut().filter(|s| s.id == id) else {
            return Taken::Closed;
        };
        if input.is_empty() {
            return Taken::NeedsMore(0);
        }
        if let Err(at) = session.may_speak(config, now) {
            return Taken::Wait(at);
        }
        match &mut session.stage {
            Stage::Undecided => self.decide(net, id, input),
            Stage::Http => self.take_http(net, id, input),
            Stage::Lines { lines, is_json } => {
                let (found, is_json) = (lines.next(input, config.line_bytes_max), *is_json);
                self.take_found(net, id, found, is_json)
            }
            Stage::WebSocket { decoder, .. } => {
                let message_bytes_max = config.line_bytes_max;
                let limits = websocket::Limits { message_bytes_max, fragments_max: FRAGMENTS_MAX };
                let decoded = decoder.next(input, limits);
                self.take_decoded(net, id, decoded)
            }
        }
    }

    /// Takes what was found at the front of a stream of lines.
    fn take_found(&mut self, net: &mut Net, id: ConnectionId, found: Found<'_>, is_json: bool) -> Taken {
        match found {
            Found::Nothing(count) => Taken::NeedsMore(count),
            Found::Line(line, count) => {
                self.spend(net, id);
                self.take_line(net, id, &line, is_json);
                Taken::Some(count)
            }
            Found::TooLong(count) => {
                self.spend(net, id);
                let max = self.config.line_bytes_max;
                let text = format!("a message has at most {max} bytes; yours was dropped");
                self.refuse(net, id, Refusal::new(ErrorCode::TooLong, text), &None);
                Taken::Some(count)
            }
            Found::Flood => {
                self.log_close(id, "a line without an end");
                let text = "a line that does not end is not chat";
                self.refuse(net, id, Refusal::new(ErrorCode::TooLong, text), &None);
                self.close(net, id, &[], None);
                Taken::Closed
            }
        }
    }

    /// Takes what was decoded from the front of a stream of WebSocket frames.
    fn take_decoded(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        decoded: Result<Option<(usize, Option<Received>)>, Violation>,
    ) -> Taken {
        match decoded {
            Ok(None) => Taken::NeedsMore(0),
            // A fragment: only whole messages count against the rate.
            Ok(Some((count, None))) => Taken::Some(count),
            Ok(Some((count, Some(received)))) => {
                self.spend(net, id);
                self.take_frame(net, id, received);
                Taken::Some(count)
            }
            Err(Violation { code, reason }) => {
                self.log_close(id, reason);
                self.close(net, id, &websocket::close(Some(code), reason), None);
                Taken::Closed
            }
        }
    }

    /// Counts something said against the rate.
    fn spend(&mut self, net: &Net, id: ConnectionId) {
        let Self { config, sessions, .. } = self;
        if let Some(session) = sessions[id.index as usize].as_mut().filter(|s| s.id == id) {
            session.spoke(config, net.now().monotonic);
        }
    }

    pub(super) fn log_close(&mut self, id: ConnectionId, why: &str) {
        if let Some(session) = self.session(id) {
            log::info!("close {}: {why}", who(session));
        }
    }

    /// Takes what is left when a client has said its last: an unfinished line is a line.
    pub(super) fn take_last(&mut self, net: &mut Net, id: ConnectionId, rest: &[u8]) {
        let Some(session) = self.session(id) else { return };
        if matches!(session.stage, Stage::Undecided) && !rest.is_empty() {
            self.set_stage(id, Stage::Lines { lines: Lines::default(), is_json: false });
        }
        let Some(session) = self.session(id) else { return };
        if let Stage::Lines { lines, is_json } = &session.stage
            && let Some(line) = lines.last(rest)
        {
            let is_json = *is_json;
            self.take_line(net, id, &line, is_json);
        }
    }

    pub(super) fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        self.metrics.count_in(&stage);
        if let Some(session) = self.sessions[id.index as usize].as_mut().filter(|s| s.id == id) {
            let old = std::mem::replace(&mut session.stage, stage);
            self.metrics.count_out(&old);
        }
    }

    /// Finds out how a client speaks.
    fn decide(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Taken {
        let stage = match wire::sniff(input) {
            Sniffed::TooLittle => return Taken::NeedsMore(0),
            Sniffed::Tls => {
                self.log_close(id, "it speaks TLS, this port does not");
                self.close(net, id, &[], None);
                return Taken::Closed;
            }
            Sniffed::Http => Stage::Http,
            Sniffed::Json => Stage::Lines { lines: Lines::default(), is_json: true },
            Sniffed::Text => Stage::Lines { lines: Lines::default(), is_json: false },
        };
        self.set_stage(id, stage);
        self.rearm(net, id);
        Taken::Some(0)
    }

    /// Asks to be woken when something is due for a connection whose stage has changed.
    pub(super) fn rearm(&mut self, net: &mut Net, id: ConnectionId) {
        if let Some(session) = self.sessions[id.index as usize].as_ref() {
            net.wake_at(id, session.wakes_at(&self.config));
        }
    }

    fn take_line(&mut self, net: &mut Net, id: ConnectionId, line: &[u8], is_json: bool) {
        self.metrics.lines_in += 1;
        if !is_json && wire::is_http_request_line(line) {
            // A web page makes its visitor's browser speak here.
            self.log_close(id, "an HTTP request in the middle of chat");
            let text = "an HTTP request is not chat; the connection is closed";
            self.refuse(net, id, Refusal::new(ErrorCode::BadArgument, text), &None);
            return self.close(net, id, &[], None);
        }
        match std::str::from_utf8(line) {
            Err(_) => self.refuse(net, id, Refusal::new(ErrorCode::BadUtf8, "the line is not UTF-8"), &None),
            Ok(line) if is_json => self.take_json(net, id, line),
            Ok(line) => self.take_text(net, id, line),
        }
    }

    fn take_text(&mut self, net: &mut Net, id: ConnectionId, line: &str) {
        match self.session(id).and_then(|s| s.member) {
            Some(member) => {
                let names_max = Dialect::TextLines.names_max();
                match text::parse(line, names_max) {
                    Ok(Some(command)) => self.command(net, id, member, command, &None),
                    Ok(None) => {}
                    Err(refusal) => self.refuse(net, id, refusal, &None),
                }
            }
            None if line.trim().is_empty() => {}
            None => {
                let entered =
                    Name::parse(line).and_then(|name| self.enter(net, id, name, RoomName::lobby(), &None));
                if let Err(refusal) = entered {
                    self.refuse(net, id, refusal, &None);
                }
            }
        }
    }

    fn take_json(&mut self, net: &mut Net, id: ConnectionId, document: &str) {
        if document.trim().is_empty() {
            return;
        }
        let request = match json::parse(document) {
            Ok(request) => request,
            Err((refusal, reference)) => return self.refuse(net, id, refusal, &reference),
        };
        let reference = request.reference.clone();
        if let Err(refusal) = self.take_request(net, id, request) {
            self.refuse(net, id, refusal, &reference);
        }
    }

    fn take_request(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: json::Request,
    ) -> Result<(), Refusal> {
        let json::Request { from, reference, ask } = request;
        let names_max = Dialect::JsonLines.names_max();
        let member = self.session(id).and_then(|s| s.member);
        match (ask, member) {
            (json::Ask::Hello { name, room }, None) => {
                self.enter(net, id, name, room.unwrap_or_else(RoomName::lobby), &reference)?;
            }
            (json::Ask::Hello { name, room }, Some(member)) => {
                self.command(net, id, member, Command::Hello { name, room, names_max }, &reference);
            }
            (json::Ask::Command(command), None) => {
                let name = match from {
                    Some(name) => Name::parse(&name)?,
                    None => self.chat.guest_name(),
                };
                let member = self.enter(net, id, name, RoomName::lobby(), &None)?;
                self.command(net, id, member, command, &reference);
            }
            (json::Ask::Command(command), Some(member)) => self.command(net, id, member, command, &reference),
        }
        Ok(())
    }

    fn take_frame(&mut self, net: &mut Net, id: ConnectionId, received: Received) {
        match received {
            Received::Pong => {}
            Received::Ping(payload) => net.send_control(id, &websocket::pong(&payload)),
            Received::Close(code) => self.close(net, id, &websocket::close(code, ""), None),
            Received::Binary(_) => {
                let words = websocket::close(Some(websocket::UNSUPPORTED), "only text messages are taken");
                self.close(net, id, &words, None);
            }
            Received::Text(text) => {
                self.metrics.lines_in += 1;
                self.switch_to_json_if_asked(net, id, &text);
                match self.session(id).and_then(|s| s.dialect()) {
                    Some(Dialect::JsonFrames) => self.take_json(net, id, &text),
                    _ => self.take_text(net, id, &text),
                }
            }
        }
    }

    /// The first message of a client that offered no subprotocol chooses JSON by its first character.
    fn switch_to_json_if_asked(&mut self, net: &mut Net, id: ConnectionId, text: &str) {
        // It may have come in with this very read.
        self.carry_out(net);
        let Some(session) = self.session(id) else { return };
        let Stage::WebSocket { is_json, may_switch, .. } = &mut session.stage else { return };
        if !std::mem::take(may_switch) || !text.starts_with('{') {
            return;
        }
        *is_json = true;
        let (channel, member) = (session.channel, session.member);
        self.metrics.count_switch();
        net.subscribe(id, FeedId { channel, variant: Dialect::JsonFrames as u8 });
        // It was a guest until now; what it is called from here on, its first request says.
        let request = json::parse(text).ok();
        let is_hello = matches!(request, Some(json::Request { ask: json::Ask::Hello { .. }, .. }));
        if let (Some(member), false) = (member, is_hello) {
            let claimed = request.and_then(|r| r.from).and_then(|name| Name::parse(&name).ok());
            let name = claimed.unwrap_or_else(|| self.chat.name(member).clone());
            let names_max = Dialect::JsonFrames.names_max();
            self.command(net, id, member, Command::Hello { name, room: None, names_max }, &None);
        }
    }

    /// Lets a client in under `name`.
    pub(super) fn enter(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        name: Name,
        room: RoomName,
        reference: &Reference,
    ) -> Result<MemberId, Refusal> {
        let dialect = self.session(id).and_then(|s| s.dialect()).unwrap_or(Dialect::TextLines);
        let (shown_name, shown_room) = (name.clone(), room.clone());
        let member = self.chat.enter(id.to_bits(), name, room, dialect.names_max(), reference, net.now())?;
        if let Some(session) = self.session(id) {
            session.member = Some(member);
            log::info!("join {shown_name} {shown_room} from {}", who(session));
        }
        self.rearm(net, id);
        Ok(member)
    }

    fn command(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        member: MemberId,
        command: Command,
        reference: &Reference,
    ) {
        if command == Command::Quit {
            self.dismiss(net, id, Bye::Quit, None);
        } else {
            self.chat.command(member, command, reference, net.now());
        }
    }

    /// Tells a client why what it said was not done, after everything that it was told before.
    pub(super) fn refuse(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        refusal: Refusal,
        reference: &Reference,
    ) {
        self.metrics.refusals += 1;
        match self.session(id).and_then(|s| s.member) {
            Some(member) => self.chat.refuse(member, refusal, reference, net.now()),
            None => self.refuse_stranger(net, id, &refusal, reference),
        }
    }
}

/// The address of a client, for the log.
pub(super) fn who(session: &Session) -> Cow<'static, str> {
    session.peer_ip.map_or(Cow::Borrowed("a local client"), |ip| Cow::Owned(ip.to_string()))
}
