//! One connection's side of the protocol: bytes in, actions out.
//!
//! A [`Session`] is a pure state machine. It knows how its client speaks and what is due for it; who is in
//! the rooms, and how bytes travel, is the business of the [`Server`](super::Server), which does what the session
//! wants done.

use std::borrow::Cow;
use std::time::Duration;

use crate::chat::{Bye, Command, ErrorCode, Hello, MemberId, Name, Reference, Refusal};
use crate::clock::{Millis, Now};
use crate::limits::Limits;
use crate::reactor::{ChannelId, ConnectionId};
use crate::wire::length::Lengths;
use crate::wire::line::{Found, Lines};
use crate::wire::websocket::{self, Decoder, Received, Violation};
use crate::wire::{
    self, Ask, Content, Encoding, Framing, Notice, Request, Sniffed, foreign, http, json, text,
};

/// The channel of whoever is in no room.
pub(super) const NO_CHANNEL: ChannelId = ChannelId::MAX;

/// How a connection speaks.
#[derive(Debug)]
pub(super) enum Stage {
    /// It has said too little to know. It is not spoken to: a browser opens connections ahead of time, and would
    /// read what it is told as the answer to its next request.
    Undecided { has_begun: bool },
    /// One HTTP request, which may turn it into a WebSocket. So many bytes of its head have been looked at.
    Http { scanned: u32 },
    /// Lines, or frames with their length in front.
    Stream { content: Content, framer: Framer },
    /// WebSocket messages.
    WebSocket { subprotocol: Subprotocol, decoder: Decoder },
}

/// How what a client says is cut into pieces.
#[derive(Debug)]
pub(super) enum Framer {
    Lines(Lines),
    Lengths(Lengths),
}

impl Framer {
    fn next<'a>(&mut self, input: &'a [u8], max_bytes: usize, answers: &mut Vec<u8>) -> Found<'a> {
        match self {
            Self::Lines(lines) => lines.next(input, max_bytes, answers),
            Self::Lengths(lengths) => lengths.next(input, max_bytes),
        }
    }

    /// What there is of the line or frame that is not complete.
    fn unfinished<'a>(&self, input: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Lines(lines) => lines.last(input).unwrap_or_default(),
            Self::Lengths(lengths) => lengths.unfinished(input).into(),
        }
    }
}

/// What a WebSocket client has agreed to (RFC 6455, section 1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subprotocol {
    /// `roomd.text`
    Text,
    /// `roomd.json`
    Json,
    /// It has offered none that we know: it gets text, its own messages too, and may still choose JSON by its
    /// first message.
    None { has_spoken: bool },
    /// The same, and it has not said a name either, nor anything else: it may be a tutorial's, which takes whatever
    /// comes for a message. So it is not welcomed.
    Guest,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ConnectionId,
    pub(super) stage: Stage,
    pub(super) member: Option<MemberId>,
    /// The channel of the member's current room.
    pub(super) channel: ChannelId,
    /// Spared by the limits on addresses and rates.
    pub(super) is_exempt: bool,
    /// Since when its time to say something runs: it was opened, has said its first byte, or has become a WebSocket.
    since: Millis,
    /// Since when it is silent: something was heard, or, if that came later, it was pinged.
    silent_since: Millis,
    /// Nothing was heard after the last ping.
    is_pinged: bool,
    /// When it may say the next line: its turn among all connections of its address. NEVER: it has not asked.
    pub(super) turn_at: Millis,
    /// Since when it is over its rate without a break, in seconds; 0 if it is not.
    over_rate_since_s: u32,
    /// The name that it said was refused. It says another one before anything else: nothing that was meant to be said
    /// under the one is said under another.
    pub(super) is_misnamed: bool,
    /// What it wants done, while a room in which it would be told is throttled, or the store has to answer first.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// What waits for rooms, or for the store.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) action: Action,
    /// The rooms that it has waited for. If there are several it waits for each once, or it might wait for ever until none
    /// is throttled.
    pub(super) waited_for: Vec<ChannelId>,
    /// The client has said its last: its connection is held open for this, and is not deferred.
    pub(super) is_last: bool,
}

/// What a session wants done.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing, until more has arrived: what is there is not a whole frame.
    Wait,
    /// Nothing more.
    Nothing,
    /// To do what it asks for.
    Do(Request),
    /// To do what it asks for, or to tell it why not, now that it speaks JSON and was a guest until now.
    Introduce(Result<Request, (Refusal, Reference)>),
    /// To tell it why that was not done.
    Refuse(Refusal, Reference),
    /// To send it these bytes.
    Send(Vec<u8>),
    /// To answer its HTTP request.
    Answer(Result<http::Request, http::Refused>, IsHead),
    /// To close its connection after these bytes, and to log why, if there is something to say.
    Close(Vec<u8>, Cow<'static, str>),
    /// To close its connection after these bytes: it has said good-bye.
    Part(Vec<u8>),
    /// To say good-bye to it.
    Dismiss(Bye),
    /// To close its connection, because it has said its last.
    End,
}

/// What stands before a message in a line of text: at most so many bytes, those of `/msg` and any name.
const COMMAND_BYTES_MAX: usize = 256;

/// Whether an HTTP request was a `HEAD`.
pub(super) type IsHead = bool;

/// What is due for a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    HttpTimeout,
    /// To say good-bye to it.
    Bye(Bye),
}

impl Waiting {
    pub(super) fn new(action: Action, waited_for: Vec<ChannelId>) -> Self {
        Self { action, waited_for, is_last: false }
    }
}

impl From<Action> for Waiting {
    fn from(action: Action) -> Self {
        Self::new(action, Vec::new())
    }
}

impl Action {
    /// Whether a client says something to a room.
    pub(super) fn is_speech(&self) -> bool {
        let Self::Do(Request { ask: Ask::Command(command), .. }) = self else { return false };
        matches!(command, Command::Say { .. } | Command::Act { .. })
    }

    /// What it holds of what a client has said, in bytes.
    fn memory(&self) -> usize {
        match self {
            Self::Do(request) | Self::Introduce(Ok(request)) => request.text_bytes(),
            Self::Send(bytes) | Self::Close(bytes, _) | Self::Part(bytes) => bytes.capacity(),
            _ => 0,
        }
    }
}

impl Stage {
    fn text_lines() -> Self {
        Self::Stream { content: Content::Text, framer: Framer::Lines(Lines::default()) }
    }
}

impl Session {
    pub(super) fn new(id: ConnectionId, is_exempt: bool, is_text_only: bool, now: Millis) -> Self {
        let stage = match is_text_only {
            true => Stage::text_lines(),
            false => Stage::Undecided { has_begun: false },
        };
        Self {
            id,
            stage,
            member: None,
            channel: NO_CHANNEL,
            is_exempt,
            since: now,
            silent_since: now,
            is_pinged: false,
            turn_at: Millis::NEVER,
            over_rate_since_s: 0,
            is_misnamed: false,
            waiting: None,
        }
    }

    /// How it is spoken to; none while that is not decided, or HTTP.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        let (content, framing) = match self.stage {
            Stage::Undecided { .. } | Stage::Http { .. } => return None,
            Stage::Stream { content, framer: Framer::Lines(_) } => (content, Framing::Line),
            Stage::Stream { content, framer: Framer::Lengths(_) } => (content, Framing::Length),
            Stage::WebSocket { subprotocol: Subprotocol::Json, .. } => (Content::Json, Framing::WebSocket),
            Stage::WebSocket { .. } => (Content::Text, Framing::WebSocket),
        };
        Some(Encoding { content, framing })
    }

    /// What it is told in; none while that is not decided, or HTTP.
    pub(super) fn content(&self) -> Option<Content> {
        self.encoding().map(|encoding| encoding.content)
    }

    /// Whether it gets its own messages back: programs do, people see what they type.
    pub(super) fn echoes(&self) -> bool {
        match self.stage {
            Stage::Stream { content, .. } => content == Content::Json,
            Stage::WebSocket { subprotocol, .. } => subprotocol != Subprotocol::Text,
            Stage::Undecided { .. } | Stage::Http { .. } => false,
        }
    }

    /// Whether it is a guest that has said nothing so far, and asked for nothing.
    pub(super) fn is_guest(&self) -> bool {
        matches!(self.stage, Stage::WebSocket { subprotocol: Subprotocol::Guest, .. })
    }

    /// What a person is asked who has still to say a name.
    pub(super) fn greeting(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(encoding) = self.encoding() {
            encoding.frame(&mut out, text::GREETING);
        }
        out
    }

    /// A notice in its encoding, in whole frames.
    pub(super) fn notice(&self, notice: &Notice, reference: &Reference, now: Now) -> Vec<u8> {
        let text_lines = Encoding { content: Content::Text, framing: Framing::Line };
        let mut out = Vec::new();
        self.encoding().unwrap_or(text_lines).notice(&mut out, now.unix_ms, notice, reference);
        out
    }

    /// The last thing it hears, in whole frames; nothing if it does not expect anything.
    pub(super) fn last_words(&self, bye: Bye, now: Now) -> Vec<u8> {
        if matches!(self.stage, Stage::Undecided { .. } | Stage::Http { .. }) {
            return Vec::new();
        }
        let mut out = self.notice(&Notice::Bye(bye), &None, now);
        if matches!(self.stage, Stage::WebSocket { .. }) {
            let (code, reason) = match bye {
                Bye::Quit => (websocket::NORMAL, ""),
                Bye::Shutdown => (websocket::GOING_AWAY, "the server is shutting down"),
                Bye::Slow => (websocket::SLOW, "slow"),
                Bye::Timeout => (websocket::TIMEOUT, "timeout"),
                Bye::Nameless => (websocket::TIMEOUT, "no name"),
                Bye::TakenOver => (websocket::TAKEN_OVER, "taken over"),
            };
            out.extend(websocket::close(Some(code), reason));
        }
        out
    }

    // ---- bytes in, actions out

    /// Something was heard; returns whether its deadlines are others now.
    pub(super) fn hear(&mut self, now: Millis) -> bool {
        self.silent_since = now;
        if let Stage::Undecided { has_begun: has_begun @ false } = &mut self.stage {
            *has_begun = true;
            self.since = now;
            return true;
        }
        // The next ping is due earlier than the end that this one was waiting for.
        std::mem::take(&mut self.is_pinged)
    }

    /// Whether what is at the front of `input` counts against the rate: lines, messages, and requests to become a
    /// WebSocket, which let somebody in.
    pub(super) fn takes_turns(&self, input: &[u8], limits: &Limits) -> bool {
        let is_whole = || memchr::memmem::find(input, b"\r\n\r\n").is_some();
        let is_upgrade =
            || matches!(http::parse(input, limits.http_head_bytes), Ok(Some(r)) if r.upgrade.is_some());
        match self.stage {
            _ if self.is_exempt || input.is_empty() => false,
            Stage::Undecided { .. } => false,
            Stage::Http { .. } => is_whole() && is_upgrade(),
            Stage::Stream { .. } | Stage::WebSocket { .. } => true,
        }
    }

    /// Its HTTP request has made it a WebSocket.
    pub(super) fn upgrade(&mut self, subprotocol: Subprotocol, now: Millis) {
        self.stage = Stage::WebSocket { subprotocol, decoder: Decoder::default() };
        self.since = now;
    }

    /// Takes the first thing from the front of `input`: how many bytes it has, and what is to be done. What telnet is
    /// to be answered before that, whose user sees nothing of it, is added to `answers`.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        limits: &Limits,
        now: Now,
        answers: &mut Vec<u8>,
    ) -> (usize, Action) {
        if input.is_empty() {
            return (0, Action::Wait);
        }
        let (count, action) = match &mut self.stage {
            Stage::Undecided { .. } => return self.decide(input),
            Stage::Http { .. } => self.take_http(input, limits),
            Stage::Stream { .. } => self.take_from_stream(input, limits, now, answers),
            Stage::WebSocket { decoder, .. } => match decoder.next(input, limits.request_bytes_max()) {
                Ok(None) => (0, Action::Wait),
                // A fragment: only whole messages count against the rate.
                Ok(Some((count, None))) => return (count, Action::Nothing),
                Ok(Some((count, Some(received)))) => (count, self.take_frame(received)),
                Err(Violation { code, reason }) => {
                    (input.len(), Action::Close(websocket::close(Some(code), reason), reason.into()))
                }
            },
        };
        if !matches!(action, Action::Wait) {
            self.turn_at = Millis::NEVER;
        }
        (count, action)
    }

    /// Whether what is left of the input, in text, was meant for somebody who is in a room: it came along with a name
    /// that was refused, so it is no other name. A person would have seen the refusal first.
    pub(super) fn has_lost_its_name(&mut self, rest: &[u8], limits: &Limits) -> bool {
        let is_refused = self.is_misnamed && self.member.is_none() && self.content() == Some(Content::Text);
        self.is_misnamed &= !is_refused;
        is_refused && self.waiting.is_none() && self.says_something(rest, limits)
    }

    /// Whether there is a line or message in `rest` that is not empty. No message is half there.
    fn says_something(&self, mut rest: &[u8], limits: &Limits) -> bool {
        let (mut lengths, mut decoder) = (Lengths::default(), Decoder::default());
        loop {
            let (said, bytes) = match &self.stage {
                Stage::WebSocket { .. } => match decoder.next(rest, limits.request_bytes_max()) {
                    Ok(Some((bytes, received))) => (matches!(received, Some(Received::Text(_))), bytes),
                    Ok(None) | Err(_) => return false,
                },
                Stage::Stream { framer: Framer::Lengths(_), .. } => match lengths.next(rest, usize::MAX) {
                    Found::Line(frame, bytes) => (!frame.is_empty(), bytes),
                    _ => return false,
                },
                _ => return !rest.trim_ascii().is_empty(),
            };
            if said {
                return true;
            }
            rest = &rest[bytes..];
        }
    }

    /// Takes what is left when the client has said its last: an unfinished line is a line.
    pub(super) fn take_last(&mut self, rest: &[u8], now: Now) -> Action {
        if let Stage::Undecided { .. } = self.stage {
            self.stage = Stage::text_lines();
        }
        match &self.stage {
            Stage::Stream { framer: Framer::Lines(lines), .. } => match lines.last(rest) {
                Some(line) => self.take_line(&line, now),
                None => Action::Nothing,
            },
            _ => Action::Nothing,
        }
    }

    /// How many lines or messages are in what the client has said, and nobody has heard.
    pub(super) fn count_unheard(&mut self, mut rest: &[u8], limits: &Limits) -> usize {
        let waiting = usize::from(self.waiting.is_some());
        match &mut self.stage {
            Stage::Stream { framer: Framer::Lengths(lengths), .. } => {
                let mut count = waiting;
                while let Found::Line(frame, bytes) = lengths.next(rest, usize::MAX) {
                    count += usize::from(!frame.is_empty());
                    rest = &rest[bytes..];
                }
                count
            }
            Stage::Stream { .. } => {
                let has_unfinished = rest.last().is_some_and(|&last| last != b'\n');
                waiting + memchr::memchr_iter(b'\n', rest).count() + usize::from(has_unfinished)
            }
            Stage::WebSocket { decoder, .. } => {
                let mut count = waiting;
                while let Ok(Some((bytes, received))) = decoder.next(rest, limits.request_bytes_max()) {
                    count += usize::from(matches!(received, Some(Received::Text(_))));
                    rest = &rest[bytes..];
                }
                count
            }
            Stage::Undecided { .. } | Stage::Http { .. } => waiting,
        }
    }

    /// Memory that it keeps of what the client has said, in bytes.
    pub(super) fn memory(&self) -> usize {
        let waiting = self.waiting.as_ref().map_or(0, |waiting| {
            size_of::<Waiting>()
                + waiting.action.memory()
                + waiting.waited_for.capacity() * size_of::<ChannelId>()
        });
        match &self.stage {
            Stage::WebSocket { decoder, .. } => waiting + decoder.memory(),
            _ => waiting,
        }
    }

    /// Takes note of whether it is over its rate; returns for how long it has been, without a break.
    pub(super) fn note_rate(&mut self, is_over: bool, now: Millis) -> Duration {
        let now_s = u32::try_from(now.0 / 1000).unwrap_or(u32::MAX).max(1);
        self.over_rate_since_s = match self.over_rate_since_s {
            _ if !is_over => 0,
            0 => now_s,
            since => since,
        };
        Duration::from_secs(u64::from(now_s.saturating_sub(self.over_rate_since_s)))
    }

    /// Finds out how the client speaks.
    fn decide(&mut self, input: &[u8]) -> (usize, Action) {
        let lines = |content| Stage::Stream { content, framer: Framer::Lines(Lines::default()) };
        let lengths = |content| Stage::Stream { content, framer: Framer::Lengths(Lengths::default()) };
        self.stage = match wire::sniff(input) {
            Sniffed::TooLittle => return (0, Action::Wait),
            Sniffed::Tls => {
                return (input.len(), Action::Close(Vec::new(), "it speaks TLS, this port does not".into()));
            }
            Sniffed::Http => Stage::Http { scanned: 0 },
            Sniffed::LengthJson => lengths(Content::Json),
            Sniffed::LengthText => lengths(Content::Text),
            Sniffed::Json => lines(Content::Json),
            Sniffed::Text => lines(Content::Text),
        };
        (0, Action::Nothing)
    }

    fn take_http(&mut self, input: &[u8], limits: &Limits) -> (usize, Action) {
        let Stage::Http { scanned } = &mut self.stage else { return (0, Action::Wait) };
        // A head is read from its first byte each time: not before another line of it has ended.
        let seen = std::mem::replace(scanned, input.len() as u32) as usize;
        let has_new_line = input.get(seen..).is_none_or(|new| memchr::memchr(b'\n', new).is_some());
        if !has_new_line && input.len() <= limits.http_head_bytes {
            return (0, Action::Wait);
        }
        match http::parse(input, limits.http_head_bytes) {
            Ok(None) => (0, Action::Wait),
            Ok(Some(request)) => {
                let is_head = request.is_head;
                (request.bytes, Action::Answer(Ok(request), is_head))
            }
            Err(refused) => (input.len(), Action::Answer(Err(refused), input.starts_with(b"HEAD "))),
        }
    }

    fn take_from_stream(
        &mut self,
        input: &[u8],
        limits: &Limits,
        now: Now,
        answers: &mut Vec<u8>,
    ) -> (usize, Action) {
        let Stage::Stream { content, framer } = &mut self.stage else { return (0, Action::Wait) };
        let is_nameless = self.member.is_none() && *content == Content::Text;
        let max = match content {
            Content::Json => limits.request_bytes_max(),
            Content::Text | Content::Labelled => limits.max_line_bytes + COMMAND_BYTES_MAX,
        };
        let found = framer.next(input, max, answers);
        if *content == Content::Json {
            // A program would take an answer for a document.
            answers.clear();
        }
        match found {
            // A binary protocol may have no newline, and may wait for an answer.
            Found::Nothing(_) if is_nameless && begins_binary(framer, input) => {
                (input.len(), self.refuse_foreign(foreign::BINARY, input, now))
            }
            Found::Nothing(count) => (count, Action::Wait),
            Found::Line(line, count) => (count, self.take_line(&line, now)),
            Found::TooLong(count) => {
                let max = limits.max_line_bytes;
                if *content == Content::Text && foreign::begins_http_request(input, is_nameless) {
                    return (input.len(), self.refuse_foreign(foreign::HTTP, &[], now));
                }
                let text = format!("a message has at most {max} bytes; yours was dropped");
                (count, Action::Refuse(Refusal::new(ErrorCode::TooLong, text), None))
            }
            Found::Flood => {
                let (text, why) = match framer {
                    Framer::Lines(_) => ("a line that does not end is not chat", "a line without an end"),
                    Framer::Lengths(_) => {
                        ("a frame of more than 64 KiB is not chat", "a frame of more than 64 KiB")
                    }
                };
                let refusal = Refusal::new(ErrorCode::TooLong, text);
                (input.len(), self.refuse_for_good(refusal, why, now))
            }
        }
    }

    fn take_line(&mut self, line: &[u8], now: Now) -> Action {
        let is_json = self.content() == Some(Content::Json);
        if !is_json && foreign::is_http_request_line(line) {
            // A web page makes its visitor's browser speak here.
            return self.refuse_foreign(foreign::HTTP, line, now);
        }
        let is_first = self.member.is_none() && !is_json;
        if is_first && let Some(protocol) = foreign::protocol(line) {
            return self.refuse_foreign(protocol, line, now);
        }
        match std::str::from_utf8(line) {
            Err(_) => Action::Refuse(Refusal::new(ErrorCode::BadUtf8, "the line is not UTF-8"), None),
            Ok(line) if is_json => self.take_json(line),
            Ok(line) => self.take_text(line),
        }
    }

    fn take_text(&self, line: &str) -> Action {
        let asked = match self.member {
            Some(_) => text::parse(line),
            None if line.trim().is_empty() => return Action::Send(self.greeting()),
            None if line.trim().eq_ignore_ascii_case("/quit") => Ok(Some(Ask::Quit)),
            None if line.trim_start().starts_with('/') => {
                let text = "say a name first: commands work after it; /quit leaves";
                Err(Refusal::new(ErrorCode::NameBad, text))
            }
            None => Name::parse(line).map(|name| Some(Ask::Command(Command::Hello(Hello::new(name, None))))),
        };
        match asked {
            Ok(Some(ask)) => Action::Do(ask.into()),
            Ok(None) => Action::Nothing,
            Err(refusal) => Action::Refuse(refusal, None),
        }
    }

    fn take_json(&mut self, document: &str) -> Action {
        if document.trim().is_empty() {
            return Action::Nothing;
        }
        match json::parse(document) {
            Ok(request) => Action::Do(request),
            Err((refusal, reference)) => {
                self.is_misnamed |= self.member.is_none() && json::request_type(document) == Some("hello");
                Action::Refuse(refusal, reference)
            }
        }
    }

    fn take_frame(&mut self, received: Received) -> Action {
        match received {
            Received::Pong => Action::Nothing,
            Received::Ping(payload) => Action::Send(websocket::pong(&payload)),
            Received::Close(code @ Some(websocket::NORMAL)) => Action::Part(websocket::close(code, "")),
            Received::Close(code) => Action::Close(websocket::close(code, ""), "".into()),
            Received::Binary(_) => {
                let reason = "only text messages are taken";
                Action::Close(websocket::close(Some(websocket::UNSUPPORTED), reason), reason.into())
            }
            Received::Text(text) => self.take_message(&text),
        }
    }

    fn take_message(&mut self, text: &str) -> Action {
        let Stage::WebSocket { subprotocol, .. } = &mut self.stage else { return Action::Nothing };
        match subprotocol {
            Subprotocol::Json => self.take_json(text),
            Subprotocol::Guest | Subprotocol::None { has_spoken: false }
                if json::request_type(text).is_some() =>
            {
                *subprotocol = Subprotocol::Json;
                Action::Introduce(json::parse(text))
            }
            Subprotocol::Guest | Subprotocol::None { .. } => {
                *subprotocol = Subprotocol::None { has_spoken: true };
                self.take_text(text)
            }
            Subprotocol::Text => self.take_text(text),
        }
    }

    /// Refuses somebody who speaks another protocol than ours, so that nothing of it is said here.
    fn refuse_foreign(&self, protocol: &'static str, line: &[u8], now: Now) -> Action {
        let name = std::str::from_utf8(line).ok().filter(|line| Name::parse(line).is_ok());
        let refusal = match name {
            Some(name) => {
                let lower = name.trim().to_lowercase();
                let text = format!(
                    "{} is what {protocol} begins with; as a name, write {lower}; the connection is closed",
                    name.trim()
                );
                Refusal::new(ErrorCode::NameBad, text)
            }
            None => {
                let text = format!("{protocol} is not chat; the connection is closed");
                Refusal::new(ErrorCode::BadArgument, text)
            }
        };
        self.refuse_for_good(refusal, format!("{protocol} is not chat"), now)
    }

    fn refuse_for_good(&self, refusal: Refusal, why: impl Into<Cow<'static, str>>, now: Now) -> Action {
        Action::Close(self.notice(&Notice::Refused(refusal), &None, now), why.into())
    }

    // ---- what is due

    /// When it has to be woken next, if nothing happens before.
    pub(super) fn wakes_at(&self, limits: &Limits) -> Millis {
        let nameless = self.nameless_at(limits);
        match &self.stage {
            Stage::Undecided { .. } | Stage::Stream { .. } => nameless,
            Stage::Http { .. } => after(self.since, limits.http_wait),
            Stage::WebSocket { .. } => nameless.min(self.pings_at(limits)).min(self.dead_at(limits)),
        }
    }

    /// What is due now. While the client has said something that was not heard (`has_input`), it is not silent.
    pub(super) fn due(&mut self, limits: &Limits, has_input: bool, now: Millis) -> Due {
        if self.waiting.is_some() || (self.turn_at != Millis::NEVER && self.turn_at > now) {
            // It has said something, and we have not heard it so far.
            self.since = now;
            self.hear(now);
            return Due::Nothing;
        }
        match &self.stage {
            Stage::Undecided { .. } if has_input => Due::Nothing,
            Stage::Http { .. } if self.wakes_at(limits) <= now => Due::HttpTimeout,
            Stage::Http { .. } => Due::Nothing,
            _ if self.nameless_at(limits) <= now => Due::Bye(Bye::Nameless),
            Stage::WebSocket { .. } if has_input => {
                self.hear(now);
                Due::Nothing
            }
            Stage::WebSocket { .. } if self.dead_at(limits) <= now => Due::Bye(Bye::Timeout),
            Stage::WebSocket { .. } if self.pings_at(limits) <= now => {
                (self.silent_since, self.is_pinged) = (now, true);
                Due::Ping
            }
            _ => Due::Nothing,
        }
    }

    fn nameless_at(&self, limits: &Limits) -> Millis {
        if self.member.is_some() { Millis::NEVER } else { after(self.since, limits.name_wait) }
    }

    fn pings_at(&self, limits: &Limits) -> Millis {
        if self.is_pinged { Millis::NEVER } else { after(self.silent_since, limits.ping_after) }
    }

    /// When it is given up: it always has the whole time between ping and end to answer.
    fn dead_at(&self, limits: &Limits) -> Millis {
        match (limits.ping_after, limits.dead_after) {
            (Some(_), Some(_)) if !self.is_pinged => Millis::NEVER,
            (Some(ping), Some(dead)) => self.silent_since.after(dead.saturating_sub(ping)),
            (_, dead) => after(self.silent_since, dead),
        }
    }
}

/// Whether an unfinished line begins with what no keyboard makes. Only the beginning is looked at: a client may send
/// byte by byte.
fn begins_binary(framer: &Framer, input: &[u8]) -> bool {
    foreign::is_binary(&framer.unfinished(&input[..input.len().min(64)]))
}

fn after(at: Millis, wait: Option<Duration>) -> Millis {
    wait.map_or(Millis::NEVER, |wait| at.after(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telnet_is_answered_and_a_program_is_not() {
        for (line, expected) in [("alice", &b"\xff\xfc\x01"[..]), ("{}", b"")] {
            let id = ConnectionId { index: 0, generation: 1 };
            let mut session = Session::new(id, false, false, Millis(0));
            let input = [line.as_bytes(), b"\xff\xfd\x01\n"].concat();
            let (mut used, mut answers) = (0, Vec::new());
            while used < input.len() {
                used += session.take(&input[used..], &Limits::default(), Now::default(), &mut answers).0;
            }
            assert_eq!(answers, expected, "{line}");
        }
    }

    /// There is one for each connection, and most say nothing for hours: ten thousand of them pay for every byte.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Lines>() <= 12, "{}", size_of::<Lines>());
        assert!(size_of::<Session>() <= 72, "{}", size_of::<Session>());
    }
}
