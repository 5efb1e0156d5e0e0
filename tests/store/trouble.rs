//! What is in a file's way, with the real thing as far as that can be: each is a sentence, nothing is half done, and
//! it goes on by itself.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::task::Waker;

use roomd::chat::HistoryQuery;
use roomd::store::file::{File, Options};
use roomd::store::{Ask, Restored};
use rusqlite::Connection;

use super::rig::{InFile, Rig, folder, now_ms, refused, session, until};

fn open(path: &Path) -> Result<(File, Restored), String> {
    File::open(path, Options::new(9, now_ms(), Waker::noop().clone()))
}

/// Opens what cannot be opened; returns why.
fn why(path: &Path) -> String {
    open(path).map(|_| ()).unwrap_err()
}

#[test]
fn what_is_no_file_of_ours_is_refused_with_a_sentence() {
    let place = InFile::new();
    let path = |name: &str| place.folder.join(name);
    fs::write(path("text"), "hello, this is no database at all, is it?".repeat(99)).unwrap();
    fs::write(path("short"), "hello").unwrap();
    let foreign = Connection::open(path("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(foreign);
    drop(open(&path("newer")).unwrap());
    let newer = Connection::open(path("newer")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    drop(open(&path("header")).unwrap());
    let mut bytes = fs::read(path("header")).unwrap();
    bytes[8..40].fill(0xee);
    fs::write(path("header"), &bytes).unwrap();
    drop(open(&path("pages")).unwrap());
    let mut bytes = fs::read(path("pages")).unwrap();
    bytes[100..].fill(0xee);
    fs::write(path("pages"), &bytes).unwrap();
    for (name, sentence) in [
        ("", "it is a directory; name a file in it"),
        ("none/rooms", "the directory is not there; make it, or choose another file"),
        ("text/rooms", "a part of the path is no directory; choose another file"),
        ("text", "it is not a file of roomd's, or its begin is damaged"),
        ("short", "it is not a file of roomd's, or its begin is damaged"),
        ("foreign", "it is a file of another program; choose another file"),
        ("newer", "a newer roomd has written it (its version is 99, this program knows 1)"),
        ("header", "it is not a file of roomd's, or its begin is damaged"),
        ("pages", "it is damaged; see roomd check, and put a backup there"),
    ] {
        let said = why(&path(name));
        assert!(said.contains(sentence) && said.contains(name), "{name}: {said}");
    }
    assert!(why(Path::new("/dev/null")).contains("it is no regular file"));
    assert_eq!(fs::read(path("short")).unwrap(), b"hello", "nothing is changed");
}

#[test]
fn an_empty_file_and_a_symbolic_link_are_as_good_as_none() {
    let place = InFile::new();
    fs::write(place.path(), "").unwrap();
    drop(open(&place.path()).unwrap());
    let link = place.folder.join("link");
    symlink(place.path(), &link).unwrap();
    let first = open(&link).unwrap();
    assert!(why(&place.path()).contains("another roomd has it open"));
    drop(first);
}

#[test]
fn one_file_is_for_one_daemon() {
    let mut place = InFile::new();
    let rig = Rig::open(&mut place);
    assert!(why(&place.path()).ends_with("another roomd has it open; stop that one, or choose another file"));
    drop(rig);
    drop(open(&place.path()).unwrap());
}

/// While a file is in trouble: what is asked is refused, what can be done is, and what is owed is done when it is over.
struct Ordeal {
    place: InFile,
    rig: Rig,
}

impl Ordeal {
    /// A room with three messages, and two sessions.
    fn begin(options: fn(&mut Options)) -> Self {
        let mut place = InFile::new();
        place.options = options;
        let mut rig = Rig::open(&mut place);
        rig.open_room(0, "dev", 0);
        (1..=3).for_each(|id| assert_eq!(rig.say(0, "before"), id));
        rig.open_room(1, "empty", 0);
        rig.keep(session(1), "bob", None);
        rig.say_marked(0, "marked", session(1), 0);
        rig.settle();
        Self { place, rig }
    }

    /// It is in trouble now, and people are told why.
    fn suffer(&mut self, sentence: &str) {
        let rig = &mut self.rig;
        let newest_id = *rig.ids(0).last().unwrap();
        for _ in 0..3 {
            let ask = rig.ask_append(0, "lost");
            let said = refused(rig.call(ask));
            assert!(said.contains(sentence), "{said}");
        }
        let ask = rig.ask_open(7, "new", 0);
        assert!(refused(rig.call(ask)).contains(sentence));
        assert!(rig.trouble().unwrap().contains(sentence));
        // What is there can be read, and entered.
        assert_eq!(rig.ids(0).last(), Some(&newest_id));
        rig.ask(Ask::Close { room: 0 });
        assert_eq!(rig.open_room(0, "dev", 2).1, newest_id);
        assert_eq!(rig.recall(session(1)).len(), 1);
        // Nobody waits for these.
        rig.ask(Ask::Close { room: 1 });
        rig.ask(Ask::Forget { session: session(1) });
        rig.keep(session(2), "alice", None);
        rig.keep(session(2), "carol", Some(now_ms()));
        rig.settle();
        assert!(rig.trouble().is_some());
    }

    /// It is over, without anybody asking for anything.
    fn recover(mut self) {
        until("it is over", || self.rig.trouble().is_none());
        let newest_id = *self.rig.ids(0).last().unwrap();
        assert_eq!(self.rig.say(0, "after"), newest_id + 1);
        assert_eq!(self.rig.recall(session(1)), []);
        drop(self.rig);
        let rig = Rig::open(&mut self.place);
        let names: Vec<String> = rig.restored.rooms.iter().map(|(name, ..)| name.to_string()).collect();
        assert_eq!(names, ["#dev"]);
        let sessions: Vec<String> =
            rig.restored.sessions.iter().map(|(_, name, _)| name.as_ref().unwrap().to_string()).collect();
        assert_eq!(sessions, ["carol"]);
    }
}

#[test]
fn a_full_disk_refuses_and_reads() {
    // So many pages, and then none: it does not become empty again.
    let mut ordeal = Ordeal::begin(|options| options.pages_max = Some(40));
    let long = "x".repeat(3000);
    let mut said = 4;
    let trouble = loop {
        let ask = ordeal.rig.ask_append(0, &long);
        match ordeal.rig.call(ask) {
            roomd::store::Answer::Appended { message, .. } => {
                said += 1;
                assert_eq!(message.id, said);
            }
            answer => break refused(answer),
        }
    };
    assert!(trouble.contains("the disk is full"), "{trouble}");
    let query = HistoryQuery { limit: 1, ..HistoryQuery::default() };
    assert_eq!(ordeal.rig.read(0, query, 9).0[0].id, said);
    ordeal.rig.ask(Ask::Close { room: 0 });
    assert_eq!(ordeal.rig.open_room(3, "dev", 5).1, said);
}

#[test]
fn a_file_that_was_moved_is_found_again() {
    let mut ordeal = Ordeal::begin(|_| {});
    let elsewhere = ordeal.place.folder.join("elsewhere");
    fs::rename(ordeal.place.path(), &elsewhere).unwrap();
    ordeal.suffer("the file of the rooms was moved or deleted");
    fs::rename(&elsewhere, ordeal.place.path()).unwrap();
    ordeal.recover();
}

#[test]
fn a_file_that_another_one_has_taken_the_place_of_is_not_written() {
    let mut ordeal = Ordeal::begin(|_| {});
    let elsewhere = ordeal.place.folder.join("elsewhere");
    fs::rename(ordeal.place.path(), &elsewhere).unwrap();
    fs::write(ordeal.place.path(), "mine").unwrap();
    ordeal.suffer("the file of the rooms was moved or deleted");
    assert_eq!(fs::read(ordeal.place.path()).unwrap(), b"mine");
    fs::rename(&elsewhere, ordeal.place.path()).unwrap();
    ordeal.recover();
}

#[test]
fn the_log_beside_the_file_may_not_go_either() {
    let mut ordeal = Ordeal::begin(|_| {});
    let wal = format!("{}-wal", ordeal.place.path().display());
    let elsewhere = ordeal.place.folder.join("elsewhere");
    fs::rename(&wal, &elsewhere).unwrap();
    ordeal.suffer("the file of the rooms was moved or deleted");
    fs::rename(&elsewhere, &wal).unwrap();
    ordeal.recover();
}

#[test]
fn who_locks_the_file_is_waited_for() {
    let mut ordeal = Ordeal::begin(|_| {});
    // Another process, as it would be; the locks of one are all the same to SQLite, but connections are not.
    let other = Connection::open(ordeal.place.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    ordeal.suffer("another program locks the file of the rooms");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    ordeal.recover();
}

#[test]
fn a_page_that_is_damaged_is_told_and_not_fatal() {
    let mut place = InFile::new();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    let text = "x".repeat(1000);
    (0..400).for_each(|_| assert_ne!(rig.say(0, &text), 0));
    drop(rig);
    let bytes = fs::read(place.path()).unwrap();
    let damaged = |page: usize| -> Vec<u8> {
        let mut bytes = bytes.clone();
        bytes[page * 4096..][..4096].fill(0xee);
        bytes
    };
    let pages = bytes.len() / 4096;
    fs::write(place.path(), damaged(pages / 2)).unwrap();
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    let ticket = rig.ticket();
    let query = HistoryQuery { limit: 1000, ..HistoryQuery::default() };
    let said = refused(rig.call(Ask::Read { ticket, room: 0, query, since_ms: 0, bytes_max: usize::MAX }));
    assert!(said.contains("the file of the rooms is damaged"), "{said}");
    assert_eq!(rig.say(0, "still"), 401);
    drop(rig);
    assert!(!roomd::store::file::check(&place.path()).unwrap().faults.is_empty());
}

/// Mounts a small file system.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(size: &str) -> Self {
        let folder = folder();
        let mount = ["-t", "tmpfs", "-o", &format!("size={size}"), "none"];
        let mounted = std::process::Command::new("mount").args(mount).arg(&folder).status().unwrap();
        assert!(mounted.success(), "only root may");
        Self(folder)
    }

    fn remount(&self, option: &str) {
        let mount = ["-o", &format!("remount,{option}")];
        let mounted = std::process::Command::new("mount").args(mount).arg(&self.0).status().unwrap();
        assert!(mounted.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_disk_that_is_really_full_recovers_when_there_is_room() {
    let disk = Tmpfs::mount("1M");
    let place = InFile::new();
    let _ = fs::remove_dir(&place.folder);
    symlink(&disk.0, &place.folder).unwrap();
    let mut ordeal = begin_in(place);
    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![1; 2 << 20]);
    let long = "x".repeat(3000);
    let mut full = false;
    for _ in 0..400 {
        let ask = ordeal.rig.ask_append(0, &long);
        full |= matches!(ordeal.rig.call(ask), roomd::store::Answer::Refused { .. });
        if full {
            break;
        }
    }
    ordeal.suffer("the disk is full");
    fs::remove_file(&filler).unwrap();
    ordeal.recover();
}

fn begin_in(mut place: InFile) -> Ordeal {
    let mut rig = Rig::open(&mut place);
    rig.open_room(0, "dev", 0);
    rig.open_room(1, "empty", 0);
    rig.keep(session(1), "bob", None);
    rig.say_marked(0, "marked", session(1), 0);
    rig.settle();
    Ordeal { place, rig }
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_file_system_that_cannot_be_written_is_told_at_the_start() {
    let disk = Tmpfs::mount("1M");
    drop(open(&disk.0.join("rooms")).unwrap());
    disk.remount("ro");
    assert!(why(&disk.0.join("rooms")).contains("nothing can be written there"));
    assert!(why(&disk.0.join("other")).contains("nothing can be written there"));
    disk.remount("rw");
    let _ = OpenOptions::new().write(true).create(true).truncate(false).open(disk.0.join("other")).unwrap();
}
