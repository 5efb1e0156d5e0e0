//! Telnet sequences (RFC 854) among the bytes of lines: told from data, and taken out.

/// "Interpret as command" (RFC 854). Never part of UTF-8.
pub(super) const IAC: u8 = 255;
/// Begins a subnegotiation (RFC 855).
const SB: u8 = 250;
/// Ends a subnegotiation.
const SE: u8 = 240;

/// Where in a telnet sequence the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Telnet {
    #[default]
    Data,
    /// After IAC.
    Command,
    /// After IAC WILL, WONT, DO or DONT: an option follows.
    Option,
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
            (Self::Command, 251..=254) => (Self::Option, false),
            (Self::Command, SE..) => (Self::Data, false),
            // Not a command: a stray byte 255, as in Latin-1. The newline behind it counts.
            (Self::Command, _) => (Self::Data, true),
            (Self::Option, _) => (Self::Data, false),
            (Self::Sub, IAC) => (Self::SubCommand, false),
            (Self::Sub, _) => (Self::Sub, false),
            (Self::SubCommand, SE) => (Self::Data, false),
            (Self::SubCommand, _) => (Self::Sub, false),
        };
        *self = next;
        is_data
    }

    /// The first newline that is data.
    pub(super) fn find_newline(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < input.len() {
            if *self == Self::Data {
                // The common case, at the speed of memchr.
                at += memchr::memchr2(b'\n', IAC, &input[at..])?;
            }
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
