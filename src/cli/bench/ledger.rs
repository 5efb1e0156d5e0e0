//! Who must have got what: every member every message of each of its rooms, once, in order per sender.
//!
//! The ledger is told of every message sent and of every delivery, and knows nothing of sockets or
//! clocks. A delivery costs two table look-ups:
//!
//! * `next`, for each member and each sender of its rooms, the sequence number that must come next.
//!   A higher one opens a *gap*; a late one closes its part of the gap and is *reordered*; one that
//!   neither is next nor belongs to a gap is *doubled*. What remains of the gaps at the end is *lost*.
//! * `waiting`, for each message in flight, how many members have not yet got past it. It says when
//!   the next message may be sent (`--window`) and when all has arrived.
//!
//! A member must get everything until the bench itself disturbs it. What one sees that comes and goes
//! (`--churn`) must be without holes from the first message it sees to the end, but nobody waits for it. One
//! that does not read, or only sends, has no places in `next`, and gets nothing that counts.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::payload::Message;

/// `next`: this member has not heard this sender yet and may start with any message.
const ANY: u32 = u32::MAX;
/// `next`: this member is the sender, in a dialect that does not send its own messages back.
const NONE: u32 = u32::MAX - 1;

/// What went wrong, in deliveries: one message that 10 members did not get counts 10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Faults {
    /// Never arrived.
    pub(super) lost: u64,
    /// Arrived once more.
    pub(super) doubled: u64,
    /// Arrived after a later message of the same sender.
    pub(super) reordered: u64,
    /// Arrived cut short or overwritten.
    pub(super) damaged: u64,
    /// Arrived at a member that is not in its room, or as one of another room.
    pub(super) strayed: u64,
}

#[derive(Debug)]
struct Member {
    /// For each of its rooms; end to end in [`Ledger::next`].
    rows: Box<[Row]>,
    /// Messages wait for this one: counted in [`Room::awaited`].
    awaited: bool,
    /// It came back: what it missed before is lost, or was never for it.
    is_churned: bool,
}

/// What a member gets from one of its rooms.
#[derive(Clone, Debug)]
struct Row {
    room: usize,
    /// In [`Ledger::next`], one for each sender of the room; none if what it gets does not count.
    places: Range<usize>,
}

#[derive(Debug)]
struct Sender {
    room: usize,
    /// Its place in the rows of its room's members.
    column: usize,
    sent: u32,
    /// For the messages in flight, the oldest first, how many members are not past them yet.
    waiting: VecDeque<u32>,
}

#[derive(Debug, Default)]
struct Room {
    senders: Vec<usize>,
    /// How many members the messages sent from now on wait for.
    awaited: u32,
}

/// The ledger of one run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rooms: Vec<Room>,
    members: Vec<Member>,
    senders: Vec<Sender>,
    next: Vec<u32>,
    /// Missing messages as ranges: (place in `next`, first) to last.
    gaps: BTreeMap<(usize, u32), u32>,
    faults: Faults,
    /// How many messages were sent.
    pub(super) sent: u64,
    /// How many deliveries arrived, each counted once.
    pub(super) deliveries: u64,
    /// How many messages not every member is past yet.
    pub(super) in_flight: u64,
}

impl Ledger {
    /// `senders[k]` is the room of sender `k`; rooms count from 0.
    pub(super) fn new(rooms: usize, senders: &[usize]) -> Self {
        let mut ledger = Self::default();
        ledger.rooms.resize_with(rooms, Room::default);
        for (sender, &room) in senders.iter().enumerate() {
            let columns = &mut ledger.rooms[room].senders;
            ledger.senders.push(Sender { room, column: columns.len(), sent: 0, waiting: VecDeque::new() });
            columns.push(sender);
        }
        ledger
    }

    /// Enters the next member; members are numbered from 0 in the order of entering. Only if it `reads` it must get
    /// what is sent to its `rooms`. `own` is the sender it is itself, if its own messages do not come back to it.
    pub(super) fn enter(&mut self, rooms: &[usize], reads: bool, own: Option<usize>) {
        let mut enter = |&room: &usize| {
            let start = self.next.len();
            if reads {
                self.next.resize(start + self.rooms[room].senders.len(), 0);
                self.rooms[room].awaited += 1;
            }
            Row { room, places: start..self.next.len() }
        };
        let rows = rooms.iter().map(&mut enter).collect();
        self.members.push(Member { rows, awaited: reads, is_churned: false });
        let place = own.and_then(|own| self.place(self.members.len() - 1, own));
        if let Some(place) = place {
            self.next[place] = NONE;
        }
    }

    /// The room of sender number `sender`, if there is one.
    pub(super) fn room_of(&self, sender: u16) -> Option<usize> {
        self.senders.get(usize::from(sender)).map(|log| log.room)
    }

    /// Enters the next message of `sender` and returns its sequence number. `member` is the number
    /// of the sender's own connection.
    pub(super) fn send(&mut self, sender: usize, member: usize) -> u32 {
        let is_awaited = self.members[member].awaited;
        let not_to_itself =
            is_awaited && self.place(member, sender).is_some_and(|place| self.next[place] == NONE);
        let log = &mut self.senders[sender];
        let sequence = log.sent;
        log.sent += 1;
        log.waiting.push_back(self.rooms[log.room].awaited - u32::from(not_to_itself));
        self.sent += 1;
        self.in_flight += 1;
        self.land(sender);
        sequence
    }

    /// The newest `count` messages of `sender` never left the generator: nobody can expect them.
    pub(super) fn retract(&mut self, sender: usize, count: u32) {
        let log = &mut self.senders[sender];
        let count = count.min(log.sent);
        log.sent -= count;
        self.sent -= u64::from(count);
        for _ in 0..count {
            self.in_flight -= u64::from(log.waiting.pop_back().is_some());
        }
    }

    /// `member` got `message`; says whether it got it for the first time.
    pub(super) fn deliver(&mut self, member: usize, message: Message) -> bool {
        let sender = usize::from(message.sender);
        let sequence = message.sequence;
        let Some(log) = self.senders.get(sender).filter(|log| sequence < log.sent) else {
            self.damaged();
            return false;
        };
        let receiver = &self.members[member];
        let Some(row) = receiver.rows.iter().find(|row| row.room == log.room) else {
            self.strayed();
            return false;
        };
        if row.places.is_empty() {
            return false;
        }
        let place = row.places.start + log.column;
        let next = self.next[place];
        match next {
            ANY => {}
            NONE => {
                self.faults.doubled += 1;
                return false;
            }
            next if sequence < next => return self.deliver_late(place, sequence),
            next if sequence > next => drop(self.gaps.insert((place, next), sequence - 1)),
            _ => {}
        }
        self.next[place] = sequence + 1;
        self.deliveries += 1;
        if receiver.awaited {
            self.pass(sender, next, sequence + 1);
        }
        true
    }

    /// A body of this run arrived damaged, so that nobody knows which one it was.
    pub(super) fn damaged(&mut self) {
        self.faults.damaged += 1;
    }

    /// A message arrived as one of another room than it was sent to.
    pub(super) fn strayed(&mut self) {
        self.faults.strayed += 1;
    }

    /// `member` was disconnected by the server. What it should have got stays due, but the messages
    /// in flight no longer wait for it.
    pub(super) fn disconnect(&mut self, member: usize) {
        self.stop_waiting(member);
        if self.members[member].is_churned {
            self.restart(member);
        }
    }

    /// The bench itself takes `member` out and lets it come back.
    pub(super) fn churn(&mut self, member: usize) {
        self.stop_waiting(member);
        self.restart(member);
    }

    /// The faults if nothing more arrives.
    pub(super) fn faults(&self) -> Faults {
        let mut faults = self.faults;
        for (&(_, first), &last) in &self.gaps {
            faults.lost += u64::from(last - first) + 1;
        }
        for row in self.members.iter().flat_map(|member| &member.rows) {
            let senders = &self.rooms[row.room].senders;
            for (&next, &sender) in self.next[row.places.clone()].iter().zip(senders) {
                if next != ANY && next != NONE {
                    faults.lost += u64::from(self.senders[sender].sent.saturating_sub(next));
                }
            }
        }
        faults
    }

    /// Where `next` holds what `member` must get from `sender`.
    fn place(&self, member: usize, sender: usize) -> Option<usize> {
        let log = &self.senders[sender];
        let row = self.members[member].rows.iter().find(|row| row.room == log.room)?;
        (!row.places.is_empty()).then(|| row.places.start + log.column)
    }

    /// A message with a number that was already passed: from a gap, or once too often.
    fn deliver_late(&mut self, place: usize, sequence: u32) -> bool {
        let before = self.gaps.range(..=(place, sequence)).next_back();
        let gap = before.filter(|&(&(at, _), &last)| at == place && sequence <= last);
        let Some((&(_, first), &last)) = gap else {
            self.faults.doubled += 1;
            return false;
        };
        self.gaps.remove(&(place, first));
        if first < sequence {
            self.gaps.insert((place, first), sequence - 1);
        }
        if sequence < last {
            self.gaps.insert((place, sequence + 1), last);
        }
        self.faults.reordered += 1;
        self.deliveries += 1;
        true
    }

    /// One member got past the messages `from..to` of `sender`.
    fn pass(&mut self, sender: usize, from: u32, to: u32) {
        let log = &mut self.senders[sender];
        let oldest = log.sent - log.waiting.len() as u32;
        for sequence in from.max(oldest)..to {
            log.waiting[(sequence - oldest) as usize] -= 1;
        }
        self.land(sender);
    }

    /// Forgets the messages of `sender` that nobody is waiting for any more.
    fn land(&mut self, sender: usize) {
        let waiting = &mut self.senders[sender].waiting;
        while waiting.front() == Some(&0) {
            waiting.pop_front();
            self.in_flight -= 1;
        }
    }

    /// No message, in flight or later, waits for `member`.
    fn stop_waiting(&mut self, member: usize) {
        if !std::mem::take(&mut self.members[member].awaited) {
            return;
        }
        for Row { room, places } in self.members[member].rows.clone() {
            for (column, place) in places.enumerate() {
                let sender = self.rooms[room].senders[column];
                let next = self.next[place];
                if next != NONE {
                    self.pass(sender, next, self.senders[sender].sent);
                }
            }
            self.rooms[room].awaited -= 1;
        }
    }

    /// `member` must get everything from the next message it sees. What it missed so far is lost for good.
    fn restart(&mut self, member: usize) {
        let Member { rows, is_churned, .. } = &mut self.members[member];
        *is_churned = true;
        for Row { places, .. } in rows {
            let gaps = (places.start, 0)..(places.end, 0);
            for ((_, first), last) in self.gaps.extract_if(gaps, |_, _| true) {
                self.faults.lost += u64::from(last - first) + 1;
            }
            self.next[places.clone()].fill(ANY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One room, members 0 and 1, and sender 0, who is connection 2 and no member.
    fn room_of_two() -> Ledger {
        let mut ledger = Ledger::new(1, &[0]);
        ledger.enter(&[0], true, None);
        ledger.enter(&[0], true, None);
        ledger.enter(&[0], false, None);
        ledger
    }

    fn send(ledger: &mut Ledger, count: u32) {
        for _ in 0..count {
            ledger.send(0, 2);
        }
    }

    fn deliver(ledger: &mut Ledger, member: usize, sequences: &[u32]) {
        for &sequence in sequences {
            ledger.deliver(member, message(0, sequence));
        }
    }

    fn message(sender: u16, sequence: u32) -> Message {
        Message { sender, sequence, due_us: 0 }
    }

    /// What is sent, what each of the two members gets, and what is then said of it.
    #[test]
    fn every_fault_is_counted_once_and_as_what_it_is() {
        let none = Faults::default();
        for (what, sent, first, second, faults, deliveries, in_flight) in [
            ("all come in order", 3, &[0, 1, 2][..], &[0, 1, 2][..], none, 6, 0),
            // A lost message does not hold up the window once a later one has come.
            ("a message never comes", 4, &[0, 1, 2, 3], &[0, 3], Faults { lost: 2, ..none }, 6, 0),
            ("the last one never comes", 2, &[0, 1], &[0], Faults { lost: 1, ..none }, 3, 1),
            ("messages come twice", 2, &[0, 0, 1, 1, 0], &[0, 1], Faults { doubled: 3, ..none }, 4, 0),
            ("late", 5, &[0, 4, 2, 1, 3], &[0, 1, 2, 3, 4], Faults { reordered: 3, ..none }, 10, 0),
            (
                "late and twice",
                3,
                &[0, 2, 1, 1],
                &[0, 1, 2],
                Faults { reordered: 1, doubled: 1, ..none },
                6,
                0,
            ),
        ] {
            let mut ledger = room_of_two();
            send(&mut ledger, sent);
            deliver(&mut ledger, 0, first);
            deliver(&mut ledger, 1, second);
            let counted = (ledger.faults(), ledger.deliveries, ledger.in_flight);
            assert_eq!(counted, (faults, deliveries, in_flight), "{what}");
        }
    }

    #[test]
    fn order_is_per_sender() {
        let mut ledger = Ledger::new(1, &[0, 0]);
        ledger.enter(&[0], true, None);
        ledger.enter(&[0], true, Some(0));
        ledger.enter(&[0], true, Some(1));
        ledger.send(0, 1);
        ledger.send(1, 2);
        ledger.send(0, 1);
        deliver_all(&mut ledger, &[(0, 1, 0), (0, 0, 0), (0, 0, 1), (1, 1, 0), (2, 0, 0), (2, 0, 1)]);
        assert_eq!(ledger.in_flight, 0);
        assert_eq!(ledger.faults(), Faults::default());
    }

    #[test]
    fn an_own_message_that_should_not_come_back_is_doubled() {
        let mut ledger = Ledger::new(1, &[0]);
        ledger.enter(&[0], true, Some(0));
        ledger.send(0, 0);
        assert_eq!(ledger.in_flight, 0, "nobody else is there");
        assert!(!ledger.deliver(0, message(0, 0)));
        assert_eq!(ledger.faults().doubled, 1);
    }

    #[test]
    fn a_message_of_another_room_is_strayed() {
        let mut ledger = Ledger::new(2, &[0, 1]);
        ledger.enter(&[0], true, None);
        ledger.enter(&[1], true, Some(1));
        ledger.send(1, 1);
        assert!(!ledger.deliver(0, message(1, 0)));
        assert_eq!(ledger.faults().strayed, 1);
    }

    /// Rooms 0, 1 and 2 with a sender each; members 0 and 1 in two of them, the senders in their own.
    fn three_rooms() -> Ledger {
        let mut ledger = Ledger::new(3, &[0, 1, 2]);
        ledger.enter(&[0, 1], true, None);
        ledger.enter(&[1, 2], true, None);
        (0..3).for_each(|sender| ledger.enter(&[sender], true, Some(sender)));
        ledger
    }

    /// Delivers for the first time: to which member, of which sender, the how-manieth.
    fn deliver_all(ledger: &mut Ledger, deliveries: &[(usize, u16, u32)]) {
        for &(member, sender, sequence) in deliveries {
            assert!(ledger.deliver(member, message(sender, sequence)), "{member} {sender} {sequence}");
        }
    }

    #[test]
    fn a_member_gets_what_is_sent_to_each_of_its_rooms() {
        let mut ledger = three_rooms();
        for sender in [0, 1, 1, 2] {
            ledger.send(sender, 2 + sender);
        }
        assert_eq!((ledger.in_flight, ledger.faults().lost), (4, 6), "1, 2 × 2 and 1 deliveries");
        // Between rooms there is no order.
        deliver_all(&mut ledger, &[(0, 1, 0), (0, 0, 0), (0, 1, 1), (1, 2, 0), (1, 1, 0), (1, 1, 1)]);
        assert_eq!((ledger.in_flight, ledger.deliveries), (0, 6));
        assert_eq!(ledger.faults(), Faults::default());
    }

    #[test]
    fn faults_are_found_in_every_room_of_a_member() {
        let mut ledger = three_rooms();
        for sender in [0, 1, 1, 1, 2] {
            ledger.send(sender, 2 + sender);
        }
        // Of room 0, the first room of member 0: twice. Of room 1, the second: one lost, one late.
        for (sender, sequence) in [(0, 0), (0, 0), (1, 1), (1, 0)] {
            ledger.deliver(0, message(sender, sequence));
        }
        // Room 2 it is not in; of room 0, member 1 is not.
        assert!(!ledger.deliver(0, message(2, 0)));
        assert!(!ledger.deliver(1, message(0, 0)));
        let none = Faults::default();
        let of_member_1 = 4;
        let faults = Faults { lost: 1 + of_member_1, doubled: 1, reordered: 1, strayed: 2, ..none };
        assert_eq!(ledger.faults(), faults);
    }

    #[test]
    fn who_is_in_several_rooms_leaves_and_comes_back_in_all_of_them() {
        let mut ledger = three_rooms();
        ledger.send(0, 2);
        ledger.send(1, 3);
        ledger.deliver(1, message(1, 0));
        ledger.churn(0);
        assert_eq!(ledger.in_flight, 0, "nobody waits for it in either room");
        for _ in 0..3 {
            ledger.send(0, 2);
            ledger.send(1, 3);
        }
        assert_eq!(ledger.in_flight, 3, "those of room 1, for member 1");
        deliver_all(&mut ledger, &[(1, 1, 1), (1, 1, 2), (1, 1, 3)]);
        // From where it came back, without holes in each room.
        deliver_all(&mut ledger, &[(0, 0, 2), (0, 0, 3), (0, 1, 1), (0, 1, 3)]);
        assert_eq!((ledger.in_flight, ledger.faults().lost), (0, 1));
        ledger.disconnect(0);
        assert_eq!(ledger.faults().lost, 1);
    }

    #[test]
    fn a_message_nobody_sent_is_damaged() {
        let mut ledger = room_of_two();
        send(&mut ledger, 1);
        assert!(!ledger.deliver(0, message(0, 1)));
        assert!(!ledger.deliver(0, message(9, 0)));
        assert_eq!(ledger.faults().damaged, 2);
    }

    #[test]
    fn a_disconnected_member_lost_the_rest_and_is_not_waited_for() {
        let mut ledger = room_of_two();
        send(&mut ledger, 2);
        deliver(&mut ledger, 0, &[0, 1]);
        ledger.disconnect(1);
        assert_eq!(ledger.in_flight, 0);
        send(&mut ledger, 1);
        deliver(&mut ledger, 0, &[2]);
        assert_eq!(ledger.in_flight, 0);
        assert_eq!(ledger.faults().lost, 3);
    }

    #[test]
    fn a_churned_member_sees_a_span_without_holes() {
        let mut ledger = room_of_two();
        send(&mut ledger, 2);
        deliver(&mut ledger, 0, &[0, 1]);
        ledger.churn(1);
        send(&mut ledger, 5);
        deliver(&mut ledger, 0, &[2, 3, 4, 5, 6]);
        deliver(&mut ledger, 1, &[4, 5, 6]);
        assert_eq!(ledger.faults(), Faults::default());
        send(&mut ledger, 2);
        deliver(&mut ledger, 0, &[7, 8]);
        deliver(&mut ledger, 1, &[8]);
        assert_eq!(ledger.faults().lost, 1);
        ledger.churn(1);
        assert_eq!(ledger.faults().lost, 1, "a hole stays a hole after leaving");
    }

    #[test]
    fn messages_that_never_left_are_not_expected() {
        let mut ledger = room_of_two();
        send(&mut ledger, 3);
        deliver(&mut ledger, 0, &[0]);
        deliver(&mut ledger, 1, &[0]);
        ledger.retract(0, 2);
        assert_eq!((ledger.in_flight, ledger.faults().lost, ledger.sent), (0, 0, 1));
    }
}
