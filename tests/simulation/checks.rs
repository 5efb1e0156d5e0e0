//! What must be so after a random run.

use std::collections::{BTreeMap, BTreeSet};

use crate::chronicle::{Chronicle, author_of, number_of};
use crate::client::{Client, Temper, Told, upgrade};
use crate::random::{OBSERVER, Private, ROOMS, Run};
use crate::shadow::{Shadow, Tally};

impl Run {
    /// Checks everything; says what was there to be seen.
    pub fn check(&self) -> Tally {
        let mut tally = Tally::default();
        let is_exact = self.setting.limits.quiet_above.is_none();
        let chronicle = Chronicle::of(&self.clients[OBSERVER], &ROOMS, is_exact);
        for (who, client) in self.clients.iter().enumerate().skip(OBSERVER + 1) {
            let (has_stayed, has_left) = (self.has_stayed(client), self.has_left_in_peace(client));
            let mut shadow =
                Shadow::new(&chronicle, &self.privates, who, client, is_exact, has_stayed || has_left);
            shadow.follow();
            if has_stayed {
                shadow.stay();
            } else if has_left {
                shadow.end();
            }
            shadow.tally.0.into_iter().for_each(|(what, count)| tally.count(what, count));
            self.check_end(who, client, &chronicle);
            self.check_said(who, client, &chronicle);
        }
        self.check_privates(&chronicle);
        self.check_members(&chronicle);
        self.check_given_up(&chronicle, &mut tally);
        self.check_requests();
        tally.count("evicted", self.evicted);
        tally.count("throttled", self.scene.server.net().counters().throttles as usize);
        tally
    }

    fn has_stayed(&self, client: &Client) -> bool {
        client.is_up() && !self.machine.is_at_end(client.pipe)
    }

    /// Whether it has closed its side, and took all that it was sent until the server closed the other one.
    fn has_left_in_peace(&self, client: &Client) -> bool {
        let is_healthy = client.temper == Temper::Healthy && !self.may_be_cut(client);
        is_healthy && client.has_ended && !client.was_reset && client.dropped() == 0
    }

    /// Whether the server may close this client for not reading, or for what is held for it.
    fn may_be_cut(&self, client: &Client) -> bool {
        let limits = &self.setting.limits;
        // What it has said is held for it while its turn, or the store, is waited for.
        let may_wait = (limits.rate.is_some() && !client.is_exempt) || self.setting.has_disk;
        let is_held_for = limits.max_buffered_bytes.is_some() && may_wait;
        client.temper == Temper::Sick || is_held_for
    }

    /// Whether the observer was told that this client was closed for being slow or silent; or could not be told, and
    /// it may have been.
    fn was_given_up(&self, who: usize, chronicle: &Chronicle) -> bool {
        let client = &self.clients[who];
        let is_told_all = self.setting.limits.quiet_above.is_none() && !client.went_aside;
        let may_be = client.temper == Temper::Mute || self.may_be_cut(client);
        chronicle.given_up(who).iter().any(|(_, why)| ["slow", "timeout"].contains(why))
            || (!is_told_all && may_be && self.machine.is_at_end(client.pipe))
    }

    /// Nobody is closed but for a good reason, which it is told.
    fn check_end(&self, who: usize, client: &Client, chronicle: &Chronicle) {
        let last = &client.told[client.told.len().saturating_sub(3)..];
        let has_gone = !client.is_up();
        match client.temper {
            Temper::Healthy if !self.may_be_cut(client) => {
                // A store that takes its time may leave too little of it for what comes too fast.
                let is_too_late = self.setting.has_disk && client.dropped() > 0;
                assert!(
                    has_gone || is_too_late || self.has_stayed(client),
                    "{who} took everything and was closed all the same: {last:?}"
                );
                let is_dismissed = client.told.contains(&Told::Bye("quit"));
                assert!(!client.has_quit || is_dismissed || is_too_late, "{who} has quit: {last:?}");
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
            // Who slept through the time for flushing cannot be told; nor who is in the middle of long answers, when
            // all together hold too much.
            let has_slept = client.asleep_until > 0;
            let is_torn = self.setting.limits.max_buffered_bytes.is_some() && client.is_inside_frame();
            let was_told = client.told.iter().any(|told| matches!(told, Told::Bye(_)));
            assert!(has_slept || is_torn || was_told, "{who} was closed and not told why: {last:?}");
            assert!(self.was_given_up(who, chronicle), "{who} was closed and the room was not told");
        }
    }

    /// Everything a client said was heard, in its order, unless its connection broke or was closed, or it was told
    /// how much was not heard.
    fn check_said(&self, who: usize, client: &Client, chronicle: &Chronicle) {
        assert!(chronicle.said_by(who).map(|(_, at)| at).is_sorted(), "{who}'s order");
        let mut numbers: BTreeSet<usize> = chronicle.said_by(who).map(|(number, _)| number).collect();
        if client.went_aside && (!client.is_json() || client.asleep_until > 0) {
            return;
        }
        let has_heard_all = self.has_stayed(client) || self.has_left_in_peace(client);
        if client.went_aside && !has_heard_all {
            // What it said where nobody observes is known as far as it was told itself.
            numbers.clear();
        }
        for told in &client.told {
            match told {
                Told::Refused { reference, .. } => {
                    let is_new = author_of(reference).is_none_or(|(_, number)| numbers.insert(number));
                    assert!(is_new, "{who} was refused {reference}, which was heard");
                }
                // What it said in rooms that nobody observes was done all the same.
                Told::Done(reference) => numbers.extend(author_of(reference).map(|(_, number)| number)),
                _ => {}
            }
        }
        // What it said in a room that it named may have been refused, and it was not told.
        let is_lost =
            |number: &usize| !numbers.contains(number) && (has_heard_all || client.said[*number].is_none());
        let last = numbers.last().copied().unwrap_or(0);
        assert_eq!((0..last).find(is_lost), None, "{who} said something that was lost");
        let lost = (0..client.said.len()).filter(is_lost).count();
        let may_be_late = client.has_ended || self.setting.has_disk;
        let was_told = may_be_late && (client.dropped() >= lost.max(1) || client.asleep_until > 0);
        if !client.was_reset && !self.was_given_up(who, chronicle) && !was_told {
            let last = &client.told[client.told.len().saturating_sub(3)..];
            let (dropped, kind) =
                (client.dropped(), (client.temper, client.dialect, client.has_ended, client.has_quit));
            assert_eq!(lost, 0, "{who} was not heard to the end, {dropped} dropped, {kind:?}: {last:?}");
        }
        assert!(client.dropped() == 0 || may_be_late, "{who} is here and was not heard");
    }

    fn check_privates(&self, chronicle: &Chronicle) {
        let mut lost = BTreeMap::new();
        for (number, &Private { from, to, .. }) in self.privates.iter().enumerate() {
            let told = Told::Private(format!("psst-{number}"));
            let count = |client: &Client| client.told.iter().filter(|t| **t == told).count();
            let heard: Vec<usize> = self.clients.iter().map(count).collect();
            let is_right = |(c, &count): (usize, &usize)| count == 0 || (c == to && count == 1);
            assert!(heard.iter().enumerate().all(is_right), "{told:?} leaked");
            let receiver = &self.clients[to];
            let is_there = receiver.temper == Temper::Healthy && self.has_stayed(receiver);
            *lost.entry(from).or_insert(0) += usize::from(is_there && heard[to] == 0);
        }
        for (from, lost) in lost {
            let sender = &self.clients[from];
            let is_refused = |told: &&Told| {
                matches!(told, Told::Refused { text, .. }
                    if text.starts_with("no-such-user") || text.starts_with("busy"))
            };
            let refused = sender.told.iter().filter(is_refused).count();
            let has_been_heard = sender.temper == Temper::Healthy
                && !sender.was_reset
                && !self.was_given_up(from, chronicle)
                && sender.dropped() == 0;
            assert!(!has_been_heard || lost <= refused, "{lost} of {from}'s were lost, {refused} refused");
        }
    }

    /// The sums of joins and leaves add up; and who is in which room is what everybody was told.
    fn check_members(&self, chronicle: &Chronicle) {
        let chat = self.scene.server.handler().chat();
        for room in chat.rooms().filter(|room| ROOMS.contains(&room.name().as_str())) {
            let name = room.name().as_str();
            let total = chronicle.totals[name];
            assert_eq!(total, room.total() as i64, "who came to {name} and left does not add up");
            if self.setting.limits.quiet_above.is_none() {
                let mut members = chronicle.members.get(name).cloned().unwrap_or_default();
                members.insert(OBSERVER);
                assert!(room.users().all(|user| members.contains(&number_of(user.as_str()).unwrap())));
                assert_eq!(members.len(), room.total(), "{name}: {members:?}");
            }
        }
        assert!(chat.find("c0").is_some(), "somebody took the observer's name");
    }

    /// Whoever was given up was so once: all its rooms were told in one go, and it is back in none of them.
    fn check_given_up(&self, chronicle: &Chronicle, tally: &mut Tally) {
        if self.setting.limits.quiet_above.is_some() {
            return;
        }
        let mut slow = 0;
        for who in OBSERVER + 1..self.clients.len() {
            let given_up = chronicle.given_up(who);
            let Some(&(first, why)) = given_up.first() else { continue };
            for (index, &(at, of_room)) in given_up.iter().enumerate() {
                assert_eq!((at, of_room), (first + index, why), "{who} was given up twice: {given_up:?}");
            }
            assert!(
                chronicle.members.values().all(|members| !members.contains(&who)),
                "{who} is still there"
            );
            slow += u64::from(why == "slow");
            tally.count("given up in several rooms", usize::from(given_up.len() > 1));
            tally.count("slow in several rooms", usize::from(given_up.len() > 1 && why == "slow"));
        }
        let has_told_all = !self.setting.has_side_rooms;
        assert!(!has_told_all || slow == self.scene.lost_slow(), "{slow} of {} slow", self.scene.lost_slow());
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
