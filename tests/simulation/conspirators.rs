//! How far a room can be slowed down by readers who want nothing else.
//!
//! Conspirators know everything: how far each of them is behind, and what the server owes to whom. Each plan
//! below is what one could think of against the rule of [`readers`](crate::readers): the room's throughput
//! must stay above a number that does not depend on how many they are.

use roomd::limits::Limits;

use crate::readers::Room;
use crate::scene::{EXEMPT, Scene};
use roomd::reactor::simulated::Rng;

/// What a producer says in a tick, so that conspirators can be as close to the end of the feed as they like.
const AHEAD: usize = 1000;

/// Those who want to slow the room down.
struct Conspirator {
    pipe: usize,
    /// What it has taken, since it was let in.
    taken: u64,
    /// What the plan remembers.
    until_ms: u64,
    state: u8,
}

/// What the conspirators see of the room.
struct View<'a> {
    scene: &'a Scene,
    published: u64,
    now_ms: u64,
    feed_bytes: u64,
    slowest: u64,
}

impl Conspirator {
    fn take(&mut self, view: &View<'_>, max: usize) -> usize {
        let count = view.scene.machine.receive(self.pipe, max).len();
        self.taken += count as u64;
        count
    }

    /// Whoever falls off the tail of the feed is closed: it takes what saves it, and what keeps it from stalling.
    fn stay(&mut self, view: &View<'_>) {
        let (lag, max) = (self.lag(view), view.feed_bytes * 5 / 8);
        if lag > max {
            self.take(view, self.third(view).max((lag - max) as usize));
        }
    }

    /// The least that has to be taken for the server to write.
    fn third(&self, view: &View<'_>) -> usize {
        view.scene.machine.world().pipes[self.pipe].capacity / 3 + 2
    }

    /// How many bytes the server keeps for it.
    fn lag(&self, view: &View<'_>) -> u64 {
        view.published.saturating_sub(self.taken + view.scene.machine.untaken(self.pipe) as u64)
    }
}

/// What conspirators do in each tick of so many milliseconds.
trait Plan {
    fn act(&mut self, all: &mut [Conspirator], view: &View<'_>, ms: u64, rng: &mut Rng);
}

/// Everybody reads and stops at random, for up to so long.
struct Random {
    time_ms_max: usize,
}

impl Plan for Random {
    fn act(&mut self, all: &mut [Conspirator], view: &View<'_>, ms: u64, rng: &mut Rng) {
        for one in all {
            one.stay(view);
            if view.now_ms >= one.until_ms {
                one.until_ms = view.now_ms + rng.below(self.time_ms_max) as u64;
                one.state = rng.below(3) as u8;
            }
            match one.state {
                0 => {}
                1 => drop(one.take(view, (view.slowest * ms / 1000) as usize)),
                _ => drop(one.take(view, usize::MAX)),
            }
        }
    }
}

/// In turns: one stops, and takes only as much as keeps the room waiting, until that ends; the others take
/// everything and so are as far ahead as they may.
struct Relay {
    holder: usize,
    has_held: bool,
}

impl Plan for Relay {
    fn act(&mut self, all: &mut [Conspirator], view: &View<'_>, ms: u64, _: &mut Rng) {
        let count = all.len();
        for (i, one) in all.iter_mut().enumerate() {
            if i != self.holder {
                one.take(view, usize::MAX);
            }
        }
        let one = &mut all[self.holder];
        one.stay(view);
        let lag = one.lag(view);
        if lag > view.feed_bytes / 2 {
            self.has_held = true;
        }
        if self.has_held {
            // It is paid with the part of the lag between the watermarks.
            one.take(view, (view.slowest * ms / 1000) as usize);
            if one.until_ms == 0 {
                one.until_ms = view.now_ms + 6000;
            }
            if lag <= view.feed_bytes / 4 || view.now_ms > one.until_ms {
                one.until_ms = 0;
                self.holder = (self.holder + 1) % count;
                self.has_held = false;
            }
        }
    }
}

/// Staggered lags: everybody begins to lag a little later than the last one, and takes in steps.
struct Staggered;

impl Plan for Staggered {
    fn act(&mut self, all: &mut [Conspirator], view: &View<'_>, ms: u64, _: &mut Rng) {
        let count = all.len() as u64;
        for (i, one) in all.iter_mut().enumerate() {
            one.stay(view);
            // Each stays behind by its own distance below the high watermark.
            let distance = view.feed_bytes / 2 * (i as u64 + 1) / count;
            let lag = one.lag(view);
            if lag > view.feed_bytes / 2 {
                one.take(view, (view.slowest * ms / 1000) as usize);
            } else if lag > distance {
                one.take(view, (lag - distance) as usize);
            }
        }
    }
}

/// In turns, by those who owe most. The first has read everything, stops, and has the room wait for it; the
/// others are almost the whole feed behind by then, unprotected for long, and take just enough not to stall.
/// Then one after the other takes a second's bytes and more at once, which forgives all that it owed, and is
/// waited for until it is down at the low watermark. Nothing at all is published meanwhile.
#[derive(Default)]
struct Debtors {
    /// Whose turn it is; none while all fall behind.
    holder: Option<usize>,
    /// How much of its burst is left.
    burst: u64,
    until_ms: u64,
}

impl Debtors {
    /// The next one that is far enough behind takes over.
    fn hand_over(&mut self, all: &[Conspirator], view: &View<'_>) {
        let first = self.holder.map_or(0, |holder| holder + 1);
        let burst = |one: &Conspirator| one.lag(view).saturating_sub(view.feed_bytes / 2 + 500);
        self.holder = (first..all.len()).find(|&i| burst(&all[i]) > view.slowest * 11 / 10);
        if let Some(holder) = self.holder {
            self.burst = burst(&all[holder]);
            self.until_ms = view.now_ms + self.burst * 1000 / view.slowest - 150;
        }
    }
}

impl Plan for Debtors {
    fn act(&mut self, all: &mut [Conspirator], view: &View<'_>, ms: u64, _: &mut Rng) {
        let deepest = view.feed_bytes - 2 * AHEAD as u64 - 500;
        let are_behind = all.last().is_some_and(|one| one.lag(view) + view.feed_bytes / 2 > deepest);
        match self.holder {
            None if all[0].lag(view) > view.feed_bytes / 2 => {
                (self.holder, self.until_ms) = (Some(0), view.now_ms + 200);
            }
            None if are_behind => {}
            Some(0) => {}
            None | Some(_) => drop(all[0].take(view, usize::MAX)),
        }
        for one in &mut all[1..] {
            let lag = one.lag(view);
            if self.holder.is_none() && lag > deepest || lag > deepest + 1300 {
                one.take(view, one.third(view).max((lag - deepest) as usize));
            }
            if view.now_ms >= one.until_ms {
                one.until_ms = view.now_ms + 8000;
                one.take(view, one.third(view));
            }
        }
        let Some(holder) = self.holder else { return };
        if view.now_ms >= self.until_ms {
            return self.hand_over(all, view);
        }
        if holder > 0 {
            let one = &mut all[holder];
            let is_done = one.lag(view) < view.feed_bytes / 4 + one.third(view) as u64 + 300;
            let max = if self.burst > 0 { self.burst } else { view.slowest * ms / 1000 };
            if !is_done {
                let taken = one.take(view, max as usize) as u64;
                self.burst = self.burst.saturating_sub(taken);
            }
        }
    }
}

/// The throughput of a room with these conspirators in it, in `slowest`, and how many of them were closed.
fn throughput(
    seed: u64,
    limits: &Limits,
    count: usize,
    capacity: usize,
    plan: &mut dyn Plan,
    seconds: u64,
) -> (f64, u64) {
    let (slowest, feed_bytes) = (limits.slowest.unwrap() as u64, limits.feed_bytes.unwrap() as u64);
    let mut rng = Rng(seed);
    let mut room = Room::new(seed, limits.clone(), 1);
    let mut all: Vec<Conspirator> = (0..count)
        .map(|i| {
            let hello = format!("conspirator{i}\n");
            let pipe = room.scene.connect(EXEMPT, capacity, hello.as_bytes());
            Conspirator { pipe, taken: 0, until_ms: 0, state: 0 }
        })
        .collect();
    room.begin();
    room.ahead = AHEAD;
    // What they were told so far is not the same for all.
    let mut so_far = room.published();
    for one in &mut all {
        room.scene.machine.receive(one.pipe, usize::MAX);
    }
    let ms = 20;
    let begun = room.published();
    for _ in 0..seconds * 1000 / ms {
        room.tick(ms, 1);
        let view = View {
            scene: &room.scene,
            published: room.published() - so_far,
            now_ms: room.scene.now_ms(),
            feed_bytes,
            slowest,
        };
        plan.act(&mut all, &view, ms, &mut rng);
    }
    so_far = room.published() - begun;
    (so_far as f64 / seconds as f64 / slowest as f64, room.scene.lost_slow())
}

/// A feed and a minimum in the proportion of the defaults: the feed is four seconds of the minimum.
fn scaled() -> Limits {
    Limits { feed_bytes: Some(32 * 1024), slowest: Some(8 * 1024), ..Limits::default() }
}

/// A room is never slowed down to less than this, in `slowest`, by these plans: they come down to 0.9 to 1.0,
/// however many take part.
const THROUGHPUT_MIN: f64 = 0.5;

fn never_below_the_bound(name: &str, plan: impl Fn() -> Box<dyn Plan>) {
    for capacity in [1500, 4096, 16 * 1024] {
        for count in [2, 10, 40] {
            let (number, lost) = throughput(count as u64, &scaled(), count, capacity, &mut *plan(), 120);
            println!(
                "{count} conspirators ({name}, buffers of {capacity}): {number:.2} slowest, {lost} closed"
            );
            assert!(number >= THROUGHPUT_MIN, "{count} conspirators ({name}, {capacity}): {number:.2}");
        }
    }
}

#[test]
fn who_reads_and_stops_at_random_does_not_slow_a_room_below_the_bound() {
    never_below_the_bound("random, 2 s", || Box::new(Random { time_ms_max: 2000 }));
    never_below_the_bound("random, 9 s", || Box::new(Random { time_ms_max: 9000 }));
}

#[test]
fn who_stops_in_turns_does_not_slow_a_room_below_the_bound() {
    never_below_the_bound("relay", || Box::new(Relay { holder: 0, has_held: false }));
}

#[test]
fn staggered_lags_do_not_slow_a_room_below_the_bound() {
    never_below_the_bound("staggered", || Box::new(Staggered));
}

#[test]
fn whoever_owes_most_cannot_hold_a_room_in_turns() {
    never_below_the_bound("debtors", || Box::new(Debtors::default()));
}
