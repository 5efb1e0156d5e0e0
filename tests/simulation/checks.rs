//! What must be so after a random run.

use std::collections::BTreeMap;

use crate::client::{Client, Temper, Told, upgrade};
use crate::random::{ROOMS, Run};

/// Where a body was said: room and place in its transcript.
type Places<'a> = BTreeMap<&'a str, (usize, usize)>;

impl Run {
    /// The bodies of all messages of a room, by id, as its observer was told.
    fn transcript(&self, observer: usize) -> Vec<String> {
        let mut transcript = Vec::new();
        let mut room = String::new();
        for told in &self.clients[observer].told {
            match told {
                Told::Welcome { room: entered, .. } => room.clone_from(entered),
                Told::Said { body, id } if room == ROOMS[observer] => {
                    transcript.push(body.clone());
                    assert_eq!(*id, Some(transcript.len() as u64), "ids count 1, 2, 3 …");
                }
                _ => {}
            }
        }
        transcript
    }

    pub fn check(&self) {
        let transcripts: Vec<Vec<String>> = (0..ROOMS.len()).map(|room| self.transcript(room)).collect();
        let place: Places<'_> = transcripts
            .iter()
            .enumerate()
            .flat_map(|(room, bodies)| bodies.iter().enumerate().map(move |(i, b)| (b.as_str(), (room, i))))
            .collect();
        let count: usize = transcripts.iter().map(Vec::len).sum();
        assert_eq!(place.len(), count, "a message was doubled");
        for (who, client) in self.clients.iter().enumerate() {
            self.check_heard(who, client, &transcripts, &place);
            self.check_heard_aside(who, client);
            self.check_end(who, client);
            self.check_said(who, client, &place);
        }
        self.check_privates();
        self.check_members();
        self.check_requests();
    }

    /// What a client heard is what was said in its rooms, without a hole, a repetition or its own lines.
    fn check_heard(&self, who: usize, client: &Client, transcripts: &[Vec<String>], place: &Places<'_>) {
        let own = format!("{who}-");
        // None: in a room that nobody observes.
        let (mut room, mut next) = (Some(0), None);
        // Skips what the text dialect does not send: one's own lines.
        let skip_own = |room: usize, mut at: usize| {
            while !client.is_json() && transcripts[room].get(at).is_some_and(|b| b.starts_with(&own)) {
                at += 1;
            }
            at
        };
        for told in &client.told {
            match told {
                Told::Welcome { room: entered, newest_id } => {
                    room = ROOMS.iter().position(|name| name == entered);
                    next = newest_id.map(|id| id as usize);
                }
                Told::Older(body) if room.is_some() => next = Some(place[body.as_str()].1 + 1),
                Told::Said { body, id } => {
                    assert!(client.is_json() || !body.starts_with(&own), "{who} got its own line {body}");
                    let said_in = place.get(body.as_str());
                    assert_eq!(said_in.map(|at| at.0), room, "{who} heard {body} through the wall");
                    let Some(&(room, at)) = said_in else { continue };
                    assert!(id.is_none_or(|id| id == at as u64 + 1), "{who} heard {body} as {id:?}");
                    if let Some(next) = next {
                        let next = skip_own(room, next);
                        assert_eq!(at, next, "{who} missed something before {body}, or heard it twice");
                    }
                    next = Some(at + 1);
                }
                _ => {}
            }
        }
        if self.has_stayed(client)
            && let (Some(room), Some(next)) = (room, next)
        {
            assert_eq!(skip_own(room, next), transcripts[room].len(), "{who} stayed and missed the end");
        }
    }

    /// In rooms that come and go ids count without a hole, from the one that the client was told when it came.
    fn check_heard_aside(&self, who: usize, client: &Client) {
        let mut newest = None;
        for told in &client.told {
            match told {
                Told::Welcome { newest_id, .. } => newest = *newest_id,
                Told::Said { id: Some(id), .. } => {
                    assert!(newest.is_none_or(|newest| newest + 1 == *id), "{who}: {id} after {newest:?}");
                    newest = Some(*id);
                }
                _ => {}
            }
        }
    }

    fn has_stayed(&self, client: &Client) -> bool {
        client.is_up() && !self.machine.is_at_end(client.pipe)
    }

    /// Whether the server may close this client for not reading, or for what is held for it.
    fn may_be_cut(&self, client: &Client) -> bool {
        let limits = &self.setting.limits;
        let is_held_for = limits.max_buffered_bytes.is_some() && limits.rate.is_some() && !client.is_exempt;
        client.temper == Temper::Sick || is_held_for
    }

    /// Whether an observer was told that this client was closed for being slow or silent; or nobody was who is
    /// observed, and it may have been.
    fn was_given_up(&self, client: &Client) -> bool {
        let is_it = |told: &Told| {
            matches!(told, Told::Gone { name, why: Some(why) }
                if client.names.contains(name) && ["slow", "timeout"].contains(&why.as_str()))
        };
        let is_told_all = self.setting.limits.quiet_above.is_none() && !client.went_aside;
        let may_be = client.temper == Temper::Mute || self.may_be_cut(client);
        self.clients[..ROOMS.len()].iter().any(|observer| observer.told.iter().any(is_it))
            || (!is_told_all && may_be && self.machine.is_at_end(client.pipe))
    }

    /// Nobody is closed but for a good reason, which it is told.
    fn check_end(&self, who: usize, client: &Client) {
        let last = &client.told[client.told.len().saturating_sub(3)..];
        let has_gone = !client.is_up();
        match client.temper {
            Temper::Healthy if !self.may_be_cut(client) => {
                assert!(
                    has_gone || self.has_stayed(client),
                    "{who} took everything and was closed all the same: {last:?}"
                );
                let is_dismissed = client.told.contains(&Told::Bye("quit"));
                assert!(!client.has_quit || is_dismissed, "{who} has quit: {last:?}");
            }
            Temper::Mute if self.setting.limits.ping_after.is_none() => {
                assert!(self.has_stayed(client), "{who} was closed: {last:?}");
            }
            Temper::Mute if !self.may_be_cut(client) => {
                assert!(!self.has_stayed(client), "{who} answers nothing and is still here");
                assert!(client.told.contains(&Told::Bye("timeout")), "{who} is silent: {last:?}");
            }
            _ => {}
        }
        if !self.has_stayed(client) && !has_gone {
            // Who slept through the time for flushing cannot be told.
            let has_slept = client.asleep_until > 0;
            let was_told = client.told.iter().any(|told| matches!(told, Told::Bye(_)));
            assert!(has_slept || was_told, "{who} was closed and not told why: {last:?}");
            assert!(self.was_given_up(client), "{who} was closed and the room was not told");
        }
    }

    /// Everything a client said was heard, in its order, unless its connection broke or was closed, or it was told
    /// how much was not heard.
    fn check_said(&self, who: usize, client: &Client, place: &Places<'_>) {
        let own = format!("{who}-");
        let number =
            |body: &str| -> Option<usize> { body.strip_prefix(&own)?.split('-').next()?.parse().ok() };
        let mut heard: Vec<(usize, usize, usize)> = Vec::new();
        for (body, &(room, at)) in place.range(own.as_str()..) {
            let Some(number) = number(body) else { break };
            heard.push((number, room, at));
        }
        heard.sort_unstable();
        for room in 0..ROOMS.len() {
            assert!(heard.iter().filter(|h| h.1 == room).map(|h| h.2).is_sorted(), "{who}'s order");
        }
        let mut numbers: Vec<usize> = heard.iter().map(|&(number, ..)| number).collect();
        if client.went_aside {
            if !client.is_json() || client.asleep_until > 0 {
                return;
            }
            // What it said in rooms that nobody observes, it heard itself.
            let said = client.told.iter().filter_map(|told| match told {
                Told::Said { body, .. } => number(body),
                _ => None,
            });
            numbers = said.collect();
        }
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "{who} said something that was lost");
        let lost = client.said - numbers.len();
        let was_told = client.has_ended && (client.dropped() >= lost || client.asleep_until > 0);
        if !client.was_reset && !self.was_given_up(client) && !was_told {
            let last = &client.told[client.told.len().saturating_sub(3)..];
            let (dropped, kind) =
                (client.dropped(), (client.temper, client.dialect, client.has_ended, client.has_quit));
            assert_eq!(lost, 0, "{who} was not heard to the end, {dropped} dropped, {kind:?}: {last:?}");
        }
        assert!(client.dropped() == 0 || client.has_ended, "{who} is here and was not heard");
    }

    fn check_privates(&self) {
        let mut lost = BTreeMap::new();
        for (body, from, to) in &self.privates {
            let count =
                |client: &Client| client.told.iter().filter(|t| **t == Told::Private(body.clone())).count();
            let heard: Vec<usize> = self.clients.iter().map(count).collect();
            let is_right = |(c, &count): (usize, &usize)| count == 0 || (c == *to && count == 1);
            assert!(heard.iter().enumerate().all(is_right), "{body} leaked");
            let receiver = &self.clients[*to];
            let is_there = receiver.temper == Temper::Healthy && self.has_stayed(receiver);
            *lost.entry(*from).or_insert(0) += usize::from(is_there && heard[*to] == 0);
        }
        for (from, lost) in lost {
            let sender = &self.clients[from];
            let is_refused = |told: &&Told| {
                matches!(told, Told::Refused(text)
                    if text.starts_with("no-such-user") || text.starts_with("busy"))
            };
            let refused = sender.told.iter().filter(is_refused).count();
            let has_been_heard = sender.temper == Temper::Healthy
                && !sender.was_reset
                && !self.was_given_up(sender)
                && sender.dropped() == 0;
            assert!(!has_been_heard || lost <= refused, "{lost} of {from}'s were lost, {refused} refused");
        }
    }

    /// The sums of joins and leaves add up.
    fn check_members(&self) {
        for (observer, name) in self.clients.iter().zip(ROOMS) {
            let rooms = self.scene.server.handler().chat().rooms();
            let total =
                rooms.filter(|room| room.name().as_str() == name).map(|room| room.total()).sum::<usize>();
            assert_eq!(observer.members, total as i64, "who came to {name} and left does not add up");
        }
        assert!(self.scene.server.handler().chat().find("c0").is_some(), "somebody took an observer's name");
    }

    fn check_requests(&self) {
        for request in &self.requests {
            let answer = String::from_utf8_lossy(&request.answer);
            let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
            assert!(head.starts_with(&format!("HTTP/1.1 {}\r\n", request.expected)), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            assert_eq!(length.map(str::parse), Some(Ok(body.len())), "{head}");
            assert!(self.machine.is_at_end(request.pipe), "it stays");
        }
    }

    /// Either everybody leaves, or the server is stopped.
    pub fn finish(&mut self) {
        if self.setting.ends_by_stop { self.check_stop() } else { self.check_leaves_nothing() }
    }

    /// Everybody leaves: nothing may remain.
    fn check_leaves_nothing(&mut self) {
        for client in &self.clients {
            self.machine.end(client.pipe);
        }
        self.settle(100);
        // A minute, while the loop is awake.
        for _ in 0..120 {
            self.machine.world_mut().now_ms += 500;
            self.settle(1);
        }
        assert_eq!(self.scene.server.net().connections(), 0, "a connection remained");
        assert_eq!(self.scene.server.net().buffered_bytes(), 0, "bytes remained");
        assert_eq!(self.scene.server.handler().chat().members(), 0, "a member remained");
        let idle = self.machine.world().idle_waits;
        self.settle(3);
        assert_eq!(self.machine.world().idle_waits, idle + 3, "the idle loop wakes up for nothing");
    }

    /// A stop, with requests and upgrades under way: everybody is told, and it is over in good time.
    fn check_stop(&mut self) {
        let stayed: Vec<usize> =
            (0..self.clients.len()).filter(|&who| self.has_stayed(&self.clients[who])).collect();
        let begun = self.requests.len();
        let get = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let stopping = "503 Service Unavailable";
        for (head, expected) in [
            (get("/healthz"), stopping),
            (upgrade("roomd.json"), stopping),
            (get("/nowhere"), "404 Not Found"),
        ] {
            self.request(&head[..head.len() - 2], expected);
        }
        self.machine.world_mut().wait_max_ms = 0;
        self.settle(5);
        self.machine.world_mut().stop_requests = 1;
        let stopped_at = self.scene.now_ms();
        self.settle(1);
        for request in &self.requests[begun..] {
            self.machine.send(request.pipe, b"\r\n");
        }
        while !self.scene.server.is_stopped() {
            self.machine.world_mut().now_ms += 10;
            self.settle(1);
        }
        let took = self.scene.now_ms() - stopped_at;
        assert!(took < 5100, "it took {took} ms");
        for who in stayed {
            let client = &self.clients[who];
            let was_told = client.told.contains(&Told::Bye("shutdown"));
            assert!(was_told || self.may_be_cut(client), "{who} was not told: {:?}", client.told.last());
        }
        self.check_requests();
    }
}
