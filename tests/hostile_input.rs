//! What anybody may send, to the parsers of HTTP, WebSocket and JSON: random bytes, and valid input that was
//! damaged. Nothing panics, nothing is taken that is not there, what is kept is bounded, and how the bytes
//! were cut on their way makes no difference. Lines have the same in `framing.rs`.
//!
//! `ROOMD_SEED` and `ROOMD_STEPS` (inputs) are taken from the environment; a failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod sim;

use roomd::chat::{Command, Refusal};
use roomd::wire::websocket::{BAD_UTF8, Decoder, PROTOCOL_ERROR, Received, TOO_BIG, Violation};
use roomd::wire::{Ask, Notice, Request, http, json};
use sim::Rng;

// ---- where the bytes come from

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Runs `try_one` on many inputs; a failure is shown with what repeats it.
fn for_inputs(count: u64, mut try_one: impl FnMut(&mut Rng)) {
    let seed = number("ROOMD_SEED").unwrap_or(1);
    let mut rng = Rng(seed);
    println!("ROOMD_SEED={seed} cargo test --test hostile_input");
    for _ in 0..number("ROOMD_STEPS").unwrap_or(count) {
        try_one(&mut rng);
    }
}

fn random_bytes(rng: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| rng.next() as u8).collect()
}

fn any<'a, T: ?Sized>(rng: &mut Rng, of: &[&'a T]) -> &'a T {
    of[rng.below(of.len())]
}

/// A range of at most 40 of `length` bytes.
fn any_range(rng: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let start = rng.below(length + 1);
    start..start + rng.below((length - start).min(40) + 1)
}

/// A valid input with a few things done to it; `tokens` are what matters in its language.
fn damaged(rng: &mut Rng, mut valid: impl FnMut(&mut Rng) -> Vec<u8>, tokens: &[&[u8]]) -> Vec<u8> {
    let mut bytes = valid(rng);
    for _ in 0..rng.below(5) {
        let place = rng.below(bytes.len() + 1);
        let range = any_range(rng, bytes.len());
        match rng.below(8) {
            0 => bytes.truncate(place),
            1 => drop(bytes.drain(range)),
            2 => {
                let copy = bytes[range].to_vec();
                bytes.splice(place..place, copy);
            }
            3 => {
                let other = valid(rng);
                let from = rng.below(other.len() + 1);
                bytes.splice(place.., other[from..].to_vec());
            }
            4 | 5 => drop(bytes.splice(place..place, any(rng, tokens).to_vec())),
            _ if place < bytes.len() && rng.chance(50) => bytes[place] ^= 1 << rng.below(8),
            _ if place < bytes.len() => bytes[place] = rng.next() as u8,
            _ => {}
        }
    }
    bytes
}

/// Cuts `input` anywhere; some pieces are single bytes.
fn pieces<'a>(rng: &mut Rng, input: &'a [u8]) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), input);
    while !rest.is_empty() {
        let max = [1, 20, rest.len()][rng.below(3)];
        let (piece, tail) = rest.split_at(1 + rng.below(max.min(rest.len())));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

// ---- HTTP

const HEAD_BYTES_MAX: usize = 600;

const HTTP_TOKENS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"%zz",
    b"?",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.0",
    b"\xff",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn http_request(rng: &mut Rng) -> Vec<u8> {
    let method = any(rng, &["GET", "GET", "HEAD", "POST"]);
    let target = any(rng, &["/", "/ws?name=al%20b&room=d+v", "*", "/\u{e9}", "http://a/"]);
    let mut head = format!("{}{method} {target} HTTP/1.1\r\n", any(rng, &["", "", "", "\r\n", "\r\n\r\n"]));
    head += any(rng, &["Host: a\r\n", "Host: a:8080\r\n", "host:\t[::1]:1 \r\n"]);
    for _ in 0..rng.below(4) {
        head += any(rng, &["Origin: null\r\n", "X-Y: z\r\n", "A: \r\n"]);
    }
    if rng.chance(50) {
        head += "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: roomd.json\r\n";
    }
    head += "\r\n";
    head += any(rng, &["", "", "\u{1}\u{2}glued"]);
    head.into_bytes()
}

fn http_input(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(10) {
        let count = rng.below(2 * HEAD_BYTES_MAX);
        random_bytes(rng, count)
    } else {
        damaged(rng, http_request, &HTTP_TOKENS)
    }
}

/// Parses what has arrived after each piece, as the server does: the first verdict, and how much it has seen.
fn verdict(pieces: &[&[u8]]) -> Option<(Result<http::Request, http::Refused>, usize)> {
    let mut arrived = Vec::new();
    for piece in pieces {
        arrived.extend_from_slice(piece);
        match http::parse(&arrived, HEAD_BYTES_MAX) {
            Ok(None) => assert!(arrived.len() <= HEAD_BYTES_MAX, "{} bytes are kept", arrived.len()),
            Ok(Some(request)) => {
                check_request(&request, &arrived);
                return Some((Ok(request), arrived.len()));
            }
            Err(refused) => return Some((Err(refused), arrived.len())),
        }
    }
    None
}

fn check_request(request: &http::Request, arrived: &[u8]) {
    assert!(request.bytes <= arrived.len() && request.bytes <= HEAD_BYTES_MAX);
    let head = &arrived[..request.bytes];
    assert!(head.ends_with(b"\r\n\r\n"));
    let mut after_cr = false;
    for &byte in head {
        assert!(byte != b'\n' || after_cr, "a bare LF: {:?}", String::from_utf8_lossy(head));
        after_cr = byte == b'\r';
    }
    assert!(request.upgrade.is_some() || request.bytes == arrived.len(), "something follows");
    // All that is kept of it was in it.
    for text in [&request.host, &request.origin, &request.if_none_match].into_iter().flatten() {
        assert!(head.windows(text.len().max(1)).any(|w| w == text.as_bytes()) || text.is_empty());
    }
    let _ = request.parameter("name");
    if let Some(upgrade) = &request.upgrade {
        let _ = http::accept(upgrade, None);
    }
}

#[test]
fn any_split_of_any_request_is_taken_or_refused_alike() {
    let (mut accepted, mut refused, mut unfinished) = (0, 0, 0);
    for_inputs(20_000, |rng| {
        let input = http_input(rng);
        let shown = String::from_utf8_lossy(&input);
        let whole = verdict(&input.chunks(1).collect::<Vec<_>>());
        for cut in [vec![&input[..]], pieces(rng, &input)] {
            match (&whole, verdict(&cut)) {
                (None, None) => unfinished += 1,
                (Some((Ok(request), _)), Some((Ok(same), _))) => {
                    accepted += 1;
                    assert_eq!(*request, same, "{shown:?}");
                }
                // What is behind a request can be seen only if it arrives with it.
                (Some((Ok(request), _)), Some((Err(error), seen))) => {
                    assert!(request.upgrade.is_none() && seen > request.bytes, "{error:?}: {shown:?}");
                }
                // Which rule is named may depend on it: a piece can break two.
                (Some((Err(_), _)), Some((Err(_), _))) => refused += 1,
                (one, other) => panic!("{one:?} and {other:?}: {shown:?}"),
            }
        }
    });
    println!("{accepted} accepted, {refused} refused, {unfinished} unfinished");
    assert!(number("ROOMD_STEPS").is_some() || accepted.min(refused).min(unfinished) > 1000);
}

// ---- WebSocket

const MESSAGE_BYTES_MAX: usize = 300;
/// A message may come in so many frames.
const FRAGMENTS_MAX: usize = 64 + MESSAGE_BYTES_MAX / 64;
/// Two bytes, a length of eight and a mask of four.
const HEADER_BYTES_MAX: usize = 14;

const WEBSOCKET_TOKENS: [&[u8]; 13] = [
    &[0x81],
    &[0x01, 0x80, 0, 0, 0, 0],
    &[0x80, 0x80, 0, 0, 0, 0],
    &[0, 0x80, 0, 0, 0, 0],
    &[0x89, 0x80, 1, 2, 3, 4],
    &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8],
    &[0x88, 0x81],
    &[0xfe],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x81, 0xfe, 0, 0],
    &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1],
    &[0xc1],
    &[0x83],
];

fn frame(rng: &mut Rng, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        // A length may be written longer than it has to be.
        length @ 0..126 if rng.chance(90) => out.push(0x80 | length as u8),
        length if rng.chance(90) => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    let mask = random_bytes(rng, 4);
    out.extend(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Frames that keep all the rules, and what they say.
fn websocket_messages(rng: &mut Rng) -> (Vec<u8>, Vec<Received>) {
    let (mut bytes, mut said) = (Vec::new(), Vec::new());
    for _ in 0..rng.below(5) {
        match rng.below(6) {
            0 => {
                let length = rng.below(126);
                let payload = random_bytes(rng, length);
                bytes.extend(frame(rng, 0x89, &payload));
                said.push(Received::Ping(payload));
            }
            1 => {
                bytes.extend(frame(rng, 0x8a, b""));
                said.push(Received::Pong);
            }
            kind => {
                let text = "größe 😀 ".repeat(rng.below(20));
                let opcode = if kind == 2 { 2 } else { 1 };
                // Cut anywhere, within letters too; control frames may come in between.
                let (mut parts, mut rest) = (Vec::new(), text.as_bytes());
                // Few, or as many as may be.
                let cuts = if rng.chance(5) { FRAGMENTS_MAX - 1 } else { rng.below(5) };
                for _ in 0..cuts {
                    let (part, tail) = rest.split_at(rng.below(rest.len() + 1));
                    parts.push(part);
                    rest = tail;
                }
                parts.push(rest);
                let last = parts.len() - 1;
                for (i, part) in parts.into_iter().enumerate() {
                    let first = if i == 0 { opcode } else { 0 } | if i == last { 0x80 } else { 0 };
                    bytes.extend(frame(rng, first, part));
                    if i < last && rng.chance(20) {
                        bytes.extend(frame(rng, 0x8a, b"pong"));
                        said.push(Received::Pong);
                    }
                }
                said.push(match kind {
                    2 => Received::Binary(text.into_bytes()),
                    _ => Received::Text(text),
                });
            }
        }
    }
    if rng.chance(20) {
        bytes.extend(frame(rng, 0x88, &[3, 232, b'b', b'y', b'e']));
        said.push(Received::Close(Some(1000)));
    }
    (bytes, said)
}

/// All that comes out, and what was wrong in the end.
fn decode(pieces: &[&[u8]]) -> (Vec<Received>, Option<Violation>) {
    let (mut decoder, mut kept, mut out) = (Decoder::default(), Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            match decoder.next(&kept, MESSAGE_BYTES_MAX) {
                Ok(None) => break,
                Ok(Some((used, received))) => {
                    assert!((2..=kept.len()).contains(&used), "{used} of {} bytes", kept.len());
                    kept.drain(..used);
                    out.extend(received);
                }
                Err(violation) => return (out, Some(violation)),
            }
        }
        assert!(kept.len() < HEADER_BYTES_MAX + MESSAGE_BYTES_MAX, "{} bytes are kept", kept.len());
        check_memory(&decoder, MESSAGE_BYTES_MAX);
    }
    (out, None)
}

fn check_memory(decoder: &Decoder, message_bytes_max: usize) {
    let memory = decoder.memory();
    assert!(memory <= 2 * message_bytes_max + 200, "{memory} bytes for a message of {message_bytes_max}");
}

fn check_received(received: &Received) {
    match received {
        Received::Text(text) => assert!(text.len() <= MESSAGE_BYTES_MAX),
        Received::Binary(bytes) => assert!(bytes.len() <= MESSAGE_BYTES_MAX),
        Received::Ping(payload) => assert!(payload.len() <= 125),
        Received::Pong => {}
        Received::Close(code) => assert!(code.is_none_or(|code| (1000..5000).contains(&code))),
    }
}

#[test]
fn any_split_of_any_frames_gives_the_same_messages() {
    let (mut sound, mut violations) = (0, 0);
    for_inputs(20_000, |rng| {
        let input = match rng.below(10) {
            0 => {
                let count = rng.below(1000);
                random_bytes(rng, count)
            }
            _ => damaged(rng, |rng| websocket_messages(rng).0, &WEBSOCKET_TOKENS),
        };
        let whole = decode(&[&input]);
        for cut in [input.chunks(1).collect(), pieces(rng, &input)] {
            assert_eq!(decode(&cut), whole, "{input:?}");
        }
        whole.0.iter().for_each(check_received);
        match whole.1 {
            None => sound += 1,
            Some(Violation { code, .. }) => {
                violations += 1;
                assert!([PROTOCOL_ERROR, BAD_UTF8, TOO_BIG].contains(&code));
            }
        }
    });
    println!("{sound} sound, {violations} violations");
    assert!(number("ROOMD_STEPS").is_some() || sound.min(violations) > 1000);
}

#[test]
fn sound_frames_say_what_was_said_however_they_are_cut() {
    for_inputs(3000, |rng| {
        let (bytes, said) = websocket_messages(rng);
        assert_eq!(decode(&pieces(rng, &bytes)), (said, None));
    });
}

#[test]
fn a_message_comes_in_so_many_fragments_and_no_more() {
    let message = |fragments: usize| {
        let (first, more, last) = ([0x01, 0x80, 0, 0, 0, 0], [0, 0x80, 0, 0, 0, 0], [0x80, 0x80, 0, 0, 0, 0]);
        [&first[..], &more.repeat(fragments - 2), &last].concat()
    };
    // The count begins anew with each message.
    let sound = message(FRAGMENTS_MAX).repeat(2);
    assert_eq!(decode(&[&sound]), (vec![Received::Text(String::new()), Received::Text(String::new())], None));
    let (received, violation) = decode(&[&message(FRAGMENTS_MAX + 1)]);
    assert_eq!((received, violation.map(|violation| violation.code)), (vec![], Some(TOO_BIG)));
}

/// However a message is cut into frames, and however long they claim it to be.
#[test]
fn a_message_in_fragments_holds_little_more_memory_than_it_may_have() {
    let (mut whole, mut too_big) = (0, 0);
    for_inputs(2000, |rng| {
        let max = [16, 300, 4096, 64 * 1024][rng.below(4)];
        let (mut decoder, mut sent) = (Decoder::default(), 0);
        let opcode = 1 + rng.below(2) as u8;
        // All of one size, at most, so that some messages have few fragments and some have many.
        let size_max = 1 + rng.below(max);
        for fragment in 0.. {
            // Some end where the message is full.
            let size = rng.below(size_max + 1);
            let size = if rng.chance(80) { size.min(max - sent) } else { size };
            let first = if fragment == 0 { opcode } else { 0 } | if rng.chance(2) { 0x80 } else { 0 };
            let frame = frame(rng, first, &vec![b'x'; size]);
            // What has not arrived whole is held by nobody here.
            let cut = rng.below(frame.len());
            let before = decoder.memory();
            if !matches!(decoder.next(&frame[..cut], max), Ok(None)) {
                assert!(sent + size > max || fragment >= 64 + max / 64);
            }
            assert_eq!(decoder.memory(), before);
            match decoder.next(&frame, max) {
                Ok(Some((used, None))) => {
                    sent += size;
                    assert_eq!(used, frame.len());
                    assert!(decoder.memory() >= sent && sent <= max, "{} for {sent}", decoder.memory());
                    check_memory(&decoder, max);
                }
                Ok(Some((_, Some(received)))) => {
                    whole += 1;
                    let length = match received {
                        Received::Text(text) => text.len(),
                        Received::Binary(bytes) => bytes.len(),
                        other => panic!("{other:?}"),
                    };
                    assert_eq!((length, decoder.memory()), (sent + size, 0));
                    break;
                }
                Ok(None) => panic!("the frame is there"),
                Err(violation) => {
                    too_big += 1;
                    assert_eq!(violation.code, TOO_BIG);
                    assert!(sent + size > max || fragment >= 64 + max / 64);
                    check_memory(&decoder, max);
                    break;
                }
            }
        }
    });
    println!("{whole} whole, {too_big} too big");
    assert!(number("ROOMD_STEPS").is_some() || whole.min(too_big) > 100);
}

// ---- JSON

/// A line as long as the daemon takes by default.
const DOCUMENT_BYTES_MAX: usize = 4096;
/// A refusal has at most so many bytes: 200 of a quotation, all of which may need an escape, and its frame.
const ANSWER_BYTES_MAX: usize = 600;
/// A reference is as long as this at most, as `src/wire/json.rs` promises its clients.
const REFERENCE_BYTES_MAX: usize = 64;

const JSON_TOKENS: [&[u8]; 22] = [
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
    let (mut taken, mut refused) = (0, 0);
    for_inputs(30_000, |rng| {
        let input = match rng.below(10) {
            0 => {
                let count = rng.below(200);
                random_bytes(rng, count)
            }
            _ => damaged(rng, json_document, &JSON_TOKENS),
        };
        // The server makes text of a line first.
        let document = String::from_utf8_lossy(&input[..input.len().min(DOCUMENT_BYTES_MAX)]);
        match json::parse(&document) {
            Ok(Request { from, reference, ask }) => {
                taken += 1;
                check_ask(&ask, &document);
                check_reference(reference.as_deref(), &document);
                assert!(from.is_none_or(|name| name.len() <= document.len()));
            }
            Err((refusal, reference)) => {
                refused += 1;
                check_reference(reference.as_deref(), &document);
                check_refusal(refusal);
            }
        }
    });
    println!("{taken} taken, {refused} refused");
    assert!(number("ROOMD_STEPS").is_some() || taken.min(refused) > 1000);
}

fn check_reference(reference: Option<&str>, document: &str) {
    assert!(reference.is_none_or(|r| r.len() <= REFERENCE_BYTES_MAX), "{document:?}");
}

/// Nothing is asked for that is longer than the document or drives a terminal; a body may have lines.
fn check_ask(ask: &Ask, document: &str) {
    let text = match ask {
        Ask::Hello { name, .. } | Ask::Command(Command::Nick(name)) => name.as_str(),
        Ask::Command(Command::Say(body) | Command::Act(body)) => body.as_str(),
        Ask::Command(Command::Tell { to, body }) => {
            assert!(to.len() <= document.len());
            body.as_str()
        }
        Ask::Command(Command::Join(room)) => room.as_str(),
        Ask::Command(Command::History(query)) => {
            assert!((1..=1000).contains(&query.limit));
            return;
        }
        Ask::Command(Command::Who | Command::Rooms) | Ask::Ping | Ask::Help | Ask::Quit => return,
        Ask::Command(Command::Hello { .. }) => panic!("a hello is an ask of its own"),
    };
    assert!(!text.is_empty() && text.len() <= document.len(), "{document:?}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\t' && c != '\n'), "{document:?}");
}

/// The answer may quote what was wrong, but little of it.
fn check_refusal(refusal: Refusal) {
    let answer = json::notice(0, &Notice::Refused(refusal), &None).unwrap();
    assert!(!answer.contains('\n'), "{answer:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{answer:?}");
    assert!(answer.len() <= ANSWER_BYTES_MAX, "{answer:?}");
}
