//! Random steps, compared with a model of vectors after each of them.

use std::collections::BTreeMap;

use roomd::chat::{HistoryQuery, Message, RoomName};
use roomd::reactor::simulated::Rng;
use roomd::store::{Answer, Ask, MARKS_MAX, Marked};

use super::rig::{InFile, Place, Rig, now_ms, session};

/// What every store should hold.
#[derive(Default)]
struct Model {
    /// By name: the epoch, and all messages.
    rooms: BTreeMap<String, (u64, Vec<Message>)>,
    /// By number.
    open: BTreeMap<u32, String>,
    /// By session: how many marks it has put, and them.
    marks: BTreeMap<u8, (u64, Vec<Marked>)>,
}

impl Model {
    /// What is to be found: slowly, and word by word as [`HistoryQuery`] has it.
    fn page(messages: &[Message], query: HistoryQuery, bytes_max: usize) -> (Vec<Message>, bool) {
        let is_asked = |message: &&Message| {
            query.before.is_none_or(|id| message.id < id) && query.after.is_none_or(|id| message.id > id)
        };
        let mut asked: Vec<Message> = messages.iter().filter(is_asked).cloned().collect();
        if query.after.is_none() {
            asked.reverse();
        }
        let (all, mut bytes) = (asked.len(), 0);
        let mut fit = 0;
        for message in asked.iter().take(query.limit) {
            bytes += message.body.as_str().len();
            if fit > 0 && bytes > bytes_max {
                break;
            }
            fit += 1;
        }
        asked.truncate(fit);
        if query.after.is_none() {
            asked.reverse();
        }
        (asked, fit < all)
    }
}

fn step(rig: &mut Rig, model: &mut Model, rng: &mut Rng) {
    let number = rng.below(4) as u32;
    let Some(name) = model.open.get(&number).cloned() else { return open(rig, model, rng, number) };
    match rng.below(20) {
        0 => {
            rig.ask(Ask::Close { room: number });
            model.open.remove(&number);
            if model.rooms[&name].1.is_empty() && name != "lobby" {
                model.rooms.remove(&name);
            }
        }
        1..=9 => append(rig, model, rng, number, &name),
        10..=17 => {
            let messages = &model.rooms[&name].1;
            let mut id = || {
                let near = rng.below(messages.len() + 4) as u64;
                [None, None, Some(near), Some(near), Some(u64::MAX - near)][rng.below(5)]
            };
            let (before, after) = (id(), id());
            let limit = [0, 1, 2, 5, 100, usize::MAX][rng.below(6)];
            let query = HistoryQuery { limit, before, after, skip: 0 };
            let bytes_max = [0, 3, 20, 100, usize::MAX][rng.below(5)];
            let expected = Model::page(messages, query, bytes_max);
            assert_eq!(rig.read(number, query, bytes_max), expected, "{query:?} {bytes_max}");
        }
        18 => {
            let of = rng.below(3) as u8;
            let expected = model.marks.get(&of).map(|(_, marks)| marks.clone()).unwrap_or_default();
            assert_eq!(rig.recall(session(of)), expected);
        }
        _ if rng.below(4) == 0 => {
            let of = rng.below(3) as u8;
            rig.ask(Ask::Forget { session: session(of) });
            model.marks.remove(&of);
            rig.keep(session(of), "bob", None);
        }
        _ => {}
    }
}

fn open(rig: &mut Rig, model: &mut Model, rng: &mut Rng, number: u32) {
    let name = ["lobby", "dev", "ops", "x", "y", "z"][rng.below(6)];
    if model.open.values().any(|open| open == name) {
        return;
    }
    let newest = rng.below(8);
    let (epoch_ms, newest_id, found) = rig.open_room(number, name, newest);
    let (expected_ms, messages) = model.rooms.entry(name.into()).or_insert((epoch_ms, Vec::new()));
    assert_eq!((epoch_ms, newest_id), (*expected_ms, messages.len() as u64));
    assert_eq!(found, messages[messages.len().saturating_sub(newest)..]);
    model.open.insert(number, name.into());
}

/// A few at once, so that they are one batch or several.
fn append(rig: &mut Rig, model: &mut Model, rng: &mut Rng, number: u32, name: &str) {
    let count = 1 + rng.below(5);
    for _ in 0..count {
        let text = "x".repeat(1 + rng.below(12));
        let Ask::Append { ticket, room, mut message, .. } = rig.ask_append(number, &text) else { panic!() };
        message.id = model.rooms[name].1.len() as u64 + 1;
        let mark = (rng.below(2) == 0).then(|| {
            let of = rng.below(3) as u8;
            let (next, marks) = model.marks.entry(of).or_default();
            let (number, reference) = (*next, format!("r{next}"));
            *next += 1;
            marks.push(Marked {
                number,
                reference: reference.clone().into(),
                id: message.id,
                at_ms: message.at_ms,
            });
            marks.retain(|mark| mark.number + MARKS_MAX > number);
            roomd::store::Mark { session: session(of), number, reference: reference.into() }
        });
        model.rooms.get_mut(name).unwrap().1.push(message.clone());
        message.id = 0;
        rig.ask(Ask::Append { ticket, room, message, mark });
    }
    let messages = &model.rooms[name].1;
    for expected in &messages[messages.len() - count..] {
        let Answer::Appended { message, .. } = rig.answer() else { panic!() };
        assert_eq!(&message, expected);
    }
}

/// The end and a new begin, and what is to be restored.
fn restart(rig: Rig, place: &mut dyn Place, model: &mut Model) -> Rig {
    drop(rig);
    let rig = Rig::open_at(place, now_ms());
    // They were open, so they are there, even if nothing was said.
    let restored: BTreeMap<_, _> =
        rig.restored.rooms.iter().map(|(name, epoch_ms, id)| (name.clone(), (*epoch_ms, *id))).collect();
    let expected: BTreeMap<_, _> = model
        .rooms
        .iter()
        .map(|(name, (epoch_ms, said))| (RoomName::parse(name).unwrap(), (*epoch_ms, said.len() as u64)))
        .collect();
    assert_eq!(restored, expected);
    model.open.clear();
    rig
}

fn run(seed: u64, place: &mut dyn Place, steps: usize) {
    eprintln!("ROOMD_SEED={seed}");
    let (mut rng, mut model) = (Rng(seed), Model::default());
    let mut rig = Rig::open(place);
    for _ in 0..3 {
        (0..3).for_each(|of| rig.keep(session(of), "bob", None));
        for _ in 0..steps / 3 {
            step(&mut rig, &mut model, &mut rng);
        }
        rig = restart(rig, place, &mut model);
    }
    // At any step.
    for _ in 0..30 {
        (0..rng.below(6)).for_each(|_| step(&mut rig, &mut model, &mut rng));
        rig = restart(rig, place, &mut model);
    }
}

#[test]
fn a_file_is_like_vectors() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match number("ROOMD_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("ROOMD_SEEDS").unwrap_or(4)),
    };
    (first..first + count).for_each(|seed| run(seed, &mut InFile::new(), 3000));
}
