//! Carrying out what clients ask for: at once, or when a room is no longer throttled, or when the store has answered.
//!
//! What cannot be done yet is kept with the session, whose input is deferred meanwhile, and is tried again when that is
//! over. So a client's requests are carried out one after the other; only what it says to rooms goes to the store
//! without waiting for what it has said before.

use super::journal::Kind;
use super::session::{Action, Session, Waiting};
use super::{Server, home_of};
use crate::chat::{Bye, Command, ErrorCode, Hello, MemberId, Name, Reference, Refusal, RoomName};
use crate::reactor::{ChannelId, ConnectionId, Net, Then};
use crate::wire::{Ask, Notice, Request};

impl Server {
    /// Does what a session wants done, or lets it wait until that can be done.
    pub(super) fn act_or_wait(&mut self, net: &mut Net, id: ConnectionId, waiting: Waiting) -> Option<Then> {
        // Answers keep the order of what is asked.
        if !waiting.action.is_speech() && self.awaits_answers(id) {
            self.session(id)?.waiting = Some(Box::new(waiting));
            return Some(Then::Await);
        }
        match waiting.action {
            Action::Wait | Action::Nothing => {}
            Action::Do(request) => {
                return self.fulfil_or_wait(net, id, request, waiting.waited_for);
            }
            Action::Introduce(request) => {
                let introduced = self.introduce_anew(net, id, request.as_ref().ok());
                match (request, introduced) {
                    (Ok(request), Ok(())) => return self.fulfil_or_wait(net, id, request, Vec::new()),
                    (Ok(Request { reference, .. }), Err(refusal)) | (Err((refusal, reference)), _) => {
                        self.refuse(net, id, refusal, &reference);
                    }
                }
            }
            Action::Refuse(refusal, reference) => self.refuse(net, id, refusal, &reference),
            Action::Send(bytes) => net.send(id, &bytes),
            Action::Answer(Ok(request), is_head) if !self.is_room_ready(net, id, &request) => {
                self.await_store(id);
                let action = Action::Answer(Ok(request), is_head);
                self.session(id)?.waiting = Some(Box::new(action.into()));
                return Some(Then::Await);
            }
            Action::Answer(request, is_head) => return self.answer(net, id, request, is_head),
            Action::Close(last_words, why) => {
                if !why.is_empty() {
                    self.log(net, id, Kind::Close, "", &why);
                }
                self.close(net, id, &last_words, None);
            }
            Action::Part(last_words) => {
                if let Some(member) = self.session(id)?.member {
                    self.chat.end_session(member);
                }
                self.close(net, id, &last_words, None);
            }
            Action::Dismiss(bye) => self.dismiss(net, id, bye, None),
            Action::End => {
                net.close(id);
                self.forget(net, id, None, "end of input");
            }
        }
        None
    }

    /// The store has answered: what waits for that is tried again.
    pub(super) fn go_on(&mut self, net: &mut Net, id: ConnectionId) {
        match self.session(id).and_then(|session| session.waiting.take_if(|waiting| waiting.is_last)) {
            Some(waiting) => self.act_at_last(net, id, *waiting),
            None => net.resume(id),
        }
    }

    /// Does what a client wants that has said its last, and closes its connection behind the answer.
    pub(super) fn act_at_last(&mut self, net: &mut Net, id: ConnectionId, waiting: Waiting) {
        let mut then = self.act_or_wait(net, id, waiting);
        if let Some(Then::Wait(_)) = then
            && let Some(waiting) = self.session(id).and_then(|session| session.waiting.take())
            && let Action::Do(request) = waiting.action
        {
            // There is no time to wait for a room.
            then = self.fulfil_or_wait_for_store(net, id, request, waiting.waited_for);
        }
        if then.is_none() {
            then = self.act_or_wait(net, id, Action::End.into());
        }
        if then.is_some()
            && let Some(waiting) = self.session(id).and_then(|session| session.waiting.as_mut())
        {
            waiting.is_last = true;
            net.hold_open(id);
        }
    }

    /// Whether what a client has said is not answered by the store; it is told when it is.
    pub(super) fn awaits_answers(&mut self, id: ConnectionId) -> bool {
        let member = self.session(id).and_then(|session| session.member);
        member.is_some_and(|member| self.chat.awaits_answers(member))
    }

    /// Does what a client asks for. If that would publish in a room that is throttled, or the store has to answer first,
    /// it waits.
    pub(super) fn fulfil_or_wait(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: Request,
        mut waited_for: Vec<ChannelId>,
    ) -> Option<Then> {
        let &Session { member, channel: own, .. } = &*self.session(id)?;
        let rooms = self.rooms_told(member, &request.ask);
        let others = rooms.into_iter().map(|room| self.channels[room as usize]);
        let own = Some(own).filter(|_| is_told_here(&request.ask));
        let mut told: Vec<ChannelId> = own.into_iter().chain(others).collect();
        // What is said in one room waits as long as that does, or many could say it at once when they have waited.
        if told.len() > 1 {
            told.retain(|channel| !waited_for.contains(channel));
        }
        let Some(channel) = told.into_iter().find(|&channel| net.is_throttled(channel)) else {
            return self.fulfil_or_wait_for_store(net, id, request, waited_for);
        };
        waited_for.push(channel);
        self.session(id)?.waiting = Some(Box::new(Waiting::new(Action::Do(request), waited_for)));
        Some(Then::Wait(channel))
    }

    fn fulfil_or_wait_for_store(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: Request,
        waited_for: Vec<ChannelId>,
    ) -> Option<Then> {
        let request = self.fulfil(net, id, request)?;
        if !self.awaits_answers(id) {
            self.await_store(id);
        }
        self.session(id)?.waiting = Some(Box::new(Waiting::new(Action::Do(request), waited_for)));
        Some(Then::Await)
    }

    /// A client waits until the store has answered anything.
    fn await_store(&mut self, id: ConnectionId) {
        self.awaiting.push_back(id);
        if self.store.load().asks == 0 {
            // It has answered already.
            self.store.wake();
        }
    }

    /// The rooms in which something is published if a client asks for that, besides its current one. Leaving the server
    /// waits for nothing.
    fn rooms_told(&self, member: Option<MemberId>, ask: &Ask) -> Vec<u32> {
        let number = |room: &RoomName| self.chat.room_number(room);
        let joined = || member.into_iter().flat_map(|member| self.chat.rooms_joined(member));
        let lobby = || number(&RoomName::lobby());
        match ask {
            Ask::Quit => Vec::new(),
            Ask::Command(Command::Hello(hello)) if member.is_none() && hello.rooms.is_empty() => {
                lobby().into_iter().collect()
            }
            Ask::Command(Command::Hello(hello)) => {
                joined().chain(hello.rooms.iter().filter_map(number)).collect()
            }
            // Whoever asks for anything is let in first.
            _ if member.is_none() => lobby().into_iter().collect(),
            Ask::Command(
                Command::Say { room: Some(room), .. }
                | Command::Act { room: Some(room), .. }
                | Command::Join(room),
            ) => number(room).into_iter().collect(),
            Ask::Command(Command::Leave { room }) => {
                room.as_ref().and_then(number).into_iter().chain(lobby()).collect()
            }
            Ask::Command(Command::Nick(_)) => joined().collect(),
            _ => Vec::new(),
        }
    }

    /// Does what a client asks for, or tells it why not. Returns it if the store has to answer first.
    fn fulfil(&mut self, net: &mut Net, id: ConnectionId, mut request: Request) -> Option<Request> {
        match self.is_ready(net, id, &mut request) {
            Ok(true) => self.fulfil_now(net, id, request),
            Ok(false) => return Some(request),
            Err(refusal) => self.refuse(net, id, refusal, &request.reference),
        }
        None
    }

    fn fulfil_now(&mut self, net: &mut Net, id: ConnectionId, request: Request) {
        let reference = request.reference.clone();
        if let Err(refusal) = self.try_to_fulfil(net, id, request) {
            self.refuse(net, id, refusal, &reference);
        }
    }

    /// Whether what a client asks for can be done now; whoever has not introduced itself is introduced first.
    fn is_ready(&mut self, net: &mut Net, id: ConnectionId, request: &mut Request) -> Result<bool, Refusal> {
        let Some(session) = self.session(id) else { return Ok(true) };
        let (now, home) = (net.now(), home_of(net, id));
        let ready = match (&mut request.ask, session.member) {
            (Ask::Quit, _) | (Ask::Ping | Ask::Help, Some(_)) => return Ok(true),
            _ if self.store.load().is_full() => return Ok(false),
            (Ask::Command(Command::Hello(hello)), None) => self.chat.prepare_hello(None, hello, home, now),
            (Ask::Command(command), Some(member)) => {
                self.chat.prepare(member, command, &request.reference, now)
            }
            (_, None) => match self.chat.prepare_rooms(&[RoomName::lobby()], home, now) {
                Ok(true) => {
                    self.enter_unasked(net, id, request.from.as_deref())?;
                    return self.is_ready(net, id, request);
                }
                other => other,
            },
        };
        self.carry_out(net);
        ready
    }

    fn try_to_fulfil(&mut self, net: &mut Net, id: ConnectionId, request: Request) -> Result<(), Refusal> {
        let Some(member) = self.session(id).map(|session| session.member) else { return Ok(()) };
        let Request { reference, ask, .. } = request;
        let (command, member) = match (ask, member) {
            (Ask::Command(Command::Hello(hello)), None) => {
                let entered = self.enter(net, id, hello, &reference);
                if let Some(session) = self.session(id) {
                    session.is_misnamed = entered.is_err();
                }
                return entered.map(drop);
            }
            (Ask::Command(command), Some(member)) => (command, member),
            (Ask::Command(_), None) => return Ok(()),
            (notice @ (Ask::Ping | Ask::Help), _) => {
                let notice = if notice == Ask::Ping { Notice::Pong } else { Notice::Help };
                self.tell(net, id, &notice, &reference);
                return Ok(());
            }
            (Ask::Quit, _) => {
                self.dismiss(net, id, Bye::Quit, None);
                return Ok(());
            }
        };
        if let Command::Tell { to, .. } = &command
            && let Some((tag, name)) = self.chat.find(to)
            && net.is_queue_full(ConnectionId::from_bits(tag))
        {
            return Err(Refusal::new(ErrorCode::Busy, format!("{name} has not read the last ones")));
        }
        self.command(net, id, member, command, &reference)
    }

    /// Asks something of the chat for a member.
    fn command(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        member: MemberId,
        command: Command,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        let may_rename = matches!(command, Command::Nick(_) | Command::Hello(_));
        let before = may_rename.then(|| self.chat.name(member).clone());
        let outcome = self.chat.command(member, command, reference, net.now());
        let name = self.chat.name(member);
        if let Some(before) = before.filter(|before| before != name) {
            let what = format!("{before} is now {name}");
            self.log(net, id, Kind::Nick, &what, "");
        }
        self.carry_out(net);
        outcome
    }

    /// Lets a program in that has not said `hello`, under the name that it claims.
    fn enter_unasked(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        from: Option<&str>,
    ) -> Result<MemberId, Refusal> {
        let is_misnamed = self.session(id).is_some_and(|session| session.is_misnamed);
        let name = match from {
            Some(name) => Name::parse(name)?,
            None if is_misnamed => {
                let text = "your name was refused; say hello with another one first";
                return Err(Refusal::new(ErrorCode::BadArgument, text));
            }
            None => self.chat.guest_name(home_of(net, id), net.now()),
        };
        self.enter(net, id, Hello::new(name, None), &None)
    }

    /// Lets a client in.
    fn enter(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        hello: Hello,
        reference: &Reference,
    ) -> Result<MemberId, Refusal> {
        let member = self.chat.enter(id.to_bits(), home_of(net, id), hello, reference, net.now())?;
        if let Some(session) = self.session(id) {
            session.member = Some(member);
        }
        self.carry_out(net);
        self.rearm(net, id);
        Ok(member)
    }

    /// A guest turns out to be a program: it is told so in JSON, under the name that it claims.
    fn introduce_anew(
        &mut self,
        net: &mut Net,
        id: ConnectionId,
        request: Option<&Request>,
    ) -> Result<(), Refusal> {
        let Some(member) = self.session(id).and_then(|session| session.member) else { return Ok(()) };
        let rooms: Vec<u32> = self.chat.rooms_joined(member).collect();
        for (index, room) in rooms.into_iter().enumerate() {
            self.listen(net, id, room, index == 0);
        }
        let is_hello = request.is_some_and(|request| matches!(request.ask, Ask::Command(Command::Hello(_))));
        if !is_hello {
            let name = match request.and_then(|request| request.from.as_deref()) {
                Some(claimed) => Name::parse(claimed)?,
                None => self.chat.name(member).clone(),
            };
            let hello = Command::Hello(Hello::new(name, None));
            self.command(net, id, member, hello, &None)?;
        }
        Ok(())
    }
}

/// Whether something is published in the current room of a member that asks for that.
fn is_told_here(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::Command(
            Command::Say { room: None, .. } | Command::Act { room: None, .. } | Command::Leave { room: None }
        )
    )
}
