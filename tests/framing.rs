//! ANY split of the input bytes gives the same lines: random input, random splits, against a decoder
//! that sees everything at once and is as naive as can be.
//!
//! `ROOMD_SEED` and `ROOMD_STEPS` (inputs) are taken from the environment; a failure prints its seed.

mod sim;

use roomd::wire::line::{FLOOD_BYTES, Found, Lines};
use sim::Rng;

/// What a client sends: mostly short lines of whatever is hard to tell apart.
fn input(rng: &mut Rng, max_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
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

/// Feeds the pieces, and returns all that comes out.
fn decode(pieces: &[&[u8]], max_bytes: usize) -> Vec<String> {
    let (mut lines, mut kept, mut out) = (Lines::default(), Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let used = match lines.next(&kept, max_bytes) {
                Found::Line(line, used) => {
                    out.push(format!("{:?}", String::from_utf8_lossy(&line)));
                    used
                }
                Found::TooLong(used) => {
                    out.push("too long".into());
                    used
                }
                Found::Nothing(used) => {
                    kept.drain(..used);
                    break;
                }
                Found::Flood => {
                    out.push("flood".into());
                    return out;
                }
            };
            assert!(used <= kept.len());
            kept.drain(..used);
        }
        assert!(kept.len() <= max_bytes + 1, "{} bytes are kept of a line", kept.len());
    }
    out.extend(lines.last(&kept).map(|line| format!("last {:?}", String::from_utf8_lossy(&line))));
    out
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn any_split_of_any_input_gives_the_same_lines() {
    let seed = number("ROOMD_SEED").unwrap_or(1);
    let mut rng = Rng(seed);
    for round in 0..number("ROOMD_STEPS").unwrap_or(3000) {
        let max_bytes = 4 + rng.below(40);
        let input = input(&mut rng, max_bytes);
        let whole = decode(&input.chunks(1).collect::<Vec<_>>(), max_bytes);
        for _ in 0..5 {
            let (mut pieces, mut rest) = (Vec::new(), &input[..]);
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(1 + rng.below(rest.len()).min(rng.below(100)));
                pieces.push(piece);
                rest = tail;
            }
            assert_eq!(
                decode(&pieces, max_bytes),
                whole,
                "failed: ROOMD_SEED={seed} cargo test --test framing (round {round}): {input:?}"
            );
        }
    }
}

#[test]
fn lines_without_a_limit_are_what_the_rfc_says() {
    let seed = number("ROOMD_SEED").unwrap_or(1);
    let mut rng = Rng(seed);
    for round in 0..number("ROOMD_STEPS").unwrap_or(3000) {
        let input = input(&mut rng, 20);
        assert!(input.len() < FLOOD_BYTES);
        let mut expected: Vec<String> = data(&input)
            .into_iter()
            .map(|line| format!("{:?}", String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line))))
            .collect();
        let last = expected.pop().expect("what follows the last newline");
        let mut out = decode(&[&input], FLOOD_BYTES);
        // Whether there is a last line at all is a matter of bytes, not of data.
        let found = out.pop_if(|line| line.starts_with("last ")).unwrap_or("last \"\"".into());
        assert_eq!(out, expected, "failed: ROOMD_SEED={seed} (round {round}): {input:?}");
        assert_eq!(found, format!("last {last}"), "failed: ROOMD_SEED={seed} (round {round}): {input:?}");
    }
}
