//! Mutation with feedback: an input that does something new is mutated further.
//!
//! What is new is told by the checks: they [note](Seen::note) what came of an input, coarsely. That finds far less than
//! the branches of the program would, but needs no other compiler.

use std::cell::Cell;
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

use roomd::reactor::simulated::Rng;

/// So many inputs are kept for mutation, and none that is longer than so many bytes.
const POOL_MAX: usize = 4000;
const KEPT_BYTES_MAX: usize = 4096;
/// Inputs that are longer are not shown as finds.
const SHOWN_BYTES_MAX: usize = 160;
/// How often it is tried to make a failing input smaller.
const SHRINK_ATTEMPTS_MAX: usize = 3000;

/// Characters on which texts are known to break.
const NASTY: &str = "\0\t\u{7}\u{8}\u{b}\u{c}\u{1b}\u{7f}\u{85}\u{9b}\u{a0}\u{ad}\u{300}\u{307}\u{345}\u{34f}\u{61c}\
    \u{94d}\u{e33}\u{115f}\u{180b}\u{180e}\u{1e9e}\u{200b}\u{200c}\u{200d}\u{200e}\u{2028}\u{2029}\u{202e}\u{2060}\
    \u{2066}\u{20e3}\u{2800}\u{3164}\u{a4fd}\u{fb03}\u{fdfa}\u{fe0f}\u{feff}\u{ff1a}\u{fff9}\u{fffd}\u{1d173}\u{1f3f4}\
    \u{1f680}\u{e0067}\u{e007f}\u{e0100}\u{10ffff}ßŉİıſéΐςΣаеоМΒقक김葛";

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

pub fn any<'a, T: ?Sized>(rng: &mut Rng, of: &[&'a T]) -> &'a T {
    of[rng.below(of.len())]
}

pub fn random_bytes(rng: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| rng.next() as u8).collect()
}

/// Cuts `input` anywhere; some pieces are single bytes.
pub fn pieces<'a>(rng: &mut Rng, input: &'a [u8]) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), input);
    while !rest.is_empty() {
        let max = [1, 20, rest.len()][rng.below(3)];
        let (piece, tail) = rest.split_at(1 + rng.below(max.min(rest.len())));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

/// The number of digits, in base 2: so exact are lengths noted.
pub fn magnitude(number: usize) -> u32 {
    usize::BITS - number.leading_zeros()
}

/// What has come of inputs so far.
#[derive(Default)]
pub struct Seen {
    known: HashSet<u64>,
    is_new: bool,
    last: u64,
}

impl Seen {
    /// Something has come of an input; it is kept if nothing like that has come of any other.
    pub fn note(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.is_new |= self.known.insert(hasher.finish());
    }

    /// The same, and what it comes after is noted as well.
    pub fn note_next(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.note(hasher.finish());
        let before = std::mem::replace(&mut self.last, hasher.finish());
        self.note((before, self.last));
    }
}

/// Where inputs come from.
#[derive(Default)]
pub struct Target<'a> {
    /// What is mutated in the beginning.
    pub corpus: Vec<Vec<u8>>,
    /// What matters in the language of the inputs.
    pub tokens: &'a [&'a [u8]],
    /// Makes another valid input.
    pub make: Option<fn(&mut Rng) -> Vec<u8>>,
    /// So many inputs are tried in a short run.
    pub inputs: u64,
    /// An input has at most so many bytes; 2000 if that is 0.
    pub bytes_max: usize,
}

impl Target<'_> {
    /// Tries mutants with `check`, which must do the same each time it is given the same input: its random numbers
    /// come with the input.
    pub fn fuzz(self, check: impl Fn(&[u8], &mut Rng, &mut Seen)) {
        let (seed, begun) = (number("ROOMD_SEED").unwrap_or(1), Instant::now());
        let until = number("ROOMD_FUZZ_SECONDS").map(|seconds| begun + Duration::from_secs(seconds));
        let inputs = number("ROOMD_STEPS").unwrap_or(self.inputs);
        let (mut rng, mut seen, mut pool) = (Rng(seed), Seen::default(), self.corpus.clone());
        pool.push(Vec::new());
        for input in &pool {
            try_one(&check, input, &mut seen, seed);
        }
        let (mut count, given) = (0, pool.len());
        while until.map_or(count < inputs, |until| Instant::now() < until) {
            let mutant = self.mutant(&mut rng, &pool);
            if try_one(&check, &mutant, &mut seen, seed) && mutant.len() <= KEPT_BYTES_MAX {
                match pool.len() {
                    POOL_MAX.. => pool[given + rng.below(POOL_MAX - given)] = mutant,
                    _ => pool.push(mutant),
                }
            }
            count += 1;
        }
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let (things, kept, took) = (seen.known.len(), pool.len() - given, begun.elapsed());
        println!("{name}: ROOMD_SEED={seed}, {count} inputs, {things} things seen, {kept} kept, {took:?}");
        for found in pool[given..].iter().filter(|found| found.len() <= SHOWN_BYTES_MAX) {
            println!("{name} found: {}", escaped(found));
        }
    }

    /// One of the pool, or another valid one, with a few things done to it.
    fn mutant(&self, rng: &mut Rng, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = match self.make {
            Some(make) if rng.chance(30) => make(rng),
            // The latest are the ones that nobody has looked at.
            _ if rng.chance(30) => pool[pool.len() - 1 - rng.below(pool.len().min(20))].clone(),
            _ => pool[rng.below(pool.len())].clone(),
        };
        for _ in 0..rng.below(6) {
            self.mutate(rng, &mut bytes, pool);
        }
        let max = if self.bytes_max == 0 { 2000 } else { self.bytes_max };
        bytes.truncate(max);
        bytes
    }

    fn mutate(&self, rng: &mut Rng, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let place = rng.below(bytes.len() + 1);
        let range = any_range(rng, bytes.len());
        match rng.below(16) {
            0 => bytes.truncate(place),
            1 => drop(bytes.drain(range)),
            2 => {
                let copy = bytes[range].to_vec();
                bytes.splice(place..place, copy);
            }
            3 => {
                let times = [3, 10, 100, 1000][rng.below(4)];
                let copy = bytes[range.clone()].repeat(1 + rng.below(times));
                bytes.splice(range, copy);
            }
            4 => {
                let other = &pool[rng.below(pool.len())];
                bytes.splice(place.., other[rng.below(other.len() + 1)..].to_vec());
            }
            5 => {
                let other = &pool[rng.below(pool.len())];
                let part = other[any_range(rng, other.len())].to_vec();
                bytes.splice(range, part);
            }
            6..9 if !self.tokens.is_empty() => {
                let token = any(rng, self.tokens).to_vec();
                bytes.splice(if rng.chance(70) { place..place } else { range }, token);
            }
            9 | 10 => {
                let c = NASTY.chars().nth(rng.below(NASTY.chars().count())).unwrap();
                bytes.splice(place..place, c.to_string().into_bytes());
            }
            11 => mutate_lines(rng, bytes),
            12 => mutate_number(rng, bytes, place),
            13 => bytes[range]
                .iter_mut()
                .for_each(|byte| *byte ^= if byte.is_ascii_alphabetic() { 32 } else { 0 }),
            14 if place < bytes.len() => bytes[place] ^= 1 << rng.below(8),
            _ if place < bytes.len() => bytes[place] = rng.next() as u8,
            _ => {}
        }
    }
}

/// A range of at most 40 of `length` bytes, mostly.
fn any_range(rng: &mut Rng, length: usize) -> Range<usize> {
    let start = rng.below(length + 1);
    let max = if rng.chance(90) { 40 } else { length };
    start..start + rng.below((length - start).min(max) + 1)
}

/// Removes, moves or doubles a line.
fn mutate_lines(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let line = lines.remove(rng.below(lines.len()));
    for _ in 0..rng.below(3) {
        lines.insert(rng.below(lines.len() + 1), line.clone());
    }
    *bytes = lines.concat();
}

/// Puts another number in the place of one behind `place`.
fn mutate_number(rng: &mut Rng, bytes: &mut Vec<u8>, place: usize) {
    let Some(start) = bytes[place..].iter().position(u8::is_ascii_digit).map(|at| place + at) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match rng.below(4) {
        0 => u64::MAX >> rng.below(64),
        1 => 1 << rng.below(64),
        _ => rng.below(300) as u64,
    };
    bytes.splice(start..start + length, number.to_string().into_bytes());
}

// ---- trying, and what is shown of a failure

/// Checks one input; returns whether something new came of it. If it fails, the smallest is shown that does.
fn try_one(check: &impl Fn(&[u8], &mut Rng, &mut Seen), input: &[u8], seen: &mut Seen, seed: u64) -> bool {
    (seen.is_new, seen.last) = (false, 0);
    if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| check(input, &mut rng_of(input), seen))) {
        let small = shrunk(input, |input| {
            let mut seen = Seen::default();
            panic::catch_unwind(AssertUnwindSafe(|| check(input, &mut rng_of(input), &mut seen))).is_err()
        });
        eprintln!("failed: ROOMD_SEED={seed}; made small, the input is\n{}", escaped(&small));
        panic::resume_unwind(panic);
    }
    seen.is_new
}

/// The random numbers of an input, such as where it is cut.
fn rng_of(input: &[u8]) -> Rng {
    // FNV-1a
    Rng(input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// Takes away what an input does not need to fail.
fn shrunk(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    thread_local!(static IS_QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                usual(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let (mut small, mut length, mut attempts) = (input.to_vec(), input.len() / 2, 0);
    while length > 0 && attempts < SHRINK_ATTEMPTS_MAX {
        let (mut at, before) = (0, small.len());
        while at < small.len() && attempts < SHRINK_ATTEMPTS_MAX {
            attempts += 1;
            let end = small.len().min(at + length);
            let smaller = [&small[..at], &small[end..]].concat();
            if fails(&smaller) {
                small = smaller;
            } else {
                at = end;
            }
        }
        if small.len() == before || length > 1 {
            length /= 2;
        }
    }
    IS_QUIET.set(false);
    small
}

// ---- the corpus

/// The inputs of a file: one a line, as [`escaped`] writes it. What begins with `#` is a comment.
pub fn corpus(files: &[&str]) -> Vec<Vec<u8>> {
    let lines = files.iter().flat_map(|file| file.lines());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(unescaped).collect()
}

/// An input as a line.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\'' => out.push(c),
                '#' if out.is_empty() => out += "\\x23",
                _ => out.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The bytes that a text with escapes stands for. Wrong escapes stand for themselves.
pub fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((before, escape)) = rest.split_once('\\') {
        out.extend(before.bytes());
        let code = |digits: Option<&str>| u32::from_str_radix(digits?, 16).ok();
        let (bytes, length) = match escape.chars().next() {
            Some('n') => (vec![b'\n'], 1),
            Some('r') => (vec![b'\r'], 1),
            Some('t') => (vec![b'\t'], 1),
            Some('0') => (vec![0], 1),
            Some('x') if let Some(byte) = code(escape.get(1..3)) => (vec![byte as u8], 3),
            Some('u')
                if let Some((digits, _)) =
                    escape[1..].strip_prefix('{').and_then(|rest| rest.split_once('}'))
                    && let Some(c) = code(Some(digits)).and_then(char::from_u32) =>
            {
                (c.to_string().into_bytes(), digits.len() + 3)
            }
            Some('\\') => (vec![b'\\'], 1),
            _ => (vec![b'\\'], 0),
        };
        out.extend(bytes);
        rest = &escape[length..];
    }
    out.extend(rest.bytes());
    out
}

#[test]
fn an_input_is_written_as_it_is_read() {
    let all: Vec<u8> = (0..=255).collect();
    for input in [&all[..], "# \u{301}\u{202e}größe\\n\\x\\u{110000}😀\r\n".as_bytes(), b"", b"\\"] {
        assert_eq!(unescaped(&escaped(input)), input);
    }
    assert_eq!(corpus(&["# no\n\na\\x\nb\\n\n"]), [b"a\\x".to_vec(), b"b\n".to_vec()]);
}

#[test]
fn a_failing_input_is_made_small() {
    let fails = |input: &[u8]| input.contains(&b'x') && input.ends_with(b"y");
    assert_eq!(shrunk(b"aaaaaaaaaaaxbbbbbbbbbbbbbbbbby", fails), b"xy");
}
