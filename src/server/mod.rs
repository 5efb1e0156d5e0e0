//! The chat server: the [`Handler`] that puts the dialects of [`crate::wire`] and the rooms of
//! [`crate::chat`] on the loop of [`crate::reactor`].
//!
//! Data goes one way: the loop gives bytes to a [`session`], which says what is to be done; that is asked of the
//! chat; what the chat tells is encoded and given to the loop, at once and in that order.
//!
//! | what | where |
//! |---|---|
//! | what the loop calls, and carrying out what sessions want | here |
//! | carrying out what the chat wants: who hears what | [`delivery`] |
//! | carrying out what clients ask for, when it can be | [`requests`] |
//! | what is known of one connection, and how it speaks | [`session`] |
//! | what is logged of those who come and go | [`journal`] |
//! | HTTP: the page, health, upgrades, who may come in from a browser | [`web`] |
//! | which hosts are ours | [`Host`] |
//! | whose pages may connect | [`Origin`] |
//! | `/metrics` | [`metrics`] |

mod delivery;
mod host;
mod journal;
mod metrics;
mod origin;
mod requests;
mod session;
mod web;

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ipnet::IpNet;

use crate::allowance::Allowances;
use crate::chat::{Bye, Chat, ErrorCode, Home, Reference, Refusal, Why};
use crate::clock::{Millis, Now};
use crate::limits::Limits;
use crate::reactor::{ChannelId, ConnectionId, Consumed, Handler, Loss, Net, Peer, Rest, Then, TurnedAway};
use crate::store::{Memory, Restored, Store};
use crate::wire::{Content, Notice, text, websocket};
use journal::{Journal, Kind};
use metrics::Metrics;
use session::{Action, Due, Session, Stage, Waiting};
use web::Page;

pub use host::Host;
pub use origin::Origin;

/// How long a client may be over its rate, without a break, with more behind it than one read takes.
const OVER_RATE_TIME_MAX: Duration = Duration::from_secs(60);
/// When the store has answered something, so many of those who wait for it try again, besides one for each answer.
const AWAITING_RESUMED_MIN: usize = 64;

/// What the server grants to its clients.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// All limits.
    pub limits: Rc<Limits>,
    /// Origins whose pages may connect, besides our own (`--allow-origin`).
    pub allowed_origins: Vec<Origin>,
    /// Who may read `/metrics` (`--metrics-from`).
    pub metrics_from: Vec<IpNet>,
    /// How many lines of the log were lost: whoever writes it counts.
    pub log_lines_lost: Arc<AtomicU64>,
    /// Hosts that `Host` may name, besides this machine's (`--allow-host`).
    pub allowed_hosts: Vec<Host>,
    /// The listeners, in the order of their numbers; those that are missing are as by default.
    pub listeners: Vec<Listener>,
}

/// What has to be known of a listener.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listener {
    /// The one address at which it can be reached; none if that may be any, or a path.
    pub ip: Option<IpAddr>,
    /// It speaks text and nothing else (`--listen text:ADDR`).
    pub is_text_only: bool,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Server {
    config: Config,
    chat: Chat,
    page: Page,
    metrics: Metrics,
    journal: Journal,
    /// How much each address may still say.
    allowances: Allowances,
    is_stopping: bool,
    /// By the slot of their connection.
    sessions: Vec<Option<Session>>,
    /// The channel of each room, by the room's number.
    channels: Vec<ChannelId>,
    /// Where replies are encoded; kept for its memory.
    frame: Vec<u8>,
    store: Box<dyn Store>,
    /// Who waits until the store has answered something.
    awaiting: VecDeque<ConnectionId>,
}

impl Server {
    /// A server with nobody in it, that forgets everything when it ends.
    #[must_use]
    pub fn new(config: Config, started: Now) -> Self {
        let chat = Chat::new(Rc::clone(&config.limits), started);
        Self::of(config, chat, Box::new(Memory::default()))
    }

    /// A server that goes on where its store has ended.
    #[must_use]
    pub fn with_store(config: Config, store: Box<dyn Store>, restored: Restored, started: Now) -> Self {
        let chat = Chat::restored(Rc::clone(&config.limits), restored, started);
        Self::of(config, chat, store)
    }

    fn of(config: Config, chat: Chat, store: Box<dyn Store>) -> Self {
        Self {
            chat,
            config,
            page: Page::new(),
            metrics: Metrics::default(),
            journal: Journal::default(),
            allowances: Allowances::default(),
            is_stopping: false,
            sessions: Vec::new(),
            channels: Vec::new(),
            frame: Vec::new(),
            store,
            awaiting: VecDeque::new(),
        }
    }

    /// The rooms and their members.
    #[must_use]
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// By which listener somebody came.
    fn listener(&self, peer: Peer) -> Listener {
        self.config.listeners.get(usize::from(peer.listener)).copied().unwrap_or_default()
    }

    fn session(&mut self, id: ConnectionId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(id.index as usize)?.as_mut()?;
        (session.id == id).then_some(session)
    }

    /// Memory that is held for a connection, besides the loop's, in bytes.
    fn memory_of(&self, id: ConnectionId) -> usize {
        let Some(session) = self.sessions.get(id.index as usize).and_then(Option::as_ref) else { return 0 };
        session.memory() + session.member.map_or(0, |member| self.chat.memory_of(member))
    }

    // ---- what sessions want done

    /// Takes the first thing from the front of `input`; returns how many bytes it has, and whether to go on.
    fn take(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> (usize, Option<Then>) {
        let limits = Rc::clone(&self.config.limits);
        let Some(session) = self.session(id) else { return (input.len(), Some(Then::Read)) };
        if let Some(waiting) = session.waiting.take() {
            return (0, self.act_or_wait(net, id, *waiting));
        }
        let now = net.now().monotonic;
        let turn_at = if session.takes_turns(input, &limits) { self.turn_of(net, id) } else { now };
        let Some(session) = self.session(id) else { return (input.len(), Some(Then::Read)) };
        if turn_at > now {
            // What is behind more than can be kept may be the end: nobody may hold a name by it for hours.
            let over_rate = session.note_rate(true, now);
            let is_too_much = over_rate > OVER_RATE_TIME_MAX && net.is_unread(id);
            // Its turn may be minutes away, if many share its address: it is looked at when the time is over.
            let look_again = (OVER_RATE_TIME_MAX + Duration::from_secs(1)).saturating_sub(over_rate);
            let until = if look_again.is_zero() { turn_at } else { turn_at.min(now.after(look_again)) };
            return (0, Some(if is_too_much { Then::Drop } else { Then::Pause(until) }));
        }
        let before = metrics::place(&session.stage);
        let mut answers = Vec::new();
        let (count, action) = session.take(input, &limits, net.now(), &mut answers);
        if !answers.is_empty() {
            net.send(id, &answers);
        }
        let after = metrics::place(&session.stage);
        self.metrics.count(&action);
        if before != after {
            self.metrics.move_connection(before, after);
            self.rearm(net, id);
        }
        let Some(session) = self.session(id) else { return (input.len(), Some(Then::Read)) };
        match action {
            Action::Wait => {
                session.note_rate(false, now);
                // What it says next may have to wait for what it has said.
                (count, Some(if self.awaits_answers(id) { Then::Await } else { Then::Read }))
            }
            action => (count, self.act_or_wait(net, id, action.into())),
        }
    }

    /// When a client may say its next line. All connections of its address take turns.
    fn turn_of(&mut self, net: &Net, id: ConnectionId) -> Millis {
        let (now, peer) = (net.now().monotonic, net.peer(id));
        let Self { sessions, allowances, config, .. } = self;
        let session = sessions.get_mut(id.index as usize).and_then(Option::as_mut);
        let Some(session) = session.filter(|s| s.id == id && !s.is_exempt) else { return now };
        let (Some(rate), Some(peer)) = (config.limits.rate, peer) else { return now };
        if session.turn_at == Millis::NEVER {
            session.turn_at =
                allowances.of(peer.subscriber(), now).reserve(interval(rate), config.limits.burst, now);
        }
        session.turn_at
    }

    // ---- what it is told at once

    /// Tells a client why what it said was not done.
    fn refuse(&mut self, net: &mut Net, id: ConnectionId, refusal: Refusal, reference: &Reference) {
        self.metrics.refusals += 1;
        if let Some(session) = self.session(id).filter(|s| s.member.is_none()) {
            session.is_misnamed |= session.content() == Some(Content::Text);
        }
        self.tell(net, id, &Notice::Refused(refusal), reference);
    }

    fn tell(&mut self, net: &mut Net, id: ConnectionId, notice: &Notice, reference: &Reference) {
        if let Some(session) = self.session(id).filter(|s| s.encoding().is_some()) {
            net.send(id, &session.notice(notice, reference, net.now()));
        }
    }

    /// Asks to be woken when something is due for a session whose deadlines have changed.
    fn rearm(&mut self, net: &mut Net, id: ConnectionId) {
        if let Some(session) = self.sessions[id.index as usize].as_ref() {
            net.wake_at(id, session.wakes_at(&self.config.limits));
        }
    }

    // ---- the end of a connection

    /// Logs what happened to a connection, unless that is summed up: of its member `what`, and `why`.
    fn log(&mut self, net: &Net, id: ConnectionId, kind: Kind, what: &str, why: &str) {
        let Some(peer) = net.peer(id) else { return };
        let number = id.generation;
        let shown = fmt::from_fn(|f| match what {
            "" => f.write_str(why),
            what => write!(f, "#{number} {what}"),
        });
        if self.journal.tells(kind, peer, &shown, net.now().monotonic) {
            let member = self.session(id).and_then(|session| session.member);
            let name =
                member.filter(|_| what.is_empty()).map_or("", |member| self.chat.name(member).as_str());
            let space = if name.len() + what.len() > 0 { " " } else { "" };
            let colon = if why.is_empty() { "" } else { ": " };
            log::info!("{kind} #{number}{space}{name}{what} from {peer}{colon}{why}");
        }
    }

    /// Forgets a connection; its member leaves, which is told `why` if it was no plain good-bye. The log is
    /// told `how` otherwise.
    fn forget(&mut self, net: &mut Net, id: ConnectionId, why: Option<Why>, how: &str) {
        if self.session(id).is_none() {
            return;
        }
        let Some(session) = self.sessions[id.index as usize].take() else { return };
        self.metrics.remove_connection(metrics::place(&session.stage));
        if session.turn_at != Millis::NEVER
            && let (Some(rate), Some(peer)) = (self.config.limits.rate, net.peer(id))
        {
            self.allowances.of(peer.subscriber(), net.now().monotonic).refund(interval(rate));
        }
        if let Some(member) = session.member {
            let who = self.chat.name(member).clone();
            let why_text = why.as_ref().map(ToString::to_string);
            self.log(net, id, Kind::Leave, who.as_str(), why_text.as_deref().unwrap_or(how));
            self.chat.leave(member, why, net.now());
            self.carry_out(net);
        }
    }

    /// Closes a connection behind `last_words`; its member leaves.
    fn close(&mut self, net: &mut Net, id: ConnectionId, last_words: &[u8], why: Option<Why>) {
        net.send(id, last_words);
        net.close(id);
        self.forget(net, id, why, "closed");
    }

    /// Closes a connection of which `rest` will not be said, for what is wrong with it; its member leaves.
    fn give_back(&mut self, net: &mut Net, id: ConnectionId, rest: &[u8], wrong: &str) {
        let limits = Rc::clone(&self.config.limits);
        let Some(session) = self.session(id) else { return };
        let count = session.count_unheard(rest, &limits);
        let lines = if count == 1 { "1 line was" } else { &format!("{count} lines were") };
        let why = format!("{lines} not said: what {wrong}");
        self.log(net, id, Kind::Close, "", &why);
        self.refuse(net, id, Refusal::new(ErrorCode::Dropped, why), &None);
        let is_websocket = self.session(id).is_some_and(|s| matches!(s.stage, Stage::WebSocket { .. }));
        let last_words =
            if is_websocket { websocket::close(Some(websocket::NORMAL), "") } else { Vec::new() };
        self.close(net, id, &last_words, None);
    }

    /// Says good-bye to a client in its own dialect, and closes its connection.
    fn dismiss(&mut self, net: &mut Net, id: ConnectionId, bye: Bye, why: Option<Why>) {
        let Some(session) = self.session(id) else { return };
        net.send(id, &session.last_words(bye, net.now()));
        if let (Bye::Quit, Some(member)) = (bye, session.member) {
            self.chat.end_session(member);
        }
        let Some(session) = self.session(id) else { return };
        // A program reads to the end, however long that takes.
        match session.content() {
            Some(Content::Text) if bye == Bye::Quit => net.hang_up(id),
            _ => net.close(id),
        }
        self.forget(net, id, why, "quit");
    }
}

/// Where a client comes from: to the chat, one subscriber is one home.
fn home_of(net: &Net, id: ConnectionId) -> Home {
    let peer = net.peer(id);
    let is_exempt = peer.and_then(|peer| peer.ip).is_none_or(|ip| net.limits().is_exempt(ip));
    Home { subscriber: peer.map_or(0, Peer::subscriber), is_exempt }
}

/// How long it takes until one of so many a second may be said.
fn interval(rate: usize) -> Duration {
    Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX)
}

impl Handler for Server {
    fn started(&mut self, net: &mut Net) {
        self.carry_out(net);
    }

    fn opened(&mut self, net: &mut Net, id: ConnectionId, peer: Peer) {
        let is_exempt = peer.ip.is_none_or(|ip| net.limits().is_exempt(ip));
        let is_text_only = self.listener(peer).is_text_only;
        let session = Session::new(id, is_exempt, is_text_only, net.now().monotonic);
        if is_text_only {
            net.send(id, &session.greeting());
        }
        let slot = id.index as usize;
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        self.metrics.add_connection(metrics::place(&session.stage));
        self.sessions[slot] = Some(session);
        self.rearm(net, id);
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        if self.session(id).is_some_and(|session| session.hear(net.now().monotonic)) {
            self.rearm(net, id);
        }
        let limits = Rc::clone(&self.config.limits);
        let mut consumed = Consumed { bytes: 0, then: Then::Yield };
        while !net.is_turn_full() {
            let (count, then) = self.take(net, id, &input[consumed.bytes..]);
            consumed.bytes += count;
            let rest = &input[consumed.bytes..];
            if self.session(id).is_some_and(|session| session.has_lost_its_name(rest, &limits)) {
                consumed.bytes = input.len();
                self.give_back(net, id, rest, "came with a name that was refused");
            }
            if let Some(then) = then {
                consumed.then = then;
                break;
            }
        }
        net.keeps(id, self.memory_of(id));
        consumed
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, rest: Rest<'_>) {
        let now = net.now().monotonic;
        let has_no_turn =
            matches!(rest, Rest::Unfinished(rest) if !rest.is_empty()) && self.turn_of(net, id) > now;
        let rest = match rest {
            Rest::Unfinished(rest) if has_no_turn => Rest::Unheard(rest),
            rest => rest,
        };
        let Some(session) = self.session(id) else { return };
        match rest {
            Rest::Unfinished(rest) => {
                let before = metrics::place(&session.stage);
                let action = session.take_last(rest, net.now());
                session.turn_at = Millis::NEVER;
                let after = metrics::place(&session.stage);
                self.metrics.move_connection(before, after);
                self.metrics.count(&action);
                self.act_at_last(net, id, action.into());
            }
            Rest::Unheard(rest) => {
                if let Some(member) = session.member {
                    // It may have been cut off for others to come in: nobody else is to be called so at once.
                    self.chat.hold_name(member, net.now());
                }
                self.give_back(net, id, rest, "came faster than it may, and there was no more time");
            }
        }
    }

    fn woken(&mut self, net: &mut Net, id: ConnectionId) {
        let (now, has_input) = (net.now().monotonic, net.has_input(id));
        let limits = Rc::clone(&self.config.limits);
        let is_awaiting = self.awaits_answers(id);
        let Some(session) = self.session(id) else { return };
        if is_awaiting {
            // It is us who are silent.
            session.hear(now);
        }
        match session.due(&limits, has_input, now) {
            Due::Nothing => {}
            Due::Ping => net.send(id, &websocket::ping()),
            Due::HttpTimeout => return self.time_out_http(net, id),
            Due::Bye(bye) => {
                if bye == Bye::Nameless {
                    self.log(net, id, Kind::Close, "", "no name in time");
                }
                let why = (bye == Bye::Timeout).then_some(Why::Timeout);
                return self.dismiss(net, id, bye, why);
            }
        }
        self.rearm(net, id);
    }

    fn lost(&mut self, net: &mut Net, id: ConnectionId, loss: Loss) -> Vec<u8> {
        let now = net.now();
        let words = self.session(id).map(|session| session.last_words(Bye::Slow, now));
        let why = if loss == Loss::Slow { Why::Slow } else { Why::Reset };
        self.forget(net, id, Some(why), "");
        words.unwrap_or_default()
    }

    fn notified(&mut self, net: &mut Net) {
        let mut answers = 0;
        while !net.is_turn_full()
            && let Some(answer) = self.store.poll()
        {
            self.chat.answer(answer, net.now());
            self.carry_out(net);
            answers += 1;
        }
        if net.is_turn_full() {
            self.store.wake();
        }
        // Each answer makes place for another ask; what nothing is on its way for must not wait for ever.
        let is_idle = self.store.load().asks == 0;
        let count = if is_idle { usize::MAX } else { answers + AWAITING_RESUMED_MIN };
        for _ in 0..count.min(self.awaiting.len()) {
            let Some(id) = self.awaiting.pop_front() else { break };
            self.go_on(net, id);
        }
    }

    fn served(&mut self, _net: &mut Net) {
        self.store.submit();
    }

    fn deadline(&self) -> Millis {
        self.chat.deadline().min(self.journal.deadline())
    }

    fn expired(&mut self, net: &mut Net) {
        self.chat.expire(net.now());
        self.carry_out(net);
        while let Some(sum) = self.journal.poll_sum(net.now().monotonic) {
            log::info!("{sum}");
        }
    }

    fn refused(&mut self, net: &mut Net, peer: Peer, why: TurnedAway) -> Vec<u8> {
        let text = match why {
            TurnedAway::Full => "the server has as many connections as it takes; try again later",
            TurnedAway::PerIp => "there are too many connections from your address",
            TurnedAway::TooOften => "your address connects too often; try again in a moment",
        };
        if self.journal.tells(Kind::Refuse, peer, &text, net.now().monotonic) {
            log::info!("refuse {peer}: {text}");
        }
        format!("{}\n", text::refused(&Refusal::new(ErrorCode::Full, text))).into_bytes()
    }

    fn stopping(&mut self, net: &mut Net) {
        self.is_stopping = true;
        for sum in self.journal.end() {
            log::info!("{sum}");
        }
        log::info!("stopping: {} members are told", self.chat.members());
        for slot in 0..self.sessions.len() {
            // A request that is under way is still answered.
            let session = self.sessions[slot].as_mut().filter(|s| !matches!(s.stage, Stage::Http { .. }));
            let Some(session) = session else { continue };
            if session.member.is_some_and(|member| self.chat.awaits_answers(member)) {
                let is_last = session.waiting.as_ref().is_some_and(|waiting| waiting.is_last);
                let waiting = Waiting { is_last, ..Action::Dismiss(Bye::Shutdown).into() };
                session.waiting = Some(Box::new(waiting));
                continue;
            }
            net.send(session.id, &session.last_words(Bye::Shutdown, net.now()));
            net.close(session.id);
            self.sessions[slot] = None;
        }
    }
}
