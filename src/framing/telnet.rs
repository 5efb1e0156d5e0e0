//! Telnet sequences (RFC 854) among the bytes of lines: told from data, taken out, and answered.
//!
//! We want no option of anybody, and never ask for one. So whoever asks is refused, in the words of RFC 854, and who
//! stops something that never began gets no answer: no two ends can answer each other for ever.

/// "Interpret as command" (RFC 854). Never part of UTF-8.
pub(super) const IAC: u8 = 255;
/// Begins a subnegotiation (RFC 855).
const SB: u8 = 250;
/// Ends a subnegotiation.
const SE: u8 = 240;
/// "Are you there?"
const AYT: u8 = 246;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
/// The one option that everybody is to agree to, each time: telnet shows nothing after Ctrl-C before it has heard that
/// (RFC 860).
const TIMING_MARK: u8 = 6;

/// What is asked in one line is answered with no more than about so many bytes.
const ANSWERS_BYTES_MAX: usize = 4096;

/// Where in a telnet sequence the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Telnet {
    #[default]
    Data,
    /// After IAC.
    Command,
    /// After IAC and this: WILL, WONT, DO or DONT. An option follows.
    Option(u8),
    /// Within IAC SB … IAC SE.
    Sub,
    /// After an IAC within those.
    SubCommand,
}

impl Telnet {
    /// Takes one byte; returns whether it is data.
    fn step(&mut self, byte: u8) -> bool {
        let (next, is_data) = match (*self, byte) {
            (Self::Data, IAC) => (Self::Command, false),
            (Self::Data, _) => (Self::Data, true),
            // IAC IAC is a data byte 255.
            (Self::Command, IAC) => (Self::Data, true),
            (Self::Command, SB) => (Self::Sub, false),
            (Self::Command, WILL..=DONT) => (Self::Option(byte), false),
            (Self::Command, SE..) => (Self::Data, false),
            // Not a command: a stray byte 255, as in Latin-1. The newline behind it counts.
            (Self::Command, _) => (Self::Data, true),
            (Self::Option(_), _) => (Self::Data, false),
            (Self::Sub, IAC) => (Self::SubCommand, false),
            (Self::Sub, _) => (Self::Sub, false),
            (Self::SubCommand, SE) => (Self::Data, false),
            (Self::SubCommand, _) => (Self::Sub, false),
        };
        *self = next;
        is_data
    }

    /// Answers the sequence that `byte` is the last of, if it asks for something.
    fn answer(self, byte: u8, answers: &mut Vec<u8>) {
        // Nobody asks for so much at once who means it.
        if answers.len() >= ANSWERS_BYTES_MAX {
            return;
        }
        match (self, byte) {
            (Self::Option(DO), TIMING_MARK) => answers.extend([IAC, WILL, TIMING_MARK]),
            (Self::Option(DO), option) => answers.extend([IAC, WONT, option]),
            (Self::Option(WILL), option) => answers.extend([IAC, DONT, option]),
            (Self::Command, AYT) => answers.extend(b"* pong\n"),
            _ => {}
        }
    }

    /// The first newline that is data. What is asked before it is answered.
    pub(super) fn find_newline(&mut self, input: &[u8], answers: &mut Vec<u8>) -> Option<usize> {
        let mut at = 0;
        while at < input.len() {
            if *self == Self::Data {
                // The common case, at the speed of memchr.
                at += memchr::memchr2(b'\n', IAC, &input[at..])?;
            }
            self.answer(input[at], answers);
            if self.step(input[at]) && input[at] == b'\n' {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// What is left of `input` without telnet sequences.
    pub(super) fn data(mut self, input: &[u8]) -> Vec<u8> {
        input.iter().copied().filter(|&byte| self.step(byte)).collect()
    }
}
