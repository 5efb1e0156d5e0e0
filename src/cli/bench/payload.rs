//! What a bench message says: which run, which sender, the how-manieth, and when it was due.
//!
//! A body is plain text in every dialect and needs no escaping in any:
//!
//! ```text
//! #=  RRRR SSSS  QQQQQQQQ  TTTTTTTT  ....
//! |   |    |     |         |         padding up to the message size
//! |   |    |     |         due time, microseconds since the run began
//! |   |    |     sequence number of this sender, from 0
//! |   |    sender
//! |   run, so that the messages of an earlier bench are not taken for ours
//! marker: where the body begins, whatever the server put in front of it
//! ```
//!
//! A digit is a letter `a` to `p` for 0 to 15 instead of hexadecimal, because eight such letters
//! become a number in a handful of integer operations, and the generator reads millions of them a
//! second.

use memchr::memmem::Finder;

const MARKER: &[u8; 2] = b"#=";
const RUN_AND_SENDER: usize = 2;
const SEQUENCE: usize = 10;
const DUE: usize = 18;

/// The smallest body in bytes: marker and numbers without padding.
pub(super) const SIZE_MIN: usize = 26;
/// The largest body in bytes; every dialect carries it on one line if the server does.
pub(super) const SIZE_MAX: usize = 65_000;
const PADDING: u8 = b'.';

/// What one body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Which sender, counted from 0.
    pub(super) sender: u16,
    /// The how-manieth message of this sender, from 0.
    pub(super) sequence: u32,
    /// When it was due to be sent, in microseconds since the run began.
    pub(super) due_us: u32,
}

/// What was found in a line or frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A message of this run, complete and unchanged, and where it begins.
    Message(Message, usize),
    /// A message of this run, but cut short, glued to something or overwritten.
    Damaged,
    /// No message of this run.
    Nothing,
}

/// Writes and recognises the bodies of one run.
#[derive(Debug)]
pub(super) struct Payload {
    run: u16,
    template: Vec<u8>,
    finder: Finder<'static>,
    /// Where the marker stood last time: most lines of a run have it at the same place.
    marker_hint: usize,
}

impl Payload {
    /// Bodies of `size` bytes, which is raised to [`SIZE_MIN`], for the run numbered `run`.
    pub(super) fn new(run: u16, size: usize) -> Self {
        let mut template = vec![PADDING; size.max(SIZE_MIN)];
        template[..MARKER.len()].copy_from_slice(MARKER);
        Self { run, template, finder: Finder::new(MARKER), marker_hint: 0 }
    }

    /// The body that says `message`.
    pub(super) fn write(&mut self, message: Message) -> &[u8] {
        let run_and_sender = u32::from(self.run) << 16 | u32::from(message.sender);
        for (at, number) in
            [(RUN_AND_SENDER, run_and_sender), (SEQUENCE, message.sequence), (DUE, message.due_us)]
        {
            self.template[at..at + 8].copy_from_slice(&to_letters(number));
        }
        &self.template
    }

    /// Looks for a body in `unit`, a line without its end or the payload of a frame.
    pub(super) fn find(&mut self, unit: &[u8]) -> Found {
        let hint = self.marker_hint;
        let hit = unit.get(hint..hint + MARKER.len()) == Some(MARKER);
        let Some(at) = (if hit { Some(hint) } else { self.finder.find(unit) }) else {
            return Found::Nothing;
        };
        self.marker_hint = at;
        self.read(unit, at)
    }

    /// Reads the body at `at` of `unit`.
    fn read(&self, unit: &[u8], at: usize) -> Found {
        let text = &unit[at..];
        let number = |at: usize| text.get(at..at + 8).and_then(from_letters);
        let Some(run_and_sender) = number(RUN_AND_SENDER) else {
            return Found::Nothing;
        };
        if run_and_sender >> 16 != u32::from(self.run) {
            return Found::Nothing;
        }
        let size = self.template.len();
        let (Some(sequence), Some(due_us)) = (number(SEQUENCE), number(DUE)) else {
            return Found::Damaged;
        };
        let padding_is_whole = text.get(SIZE_MIN..size) == Some(&self.template[SIZE_MIN..]);
        // After the body comes the end of the line, or in JSON the end of the string.
        let ends_here = matches!(text.get(size), None | Some(b'"'));
        if !padding_is_whole || !ends_here {
            return Found::Damaged;
        }
        Found::Message(Message { sender: run_and_sender as u16, sequence, due_us }, at)
    }
}

/// `number` as eight letters, the highest digit first.
fn to_letters(number: u32) -> [u8; 8] {
    std::array::from_fn(|digit| b'a' + (number >> (28 - 4 * digit) & 0xf) as u8)
}

/// The number that eight letters `a` to `p` stand for.
fn from_letters(letters: &[u8]) -> Option<u32> {
    const LETTER_A: u64 = 0x6161_6161_6161_6161;
    let letters: [u8; 8] = letters.try_into().ok()?;
    let digits = u64::from_be_bytes(letters).wrapping_sub(LETTER_A);
    if digits & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    // Each step halves the gaps between the digits: 8 bytes, 4 pairs, 2 halves, 1 number.
    let pairs = (digits | digits >> 4) & 0x00ff_00ff_00ff_00ff;
    let halves = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((halves | halves >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message = Message { sender: 19, sequence: 0xdead_beef, due_us: 59_999_999 };

    #[test]
    fn a_body_is_found_in_every_wrapping() {
        let mut payload = Payload::new(7, 64);
        let body = String::from_utf8(payload.write(MESSAGE).to_vec()).unwrap();
        assert_eq!(body.len(), 64);
        for unit in [
            format!("bob: {body}"),
            format!(r##"{{"type":"public","id":9,"ts":1,"room":"lobby","from":"b","body":"{body}"}}"##),
            format!(":b!~b@127.0.0.1 PRIVMSG #bench :{body}"),
            body.clone(),
        ] {
            let at = unit.find(&body).unwrap();
            assert_eq!(payload.find(unit.as_bytes()), Found::Message(MESSAGE, at), "{unit}");
        }
    }

    #[test]
    fn letters_are_numbers_and_nothing_else_is() {
        for number in [0, 1, 15, 16, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(from_letters(&to_letters(number)), Some(number));
        }
        for bad in [b"aaaaaaaq", b"`aaaaaaa", b"aaaAaaaa", b"aaa.aaaa"] {
            assert_eq!(from_letters(bad), None);
        }
    }

    #[test]
    fn a_body_cut_short_or_overwritten_is_damaged() {
        let mut payload = Payload::new(7, 64);
        let body = payload.write(MESSAGE).to_vec();
        assert_eq!(payload.find(&body[..63]), Found::Damaged);
        assert_eq!(payload.find(&[&body[..], b"x"].concat()), Found::Damaged);
        assert_eq!(payload.find(&body[..20]), Found::Damaged);
        let mut overwritten = body;
        overwritten[40] = b'b';
        assert_eq!(payload.find(&overwritten), Found::Damaged);
    }

    #[test]
    fn the_messages_of_another_run_are_not_ours() {
        let body = Payload::new(8, 64).write(MESSAGE).to_vec();
        let mut payload = Payload::new(7, 64);
        assert_eq!(payload.find(&body), Found::Nothing);
        assert_eq!(payload.find(b"* bob joined"), Found::Nothing);
    }
}
