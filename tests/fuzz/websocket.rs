//! WebSocket frames from anybody: nothing is taken that is not there, what is kept is bounded, and how the bytes were
//! cut on their way makes no difference.

use roomd::wire::websocket::{BAD_UTF8, Decoder, PROTOCOL_ERROR, Received, TOO_BIG, Violation};

use crate::engine::{Target, corpus, magnitude, pieces, random_bytes};
use roomd::reactor::simulated::Rng;

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
    let target = Target {
        corpus: corpus(&[include_str!("../corpus/websocket.txt")]),
        tokens: &WEBSOCKET_TOKENS,
        make: Some(|rng| websocket_messages(rng).0),
        inputs: 3000,
        ..Target::default()
    };
    target.fuzz(|input, rng, seen| {
        let whole = decode(&[input]);
        for cut in [input.chunks(1).collect(), pieces(rng, input)] {
            assert_eq!(decode(&cut), whole);
        }
        for received in &whole.0 {
            check_received(received);
            let size = match received {
                Received::Text(text) => text.len(),
                Received::Binary(bytes) | Received::Ping(bytes) => bytes.len(),
                Received::Close(code) => usize::from(code.unwrap_or(1)),
                Received::Pong => 0,
            };
            seen.note((std::mem::discriminant(received), magnitude(size)));
        }
        if let Some(Violation { code, reason }) = whole.1 {
            assert!([PROTOCOL_ERROR, BAD_UTF8, TOO_BIG].contains(&code));
            seen.note((reason, magnitude(whole.0.len())));
        }
    });
}

#[test]
fn sound_frames_say_what_was_said_however_they_are_cut() {
    let mut rng = Rng(1);
    for _ in 0..1000 {
        let (bytes, said) = websocket_messages(&mut rng);
        assert_eq!(decode(&pieces(&mut rng, &bytes)), (said, None), "{bytes:?}");
    }
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
    let rng = &mut Rng(1);
    for _ in 0..500 {
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
    }
    assert!(whole.min(too_big) > 50, "{whole} whole, {too_big} too big");
}
