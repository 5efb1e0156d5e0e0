//! Framing by newlines: a byte stream becomes lines, however it was split or glued on its way.
//!
//! [`Lines`] keeps no bytes. It is given the unconsumed input from its first byte each time, and
//! remembers how far it has looked, so that a peer who sends byte by byte costs linear time.
//!
//! Telnet sequences (RFC 854) are taken out on the way, also when they are split, and answered; a newline inside one is
//! not the end of a line.

use std::borrow::Cow;

use super::telnet::{IAC, Telnet};

/// A line may go on for this many bytes in all before its sender is given up.
pub const FLOOD_BYTES: usize = 64 * 1024;

/// The framing state of one connection.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// So many bytes of the input, from its first, have been looked at.
    scanned: u32,
    /// So many bytes of the line that is too long have been dropped; 0 if the line is not too long.
    dropped: u32,
    telnet: Telnet,
}

/// What there is at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A line without its end, or a frame without its length; consume so many bytes.
    Line(Cow<'a, [u8]>, usize),
    /// A line that is too long, or the beginning of one; consume so many bytes. Said once per line.
    TooLong(usize),
    /// The rest of a line that is too long, or nothing; consume so many bytes, and wait for more.
    Nothing(usize),
    /// A line that does not end within [`FLOOD_BYTES`].
    Flood,
}

impl Lines {
    /// Looks for the next line at the front of `input`, which is what has not been consumed. What is to be sent for the
    /// telnet sequences that it comes past is added to `answers`; hardly anybody sends any.
    pub fn next<'a>(&mut self, input: &'a [u8], max_bytes: usize, answers: &mut Vec<u8>) -> Found<'a> {
        let scanned = self.scanned as usize;
        let Some(length) = self.telnet.find_newline(&input[scanned..], answers) else {
            return self.unfinished(input.len(), max_bytes);
        };
        let length = scanned + length;
        self.scanned = 0;
        let dropped = std::mem::take(&mut self.dropped) as usize;
        let line = strip(&input[..length]);
        // Counted as it came, telnet sequences included: the limit must not depend on whether the line
        // arrived whole. Only its end does not count.
        let bytes = length - usize::from(input[..length].ends_with(b"\r"));
        if dropped + bytes > FLOOD_BYTES.max(max_bytes) {
            // As if its beginning had arrived first.
            return Found::Flood;
        }
        match dropped > 0 {
            true => match self.next(&input[length + 1..], max_bytes, answers) {
                Found::Line(line, used) => Found::Line(line, length + 1 + used),
                Found::TooLong(used) => Found::TooLong(length + 1 + used),
                Found::Nothing(used) => Found::Nothing(length + 1 + used),
                Found::Flood => Found::Flood,
            },
            false if bytes > max_bytes => Found::TooLong(length + 1),
            false => Found::Line(line, length + 1),
        }
    }

    fn unfinished<'a>(&mut self, length: usize, max_bytes: usize) -> Found<'a> {
        self.scanned = length as u32;
        // One more than the limit, for the CR of a CRLF.
        let is_too_long = length > max_bytes + 1;
        if self.dropped as usize + length > FLOOD_BYTES.max(max_bytes + 1) {
            return Found::Flood;
        }
        if self.dropped == 0 && !is_too_long {
            return Found::Nothing(0);
        }
        let is_first = self.dropped == 0;
        self.dropped += length as u32;
        self.scanned = 0;
        if is_first { Found::TooLong(length) } else { Found::Nothing(length) }
    }

    /// The unfinished line at the end of input; none if it is empty or was too long.
    #[must_use]
    pub fn last<'a>(&self, rest: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        (self.dropped == 0 && !rest.is_empty()).then(|| strip(rest))
    }
}

/// A line without its CR and without telnet sequences.
fn strip(line: &[u8]) -> Cow<'_, [u8]> {
    let mut line = match memchr::memchr(IAC, line) {
        None => Cow::Borrowed(line),
        Some(_) => Cow::Owned(Telnet::default().data(line)),
    };
    if line.last() == Some(&b'\r') {
        match &mut line {
            Cow::Borrowed(line) => *line = &line[..line.len() - 1],
            Cow::Owned(line) => line.truncate(line.len() - 1),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in the given pieces and returns what comes out.
    fn frames(pieces: &[&[u8]], max_bytes: usize) -> Vec<String> {
        let (mut lines, mut kept, mut out) = (Lines::default(), Vec::new(), Vec::new());
        for piece in pieces {
            kept.extend_from_slice(piece);
            loop {
                let used = match lines.next(&kept, max_bytes, &mut Vec::new()) {
                    Found::Line(line, used) => {
                        out.push(String::from_utf8_lossy(&line).into_owned());
                        used
                    }
                    Found::TooLong(used) => {
                        out.push("<too long>".into());
                        used
                    }
                    Found::Nothing(used) => {
                        kept.drain(..used);
                        break;
                    }
                    Found::Flood => {
                        out.push("<flood>".into());
                        return out;
                    }
                };
                kept.drain(..used);
            }
        }
        out.extend(lines.last(&kept).map(|line| format!("<last> {}", String::from_utf8_lossy(&line))));
        out
    }

    #[test]
    fn any_split_of_the_input_gives_the_same_lines() {
        let input: &[u8] = b"one\r\n\ntwo\xff\xfb\x0athree\nmuch too long for it\r\nfour\n\
            \xff\xfa\x18\n\xff\xf0five\xff\nsix";
        let whole = frames(&[input], 12);
        assert_eq!(
            whole,
            [
                "one",
                "",
                "twothree",
                "<too long>",
                "four",
                "five\u{fffd}".trim_end_matches('\u{fffd}'),
                "<last> six"
            ]
        );
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                assert_eq!(frames(&pieces, 12), whole, "split at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(frames(&bytes, 12), whole, "byte by byte");
    }

    /// RFC 854: who asks for an option is refused, who stops one is not answered; RFC 860: the timing mark is given.
    #[test]
    fn telnet_requests_are_answered_once_however_they_are_split() {
        let input = b"\xff\xfd\x06\xff\xfd\x01h\xff\xfb\x1fi\xff\xfe\x06\xff\xfc\x06\
            \xff\xfa\x18\xff\xfd\x01\xff\xf0\xff\xf6";
        let expected = b"\xff\xfb\x06\xff\xfc\x01\xff\xfe\x1f* pong\n";
        for end in [&b""[..], b"\n", b"\nx\n"] {
            let input = [&input[..], end].concat();
            for split in 0..=input.len() {
                let (mut lines, mut answers, mut used) = (Lines::default(), Vec::new(), 0);
                for seen in [split, input.len()] {
                    while let Found::Line(_, bytes) = lines.next(&input[used..seen], 100, &mut answers) {
                        used += bytes;
                    }
                }
                assert_eq!(answers, expected, "split at {split}");
            }
        }
    }

    #[test]
    fn whoever_asks_for_everything_is_not_answered_everything() {
        let (input, mut answers) = (b"\xff\xfd\x01".repeat(20_000), Vec::new());
        assert_eq!(Lines::default().next(&input, 65536, &mut answers), Found::Nothing(0));
        assert!((4096..4200).contains(&answers.len()), "{} bytes", answers.len());
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        assert_eq!(
            frames(&[b"12345\n", b"12345\r\n", b"123456\n", b"x\n"], 5),
            ["12345", "12345", "<too long>", "x"]
        );
    }

    #[test]
    fn a_line_that_never_ends_is_a_flood() {
        let chunk = [b'x'; 1000];
        let pieces: Vec<&[u8]> = (0..70).map(|_| &chunk[..]).collect();
        assert_eq!(frames(&pieces, 4096), ["<too long>", "<flood>"]);
        assert_eq!(frames(&pieces, 65536), ["<flood>"]);
        assert_eq!(frames(&pieces[..65], 65536), [format!("<last> {}", "x".repeat(65000))]);
        // The CR may have arrived, and the newline not.
        let longest = "x".repeat(65536);
        assert_eq!(frames(&[longest.as_bytes(), b"\r", b"\n"], 65536), [longest]);
    }

    #[test]
    fn a_partial_line_is_looked_at_once() {
        let mut lines = Lines::default();
        let input = [b'x'; 3000];
        assert_eq!(lines.next(&input[..1000], 4096, &mut Vec::new()), Found::Nothing(0));
        assert_eq!(lines.scanned, 1000);
        assert_eq!(lines.next(&input, 4096, &mut Vec::new()), Found::Nothing(0));
        assert_eq!(lines.scanned, 3000);
    }
}
