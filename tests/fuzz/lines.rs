//! Framing by lines: ANY split of the input bytes gives the same lines, against a decoder that sees everything at
//! once and is as naive as can be. And who is told by the first of them.

use roomd::wire::length::{self, Lengths};
use roomd::wire::line::{FLOOD_BYTES, Found, Lines};
use roomd::wire::{Sniffed, foreign, sniff};

use crate::engine::{Seen, Target, corpus, magnitude, pieces};
use roomd::reactor::simulated::Rng;

pub const LINES: &str = include_str!("../corpus/lines.txt");
pub const FOREIGN: &str = include_str!("../corpus/foreign.txt");

const TOKENS: [&[u8]; 16] = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\xff",
    b"\xff\xff",
    b"\xff\xfb\x1f",
    b"\xff\xfa\x1f\n\xff\xff\xff\xf0",
    b"\xff\xf0",
    b"GET ",
    b"POST / HTTP/1.1",
    b" HTTP/1.0",
    b"\x16\x03",
    b"{",
    b"EHLO ",
    b"*1",
    b" LOGIN ",
];

/// A limit on lines, drawn by the first byte, and the rest.
fn limit(input: &[u8]) -> (usize, &[u8]) {
    let (&first, rest) = input.split_first().unwrap_or((&0, input));
    (4 + usize::from(first) % 40, rest)
}

/// A limit, and what a client sends: mostly short lines of whatever is hard to tell apart.
fn input(rng: &mut Rng) -> Vec<u8> {
    let mut out = vec![rng.below(40) as u8];
    let (max_bytes, _) = limit(&out);
    for _ in 0..rng.below(60) {
        match rng.below(16) {
            0..4 => out.push(b'\n'),
            4 => out.extend(b"\r\n"),
            5 => out.push(b'\r'),
            6 => out.push(255),
            7 => out.extend([255, 251 + rng.below(4) as u8, rng.below(256) as u8]),
            8 => out.extend([255, 250, 31, 10, 255, 255, 13, 10, 255, 240]),
            9 => out.extend([255, 255]),
            10 => out.extend("größe 😀".bytes()),
            11 => out.extend(vec![b'x'; max_bytes - 2 + rng.below(5)]),
            12 => out.extend(vec![b'y'; rng.below(4 * max_bytes)]),
            _ => out.extend((0..rng.below(8)).map(|_| rng.below(256) as u8)),
        }
    }
    out
}

/// RFC 854 by the letter: each byte of `input` that is data, and whether a line ends with it.
fn data(input: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut rest = input;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (255, []) => break,
            (255, [255, after @ ..]) => (Some(255), after),
            (255, [251..=254, after @ ..]) => (None, after.get(1..).unwrap_or_default()),
            (255, [250, after @ ..]) => {
                // Up to IAC SE; a doubled IAC is one of the bytes in between.
                let mut at = 0;
                loop {
                    match &after[at.min(after.len())..] {
                        [255, 240, end @ ..] => break (None, end),
                        [255, _, ..] => at += 2,
                        [_, ..] => at += 1,
                        [] => break (None, &[][..]),
                    }
                }
            }
            (255, [240..=249, after @ ..]) => (None, after),
            // No command: the byte behind it is data.
            (255, [other, after @ ..]) => (Some(*other), after),
            (byte, after) => (Some(*byte), after),
        };
        rest = after;
        match byte {
            Some(b'\n') => lines.push(Vec::new()),
            Some(byte) => lines.last_mut().expect("one line at least").push(byte),
            None => {}
        }
    }
    lines
}

/// Feeds the pieces to `next`, as a connection does, and returns all that comes out, and what is left. Of what is not
/// whole, at most so many bytes are kept.
fn decode(
    pieces: &[&[u8]],
    kept_bytes_max: usize,
    mut next: impl for<'a> FnMut(&'a [u8]) -> Found<'a>,
) -> (Vec<String>, Vec<u8>) {
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let (said, used) = match next(&kept) {
                Found::Line(line, used) => (format!("{:?}", String::from_utf8_lossy(&line)), used),
                Found::TooLong(used) => ("too long".into(), used),
                Found::Nothing(used) => {
                    kept.drain(..used);
                    break;
                }
                Found::Flood => {
                    out.push("flood".into());
                    return (out, Vec::new());
                }
            };
            out.push(said);
            kept.drain(..used);
        }
        assert!(kept.len() <= kept_bytes_max, "{} bytes are kept", kept.len());
    }
    (out, kept)
}

fn decode_lines(pieces: &[&[u8]], max_bytes: usize) -> Vec<String> {
    let mut lines = Lines::default();
    let (mut out, rest) = decode(pieces, max_bytes + 1, |input| {
        let found = lines.next(input, max_bytes, &mut Vec::new());
        if let Found::Line(line, _) = &found {
            assert!(!line.contains(&b'\n') && line.len() <= max_bytes, "{line:?}");
        }
        found
    });
    out.extend(lines.last(&rest).map(|line| format!("last {:?}", String::from_utf8_lossy(&line))));
    out
}

fn decode_lengths(pieces: &[&[u8]], max_bytes: usize) -> Vec<String> {
    let mut lengths = Lengths::default();
    decode(pieces, length::LENGTH_BYTES + max_bytes - 1, |input| lengths.next(input, max_bytes)).0
}

#[test]
fn any_split_of_any_input_gives_the_same_lines() {
    let target = Target {
        corpus: corpus(&[LINES, FOREIGN]),
        tokens: &TOKENS,
        make: Some(input),
        inputs: 1500,
        ..Target::default()
    };
    target.fuzz(|input, rng, seen| {
        let (max_bytes, input) = limit(input);
        let whole = decode_lines(&[input], max_bytes);
        for cut in [input.chunks(1).collect(), pieces(rng, input)] {
            assert_eq!(decode_lines(&cut, max_bytes), whole);
        }
        let kind =
            |line: &str| (line.starts_with("last"), line.starts_with("too"), line == "flood", line.len() > 9);
        whole.windows(3).for_each(|lines| seen.note([kind(&lines[0]), kind(&lines[1]), kind(&lines[2])]));
        seen.note((magnitude(whole.len()), magnitude(input.len()), whole.last().map(|line| kind(line))));
    });
}

#[test]
fn lines_without_a_limit_are_what_the_rfc_says() {
    let target = Target {
        corpus: corpus(&[LINES]),
        tokens: &TOKENS,
        make: Some(input),
        inputs: 1500,
        ..Target::default()
    };
    target.fuzz(|input, _, seen| {
        let mut expected: Vec<String> = data(input)
            .into_iter()
            .map(|line| format!("{:?}", String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line))))
            .collect();
        let last = expected.pop().expect("what follows the last newline");
        let mut out = decode_lines(&[input], FLOOD_BYTES);
        // Whether there is a last line at all is a matter of bytes, not of data.
        let found = out.pop_if(|line| line.starts_with("last ")).unwrap_or("last \"\"".into());
        assert_eq!(out, expected);
        assert_eq!(found, format!("last {last}"));
        seen.note((magnitude(out.len()), magnitude(found.len())));
    });
}

/// Who has been told apart stays the same, whatever follows: so it makes no difference how much arrives at once. But
/// for empty lines, which somebody who waits for an answer sends, and which may be in front of HTTP.
#[test]
fn who_is_calling_does_not_change_with_what_follows() {
    let corpus = corpus(&[LINES, FOREIGN, crate::http::HTTP]);
    Target { corpus, tokens: &TOKENS, inputs: 3000, bytes_max: 200, ..Target::default() }.fuzz(
        |input, _, seen| {
            let mut before = Sniffed::TooLittle;
            for end in 1..=input.len() {
                let now = sniff(&input[..end]);
                let is_empty = input[..end - 1].iter().all(|byte| b"\r\n".contains(byte));
                assert!(
                    before == Sniffed::TooLittle || before == now || is_empty,
                    "{before:?}, then {now:?} at {end}"
                );
                before = now;
            }
            seen.note((before as u8, magnitude(input.len())));
        },
    );
}

#[test]
fn any_split_of_frames_with_their_length_gives_the_same_frames() {
    let make = |rng: &mut Rng| {
        let mut out = vec![rng.below(40) as u8];
        let (max_bytes, _) = limit(&out);
        for _ in 0..rng.below(20) {
            let below = [4, max_bytes + 2, 300][rng.below(3)];
            let length = rng.below(below);
            length::frame(&mut out, &vec![b'a' + rng.below(26) as u8; length]);
        }
        out.truncate(1 + rng.below(out.len() + 10));
        out
    };
    Target { make: Some(make), inputs: 3000, bytes_max: 4000, ..Target::default() }.fuzz(check_lengths);
}

fn check_lengths(input: &[u8], rng: &mut Rng, seen: &mut Seen) {
    let (max_bytes, input) = limit(input);
    let naive: Vec<String> = {
        let (mut rest, mut out) = (input, Vec::new());
        while let Some((length, behind)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > FLOOD_BYTES {
                out.push("flood".into());
                break;
            }
            if length > max_bytes {
                out.push("too long".into());
            } else if let Some(frame) = behind.get(..length) {
                out.push(format!("{:?}", String::from_utf8_lossy(frame)));
            }
            rest = behind.get(length..).unwrap_or_default();
        }
        out
    };
    for cut in [input.chunks(1).collect(), pieces(rng, input)] {
        assert_eq!(decode_lengths(&cut, max_bytes), naive, "cut as {cut:?}");
    }
    seen.note((magnitude(naive.len()), magnitude(input.len())));
}

#[test]
fn a_foreign_protocol_is_known_in_any_white_space_and_every_request_line_is_foreign() {
    let corpus = corpus(&[LINES, FOREIGN, crate::http::HTTP]);
    Target { corpus, tokens: &TOKENS, inputs: 5000, bytes_max: 300, ..Target::default() }.fuzz(check_foreign);
}

fn check_foreign(input: &[u8], _: &mut Rng, seen: &mut Seen) {
    for line in input.split(|&byte| byte == b'\n') {
        let (protocol, is_http) = (foreign::protocol(line), foreign::is_http_request_line(line));
        let padded = [b" \t", line, b" \r"].concat();
        assert_eq!(foreign::protocol(&padded), protocol, "with white space");
        assert_eq!(foreign::is_http_request_line(&padded), is_http, "with white space");
        assert!(!is_http || protocol.is_some(), "a request line is let in");
        assert!(!foreign::is_binary(line) || protocol == Some(foreign::BINARY));
        // What is told apart as HTTP and is a whole request line must be known as a line, too.
        if sniff(line) == Sniffed::Http
            && let [_, target, b"HTTP/1.1"] = line.split(u8::is_ascii_whitespace).collect::<Vec<_>>()[..]
        {
            assert!(!target.starts_with(b"/") || is_http);
        }
        // A member's line is looked at as well: case and method do not matter.
        assert_eq!(foreign::is_http_request_line(&line.to_ascii_lowercase()), is_http);
        seen.note((protocol, is_http, foreign::begins_http_request(line, true)));
    }
}
