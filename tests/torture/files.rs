//! What cannot be a file of rooms: a sentence, exit status 2, and nothing else. More of them are in `tests/store`.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use rusqlite::Connection;

use crate::common::{ends, roomd};
use crate::rig::Place;

#[track_caller]
fn is_refused(data: &str, why: &str) {
    for flags in [
        &["--listen", "127.0.0.1:0", "--data", data][..],
        &["serve", "--listen", "127.0.0.1:0", "--data", data],
    ] {
        let (status, said) = ends(&mut roomd(flags));
        assert_eq!(status, Some(2), "{said}");
        assert!(said.starts_with("roomd: cannot ") && said.contains(why), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let place = Place::new();
    let data = place.data();
    let other = Connection::open(&data).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('a');").unwrap();
    drop(other);
    let before = fs::read(&data).unwrap();
    is_refused(&data, "it is a file of another program; choose another file");
    assert_eq!(fs::read(&data).unwrap(), before);
    fs::remove_file(&data).unwrap();

    drop(place.daemon(&[]));
    let newer = Connection::open(&data).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    is_refused(&data, "a newer roomd has written it (its version is 99");
}

#[test]
fn what_is_no_file_is_no_file_of_rooms() {
    let place = Place::new();
    let data = place.data();
    let fifo = Command::new("mkfifo").arg(&data).status().unwrap();
    assert!(fifo.success());
    is_refused(&data, "it is no regular file");
    is_refused("/dev/null", "it is no regular file");
    symlink(place.path("loop"), place.path("loop")).unwrap();
    is_refused(&place.path("loop"), "");
    is_refused(&place.path(&"x".repeat(300)), "");
    fs::write(place.path("text"), "text").unwrap();
    is_refused(&place.path("text/rooms"), "a part of the path is no directory");
    is_refused(&format!("{}/", place.path("new")), "");
}

/// The log beside it is not ours to write.
#[test]
fn a_file_system_that_is_read_only_is_refused() {
    let place = Place::new();
    drop(place.daemon(&[]));
    let script = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@""#;
    let roomd = roomd(&["--listen", "127.0.0.1:0", "--data", &place.data()]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&place.0);
    command.arg(roomd.get_program()).args(roomd.get_args());
    let (status, said) = ends(crate::rig::pipe(&mut command));
    if said.starts_with("unshare: ") || said.starts_with("mount: ") {
        println!("only root may mount: {said}");
        return;
    }
    assert!(status == Some(2) && said.contains("choose a file on another file system"), "{status:?} {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
