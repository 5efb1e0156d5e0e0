//! What every store does that keeps rooms. A store joins with a [`Place`] and a line in [`on_every_store!`].

use roomd::chat::{Body, HistoryQuery, Name, RoomName};
use roomd::store::{Answer, Ask, MARKS_MAX, SESSION_TIME_MS};

use super::rig::{InFile, Place, Rig, appended, message, now_ms, session};

macro_rules! on_every_store {
    ($($case:ident)*) => {
        mod in_file {
            $(#[test] fn $case() { super::$case(&mut super::InFile::new()); })*
        }
    };
}

on_every_store! {
    a_room_counts_from_one_and_goes_on_after_the_end
    the_newest_messages_come_with_a_room
    a_room_in_which_nothing_was_said_is_no_more
    a_number_may_be_another_room_in_the_same_batch
    what_was_appended_before_a_read_is_read
    answers_come_in_the_order_of_the_log
    a_page_is_limited_by_count_bytes_and_ids
    ids_beyond_all_are_no_error
    the_last_marks_of_a_session_are_known
    marks_go_with_their_session
    sessions_can_be_continued_for_a_while
    all_that_is_said_comes_back_as_it_was
    load_counts_what_is_not_done
}

fn a_room_counts_from_one_and_goes_on_after_the_end(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    let (epoch_ms, newest_id, messages) = rig.open_room(0, "dev", 10);
    assert_eq!((newest_id, messages.len()), (0, 0));
    assert!(epoch_ms > 0);
    assert_eq!((rig.say(0, "one"), rig.say(0, "two")), (1, 2));
    drop(rig);
    let mut rig = Rig::open(place);
    assert_eq!(rig.restored.rooms, [(RoomName::parse("dev").unwrap(), epoch_ms, 2)]);
    let (again_ms, newest_id, messages) = rig.open_room(5, "#Dev", 10);
    assert_eq!((again_ms, newest_id), (epoch_ms, 2));
    assert_eq!(messages.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(rig.say(5, "three"), 3);
}

fn the_newest_messages_come_with_a_room(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    (1..=20).for_each(|id| assert_eq!(rig.say(0, "x"), id));
    rig.ask(Ask::Close { room: 0 });
    for (newest, first) in [(0, 21), (1, 20), (5, 16), (20, 1), (100, 1), (usize::MAX, 1)] {
        let (_, newest_id, messages) = rig.open_room(1, "dev", newest);
        assert_eq!(newest_id, 20);
        assert!(messages.iter().map(|message| message.id).eq(first..=20), "{newest}");
        rig.ask(Ask::Close { room: 1 });
    }
}

fn a_room_in_which_nothing_was_said_is_no_more(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    for (room, name) in ["lobby", "empty", "used"].into_iter().enumerate() {
        rig.open_room(room as u32, name, 0);
    }
    rig.say(2, "x");
    (0..3).for_each(|room| rig.ask(Ask::Close { room }));
    drop(rig);
    let rig = Rig::open(place);
    let mut names: Vec<String> = rig.restored.rooms.iter().map(|(name, ..)| name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["#lobby", "#used"]);
}

fn a_number_may_be_another_room_in_the_same_batch(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "one", 0);
    let all = HistoryQuery { limit: 9, ..HistoryQuery::default() };
    for text in ["a", "b"] {
        let append = rig.ask_append(0, text);
        rig.ask(append);
    }
    let ticket = rig.ticket();
    rig.ask(Ask::Read { ticket, room: 0, query: all, since_ms: 0, bytes_max: 999 });
    rig.ask(Ask::Close { room: 0 });
    let open = rig.ask_open(0, "two", 9);
    rig.ask(open);
    let append = rig.ask_append(0, "c");
    rig.ask(append);
    rig.ask(Ask::Close { room: 0 });
    let open = rig.ask_open(0, "one", 9);
    rig.ask(open);
    let (mut found, mut opened, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..6 {
        match rig.answer() {
            Answer::Found { messages, .. } => found = messages.iter().map(|m| m.id).collect(),
            Answer::Opened { newest_id, messages, .. } => opened.push((newest_id, messages.len())),
            answer => ids.push(appended(answer)),
        }
    }
    assert_eq!((ids, found, opened), (vec![1, 2, 1], vec![1, 2], vec![(0, 0), (2, 2)]));
}

fn what_was_appended_before_a_read_is_read(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    for round in 1..=50 {
        let (append, ticket) = (rig.ask_append(0, "x"), rig.ticket());
        rig.ask(append);
        let query = HistoryQuery { limit: 1, ..HistoryQuery::default() };
        rig.ask(Ask::Read { ticket, room: 0, query, since_ms: 0, bytes_max: 10 });
        assert_eq!(appended(rig.answer()), round);
        let Answer::Found { messages, more, .. } = rig.answer() else { panic!() };
        assert_eq!((messages[0].id, more), (round, round > 1));
    }
}

fn answers_come_in_the_order_of_the_log(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    let asks: Vec<Ask> = (0..1000).map(|n| rig.ask_append(0, &format!("{n}"))).collect();
    asks.into_iter().for_each(|ask| rig.ask(ask));
    for n in 0..1000 {
        let Answer::Appended { message, .. } = rig.answer() else { panic!() };
        assert_eq!((message.id, message.body.as_str()), (n + 1, format!("{n}").as_str()));
    }
}

fn a_page_is_limited_by_count_bytes_and_ids(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    (0..10).for_each(|_| assert!(rig.say(0, "four") > 0));
    let mut page = |limit, before, after, bytes| {
        let (messages, more) = rig.read(0, HistoryQuery { limit, before, after, skip: 0 }, bytes);
        (messages.iter().map(|message| message.id).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(3, None, None, 99), (vec![8, 9, 10], true));
    assert_eq!(page(3, Some(4), None, 99), (vec![1, 2, 3], false));
    assert_eq!(page(3, Some(5), None, 99), (vec![2, 3, 4], true));
    assert_eq!(page(3, None, Some(7), 99), (vec![8, 9, 10], false));
    assert_eq!(page(3, None, Some(2), 99), (vec![3, 4, 5], true));
    assert_eq!(page(3, Some(5), Some(2), 99), (vec![3, 4], false));
    assert_eq!(page(9, None, None, 8), (vec![9, 10], true));
    assert_eq!(page(9, None, Some(0), 9), (vec![1, 2], true));
    assert_eq!(page(9, None, None, 0), (vec![10], true));
    assert_eq!(page(9, Some(2), None, 0), (vec![1], false));
    assert_eq!(page(0, None, None, 99), (vec![], true));
}

fn ids_beyond_all_are_no_error(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    rig.say(0, "x");
    for id in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, 2] {
        let query = HistoryQuery { limit: 5, before: None, after: Some(id), skip: 0 };
        assert_eq!(rig.read(0, query, 99), (vec![], false), "after {id}");
        let query = HistoryQuery { limit: 5, before: Some(id), after: None, skip: 0 };
        assert_eq!(rig.read(0, query, 99).0.len(), 1, "before {id}");
    }
    for id in [0, 1] {
        let query = HistoryQuery { limit: usize::MAX, before: Some(id), after: None, skip: 0 };
        assert_eq!(rig.read(0, query, 99), (vec![], false), "before {id}");
    }
}

fn the_last_marks_of_a_session_are_known(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    rig.keep(session(1), "bob", None);
    let count = MARKS_MAX + 7;
    for number in 0..count {
        rig.say_marked(0, "x", session(1), number);
    }
    rig.say_marked(0, "x", session(2), 0);
    for _ in 0..2 {
        let marks = rig.recall(session(1));
        assert!(marks.iter().map(|mark| mark.number).eq(7..count));
        assert!(marks.iter().all(|mark| mark.id == mark.number + 1 && mark.at_ms > 0));
        assert!(marks.iter().all(|mark| *mark.reference == format!("r{}", mark.number)));
        assert_eq!(rig.recall(session(9)), []);
        drop(rig);
        rig = Rig::open(place);
    }
    // What was passed over does not bring back what is older.
    rig.open_room(0, "dev", 0);
    rig.say_marked(0, "x", session(1), 5 * MARKS_MAX + 3);
    assert_eq!(rig.recall(session(1)).len(), 1);
}

fn marks_go_with_their_session(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    for number in [1, 2] {
        rig.keep(session(number), "bob", None);
        rig.say_marked(0, "x", session(number), 0);
    }
    rig.ask(Ask::Forget { session: session(1) });
    assert_eq!((rig.recall(session(1)).len(), rig.recall(session(2)).len()), (0, 1));
    drop(rig);
    let rig = Rig::open(place);
    assert_eq!(rig.restored.sessions.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [session(2)]);
}

fn sessions_can_be_continued_for_a_while(place: &mut dyn Place) {
    let now = now_ms();
    let mut rig = Rig::open_at(place, now);
    rig.keep(session(1), "here", None);
    rig.keep(session(2), "away", Some(now));
    rig.keep(session(3), "gone", Some(now - SESSION_TIME_MS - 1));
    rig.keep(session(4), "back", Some(now));
    rig.keep(session(4), "newname", None);
    rig.settle();
    drop(rig);
    let names = |rig: &Rig| {
        let mut names: Vec<_> = rig
            .restored
            .sessions
            .iter()
            .map(|(id, name, left)| (id.0[0], name.as_ref().unwrap().to_string(), *left))
            .collect();
        names.sort();
        names
    };
    let later = now + 1000;
    let rig = Rig::open_at(place, later);
    let expected = [(1, "here".to_owned(), later), (2, "away".into(), now), (4, "newname".into(), later)];
    assert_eq!(names(&rig), expected);
    drop(rig);
    // They have been left since then, not since the last start.
    let rig = Rig::open_at(place, now + SESSION_TIME_MS + 1);
    assert_eq!(names(&rig), [expected[0].clone(), expected[2].clone()]);
}

fn all_that_is_said_comes_back_as_it_was(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "дом", 0);
    let mut said = Vec::new();
    for (text, from, is_action) in
        [("o'hara; DROP TABLE room", "Алёна", false), ("two\nlines 🙂", "a-b.c", true), ("0", "x", false)]
    {
        let mut message = message("x");
        message.body = Body::new(text).unwrap();
        message.from = Name::parse(from).unwrap();
        message.is_action = is_action;
        let ticket = rig.ticket();
        let ask = Ask::Append { ticket, room: 0, message: message.clone(), mark: None };
        message.id = said.len() as u64 + 1;
        assert_eq!(rig.call(ask), Answer::Appended { ticket, message: message.clone() });
        said.push(message);
    }
    drop(rig);
    let mut rig = Rig::open(place);
    assert_eq!(rig.open_room(0, "дом", 9).2, said);
}

fn load_counts_what_is_not_done(place: &mut dyn Place) {
    let mut rig = Rig::open(place);
    rig.open_room(0, "dev", 0);
    for _ in 0..100 {
        let ask = rig.ask_append(0, "12345");
        rig.ask(ask);
        rig.keep(session(1), "bob", None);
    }
    assert!(rig.store.load().asks <= 200);
    (0..100).for_each(|_| drop(rig.answer()));
    rig.settle();
    assert_eq!(rig.store.load(), Default::default());
}
