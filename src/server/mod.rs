//! The chat server: the [`Handler`] that puts the dialects of [`crate::wire`] and the rooms of
//! [`crate::room`] on the loop of [`crate::reactor`].
//!
//! | what | where |
//! |---|---|
//! | what the loop calls, and what the chat wants done | here |
//! | what the server knows about one connection | [`session`] |
//! | what a client says, in each dialect | [`input`] |
//! | which silent connections are a browser's | [`browsers`] |
//! | HTTP: the page, health, upgrades, who may come in from a browser | [`web`] |
//! | `/metrics` | [`metrics`] |

mod browsers;
mod input;
mod metrics;
mod session;
mod web;

use std::time::Duration;

use ipnet::IpNet;

use crate::clock::{Millis, Now};
use crate::reactor::{ConnectionId, Consumed, FeedId, Handler, Limits, Loss, Net, Peer, Then, TurnedAway};
use crate::room::{self, Bye, Chat, ErrorCode, Event, Output, Refusal, Reply, Why};
use crate::wire::{Dialect, text, websocket};
use browsers::Browsers;
use metrics::Metrics;
use session::{Session, Stage};
use web::Page;

/// One turn publishes no more than about so many bytes before the loop reads somebody else, and no more
/// than a quarter of what a feed keeps: so it can never push a healthy reader off the tail.
const PUBLISHED_BYTES_PER_TURN: usize = 64 * 1024;
/// A client that has said nothing for this long is greeted as a person with netcat.
const GREETING_WAIT: Duration = Duration::from_millis(200);

/// What the server grants to its clients. `None` turns a limit off.
#[derive(Debug, Clone)]
pub struct Config {
    /// The limits of the rooms.
    pub room: room::Limits,
    /// Bytes of a line or message (`--max-line-bytes`).
    pub line_bytes_max: usize,
    /// How long a client may take to say its name (`--name-wait`).
    pub name_wait: Option<Duration>,
    /// Bytes of the head of an HTTP request (`--http-head-bytes`).
    pub http_head_bytes_max: usize,
    /// How long a client may take to send it (`--http-wait`).
    pub http_wait: Option<Duration>,
    /// Lines per second (`--rate`).
    pub lines_per_second: Option<u32>,
    /// Lines at once (`--burst`).
    pub burst: u32,
    /// Silence after which a WebSocket client is sent a ping (`--ping-after`).
    pub ping_after: Option<Duration>,
    /// Silence after which it is given up (`--dead-after`).
    pub dead_after: Option<Duration>,
    /// Origins whose pages may connect, besides our own (`--allow-origin`).
    pub allowed_origins: Vec<String>,
    /// Who may read `/metrics` (`--metrics-from`).
    pub metrics_from: Vec<IpNet>,
    /// For each listener, whether it can be reached from this machine only.
    pub loopback_listeners: Vec<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            room: room::Limits::default(),
            line_bytes_max: 4096,
            name_wait: Some(Duration::from_secs(60)),
            http_head_bytes_max: 8 * 1024,
            http_wait: Some(Duration::from_secs(10)),
            lines_per_second: Some(5),
            burst: 10,
            ping_after: Some(Duration::from_secs(54)),
            dead_after: Some(Duration::from_secs(60)),
            allowed_origins: Vec::new(),
            metrics_from: Vec::new(),
            loopback_listeners: Vec::new(),
        }
    }
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Server {
    config: Config,
    chat: Chat,
    page: Page,
    metrics: Metrics,
    browsers: Browsers,
    is_stopping: bool,
    /// See [`PUBLISHED_BYTES_PER_TURN`].
    turn_bytes_max: usize,
    /// So many bytes this turn has published and answered already.
    turn_bytes: usize,
    /// By the slot of their connection.
    sessions: Vec<Option<Session>>,
    /// The channel of each room, by the room's number.
    channels: Vec<u32>,
    /// Where frames are encoded; kept for its memory.
    frame: Vec<u8>,
}

impl Server {
    /// A server with nobody in it, for a loop with these limits.
    #[must_use]
    pub fn new(config: Config, limits: &Limits, started: Now) -> Self {
        let quarter = limits.feed_bytes_max.map_or(usize::MAX, |max| max as usize / 4);
        Self {
            chat: Chat::new(config.room, started),
            config,
            page: Page::new(),
            metrics: Metrics::default(),
            browsers: Browsers::default(),
            is_stopping: false,
            turn_bytes: 0,
            turn_bytes_max: PUBLISHED_BYTES_PER_TURN.min(quarter),
            sessions: Vec::new(),
            channels: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// The rooms and their members.
    #[must_use]
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    fn session(&mut self, id: ConnectionId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(id.index as usize)?.as_mut()?;
        (session.id == id).then_some(session)
    }

    /// Forgets a connection; its member leaves the room.
    fn forget(&mut self, net: &Net, id: ConnectionId, why: Option<Why>) {
        if self.session(id).is_none() {
            return;
        }
        let Some(session) = self.sessions[id.index as usize].take() else { return };
        self.metrics.count_out(&session.stage);
        if let Some(member) = session.member {
            let name = self.chat.name(member);
            match &why {
                None => log::info!("leave {name}"),
                Some(why) => log::info!("leave {name} ({why})"),
            }
            self.chat.leave(member, why, net.now());
        }
    }

    /// Closes a connection after what it was told before and `last_words`; its member leaves the room.
    fn close(&mut self, net: &mut Net, id: ConnectionId, last_words: &[u8], why: Option<Why>) {
        self.carry_out(net);
        net.send_control(id, last_words);
        self.forget(net, id, why);
        net.close(id);
    }

    /// Says good-bye to a client in its own dialect, and closes its connection.
    fn dismiss(&mut self, net: &mut Net, id: ConnectionId, bye: Bye, why: Option<Why>) {
        let Some(session) = self.session(id) else { return };
        let words = session.last_words(bye, net.now());
        self.close(net, id, &words, why);
    }

    /// Sends a refusal to a client that is not a member yet.
    fn refuse_stranger(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        refusal: &Refusal,
        reference: &room::Reference,
    ) {
        let reply = Reply::Refused(refusal.clone());
        self.reply(net, id, net.now().unix_ms, &reply, reference);
    }

    fn reply(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        at_ms: u64,
        reply: &Reply,
        reference: &room::Reference,
    ) {
        let Some(dialect) = self.session(id).and_then(|s| s.dialect()).filter(|_| net.is_open(id)) else {
            return;
        };
        self.frame.clear();
        dialect.encode_reply(&mut self.frame, at_ms, reply, reference);
        self.turn_bytes += self.frame.len();
        net.send(id, &self.frame);
    }

    /// Does what the chat wants done.
    fn carry_out(&mut self, net: &mut Net) {
        while let Some(output) = self.chat.poll_output() {
            match output {
                Output::RoomOpened { room } => {
                    let slot = room as usize;
                    if self.channels.len() <= slot {
                        self.channels.resize(slot + 1, u32::MAX);
                    }
                    self.channels[slot] = net.open_channel();
                }
                Output::RoomClosed { room } => net.close_channel(self.channels[room as usize]),
                Output::Entered { tag, room } => {
                    self.subscribe(net, ConnectionId::from_bits(tag), self.channels[room as usize]);
                }
                Output::ToRoom { room, name, at_ms, event, author } => {
                    self.publish(net, room, &name, at_ms, &event, author.map(ConnectionId::from_bits));
                }
                Output::ToMember { tag, at_ms, reply, reference } => {
                    self.reply(net, ConnectionId::from_bits(tag), at_ms, &reply, &reference);
                }
            }
        }
    }

    fn subscribe(&mut self, net: &mut Net, id: ConnectionId, channel: u32) {
        let Some(session) = self.session(id) else { return };
        session.channel = channel;
        if let Some(dialect) = session.dialect() {
            net.subscribe(id, FeedId { channel, variant: dialect as u8 });
        }
    }

    /// Appends an event to the feeds of a room: encoded once per dialect that anybody there speaks.
    fn publish(
        &mut self,
        net: &mut Net,
        room: u32,
        name: &room::RoomName,
        at_ms: u64,
        event: &Event,
        author: Option<ConnectionId>,
    ) {
        let echoes = author.and_then(|id| self.session(id)).is_none_or(|s| s.echoes());
        let except = author.filter(|_| !echoes);
        let mut longest = 0;
        for dialect in Dialect::ALL {
            let feed = FeedId { channel: self.channels[room as usize], variant: dialect as u8 };
            if net.has_subscribers(feed) {
                self.frame.clear();
                dialect.encode_event(&mut self.frame, name, at_ms, event);
                net.publish_except(feed, &self.frame, except);
                longest = longest.max(self.frame.len());
            }
        }
        self.turn_bytes += longest;
    }
}

impl Handler for Server {
    fn opened(&mut self, net: &mut Net, id: ConnectionId, peer: Peer) {
        let is_exempt = peer.ip.is_none_or(|ip| net.limits().is_exempt(ip));
        let session = Session::new(id, peer, is_exempt, net.now().monotonic);
        let slot = id.index as usize;
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        self.metrics.count_in(&session.stage);
        self.sessions[slot] = Some(session);
        net.wake_at(id, net.now().monotonic.after(GREETING_WAIT));
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        if let Some(session) = self.session(id) {
            session.heard_at = net.now().monotonic;
            if std::mem::take(&mut session.was_pinged) {
                // The next ping is due earlier than the end that it was waiting for.
                self.rearm(net, id);
            }
        }
        let mut bytes = 0;
        loop {
            if self.is_full() {
                return Consumed { bytes, then: Then::Yield };
            }
            match self.take(net, id, &input[bytes..]) {
                input::Taken::Some(count) => bytes += count,
                input::Taken::NeedsMore(count) => return Consumed { bytes: bytes + count, then: Then::Read },
                input::Taken::Wait(at) => return Consumed { bytes, then: Then::Pause(at) },
                input::Taken::Closed => return Consumed { bytes: input.len(), then: Then::Read },
            }
        }
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, rest: &[u8]) {
        self.take_last(net, id, rest);
        // What it asked for just before is still sent.
        self.carry_out(net);
        self.forget(net, id, None);
    }

    fn woken(&mut self, net: &mut Net, id: ConnectionId) {
        let now = net.now().monotonic;
        let Self { config, browsers, .. } = self;
        let Some(session) = self.sessions[id.index as usize].as_mut().filter(|s| s.id == id) else { return };
        match session.due(config, now) {
            session::Due::Nothing => {}
            session::Due::Greeting if !session.is_spare && browsers.opened_too(session) => {
                session.is_spare = true;
            }
            session::Due::Greeting => {
                session.was_greeted = true;
                net.send(id, format!("{}\n", text::GREETING).as_bytes());
            }
            session::Due::Ping => {
                session.was_pinged = true;
                net.send_control(id, &websocket::ping());
            }
            session::Due::HttpTimeout => return self.time_out_http(net, id),
            session::Due::Nameless => {
                self.log_close(id, "no name in time");
                return self.dismiss(net, id, Bye::Nameless, None);
            }
            session::Due::Dead => return self.dismiss(net, id, Bye::Timeout, Some(Why::Timeout)),
        }
        self.rearm(net, id);
    }

    fn lost(&mut self, net: &mut Net, id: ConnectionId, loss: Loss) {
        match loss {
            Loss::Slow => {
                if let Some(session) = self.session(id) {
                    let words = session.last_words(Bye::Slow, net.now());
                    net.send_control(id, &words);
                }
                self.forget(net, id, Some(Why::Slow));
            }
            Loss::Broken => self.forget(net, id, Some(Why::Reset)),
        }
    }

    fn deliver(&mut self, net: &mut Net) {
        self.carry_out(net);
        self.turn_bytes = 0;
    }

    fn is_full(&self) -> bool {
        // Some of it may have been carried out in the middle of the turn, for somebody's last words.
        self.turn_bytes + self.chat.outbox_bytes() >= self.turn_bytes_max
    }

    fn deadline(&self) -> Millis {
        self.chat.deadline()
    }

    fn expired(&mut self, net: &mut Net) {
        self.chat.expire(net.now());
    }

    fn refused(&mut self, peer: Peer, why: TurnedAway) -> Vec<u8> {
        let text = match why {
            TurnedAway::Full => "the server has as many connections as it takes; try again later",
            TurnedAway::PerIp => "there are too many connections from your address",
        };
        match peer.ip {
            Some(ip) => log::info!("refuse {ip}: {text}"),
            None => log::info!("refuse a local client: {text}"),
        }
        format!("{}\n", text::refused(&Refusal::new(ErrorCode::Full, text))).into_bytes()
    }

    fn stopping(&mut self, net: &mut Net) {
        self.is_stopping = true;
        log::info!("stopping: {} members are told", self.chat.members());
        self.carry_out(net);
        for slot in 0..self.sessions.len() {
            // A request that is under way is still answered.
            if let Some(session) = self.sessions[slot].take_if(|s| !matches!(s.stage, Stage::Http)) {
                if session.was_greeted || !matches!(session.stage, Stage::Undecided) {
                    let words = session.last_words(Bye::Shutdown, net.now());
                    net.send_control(session.id, &words);
                }
                net.close(session.id);
            }
        }
    }
}
