//! What the chat is given from anybody: commands, messages, names, rooms, and limits. What was made safe once is the
//! same made safe again.

use std::rc::Rc;

use roomd::chat::{
    Body, Chat, Command, Event, Hello, Home, Message, NAME_CHARS_MAX, Name, Reference, Refusal, RoomName, Why,
};
use roomd::clock::Now;
use roomd::limits::{Limits, TABLE};
use roomd::wire::json::EventDocument;
use roomd::wire::{Ask, Content, Encoding, Framing, Notice, json, text};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::engine::{Seen, Target, corpus, magnitude};
use crate::is_harmless;
use roomd::reactor::simulated::Rng;

pub const NAMES: &str = include_str!("../corpus/names.txt");
pub const BODIES: &str = include_str!("../corpus/bodies.txt");
pub const COMMANDS: &str = include_str!("../corpus/commands.txt");

const NAME_TOKENS: [&[u8]; 30] = [
    b"\n",
    b"\n",
    b"l",
    b"I",
    b"1",
    b"O",
    b"0",
    b"rn",
    b"m",
    b"vv",
    b"me",
    b"server",
    b"_",
    b"-",
    b".",
    b"#",
    b" ",
    "é".as_bytes(),
    "e\u{301}".as_bytes(),
    "ß".as_bytes(),
    "ss".as_bytes(),
    "ı".as_bytes(),
    "İ".as_bytes(),
    "а".as_bytes(),
    "ο".as_bytes(),
    "Σ".as_bytes(),
    "ς".as_bytes(),
    "ﬃ".as_bytes(),
    "ŉ".as_bytes(),
    "ΐ".as_bytes(),
];

fn now() -> Now {
    Now::default()
}

// ---- names

/// Two names or more, one a line: what each is, and what each is to the others.
#[test]
fn a_name_is_what_it_is_when_it_is_read_again_and_looks_like_what_looks_like_it() {
    let corpus = corpus(&[NAMES]);
    Target { corpus, tokens: &NAME_TOKENS, inputs: 1000, bytes_max: 300, ..Target::default() }.fuzz(
        |input, _, seen| {
            let text = String::from_utf8_lossy(input);
            let mut names: Vec<Name> =
                text.split('\n').filter_map(|line| check_name(line, seen)).take(4).collect();
            text.split('\n').for_each(|line| check_room(line, seen));
            // The same in capitals, in small letters, and decomposed.
            for other in names.clone() {
                let written = other.as_str();
                for variant in [written.to_uppercase(), written.to_lowercase(), written.nfd().collect()] {
                    if let Ok(variant) = Name::parse(&variant) {
                        assert!(is_taken(&variant, &other), "{variant} is let in beside {other}");
                        names.push(variant);
                    }
                }
            }
            for (i, name) in names.iter().enumerate().take(8) {
                for other in &names[i..] {
                    let is_alike = is_taken(name, other);
                    assert_eq!(is_taken(other, name), is_alike, "{name} and {other}");
                    assert!(is_alike || name != other);
                    seen.note((is_alike, name == other, name.as_str().len() == other.as_str().len()));
                }
            }
        },
    );
}

/// Whether somebody would be refused a name because of one that is there.
fn is_taken(name: &Name, there: &Name) -> bool {
    let mut chat = Chat::new(Limits::default(), now());
    chat.enter(1, home(1), Hello::new(there.clone(), None), &None, now()).expect("an empty room");
    while chat.poll_output().is_some() {}
    let found = chat.find(there.as_str()).map(|(tag, found)| (tag, found.clone()));
    assert_eq!(found, Some((1, there.clone())), "who is there is found");
    let is_free = chat.check_free(name, home(2), now()).is_ok();
    // Whoever is found by a name has it.
    assert!(!is_free || chat.find(name.as_str()).is_none(), "{name} is free and found");
    let entered = chat.enter(2, home(2), Hello::new(name.clone(), None), &None, now());
    assert_eq!(entered.is_ok(), is_free);
    while chat.poll_output().is_some() {}
    if let Ok(member) = entered {
        let back = chat.command(member, Command::Nick(there.clone()), &None, now());
        assert!(back.is_err(), "{there} is taken over by {name}");
        chat.leave(member, Some(Why::Reset), now());
        while chat.poll_output().is_some() {}
        let of_another = chat.check_free(name, home(3), now());
        assert!(of_another.is_err() && chat.check_free(name, home(2), now()).is_ok(), "{name} is held");
    }
    chat.check_invariants();
    !is_free
}

fn check_name(text: &str, seen: &mut Seen) -> Option<Name> {
    let parsed = Name::parse(text);
    let kind = |c: char| (c.is_ascii(), c.is_alphanumeric(), c.len_utf8());
    let kinds: Vec<_> = text.trim().chars().map(kind).take(3).collect();
    seen.note((parsed.is_ok(), kinds, magnitude(text.len())));
    let name = match parsed {
        Ok(name) => name,
        Err(refusal) => {
            check_refusal(&refusal, seen);
            return None;
        }
    };
    assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(&name), "read again");
    assert_eq!(Name::parse(&format!(" \t{name}\u{3000}")).as_ref(), Ok(&name), "with white space");
    check_letters(name.as_str());
    assert!(name.as_str().chars().count() <= NAME_CHARS_MAX);
    Some(name)
}

fn check_letters(name: &str) {
    assert!(!name.is_empty() && is_nfc(name), "{name:?}");
    assert!(
        is_harmless(name)
            && !name.contains(|c: char| c.is_whitespace() || ":@*~!/#,()\"\\'<>&{}".contains(c))
    );
    assert!(Body::new(name).is_some_and(|body| body.as_str() == name), "{name:?} has something that hides");
}

fn check_room(text: &str, seen: &mut Seen) {
    match RoomName::parse(text) {
        Ok(room) => {
            check_letters(room.as_str());
            // By what they are shown, rooms are found.
            for again in [room.as_str().to_owned(), room.to_string(), format!(" {room} ")] {
                assert_eq!(RoomName::parse(&again).as_ref(), Ok(&room), "{again:?}");
            }
            seen.note(("room", room.as_str().len() == text.len(), magnitude(text.len())));
        }
        Err(refusal) => check_refusal(&refusal, seen),
    }
}

/// What is quoted in a refusal is harmless, and it is one line.
fn check_refusal(refusal: &Refusal, seen: &mut Seen) {
    assert!(is_harmless(&refusal.text), "{refusal:?}");
    assert!(is_harmless(&text::refused(refusal)) && refusal.text.len() <= 600, "{refusal:?}");
    let document = json::notice(0, &Notice::Refused(refusal.clone()), &None).unwrap();
    let read: EventDocument<String> = serde_json::from_str(&document).unwrap();
    assert!(matches!(read, EventDocument::Error { text, .. } if *text == *refusal.text), "{document}");
    let begin: Vec<u8> = refusal.text.bytes().take(11).collect();
    let is_quoting = !refusal.text.is_ascii();
    seen.note((refusal.code.as_str(), begin.is_ascii().then_some(begin), is_quoting));
}

// ---- messages

const BODY_TOKENS: [&[u8]; 24] = [
    b"\n",
    b"\r",
    b"\t",
    b"\x1b[2J",
    b"* bob joined",
    b"bob: ",
    b"1",
    b"#",
    b"\xc2\x9b",
    "\u{200d}".as_bytes(),
    "\u{200c}".as_bytes(),
    "\u{fe0f}".as_bytes(),
    "\u{fe0f}\u{20e3}".as_bytes(),
    "👩".as_bytes(),
    "❤".as_bytes(),
    "\u{1f3f4}".as_bytes(),
    "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}".as_bytes(),
    "\u{94d}".as_bytes(),
    "ر".as_bytes(),
    "葛".as_bytes(),
    "\u{e0100}".as_bytes(),
    "ᠠ\u{180b}".as_bytes(),
    "\u{202e}".as_bytes(),
    b"\xff",
];

#[test]
fn a_message_is_what_it_is_when_it_is_read_again_and_hides_nothing() {
    let corpus = corpus(&[BODIES]);
    Target { corpus, tokens: &BODY_TOKENS, inputs: 6000, bytes_max: 600, ..Target::default() }.fuzz(
        |input, _, seen| {
            let text = String::from_utf8_lossy(input);
            let Some(body) = Body::new(&text) else { return seen.note(magnitude(text.len())) };
            check_body(&body);
            check_told(&body);
            let removed = text.chars().count() - body.as_str().chars().count();
            let invisible = body.as_str().chars().filter(|&c| is_invisible(c)).count();
            let kinds: Vec<_> =
                body.as_str().chars().map(|c| (is_invisible(c), c.len_utf8())).take(4).collect();
            seen.note((magnitude(removed), magnitude(invisible), kinds));
        },
    );
}

/// Some of what is drawn as nothing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

fn check_body(body: &Body) {
    let text = body.as_str();
    assert_eq!(Body::new(text).as_ref(), Some(body), "read again");
    assert!(is_harmless(text) && !text.trim().is_empty(), "{text:?}");
    let letters: Vec<char> = text.chars().collect();
    for (i, &c) in letters.iter().enumerate().filter(|(_, c)| is_invisible(**c)) {
        let before = i.checked_sub(1).map(|i| letters[i]).expect("nothing is behind nothing");
        let is_keycap = matches!(c, '\u{fe0e}' | '\u{fe0f}') && letters.get(i + 1) == Some(&'\u{20e3}');
        assert!(!before.is_whitespace() && (!before.is_ascii() || is_keycap), "{c:?} hides in {text:?}");
    }
}

fn length_frames(mut out: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = out.split_first_chunk() {
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(String::from_utf8(frame.to_vec()).unwrap());
        out = rest;
    }
    assert!(out.is_empty());
    frames
}

/// Whatever is told in whatever encoding is one frame (for people: one for each line), and says what was said.
fn check_told(body: &Body) {
    let name = |name: &str| Name::parse(name).unwrap();
    let said = |is_action| {
        Event::Message(Rc::new(Message { id: 7, at_ms: 8, from: name("bob"), is_action, body: body.clone() }))
    };
    let prefixed = |prefix: &str| body.lines().map(|line| format!("{prefix}{line}")).collect::<Vec<_>>();
    for (event, lines) in [(said(false), prefixed("bob: ")), (said(true), prefixed("** bob "))] {
        let labelled: Vec<String> = lines.iter().map(|line| format!("#lobby {line}")).collect();
        for encoding in (0..Encoding::COUNT).map(Encoding::of) {
            let mut out = Vec::new();
            encoding.event(&mut out, &RoomName::lobby(), 9, &event);
            let contents: Vec<String> = match encoding.framing {
                Framing::Line => std::str::from_utf8(&out).unwrap().lines().map(str::to_owned).collect(),
                Framing::Length => length_frames(&out),
                Framing::WebSocket => frames(&out),
            };
            match encoding.content {
                Content::Text => assert_eq!(contents, lines),
                Content::Labelled => assert_eq!(contents, labelled),
                Content::Json => {
                    let [content] = &contents[..] else { panic!("one document, not {contents:?}") };
                    let read: EventDocument<String> = serde_json::from_str(content).unwrap();
                    assert_eq!(crate::server::lines_of(&read), lines);
                }
            }
        }
    }
}

/// The contents of text frames.
fn frames(mut out: &[u8]) -> Vec<String> {
    let mut contents = Vec::new();
    while !out.is_empty() {
        let (opcode, payload, used) = crate::server::frame(out).expect("a whole frame");
        assert_eq!(opcode, 0x81);
        contents.push(String::from_utf8(payload.to_vec()).unwrap());
        assert!(!contents.last().is_some_and(|content| content.contains('\n')));
        out = &out[used..];
    }
    contents
}

// ---- commands

const COMMAND_TOKENS: [&[u8]; 19] = [
    b"/",
    b"//",
    b"/msg ",
    b"/me ",
    b"/nick ",
    b"/join ",
    b"/history ",
    b"/who ",
    b"/leave ",
    b"/help",
    b"/quit",
    b" ",
    b"\t",
    b"#",
    b"18446744073709551616",
    "\u{3000}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{200b}".as_bytes(),
    b"bob ",
];

#[test]
fn a_line_is_a_request_or_a_refusal_and_means_the_same_when_it_is_said_again() {
    let corpus = corpus(&[COMMANDS, BODIES]);
    let target =
        Target { corpus, tokens: &COMMAND_TOKENS, inputs: 6000, bytes_max: 600, ..Target::default() };
    target.fuzz(check_command);
}

fn check_command(input: &[u8], _: &mut Rng, seen: &mut Seen) {
    let line = String::from_utf8_lossy(input);
    let ask = match text::parse(&line) {
        Ok(None) => return assert!(Body::new(&line).is_none_or(|_| line.trim_start().starts_with("//"))),
        Ok(Some(ask)) => ask,
        Err(refusal) => return check_refusal(&refusal, seen),
    };
    let is_command = line.trim_start().starts_with('/') && !line.trim_start().starts_with("//");
    let again = match &ask {
        Ask::Command(Command::Say { room: None, body }) => {
            assert!(!is_command, "a command is said to everybody");
            check_body(body);
            let text = body.as_str();
            if text.trim_start().starts_with('/') {
                format!("/{}", text.trim_start())
            } else {
                text.to_owned()
            }
        }
        Ask::Command(Command::Act { room: None, body }) => {
            check_body(body);
            format!("/me {body}")
        }
        Ask::Command(Command::Tell { to, body }) => {
            check_body(body);
            assert!(!to.contains(char::is_whitespace));
            tell_nobody(to, body, seen);
            format!("/msg {to} {body}")
        }
        Ask::Command(Command::Nick(name)) => format!("/nick {name}"),
        Ask::Command(Command::Join(room)) => format!("/join {room}"),
        Ask::Command(Command::Ignore(name)) => format!("/ignore {name}"),
        Ask::Command(Command::Unignore(name)) => format!("/unignore {name}"),
        Ask::Command(Command::Leave { room: Some(room) }) => format!("/leave {room}"),
        Ask::Command(Command::Who { room: Some(room) }) => format!("/who {room}"),
        Ask::Command(Command::History { query, .. }) => format!("/history {} {}", query.limit, query.skip),
        _ => line.clone().into_owned(),
    };
    let kind = |ask: &Ask| match ask {
        Ask::Command(command) => (true, format!("{:?}", std::mem::discriminant(command))),
        ask => (false, format!("{:?}", std::mem::discriminant(ask))),
    };
    seen.note((kind(&ask), magnitude(line.len())));
    let said = text::parse(&again);
    let is_same = match (&ask, &said) {
        // White space at its edges is no part of what is done, told, or said behind a slash.
        (
            Ask::Command(Command::Say { body: a, .. }),
            Ok(Some(Ask::Command(Command::Say { room: None, body: b }))),
        ) => a == b || a.as_str().trim() == b.as_str().trim(),
        (
            Ask::Command(Command::Act { body: a, .. }),
            Ok(Some(Ask::Command(Command::Act { room: None, body: b }))),
        ) => a.as_str().trim() == b.as_str().trim(),
        (
            Ask::Command(Command::Tell { to: a, body: x }),
            Ok(Some(Ask::Command(Command::Tell { to: b, body: y }))),
        ) => a == b && x.as_str().trim() == y.as_str().trim(),
        (ask, Ok(Some(again))) => ask == again,
        _ => false,
    };
    assert!(is_same, "{ask:?}, and then {said:?}");
}

/// A name that nobody has is quoted in the refusal.
fn tell_nobody(to: &str, body: &Body, seen: &mut Seen) {
    let mut chat = Chat::new(Limits::default(), now());
    let reference: Reference = None;
    let bob = Name::parse("bob").unwrap();
    let bob = chat.enter(1, home(1), Hello::new(bob, None), &reference, now()).expect("an empty room");
    while chat.poll_output().is_some() {}
    let found = chat.find(to).is_some();
    let told = chat.command(bob, Command::Tell { to: to.into(), body: body.clone() }, &reference, now());
    assert_eq!(told.is_ok(), found);
    while chat.poll_output().is_some() {}
    if let Err(refusal) = told {
        check_refusal(&refusal, seen);
    }
}

// ---- limits

#[test]
fn a_limit_is_what_it_was_set_to_and_can_be_shown() {
    let rng = &mut Rng(1);
    for row in TABLE {
        for _ in 0..200 {
            let (mut limits, value) = (Limits::default(), rng.next() >> rng.below(64));
            (row.set)(&mut limits, Some(value));
            assert_eq!((row.get)(&limits), Some(value), "{}", row.name);
            assert!(row.show(Some(value)).starts_with(|c: char| c.is_ascii_digit()), "{}", row.name);
            assert!(limits.answer_bytes_max() <= 64 * 1024);
        }
    }
}

fn home(subscriber: u64) -> Home {
    Home { subscriber, is_exempt: false }
}
