//! Connections that follow several channels: whatever is published, sent, subscribed to, followed and left in whatever
//! order, and however the sockets tear it, each of them gets exactly what a naive account of it has: one `Vec<u8>`.
//!
//! `ROOMD_SEED=7 cargo test --test following` runs one seed; `ROOMD_SEEDS` changes how many.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use roomd::limits::Limits;
use roomd::reactor::simulated::{Machine, Rng};
use roomd::reactor::{ChannelId, ConnectionId, Consumed, Handler, Loss, Net, Peer, Reactor, Rest, Then};

const CHANNELS: usize = 8;
const FOLLOWED_MAX: usize = 6;

/// What is known of a connection without looking into the loop.
#[derive(Default)]
struct Account {
    home: Option<(usize, u8)>,
    follows: BTreeMap<usize, u8>,
    /// All that it is to be sent.
    told: Vec<u8>,
    is_closed: bool,
    loss: Option<Loss>,
}

/// Does something at random whenever somebody says something.
struct Hub {
    rng: Rng,
    channels: Vec<ChannelId>,
    accounts: BTreeMap<ConnectionId, Account>,
    /// In the order in which they came.
    ids: Vec<ConnectionId>,
    published: usize,
}

impl Hub {
    fn new(seed: u64) -> Self {
        let (channels, accounts, ids) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { rng: Rng(seed), channels, accounts, ids, published: 0 }
    }

    fn frame(channel: usize, variant: u8, number: usize, length: usize) -> String {
        format!("{channel}.{variant}:{number}{}\n", "x".repeat(length))
    }

    fn publish(&mut self, net: &mut Net, channel: usize, length: usize, except: &[ConnectionId]) {
        self.published += 1;
        let number = self.published;
        for (id, account) in self.accounts.iter_mut().filter(|(id, a)| !a.is_closed && !except.contains(id)) {
            let is_home = account.home.filter(|&(home, _)| home == channel);
            let variant = is_home.map(|(_, variant)| variant).or(account.follows.get(&channel).copied());
            if let Some(variant) = variant.filter(|_| net.is_open(*id)) {
                account.told.extend(Self::frame(channel, variant, number, length).bytes());
            }
        }
        net.publish(self.channels[channel], except.iter().copied(), |variant, out| {
            out.extend(Self::frame(channel, variant, number, length).bytes());
        });
    }

    fn act(&mut self, net: &mut Net) {
        let Some(&id) = self.ids.get(self.rng.below(self.ids.len())) else { return };
        let (channel, variant) = (self.rng.below(CHANNELS), self.rng.below(3) as u8);
        let what = self.rng.below(100);
        let account = self.accounts.get_mut(&id).unwrap();
        if account.is_closed {
            return;
        }
        match what {
            0..50 => {
                let length = self.rng.below(30);
                let except: Vec<_> = self.ids.iter().copied().filter(|_| self.rng.chance(15)).collect();
                self.publish(net, channel, length, &except);
            }
            50..65 => {
                let text = format!("({what})\n");
                account.told.extend(text.bytes());
                if what.is_multiple_of(2) {
                    net.send(id, text.as_bytes());
                } else {
                    net.try_send(id, text.as_bytes()).unwrap();
                }
            }
            65..75 if !account.follows.contains_key(&channel) => {
                account.home = Some((channel, variant));
                net.subscribe(id, self.channels[channel], variant);
            }
            75..90
                if account.home.is_none_or(|(home, _)| home != channel)
                    && (account.follows.len() < FOLLOWED_MAX || account.follows.contains_key(&channel)) =>
            {
                account.follows.insert(channel, variant);
                net.follow(id, self.channels[channel], variant);
            }
            90..97 => {
                account.follows.remove(&channel);
                net.unfollow(id, self.channels[channel]);
            }
            97 => {
                account.is_closed = true;
                account.told.extend(b"bye\n");
                net.send(id, b"bye\n");
                net.close(id);
            }
            98 if self.accounts.values().all(|a| a.home.is_none_or(|(home, _)| home != channel)) => {
                net.close_channel(self.channels[channel]);
                self.channels[channel] = net.open_channel();
                self.accounts.values_mut().for_each(|account| account.follows.retain(|&c, _| c != channel));
            }
            _ => {}
        }
    }
}

impl Handler for Hub {
    fn started(&mut self, net: &mut Net) {
        self.channels = (0..CHANNELS).map(|_| net.open_channel()).collect();
    }

    fn opened(&mut self, _net: &mut Net, id: ConnectionId, _peer: Peer) {
        self.ids.push(id);
        self.accounts.insert(id, Account::default());
    }

    fn received(&mut self, net: &mut Net, _id: ConnectionId, input: &[u8]) -> Consumed {
        input.iter().for_each(|_| self.act(net));
        Consumed { bytes: input.len(), then: Then::Read }
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, _rest: Rest<'_>) {
        self.accounts.get_mut(&id).unwrap().is_closed = true;
        net.close(id);
    }

    fn lost(&mut self, _net: &mut Net, id: ConnectionId, loss: Loss) -> Vec<u8> {
        let account = self.accounts.get_mut(&id).unwrap();
        assert_eq!(account.loss.replace(loss), None, "it is lost once");
        account.is_closed = true;
        b"lost\n".to_vec()
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(400),
    }
}

#[test]
fn everybody_gets_exactly_what_a_naive_account_has() {
    let mut delivered = 0;
    for seed in seeds() {
        let mut rng = Rng(seed ^ 0xf011);
        let machine = Machine::new(seed);
        machine.world_mut().fault_percent = [0, 20][rng.below(2)];
        let limits = Limits { feed_bytes: None, slowest: None, max_per_ip: None, ..Limits::default() };
        let mut reactor = Reactor::new(machine.clone(), Hub::new(seed), limits);
        let pipes: Vec<usize> = (0..2 + rng.below(8)).map(|_| machine.connect(1 + rng.below(60))).collect();
        let mut heard: Vec<Vec<u8>> = vec![Vec::new(); pipes.len()];
        for step in 0.. {
            let is_over = step >= 300;
            let mut is_quiet = is_over;
            if !is_over {
                machine.send(pipes[rng.below(pipes.len())], &vec![b'.'; 1 + rng.below(4)]);
            }
            reactor.turn().unwrap();
            reactor.net().check_invariants();
            for (pipe, heard) in pipes.iter().zip(&mut heard) {
                let max = if is_over { 40 } else { [0, 1, 7, 40][rng.below(4)] };
                let piece = machine.receive(*pipe, max);
                is_quiet &= piece.is_empty();
                heard.extend(piece);
            }
            machine.world_mut().now_ms += 1;
            let waiting: usize = reactor.handler().ids.iter().map(|&id| reactor.net().queued_bytes(id)).sum();
            if is_quiet && waiting == 0 {
                break;
            }
            assert!(step < 20_000, "seed {seed}: {waiting} bytes are stuck");
        }
        let hub = reactor.handler();
        for (id, heard) in hub.ids.iter().zip(&heard) {
            let told = &hub.accounts[id].told;
            let (heard, told) = (String::from_utf8_lossy(heard), String::from_utf8_lossy(told));
            assert_eq!(heard, told, "seed {seed}, connection {id:?}");
            delivered += told.lines().count();
        }
        assert_eq!(reactor.net().counters().lost_slow, 0);
        assert_eq!(reactor.net().feed_bytes(), 0, "seed {seed}: nobody is behind, and something is kept");
    }
    assert!(delivered > 100 * seeds().count(), "{delivered} is no test");
}

/// One connection says everything; the others read as fast as they are allowed to.
fn reader_of(speed: usize) -> (usize, u64, Option<Loss>, Vec<u8>) {
    let machine = Machine::new(7);
    machine.world_mut().wait_max_ms = 0;
    let limits = Limits {
        feed_bytes: Some(8 * 1024),
        slowest: Some(1000),
        stall: None,
        max_per_ip: None,
        max_buffered_bytes: None,
        ..Limits::default()
    };
    let mut reactor = Reactor::new(machine.clone(), Speaker::default(), limits);
    let [speaker, fast, slow] = [(); 3].map(|()| machine.connect(512));
    for pipe in [speaker, fast, slow] {
        machine.send(pipe, b"f");
        reactor.turn().unwrap();
        reactor.turn().unwrap();
    }
    let (mut heard, mut most, mut rest) = (Vec::new(), 0, 1_000);
    for _ in 0..60_000 {
        if machine.unread(speaker) == 0 && rest > 0 {
            machine.send(speaker, b"p");
            rest -= 1;
        }
        reactor.turn().unwrap();
        reactor.net().check_invariants();
        most = most.max(reactor.net().buffered_bytes());
        machine.receive(fast, usize::MAX);
        machine.receive(speaker, usize::MAX);
        if machine.world().now_ms.is_multiple_of(100) {
            heard.extend(machine.receive(slow, speed / 10));
        }
        machine.world_mut().now_ms += 1;
        if rest == 0 && reactor.net().buffered_bytes() == reactor.handler().idle_memory {
            break;
        }
    }
    heard.extend(machine.receive(slow, usize::MAX));
    let said = reactor.handler().published;
    (most, said, reactor.handler().loss, heard)
}

/// Publishes in two channels, in turns; everybody follows both and subscribes to neither.
#[derive(Default)]
struct Speaker {
    channels: Vec<ChannelId>,
    published: u64,
    loss: Option<Loss>,
    /// What is held for those who follow while nothing waits.
    idle_memory: usize,
}

impl Handler for Speaker {
    fn started(&mut self, net: &mut Net) {
        self.channels = (0..2).map(|_| net.open_channel()).collect();
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        let channel = self.channels[self.published as usize % 2];
        match input {
            b"f" => {
                self.channels.iter().for_each(|&channel| net.follow(id, channel, 0));
                self.idle_memory = net.buffered_bytes();
            }
            _ if net.is_throttled(channel) => return Consumed { bytes: 0, then: Then::Wait(channel) },
            _ => {
                self.published += 1;
                net.publish(channel, [], |_, out| out.extend([&[b'x'; 99][..], b"\n"].concat()));
            }
        }
        Consumed { bytes: input.len(), then: Then::Read }
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, _rest: Rest<'_>) {
        net.close(id);
    }

    fn lost(&mut self, _net: &mut Net, _id: ConnectionId, loss: Loss) -> Vec<u8> {
        assert_eq!(self.loss.replace(loss), None, "it is lost once");
        Vec::new()
    }
}

#[test]
fn a_channel_waits_for_a_follower_that_takes_the_minimum_and_for_nobody_who_takes_less() {
    let (most, said, loss, heard) = reader_of(2000);
    assert_eq!((said, loss, heard.len()), (1000, None, 100_000));
    // Two channels of 8 KiB, the places of their frames in three queues, and a turn that was under way.
    assert!(most < 64 * 1024, "{most} bytes were held");
    let (_, said, loss, heard) = reader_of(100);
    assert_eq!((said, loss), (1000, Some(Loss::Slow)));
    assert!(
        heard.len() < 100_000 && heard.len() % 100 == 0,
        "{} bytes: its end is one of a frame",
        heard.len()
    );
}
