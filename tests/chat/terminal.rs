//! What somebody sees who types while others talk.

use std::cell::Cell;
use std::fs;
use std::process::Command;

use serde_json::json;

use crate::directory;
use crate::fake::{Fake, message};
use crate::pty::{Terminal, without_time};

#[test]
fn typing_while_messages_arrive_does_not_tear_the_line() {
    const TEXT: &str = "the quick brown 狐 jumps over the lazy 犬 again and again and then some more";
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    let mut id = 0;
    for key in TEXT.chars() {
        terminal.press(&key.to_string());
        for _ in 0..3 {
            id += 1;
            peer.said(id, "bob", &format!("message {id} of bob"));
        }
    }
    let last = format!("bob  message {id} of bob");
    terminal.wait_row(&last);
    let rows = terminal.wait_prompt(&format!("> {TEXT}"));
    let (_, above) = rows.split_last().unwrap();
    let first = id - above.len() as u64 + 1;
    for (row, id) in above.iter().zip(first..) {
        assert_eq!(without_time(row), format!("bob  message {id} of bob"));
    }
    terminal.press("\r");
    let request = peer.expect("public");
    assert_eq!(request["body"], TEXT);
}

#[test]
fn an_own_message_is_grey_until_it_is_confirmed_and_then_shown_once() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.enter("hello");
    let request = peer.expect("public");
    terminal.wait_row("…  hello");
    peer.said(1, "bob", "in between");
    let rows = terminal.wait_row("bob  in between");
    assert_eq!(rows.iter().filter(|row| row.contains("hello")).count(), 1, "{rows:?}");
    peer.confirm(&request, 2, "alice");
    let rows = terminal.wait_row("alice  hello");
    assert_eq!(rows.iter().filter(|row| row.contains("hello")).count(), 1, "{rows:?}");
    assert_eq!(rows.last().unwrap(), ">");
}

#[test]
fn a_long_line_is_replaced_by_its_message_whole() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    for (number, length) in [77, 78, 79, 157, 158, 159].into_iter().enumerate() {
        let line = "x".repeat(length);
        terminal.enter(&line);
        let request = peer.expect("public");
        assert_eq!(request["body"], line);
        peer.send(&json!({"type": "error", "code": "rate", "text": "no", "ref": request["ref"]}));
        terminal.wait("a refusal and a prompt", |rows| {
            let refused = rows.iter().filter(|row| row.ends_with("no – not done:")).count();
            refused == number + 1 && rows.last().is_some_and(|row| row == ">")
        });
    }
    let rows = terminal.wait_prompt("> ");
    assert!(rows.iter().all(|row| !row.starts_with("> x") && !row.starts_with("xx")), "{rows:?}");
}

/// Nothing is sent before Enter, and then it is one message, however many lines look like commands.
#[test]
fn a_paste_of_several_lines_is_one_message_and_is_shown_as_it_was() {
    const CODE: &str = "if x:\n\tgo()\n/quit\n  end";
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.paste(CODE);
    terminal.wait("the paste in the line", |rows| {
        rows.ends_with(&["> if x:", "        go()", "/quit", "  end"].map(str::to_owned))
    });
    terminal.press("!");
    peer.said(1, "bob", "in between");
    terminal.wait("the message above it", |rows| {
        let above = rows.iter().position(|row| without_time(row) == "bob  in between");
        above.is_some_and(|above| rows[above + 1..] == ["> if x:", "        go()", "/quit", "  end!"])
    });
    terminal.press("\r");
    let request = peer.expect("public");
    assert_eq!(request["body"], format!("{CODE}!"));
    terminal.wait_row("…  if x: ⏎  go() ⏎ /quit ⏎   end!");
    peer.confirm(&request, 2, "alice");
    let rows = terminal.wait_row("alice  if x:");
    let first = rows.iter().position(|row| without_time(row) == "alice  if x:").unwrap();
    let indent = " ".repeat(20);
    let expected = ["    go()", "/quit", "  end!"].map(|line| format!("{indent}{line}"));
    assert_eq!(rows[first + 1..], [&expected[..], &[">".to_owned()]].concat());
    assert_eq!(rows.iter().filter(|row| row.contains("go()")).count(), 1, "{rows:#?}");
    // Ctrl-C clears all of it, and the history gives all of it back.
    terminal.press("\x1b[A");
    terminal.wait("the paste from the history", |rows| rows.ends_with(&["/quit".into(), "  end!".into()]));
    terminal.press("\x03");
    terminal.wait_prompt("> ");
}

/// What does not fit cannot be wiped out of what has scrolled away; but it is sent whole, and the prompt is back.
#[test]
fn a_paste_taller_than_the_screen_is_sent_whole() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    let text = (1..=100).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
    terminal.paste(&text);
    terminal.wait("its end", |rows| rows.last().is_some_and(|row| row == "line 100"));
    peer.said(1, "bob", "in between");
    terminal.press("!\r");
    let request = peer.expect("public");
    assert_eq!(request["body"], format!("{text}!"));
    peer.confirm(&request, 2, "alice");
    peer.said(3, "bob", "that was long");
    let rows = terminal.wait_row("bob  that was long");
    assert!(
        rows.iter().any(|row| row.ends_with("    line 100!")) && rows.last().unwrap() == ">",
        "{rows:#?}"
    );
}

#[test]
fn what_is_too_long_is_said_and_kept_for_editing() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.accept();
    let hello = peer.expect("hello");
    peer.send(&json!({"type": "hello", "name": "alice", "room": "lobby", "id": 0, "users": ["alice"],
        "total": 1, "epoch": 1, "limit": 60, "ref": hello["ref"]}));
    terminal.wait_prompt("> ");
    let line = "ten bytes ".repeat(6);
    terminal.enter(&format!("{line}more"));
    terminal.wait("a refusal above the line", |rows| {
        rows.iter().any(|row| row.contains("at most 60 bytes, this one 64"))
            && rows.last().is_some_and(|row| *row == format!("> {line}more"))
    });
    terminal.press("\x7f\x7f\x7f\x7f\r");
    assert_eq!(peer.expect("public")["body"], line.trim_end());
    terminal.paste(&"x\n".repeat(15));
    terminal.press("\r");
    assert_eq!(peer.expect("public")["body"], ["x"; 15].join("\n"));
}

#[test]
fn names_in_cjk_and_emoji_stand_in_columns() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    peer.said(1, "ユキ", "🎉 party 🎉");
    peer.said(2, "bob", "🎉 yes");
    terminal.wait_screen("two parties in one column", |screen| {
        let column = |row| (0..80).find(|&c| screen.cell(row, c).is_some_and(|c| c.contents() == "🎉"));
        let columns: Vec<_> = (0..24).filter_map(column).collect();
        columns == [20, 20]
    });
}

/// The colour in which `name` stands in front of what it said.
fn colour_of(terminal: &Terminal, name: &str) -> vt100::Color {
    let colour = Cell::new(None);
    terminal.wait_screen(name, |screen| {
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut starts = cells.filter(|&(row, column)| {
            let end = column + name.len() as u16;
            screen.contents_between(row, column, row, end) == name
        });
        let found = starts.next().and_then(|(row, column)| screen.cell(row, column));
        colour.set(found.map(vt100::Cell::fgcolor));
        colour.get().is_some()
    });
    colour.get().unwrap()
}

#[test]
fn colours_are_stable_per_name_and_no_color_turns_them_off() {
    let fake = Fake::new();
    let colours = |environment: &[(&str, &str)]| {
        let name = ["--name", "alice", "--room", "lobby"];
        let terminal = Terminal::start_with(&fake.address, &name, environment, &directory());
        let mut peer = fake.welcome(0, 1);
        peer.said(1, "zoe", "hi");
        peer.said(2, "carol", "hi");
        (colour_of(&terminal, "zoe"), colour_of(&terminal, "carol"))
    };
    let (zoe, carol) = colours(&[]);
    assert_ne!(zoe, carol);
    assert_eq!(colours(&[]), (zoe, carol));
    let none = vt100::Color::Default;
    assert_eq!(colours(&[("NO_COLOR", "1")]), (none, none));
}

#[test]
fn nothing_the_server_sends_drives_the_terminal() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    peer.said(1, "b\u{1b}[2Job", "red \u{1b}]0;title\u{7}\u{9b}31m\u{202e}back");
    let rows = terminal.wait("the message", |rows| rows.iter().any(|row| row.contains("red")));
    assert!(rows.iter().any(|row| row.ends_with("b[2Job  red ]0;title31mback")), "{rows:?}");
    assert_eq!(terminal.written(b"\x07"), 0);
}

#[test]
fn who_says_my_name_rings_the_bell() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    peer.said(1, "bob", "malice is no name");
    terminal.wait_row("bob  malice is no name");
    assert_eq!(terminal.written(b"\x07"), 0);
    peer.said(2, "bob", "Alice?");
    terminal.wait_row("bob  Alice?");
    peer.said(3, "alice", "I am alice");
    terminal.wait_row("alice  I am alice");
    assert_eq!(terminal.written(b"\x07"), 1);
}

#[test]
fn commands_and_names_are_completed() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    peer.send(&json!({"type": "join", "room": "lobby", "name": "ユキ", "total": 3}));
    terminal.wait_row("*  ユキ joined");
    terminal.press("/m\t");
    terminal.wait_row("·  /msg  /me");
    terminal.press("s\tユ\tpsst");
    terminal.wait_prompt("> /msg ユキ psst");
    terminal.press("\r");
    let request = peer.expect("private");
    assert_eq!((&request["to"], &request["body"]), (&json!("ユキ"), &json!("psst")));
}

#[test]
fn ctrl_c_clears_the_line_and_ctrl_d_leaves() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.press("never mind");
    terminal.wait_prompt("> never mind");
    terminal.press("\x03");
    terminal.wait_prompt("> ");
    terminal.enter("said");
    let request = peer.expect("public");
    assert_eq!(request["body"], "said");
    peer.confirm(&request, 1, "alice");
    terminal.wait_row("alice  said");
    terminal.press("\x04");
    peer.farewell();
    assert_eq!(terminal.end(), 0);
}

#[test]
fn what_was_typed_is_remembered_across_sessions() {
    let fake = Fake::new();
    let state = directory();
    let start = || Terminal::start_with(&fake.address, &["--name", "alice"], &[], &state);
    for _ in 0..2 {
        let mut terminal = start();
        let mut peer = fake.welcome(0, 1);
        terminal.wait_prompt("> ");
        terminal.enter("remember me");
        let request = peer.expect("public");
        peer.confirm(&request, 1, "alice");
        terminal.wait_row("alice  remember me");
        terminal.press("/quit\r");
        peer.farewell();
        assert_eq!(terminal.end(), 0);
    }
    let mut terminal = start();
    let _peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.press("\x1b[A\x1b[A");
    terminal.wait_prompt("> remember me");
    assert!(fs::read_to_string(state.join("roomd/chat_history")).unwrap().contains("remember me"));
}

#[test]
fn an_unknown_command_is_not_sent() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.enter("/mgs bob secret");
    terminal.wait("a refusal", |rows| rows.iter().any(|row| row.contains("unknown command /mgs")));
    terminal.enter("//mgs is no command");
    assert_eq!(peer.expect("public")["body"], "/mgs is no command");
}

#[test]
fn a_taken_name_is_asked_for_again() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &[]);
    terminal.wait_prompt("your name?");
    terminal.enter("  ");
    terminal.wait_prompt("your name?");
    terminal.enter("bob");
    let mut peer = fake.accept();
    let hello = peer.expect("hello");
    peer.send(&json!({"type": "error", "code": "name-taken", "text": "bob is in use",
        "ref": hello["ref"]}));
    terminal.wait_row("!  the name bob is taken");
    terminal.wait_prompt("your name?");
    terminal.enter("alice");
    let _peer = fake.welcome(0, 1);
    terminal.wait("a welcome", |rows| {
        rows.iter().any(|row| row.ends_with("you are alice in #lobby, 2 here: alice, bob"))
    });
    terminal.wait_prompt("> ");
}

#[test]
fn older_lines_are_dimmed() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(1, 1);
    let request = peer.expect("history");
    peer.history(&request, &[message(1, "bob", "older")]);
    peer.said(2, "bob", "newer");
    terminal.wait_row("bob  newer");
    terminal.wait_screen("one dimmed line", |screen| {
        let dim = |text: &str| {
            let row = screen.rows(0, 80).position(|row| row.contains(text))?;
            Some(screen.cell(row as u16, 21)?.dim())
        };
        dim("bob  older") == Some(true) && dim("bob  newer") == Some(false)
    });
}

#[test]
fn page_up_shows_what_was_said_before_and_keeps_the_line() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(50, 1);
    let request = peer.expect("history");
    let said = |from: u64, to: u64| -> Vec<_> {
        (from..=to).map(|id| message(id, "bob", &format!("message {id}"))).collect()
    };
    peer.page(&request, &said(41, 50), true);
    terminal.wait_row("bob  message 50");
    terminal.press("half a line\x1b[5~");
    let request = peer.expect("history");
    assert_eq!((&request["room"], &request["before"]), (&json!("lobby"), &json!(41)));
    let limit = request["limit"].as_u64().unwrap();
    assert!((15..24).contains(&limit), "a screenful is {limit}");
    peer.page(&request, &said(41 - limit, 40), true);
    let rows = terminal.wait("a page of them", |rows| {
        rows.iter().any(|row| without_time(row) == "bob  message 40")
            && rows.last().unwrap() == "> half a line"
    });
    let header = format!("·  {limit} messages from before (PgUp shows more):");
    assert!(rows.iter().any(|row| without_time(row) == header), "{rows:#?}");
    terminal.press("\x1b[5~");
    let request = peer.expect("history");
    assert_eq!(request["before"], 41 - limit);
    peer.page(&request, &said(1, 2), false);
    terminal.wait("the beginning", |rows| {
        let lines = rows.iter().rev().map(|row| without_time(row));
        let last: Vec<_> = lines.filter(|row| !row.starts_with("-- ")).take(4).collect();
        last == ["> half a line", "bob  message 2", "bob  message 1", "·  this is the beginning of #lobby"]
    });
}

#[test]
fn a_resized_terminal_keeps_the_line() {
    let fake = Fake::new();
    let mut terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    terminal.press("half a line");
    terminal.wait_prompt("> half a line");
    terminal.resize(20, 100);
    peer.said(1, "bob", "hi");
    terminal.wait_row("bob  hi");
    terminal.wait_prompt("> half a line");
    terminal.press(&" and more".repeat(9));
    terminal.press("\r");
    assert_eq!(peer.expect("public")["body"], format!("half a line{}", " and more".repeat(9)));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let fake = Fake::new();
    let terminal = Terminal::start(&fake.address, &["--name", "alice"]);
    let mut peer = fake.welcome(0, 1);
    terminal.wait_prompt("> ");
    let pid = terminal.pid().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    terminal.wait_screen("bracketed paste off", |screen| !screen.bracketed_paste());
    // Or its name would be kept for it.
    peer.expect("quit");
    assert_eq!(terminal.end(), 128 + 15);
}
