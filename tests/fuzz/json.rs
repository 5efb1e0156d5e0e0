//! JSON from anybody: any document is a request or a refusal that fits into one line, and what is written is read back.

use roomd::chat::{Body, Command, Hello, Name, Refusal, Resume, RoomName};
use roomd::wire::json::{EventDocument, RequestDocument};
use roomd::wire::{Ask, Notice, Request, json};

use crate::engine::{Seen, Target, any, corpus, magnitude};
use roomd::reactor::simulated::Rng;

/// A line as long as the daemon takes by default.
const DOCUMENT_BYTES_MAX: usize = 4096;
/// A refusal has at most so many bytes: 200 of a quotation, all of which may need an escape, and its frame.
const ANSWER_BYTES_MAX: usize = 600;
/// A reference is as long as this at most, as `src/wire/json.rs` promises its clients.
const REFERENCE_BYTES_MAX: usize = 64;

pub const TOKENS: [&[u8]; 22] = [
    b"{",
    b"}",
    b"[",
    b"\"",
    b"\\",
    b",",
    b":",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"0.5",
    b"\\u0000",
    b"\\ud800",
    b"\\n",
    b"\0",
    b"\n",
    b"\xe2\x80\xae",
    b"\xff",
    br#""ref":"r","#,
    br#""type":"private","#,
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

fn json_document(rng: &mut Rng) -> Vec<u8> {
    let kinds = [
        r#""type":"hello","name":"bob","room":"dev""#,
        r#""type":"public","body":"größe 😀 \"quoted\" \\ \u00e9\ud83d\ude00""#,
        r#""type":"action","body":"waves""#,
        r#""type":"private","from":"al","to":"bob","body":"psst""#,
        r#""type":"users""#,
        r#""type":"rooms""#,
        r#""type":"history","limit":10,"before":7,"after":3"#,
        r#""type":"nick","name":"zoë""#,
        r#""type":"join","room":"dev""#,
        r#""type":"ping""#,
        r#""type":"quit","x":[1,{"y":null},true,1.5e3]"#,
    ];
    let mut document = format!("{{{}", any(rng, &kinds));
    if rng.chance(50) {
        document += r#","ref":"c1""#;
    }
    if rng.chance(10) {
        document += &format!(r#","z":{}{}"#, "[".repeat(rng.below(3000)), "]".repeat(rng.below(3000)));
    }
    if rng.chance(10) {
        // Of the wrong type, and of letters that grow when they are quoted.
        let (field, letter) = (any(rng, &["limit", "before"]), any(rng, &["x", "\u{ad}", "\u{200b}"]));
        document += &format!(r#","{field}":"{}""#, letter.repeat(rng.below(1500)));
    }
    if rng.chance(10) {
        document += &format!(r#","ref":"{}""#, "r".repeat(rng.below(100)));
    }
    document += "}";
    document.into_bytes()
}

#[test]
fn any_document_is_a_request_or_a_refusal_that_fits_into_one_line() {
    let target = Target {
        corpus: corpus(&[include_str!("../corpus/json.txt")]),
        tokens: &TOKENS,
        make: Some(json_document),
        inputs: 8000,
        bytes_max: DOCUMENT_BYTES_MAX,
    };
    target.fuzz(|input, _, seen| {
        // The server makes text of a line first.
        let document = String::from_utf8_lossy(input);
        match json::parse(&document) {
            Ok(Request { from, reference, ask }) => {
                check_reference(reference.as_deref(), &document);
                assert!(from.as_ref().is_none_or(|name| name.len() <= document.len()));
                seen.note((std::mem::discriminant(&ask), from.is_some(), reference.is_some()));
                check_ask(&ask, &document);
                check_rewritten(ask, reference.as_deref());
            }
            Err((refusal, reference)) => {
                check_reference(reference.as_deref(), &document);
                let begin: String = refusal.text.chars().take(34).collect();
                seen.note((refusal.code.as_str(), begin, reference.is_some()));
                check_refusal(refusal);
            }
        }
        check_event(&document, seen);
    });
}

/// What a client writes, the server reads: a request is the same if it is written anew.
fn check_rewritten(ask: Ask, reference: Option<&str>) {
    let text = |body: &Body| body.as_str().to_owned();
    let named = |room: &Option<RoomName>| room.as_ref().map(|room| room.as_str().to_owned());
    let document = match &ask {
        Ask::Command(Command::Hello(Hello { name, rooms, lists_rooms, resume })) => {
            let mut rooms = rooms.iter().map(RoomName::to_string);
            let room = if *lists_rooms { None } else { rooms.next() };
            RequestDocument::Hello {
                name: name.to_string(),
                room,
                rooms: lists_rooms.then(|| rooms.collect()),
                session: if let Resume::Session(id) = resume { Some(id.to_string()) } else { None },
            }
        }
        Ask::Command(Command::Say { room, body }) => {
            RequestDocument::Public { body: text(body), room: named(room) }
        }
        Ask::Command(Command::Act { room, body }) => {
            RequestDocument::Action { body: text(body), room: named(room) }
        }
        Ask::Command(Command::Tell { to, body }) => {
            RequestDocument::Private { to: to.to_string(), body: text(body) }
        }
        Ask::Command(Command::Nick(name)) => RequestDocument::Nick { name: name.to_string() },
        Ask::Command(Command::Join(room)) => RequestDocument::Join { room: room.to_string() },
        Ask::Command(Command::Leave { room }) => RequestDocument::Leave { room: named(room) },
        Ask::Command(Command::History { room, query }) => RequestDocument::History {
            room: named(room),
            limit: Some(query.limit),
            before: query.before,
            after: query.after,
        },
        Ask::Command(Command::Who { room }) => RequestDocument::Users { room: named(room) },
        Ask::Command(Command::Rooms) => RequestDocument::Rooms,
        Ask::Ping => RequestDocument::Ping,
        Ask::Quit => RequestDocument::Quit,
        Ask::Help | Ask::Command(_) => panic!("no document asks for that: {ask:?}"),
    };
    let line = document.to_line(reference);
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    assert_eq!(
        json::parse(&line),
        Ok(Request { from: None, reference: reference.map(Into::into), ask }),
        "{line}"
    );
}

/// What a client reads as an event is the same if it is written and read again.
fn check_event(document: &str, seen: &mut Seen) {
    let read = |document: &str| serde_json::from_str::<EventDocument<String>>(document).ok();
    let Some(event) = read(document) else { return };
    let written = serde_json::to_string(&event).unwrap();
    assert!(!written.contains('\n'));
    assert_eq!(read(&written), Some(event), "{written}");
    seen.note((&written.as_bytes()[..written.len().min(20)], magnitude(written.len())));
}

fn check_reference(reference: Option<&str>, document: &str) {
    assert!(reference.is_none_or(|r| r.len() <= REFERENCE_BYTES_MAX), "{document:?}");
}

/// Nothing is asked for that is much longer than the document or drives a terminal. What is asked for by a text that
/// was made safe is the same by the safe one.
fn check_ask(ask: &Ask, document: &str) {
    let text = match ask {
        Ask::Command(Command::Hello(Hello { name, rooms, .. })) => {
            assert!(rooms.iter().all(|room| RoomName::parse(room.as_str()).as_ref() == Ok(room)));
            assert!((1..rooms.len()).all(|i| !rooms[..i].contains(&rooms[i])), "each once");
            name.as_str()
        }
        Ask::Command(Command::Nick(name)) => {
            assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(name));
            name.as_str()
        }
        Ask::Command(Command::Say { body, .. } | Command::Act { body, .. }) => {
            assert_eq!(Body::new(body.as_str()).as_ref(), Some(body));
            body.as_str()
        }
        Ask::Command(Command::Tell { to, body }) => {
            assert!(to.len() <= document.len());
            body.as_str()
        }
        Ask::Command(Command::Join(room)) => {
            assert_eq!(RoomName::parse(room.as_str()).as_ref(), Ok(room));
            room.as_str()
        }
        Ask::Command(Command::History { query, .. }) => {
            assert!((1..=1000).contains(&query.limit));
            return;
        }
        Ask::Command(Command::Who { .. } | Command::Leave { .. } | Command::Rooms)
        | Ask::Ping
        | Ask::Help
        | Ask::Quit => return,
        Ask::Command(_) => panic!("no document asks for that: {ask:?}"),
    };
    assert!(!text.is_empty() && text.len() <= 2 * document.len(), "{document:?}");
    assert!(crate::is_harmless(text), "{document:?}");
}

/// The answer may quote what was wrong, but little of it.
fn check_refusal(refusal: Refusal) {
    let answer = json::notice(0, &Notice::Refused(refusal), &None).unwrap();
    assert!(!answer.contains('\n'), "{answer:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{answer:?}");
    assert!(answer.len() <= ANSWER_BYTES_MAX, "{answer:?}");
}
