//! What only a file does: it knows after what kind of end it begins, and forgets what is too old.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use roomd::chat::HistoryQuery;
use roomd::store::file::{File, Options, backup, check};
use roomd::store::{Answer, Ask, BATCH_SIZE_BOUNDS, Restored};

use super::rig::{InFile, Rig, appended, copy_as_killed, message, now_ms, session, until};

/// Opens the copy of a file on a boot of this name; returns the epoch of its room.
fn epoch_on(path: &Path, boot_id: &str, sync: bool, now_ms: u64) -> (u64, Restored) {
    let options = Options {
        boot_id: Some(boot_id.into()),
        sync,
        ..Options::new(9, now_ms, std::task::Waker::noop().clone())
    };
    let (file, restored) = File::open(path, options).unwrap();
    // As a killed one: it must not be marked as closed in order.
    let copy = path.with_extension("copy");
    copy_as_killed(path, &copy);
    drop(file);
    fs::rename(&copy, path).unwrap();
    let _ = fs::remove_file(path.with_extension("copy-shm"));
    let wal = |path: &Path| format!("{}-wal", path.display());
    let _ = fs::rename(wal(&copy), wal(path));
    (restored.rooms.first().map_or(0, |room| room.1), restored)
}

#[test]
fn only_a_power_failure_begins_a_new_epoch() {
    let mut place = InFile::new();
    place.options = |options| options.boot_id = Some("first".into());
    let mut rig = Rig::open(&mut place);
    let (epoch_ms, ..) = rig.open_room(0, "dev", 0);
    rig.say(0, "x");
    drop(rig);
    let (path, now) = (place.path(), now_ms());
    // It was closed in order; then it was killed.
    assert_eq!(epoch_on(&path, "second", false, now).0, epoch_ms);
    assert_eq!(epoch_on(&path, "second", false, now).0, epoch_ms);
    // The machine went down.
    let (second_ms, restored) = epoch_on(&path, "third", false, 5);
    assert!(second_ms > epoch_ms, "even if the clock has gone back");
    assert_eq!(restored.rooms[0].2, 1);
    assert_eq!(epoch_on(&path, "third", true, now).0, second_ms);
    // And again, but nothing was lost.
    assert_eq!(epoch_on(&path, "fourth", false, now).0, second_ms);
    let later = now + 1_000_000;
    let (third_ms, _) = epoch_on(&path, "fifth", false, later);
    assert_eq!(third_ms, later);
    // Linux does not say which boot it is.
    assert!(epoch_on(&path, "", false, now).0 > third_ms);
    assert!(epoch_on(&path, "", false, now).0 > third_ms + 1);
}

#[test]
fn a_room_that_is_made_after_a_power_failure_is_newer_than_it() {
    let mut place = InFile::new();
    place.options = |options| options.boot_id = Some("first".into());
    drop(Rig::open(&mut place));
    let future = now_ms() + 1_000_000;
    epoch_on(&place.path(), "first", false, future);
    epoch_on(&place.path(), "second", false, future);
    place.options = |options| options.boot_id = Some("second".into());
    assert!(Rig::open(&mut place).open_room(0, "dev", 0).0 > future);
}

#[test]
fn a_kill_takes_nothing_that_was_answered() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    rig.keep(session(1), "bob", None);
    for number in 0..20 {
        let id = rig.say_marked(0, "x", session(1), number);
        let mut killed = InFile::new();
        copy_as_killed(&place.path(), &killed.path());
        let mut after = Rig::open(&mut killed);
        assert_eq!(after.open_room(3, "dev", 1).1, id);
        assert_eq!(after.ids(3).len() as u64, id);
        assert_eq!(after.recall(session(1)).len() as u64, number + 1);
        assert_eq!(after.restored.sessions.len(), 1);
    }
}

#[test]
fn rooms_beyond_those_restored_are_still_there_if_anything_was_said() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    for number in 0..10 {
        rig.open_room(number, &format!("room{number}"), 0);
        if number % 2 == 0 {
            let mut message = message("x");
            message.at_ms = 1000 + u64::from(number);
            let ticket = rig.ticket();
            appended(rig.call(Ask::Append { ticket, room: number, message, mark: None }));
        }
    }
    drop(rig);
    place.options = |options| options.rooms_max = 6;
    let mut rig = Rig::open(&mut place);
    // Nobody has ever used the others since they were made: those are the newest.
    assert_eq!(rig.restored.rooms.len(), 6);
    assert_eq!(rig.open_room(0, "room0", 9).1, 1);
    drop(rig);
    place.options = |_| {};
    assert!(Rig::open(&mut place).restored.rooms.len() >= 6);
}

#[test]
fn what_is_too_old_goes_and_ids_never_go_back() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    let hour_ago = now_ms() - 3_600_000;
    let asks: Vec<Ask> = (0..3000)
        .map(|n| {
            let mut message = message(&"x".repeat(500));
            message.at_ms = if n < 2990 { hour_ago } else { now_ms() };
            Ask::Append { ticket: rig.ticket(), room: 0, message, mark: None }
        })
        .collect();
    asks.into_iter().for_each(|ask| rig.ask(ask));
    (1..=3000).for_each(|id| assert_eq!(appended(rig.answer()), id));
    drop(rig);
    let before = fs::metadata(place.path()).unwrap().len();
    place.options = |options| options.keep = Some(Duration::from_secs(60));
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    until("old messages go", || rig.ids(0).len() == 10);
    assert_eq!(rig.ids(0), (2991..=3000).collect::<Vec<_>>());
    until("the file shrinks", || {
        rig.settle();
        fs::metadata(place.path()).unwrap().len() < before / 2 + 300 * 4096
    });
    drop(rig);
    place.options = |options| {
        options.keep = Some(Duration::from_secs(1));
        options.keep_messages = Some(3);
    };
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    until("all go", || rig.ids(0).is_empty());
    assert_eq!(rig.say(0, "next"), 3001);
    rig.ask(Ask::Close { room: 0 });
    assert_eq!(rig.open_room(0, "dev", 9).2.len(), 1);
}

#[test]
fn of_each_room_so_many_messages_are_kept() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    for room in 0..2 {
        rig.open_room(room, &format!("room{room}"), 0);
        (0..1200 * room + 5).for_each(|_| assert_ne!(rig.say(room, "x"), 0));
    }
    drop(rig);
    place.options = |options| options.keep_messages = Some(7);
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "room0", 0);
    rig.open_room(1, "room1", 0);
    until("the rest goes", || rig.ids(1).len() == 7);
    assert_eq!((rig.ids(0), rig.ids(1)), ((1..=5).collect(), (1199..=1205).collect()));
    let query = HistoryQuery { limit: 9, before: Some(1199), ..HistoryQuery::default() };
    assert_eq!(rig.read(1, query, 99), (vec![], false));
    drop(rig);
    assert_eq!(check(&place.path()).unwrap().faults, Vec::<String>::new());
}

#[test]
fn marks_of_sessions_that_are_no_more_go_too() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    rig.keep(session(1), "bob", Some(1000));
    rig.keep(session(2), "bob", None);
    for number in 1..4 {
        rig.say_marked(0, "x", session(number), 0);
    }
    drop(rig);
    let mut rig = Rig::open(&mut place);
    until("marks go", || rig.recall(session(1)).is_empty() && rig.recall(session(3)).is_empty());
    assert_eq!(rig.recall(session(2)).len(), 1);
}

#[test]
fn a_file_is_for_its_owner_and_goes_into_one_piece_at_the_end() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    rig.say(0, "x");
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", place.path().display());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{suffix}");
    }
    drop(rig);
    assert_eq!(fs::read_dir(&place.folder).unwrap().count(), 1);
}

#[test]
fn the_log_beside_the_file_is_emptied_when_nobody_asks() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    rig.say(0, "x");
    let wal = format!("{}-wal", place.path().display());
    assert!(fs::metadata(&wal).unwrap().len() > 0);
    until("a checkpoint", || fs::metadata(&wal).unwrap().len() == 0);
    // And when there is too much of it.
    let long = "x".repeat(8000);
    let mut longest = 0;
    for _ in 0..128 {
        let asks: Vec<Ask> = (0..64).map(|_| rig.ask_append(0, &long)).collect();
        asks.into_iter().for_each(|ask| rig.ask(ask));
        (0..64).for_each(|_| assert_ne!(appended(rig.answer()), 0));
        longest = longest.max(fs::metadata(&wal).unwrap().len());
    }
    assert!(longest < 40 << 20, "{longest}");
}

#[test]
fn status_counts_commits() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    (0..5).for_each(|_| assert_ne!(rig.say(0, "x"), 0));
    rig.settle();
    let status = rig.store.status().unwrap();
    assert_eq!((status.saved, status.refused, status.trouble), (5, 0, None));
    assert_eq!((status.commits, status.batched), (6, 6));
    assert_eq!(status.commit_times.iter().sum::<u64>(), 6);
    assert_eq!(status.batch_sizes, [6, 0, 0, 0, 0]);
    assert_eq!(BATCH_SIZE_BOUNDS[0], 1);
    assert!(status.file_bytes > 4096 && status.commit_us > 0);
}

#[test]
fn what_was_asked_is_done_before_the_end() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    let asks: Vec<Ask> = (0..900).map(|_| rig.ask_append(0, "x")).collect();
    asks.into_iter().for_each(|ask| rig.ask(ask));
    drop(rig);
    assert_eq!(Rig::open(&mut place).open_room(0, "dev", 0).1, 900);
}

#[test]
fn a_backup_is_whole_and_begins_a_new_epoch() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    let (epoch_ms, ..) = rig.open_room(0, "dev", 0);
    (0..50).for_each(|_| assert_ne!(rig.say(0, "x"), 0));
    drop(rig);
    let mut copy = InFile::new();
    backup(&place.path(), &copy.path()).unwrap();
    assert_eq!(check(&copy.path()).unwrap().messages, 50);
    assert!(backup(&place.path(), &copy.path()).is_err(), "nothing is overwritten");
    assert_eq!(fs::metadata(copy.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let mut rig = Rig::open(&mut copy);
    let (later_ms, newest_id, _) = rig.open_room(0, "dev", 0);
    assert!(later_ms > epoch_ms && newest_id == 50);
}

#[test]
fn a_check_finds_what_is_wrong() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    rig.keep(session(1), "bob", None);
    (0..9).for_each(|number| assert_ne!(rig.say_marked(0, "x", session(1), number), 0));
    drop(rig);
    let sound = check(&place.path()).unwrap();
    assert_eq!((sound.rooms, sound.messages, sound.sessions, sound.faults.len()), (1, 9, 1, 0));
    for (change, fault) in [
        (
            "DELETE FROM message WHERE id = 5",
            "#dev: its newest message has the id 9, and 8 of 9 from 1 on are there",
        ),
        ("UPDATE room SET newest_id = 8", "#dev: 1 marks are of messages that are not there"),
        ("DELETE FROM room", "9 messages are of a room that is not there"),
    ] {
        let copy = place.folder.join("copy");
        fs::copy(place.path(), &copy).unwrap();
        rusqlite::Connection::open(&copy).unwrap().execute_batch(change).unwrap();
        let faults = check(&copy).unwrap().faults;
        assert!(faults.iter().any(|found| found.contains(fault)), "{faults:?}");
    }
}

#[test]
fn nobody_is_left_waiting_by_what_was_never_opened() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    let append = rig.ask_append(77, "x");
    assert!(matches!(rig.call(append), Answer::Refused { .. }));
    rig.ask(Ask::Close { room: 99 });
    rig.settle();
}
