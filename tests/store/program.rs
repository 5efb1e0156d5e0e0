//! The flags and the subcommands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use super::common::{Daemon, ends, output_of, roomd};
use super::rig::InFile;

/// A folder, and the path of a file in it.
fn in_folder(name: &str) -> (InFile, String) {
    let place = InFile::new();
    let path = place.folder.join(name).to_str().unwrap().to_owned();
    (place, path)
}

/// Runs it; returns its exit status and what it says, in one line.
fn told(flags: &[&str]) -> (i32, String) {
    let (status, text) = output_of(flags);
    (status.unwrap(), text.trim().to_owned())
}

#[test]
fn a_file_that_cannot_be_used_ends_the_daemon_with_a_sentence() {
    let (place, path) = in_folder("rooms");
    fs::write(&path, "this is none").unwrap();
    let folder = place.folder.to_str().unwrap();
    let none = format!("{folder}/none/rooms");
    for (file, sentence) in [
        (
            path.as_str(),
            "it is not a file of roomd's, or its begin is damaged; choose another file, or put a backup there",
        ),
        (folder, "it is a directory; name a file in it"),
        (&none, "the directory is not there; make it, or choose another file"),
    ] {
        let (status, said) = told(&["--listen", "127.0.0.1:0", "--data", file]);
        assert_eq!(status, 2, "{said}");
        assert!(said.starts_with("roomd: cannot ") && said.ends_with(sentence), "{said}");
        assert_eq!(said.lines().count(), 1, "nothing is announced: {said}");
    }
}

#[test]
fn what_belongs_to_data_needs_it() {
    let (status, said) = told(&["--sync"]);
    assert!(status == 2 && said.contains("--data <FILE>"), "{said}");
}

#[test]
fn a_file_that_one_may_not_write_is_told() {
    let (_place, path) = in_folder("rooms");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let mut command = roomd(&["--listen", "127.0.0.1:0", "--data", &path]);
    // Root may write everywhere, and only root may become somebody else.
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root {
        command.uid(65534);
    }
    let (status, said) = ends(&mut command);
    assert!(
        status == Some(2) && said.contains("you may not; run roomd as the user whose file it is"),
        "{said}"
    );
}

#[test]
fn the_daemon_makes_the_file_and_keeps_others_out() {
    let (place, path) = in_folder("rooms");
    let flags = ["--data", &path, "--sync", "--keep", "90d", "--keep-messages", "1000"];
    let daemon = Daemon::with(&flags);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, said) = told(&["--listen", "127.0.0.1:0", "--data", &path]);
    assert!(
        status == 2 && said.ends_with("another roomd has it open; stop that one, or choose another file"),
        "{said}"
    );
    // These do not mind.
    let (status, said) = told(&["check", "--data", &path]);
    assert!(status == 0 && said.ends_with(", 0 messages, 0 sessions: sound"), "{said}");
    let copy = place.folder.join("copy").to_str().unwrap().to_owned();
    assert_eq!(told(&["backup", "--data", &path, &copy]), (0, String::new()));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(told(&["check", "--data", &copy]).0, 0);
    let (status, said) = told(&["backup", "--data", &path, &copy]);
    assert_eq!(
        (status, said),
        (1, format!("roomd: cannot write {copy}: something is there; remove it, or choose another path"))
    );
    drop(daemon);
}

#[test]
fn a_variable_names_the_file_for_all_of_them() {
    let (_place, path) = in_folder("rooms");
    drop(Daemon::with(&["--data", &path]));
    let (status, said) = ends(roomd(&["check"]).env("ROOMD_DATA", &path).env("ROOMD_SYNC", "1"));
    assert!(status == Some(0) && said.contains("sound"), "{said}");
}

#[test]
fn what_is_wrong_with_a_file_is_its_exit_status() {
    let (place, path) = in_folder("rooms");
    let copy = place.folder.join("copy").to_str().unwrap().to_owned();
    for flags in [&["check", "--data", &path][..], &["backup", "--data", &path, &copy]] {
        assert_eq!(told(flags), (2, format!("roomd: there is no file {path}")));
    }
    for (text, sentence) in
        [("", "there is nothing in it; name the file of a roomd"), ("text", "it is not a file of roomd's")]
    {
        fs::write(&path, text).unwrap();
        for flags in [&["check", "--data", &path][..], &["backup", "--data", &path, &copy]] {
            let (status, said) = told(flags);
            assert!(status == 2 && said.contains(sentence), "{said}");
        }
    }
    fs::remove_file(&path).unwrap();
    drop(Daemon::with(&["--data", &path]));
    let nowhere = format!("{path}/copy");
    let (status, said) = told(&["backup", "--data", &path, &nowhere]);
    assert!(status == 1 && said.contains("a part of the path is no directory"), "{said}");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("INSERT INTO message VALUES (7, 1, 1, 'bob', 0, 'x')").unwrap();
    drop(db);
    let (status, said) = told(&["check", "--data", &path]);
    assert!(
        status == 1 && said.ends_with("not sound\n  1 messages are of a room that is not there"),
        "{said}"
    );
    assert_eq!(
        fs::read_dir(&place.folder)
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_str().unwrap().contains("copy") })
            .count(),
        0,
        "no half copies"
    );
}
