//! The phases of a run: connect, settle, with `--joined` enter more rooms and settle again, load, drain. Each is
//! a loop around [`Driver::turn`] with an end in time, however the server behaves.

use std::time::{Duration, Instant};

use super::client::State;
use super::dialect::Dialect;
use super::driver::Driver;
use super::plan::{Load, Plan};
use super::progress::Progress;
use crate::cli::counted;

/// No client gets anywhere for so long: the server does not let them in.
const CONNECT_STALL: Duration = Duration::from_secs(10);
/// Everybody is in its rooms when nothing was heard for so long: roomd sums up arrivals in a crowd
/// once a second.
const QUIET: Duration = Duration::from_millis(1100);
const QUIET_SOON: Duration = Duration::from_millis(200);
/// Announcing N arrivals to N members takes a while where they are not summed up.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// Nothing was delivered for so long although messages are in flight: the rest is lost.
const DRAIN_STALL: Duration = Duration::from_secs(6);
/// A server that fell behind a rate gets so much time to take what was due.
const OVERTIME: Duration = Duration::from_secs(5);
/// What is in flight is bounded by socket buffers: it arrives within this, or slower than anybody waits.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// After the last delivery, wait for what should not come: messages for the second time.
const LINGER: Duration = Duration::from_millis(50);
/// A sender with so many bytes waiting for its socket gets no more for now.
const UNSENT_BYTES_MAX: usize = 16 * 1024;
/// The longest wait in one turn, so that progress is shown.
const TURN_MAX: Duration = Duration::from_millis(50);

/// Lets all clients into their first room.
///
/// # Errors
/// A sentence that says how many came in, and why the others did not.
pub(super) fn connect(driver: &mut Driver) -> Result<Duration, String> {
    let_in(driver, "connecting", Driver::open)
}

/// Lets all clients, which are in their first room, into the others. Returns whether there are any.
pub(super) fn enter_others(driver: &mut Driver) -> Result<bool, String> {
    if driver.plan.args.joined == 1 {
        return Ok(false);
    }
    driver.expect_in_all_rooms();
    let enter = |driver: &mut Driver, index| {
        driver.enter_others(index);
        Ok(())
    };
    let_in(driver, "entering all rooms", enter).map(|_| true)
}

/// Lets all clients in, a number at a time: each begins with `begin`.
fn let_in(
    driver: &mut Driver,
    phase: &'static str,
    begin: impl Fn(&mut Driver, usize) -> Result<(), String>,
) -> Result<Duration, String> {
    let total = driver.clients.len();
    let mut progress = Progress::begin(phase, total, Some("clients"));
    let start = Instant::now();
    let mut moved = (start, 0);
    let mut begun = 0_usize;
    while driver.joined + driver.closed < total {
        // Some may have been closed before it was their turn.
        let under_way = begun.saturating_sub(driver.joined + driver.closed);
        let end = total.min(begun + driver.plan.args.connecting.saturating_sub(under_way));
        for index in begun..end {
            begin(driver, index)?;
        }
        begun = end;
        driver.turn(TURN_MAX)?;
        let now = Instant::now();
        let settled = driver.joined + driver.closed;
        if settled > moved.1 {
            moved = (now, settled);
        } else if now - moved.0 > CONNECT_STALL {
            break;
        }
        progress.show(now, driver.joined, String::new);
    }
    let took = start.elapsed();
    if driver.joined < total {
        return Err(not_let_in(driver, total));
    }
    let per_second = total as f64 / took.as_secs_f64();
    let clients = counted(total, "client");
    progress.end(&format!("{clients} in {:.2} s, {per_second:.0} per second", took.as_secs_f64()));
    Ok(took)
}

/// Waits until the server has told everybody who arrived.
pub(super) fn settle(driver: &mut Driver) -> Result<(), String> {
    let quiet = match driver.plan.args.dialect {
        Dialect::Floor | Dialect::Redis | Dialect::Nats | Dialect::Irc => QUIET_SOON,
        _ => QUIET,
    };
    let mut progress = Progress::begin("settling", SETTLE_MAX.as_millis() as usize, None);
    let start = Instant::now();
    loop {
        driver.turn(TURN_MAX)?;
        let now = Instant::now();
        if now - driver.read_at > quiet && now - start > quiet || now - start > SETTLE_MAX {
            return Ok(());
        }
        progress.show(now, (now - start).as_millis() as usize, || {
            "the server is still announcing arrivals".into()
        });
    }
}

/// What the load phase did, apart from what the driver has counted.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// How many members left and came back.
    pub(super) churned: u64,
    /// How many messages were due, but the server did not take them in time.
    pub(super) unsent: u64,
    /// The load was cut short because nothing came back any more.
    pub(super) is_stalled: bool,
}

/// Sends for the duration of the plan, or nothing if that is idle, then waits until everything has arrived.
pub(super) fn load(driver: &mut Driver) -> Result<Loaded, String> {
    driver.stop_slow_members()?;
    let end = driver.plan.args.duration;
    let phase = if driver.plan.load == Load::Idle { "idle" } else { "running" };
    let mut progress = Progress::begin(phase, end.as_millis() as usize, None);
    let mut pace = Pace::new(driver.plan.senders, driver.plan.args.seed);
    driver.epoch = Instant::now();
    driver.delivered_at = driver.epoch;
    driver.spun = Duration::ZERO;
    loop {
        let now = driver.epoch.elapsed();
        if now >= end {
            break;
        }
        let next_due = pace.send_due(driver, now);
        let next_churn = pace.churn(driver, now)?;
        let next = next_due.min(next_churn).min(end).min(now + TURN_MAX);
        driver.turn(poll_timeout(next.saturating_sub(driver.epoch.elapsed())))?;
        if is_stalled(driver) && matches!(driver.plan.load, Load::Window(_)) {
            pace.loaded.is_stalled = true;
            break;
        }
        progress.show(Instant::now(), now.as_millis() as usize, || so_far(driver));
    }
    pace.loaded.unsent = drain(driver, &mut pace)?;
    progress.end(&so_far(driver));
    Ok(pace.loaded)
}

/// Sends what was due and did not get out, and waits for what is in flight. Returns how many messages
/// were still not sent when the time for that was over.
fn drain(driver: &mut Driver, pace: &mut Pace) -> Result<u64, String> {
    let end = driver.plan.args.duration;
    let start = Instant::now();
    loop {
        let took = start.elapsed();
        if took < OVERTIME {
            pace.send_due(driver, end);
        }
        let unsent = pace.unsent(&driver.plan);
        let is_sending_over = unsent == 0 || took >= OVERTIME;
        let is_all_here = driver.ledger.in_flight == 0 && is_sending_over;
        let is_hopeless = is_stalled(driver) && took > DRAIN_STALL;
        if is_all_here || is_hopeless || took > DRAIN_MAX {
            return Ok(unsent);
        }
        driver.turn(TURN_MAX)?;
    }
}

/// Waits a little for messages that come once too often, and gives up what was never sent.
pub(super) fn linger(driver: &mut Driver) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < LINGER {
        driver.turn(LINGER / 5)?;
    }
    for index in driver.plan.args.members..driver.clients.len() {
        driver.retract_unsent(index);
    }
    Ok(())
}

/// Decides when who sends, and who comes and goes.
struct Pace {
    /// How many messages of each sender have become due and were sent.
    sent: Vec<u64>,
    /// Whose turn it is, with a window.
    next_sender: usize,
    /// How many members were to leave; those that could not are not counted in `loaded`.
    churn_due: u64,
    random: fastrand::Rng,
    loaded: Loaded,
}

impl Pace {
    fn new(senders: usize, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { sent: vec![0; senders], next_sender: 0, churn_due: 0, random, loaded: Loaded::default() }
    }

    /// Sends what is due at `now` and returns when the next message will be, on the driver's clock. When
    /// the duration is over nothing more becomes due.
    fn send_due(&mut self, driver: &mut Driver, now: Duration) -> Duration {
        match driver.plan.load {
            Load::RatePerSecond(rate) => self.send_by_rate(driver, now, rate),
            Load::Window(window) if now < driver.plan.args.duration => {
                self.send_by_window(driver, now, window)
            }
            Load::Window(_) | Load::Idle => Duration::MAX,
        }
    }

    /// How many messages became due in the duration of `plan` and are not sent.
    fn unsent(&self, plan: &Plan) -> u64 {
        let Load::RatePerSecond(rate) = plan.load else {
            return 0;
        };
        if !(0..self.sent.len()).any(|sender| self.next_due(sender, rate) < plan.args.duration) {
            return 0;
        }
        let due = (plan.args.duration.as_secs_f64() * rate).ceil() as u64;
        due.saturating_sub(self.sent.iter().sum()).max(1)
    }

    /// When the next message of `sender` is due: number `n` of all after `n / rate` seconds, and the
    /// senders take turns.
    fn next_due(&self, sender: usize, rate: f64) -> Duration {
        let number = self.sent[sender] * self.sent.len() as u64 + sender as u64;
        Duration::from_secs_f64(number as f64 / rate)
    }

    /// Sends what every sender has due, and returns when the next one will have something.
    fn send_by_rate(&mut self, driver: &mut Driver, now: Duration, rate: f64) -> Duration {
        let mut next = Duration::MAX;
        for sender in 0..self.sent.len() {
            while can_send(driver, sender) {
                let due = self.next_due(sender, rate);
                if due > now || due >= driver.plan.args.duration {
                    next = next.min(due);
                    break;
                }
                driver.send(sender, due.as_micros() as u32);
                self.sent[sender] += 1;
            }
        }
        next
    }

    /// Fills the window; the senders take turns, and one whose socket is full is passed over. That
    /// is also what ends it if messages land at once, because nobody else is in the room.
    fn send_by_window(&mut self, driver: &mut Driver, now: Duration, window: u32) -> Duration {
        let mut passed_over = 0;
        while driver.ledger.in_flight < u64::from(window) && passed_over < self.sent.len() {
            let sender = self.next_sender;
            self.next_sender = (sender + 1) % self.sent.len();
            if can_send(driver, sender) {
                driver.send(sender, now.as_micros() as u32);
                passed_over = 0;
            } else {
                passed_over += 1;
            }
        }
        Duration::MAX
    }

    /// Lets members go whose time has come and returns when the next one will.
    fn churn(&mut self, driver: &mut Driver, now: Duration) -> Result<Duration, String> {
        let rate = driver.plan.args.churn;
        if rate == 0.0 {
            return Ok(Duration::MAX);
        }
        loop {
            let due = Duration::from_secs_f64((self.churn_due + 1) as f64 / rate);
            if due > now {
                return Ok(due);
            }
            self.churn_due += 1;
            let member = self.random.usize(..driver.plan.args.members);
            let client = &driver.clients[member];
            // One that is still coming back, or never reads, is left alone this time.
            if client.state == State::Joined && !client.is_slow {
                driver.churn(member)?;
                self.loaded.churned += 1;
            }
        }
    }
}

fn can_send(driver: &Driver, sender: usize) -> bool {
    let client = &driver.clients[driver.plan.args.members + sender];
    client.state == State::Joined && client.unsent_bytes() < UNSENT_BYTES_MAX
}

fn is_stalled(driver: &Driver) -> bool {
    driver.delivered_at.elapsed() > DRAIN_STALL
}

/// `poll` sleeps whole milliseconds and more: the last one before a message is due is polled
/// through, so that the generator is not late itself.
fn poll_timeout(wait: Duration) -> Duration {
    Duration::from_millis(wait.as_millis() as u64)
}

fn so_far(driver: &Driver) -> String {
    if driver.plan.load == Load::Idle {
        return format!("{} stayed", counted(driver.joined, "connection"));
    }
    let deliveries = driver.ledger.deliveries;
    let seconds = driver.delivered_at.duration_since(driver.epoch).as_secs_f64();
    let per_second = deliveries as f64 / seconds.max(1e-6);
    format!("{}, {per_second:.0} per second", counted(deliveries, "delivery"))
}

fn not_let_in(driver: &Driver, total: usize) -> String {
    let came_in =
        format!("{} of {} came in at {}", driver.joined, counted(total, "client"), driver.plan.target);
    let reasons =
        driver.closings.iter().map(|(reason, count)| format!("{reason} ({})", counted(count, "time")));
    let reasons: Vec<String> = reasons.collect();
    if !reasons.is_empty() {
        return format!("{came_in}: {}", reasons.join("; "));
    }
    let seconds = CONNECT_STALL.as_secs();
    format!("{came_in}, and then nothing happened for {seconds} s: is --dialect right?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly_and_senders_take_turns() {
        let mut pace = Pace::new(2, 1);
        assert_eq!(pace.next_due(0, 100.0), Duration::ZERO);
        assert_eq!(pace.next_due(1, 100.0), Duration::from_millis(10));
        pace.sent[0] = 1;
        assert_eq!(pace.next_due(0, 100.0), Duration::from_millis(20));
    }

    #[test]
    fn poll_never_sleeps_past_a_due_time() {
        assert_eq!(poll_timeout(Duration::from_micros(900)), Duration::ZERO);
        assert_eq!(poll_timeout(Duration::from_micros(2900)), Duration::from_millis(2));
    }
}
