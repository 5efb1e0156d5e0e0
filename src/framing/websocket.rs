//! WebSocket frames (RFC 6455), with `tungstenite`'s frame header.
//!
//! [`Decoder`] keeps nothing but the parts of a fragmented message: a frame that has not arrived
//! whole stays in the loop's input, so an idle peer costs one empty pointer.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::buffer::Buffer;

/// How many frames a message may come in: each costs us more than its few bytes cost the peer.
fn fragments_max(message_bytes_max: usize) -> usize {
    64 + message_bytes_max / 64
}

/// A message, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// To be answered by a pong with the same bytes.
    Ping(Vec<u8>),
    /// An answer to a ping, or a sign of life.
    Pong,
    /// The peer says good-bye, with this code if it gave one.
    Close(Option<u16>),
}

/// The peer broke a rule; the connection has to be closed with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// Close code (RFC 6455, section 7.4.1).
    pub code: u16,
    /// For the close frame, and for people.
    pub reason: &'static str,
}

/// Normal closure.
pub const NORMAL: u16 = 1000;
/// The server is going down.
pub const GOING_AWAY: u16 = 1001;
/// A rule of the protocol was broken.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A kind of message that is not taken here.
pub const UNSUPPORTED: u16 = 1003;
/// Text that is not UTF-8.
pub const BAD_UTF8: u16 = 1007;
/// A message that is too long.
pub const TOO_BIG: u16 = 1009;
/// Ours: the peer did not take what was sent to it.
pub const SLOW: u16 = 4000;
/// Ours: the peer did not answer a ping, or never said its name.
pub const TIMEOUT: u16 = 4001;
/// Of ours: another connection has continued the session.
pub const TAKEN_OVER: u16 = 4002;

const CONTROL_BYTES_MAX: u64 = 125;

/// The decoding state of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The message whose last fragment has not arrived yet.
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    is_text: bool,
    bytes: Buffer,
    fragments: u32,
    /// So many of the bytes are known to be UTF-8.
    valid: usize,
}

impl Decoder {
    /// Takes one frame from the front of `input`: how many bytes it has, and what it completes.
    /// None if it has not arrived whole.
    ///
    /// # Errors
    /// What the peer did wrong. Nothing can be decoded after it.
    pub fn next(
        &mut self,
        input: &[u8],
        message_bytes_max: usize,
    ) -> Result<Option<(usize, Option<Received>)>, Violation> {
        let mut cursor = Cursor::new(input);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| wrong("reserved opcode"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let Some(mask) = self.check(&header, length, message_bytes_max)? else {
            return Err(wrong("a client masks its frames"));
        };
        let start = cursor.position() as usize;
        // `check` has seen to it that the length is small.
        let end = start + length as usize;
        let Some(masked) = input.get(start..end) else { return Ok(None) };
        let payload = unmask(masked, mask);
        let received = match header.opcode {
            OpCode::Control(Control::Ping) => Some(Received::Ping(payload)),
            OpCode::Control(Control::Close) => Some(Received::Close(close_code(&payload)?)),
            OpCode::Control(_) => Some(Received::Pong),
            OpCode::Data(kind) => self.add(kind, payload, header.is_final)?,
        };
        Ok(Some((end, received)))
    }

    /// Memory that an unfinished message holds, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.bytes.memory())
    }

    /// Whether a frame may be there at all, as far as its header tells; returns its mask.
    fn check(
        &self,
        header: &FrameHeader,
        length: u64,
        message_bytes_max: usize,
    ) -> Result<Option<[u8; 4]>, Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(wrong("reserved bits without an extension"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return Err(wrong("a control frame in fragments")),
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => return Err(wrong("a long control frame")),
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if self.partial.is_none() => {
                return Err(wrong("a continuation of nothing"));
            }
            OpCode::Data(kind) if kind != Data::Continue && self.partial.is_some() => {
                return Err(wrong("a message within another"));
            }
            OpCode::Data(_) => {
                let (bytes, fragments) =
                    self.partial.as_ref().map_or((0, 0), |p| (p.bytes.len(), p.fragments));
                if length > (message_bytes_max - bytes.min(message_bytes_max)) as u64 {
                    return Err(Violation { code: TOO_BIG, reason: "the message is too long" });
                }
                if fragments as usize >= fragments_max(message_bytes_max) {
                    return Err(Violation { code: TOO_BIG, reason: "the message has too many fragments" });
                }
            }
        }
        Ok(header.mask)
    }

    fn add(&mut self, kind: Data, payload: Vec<u8>, is_final: bool) -> Result<Option<Received>, Violation> {
        let whole = |is_text, bytes| match String::from_utf8(bytes) {
            Ok(text) if is_text => Ok(Some(Received::Text(text))),
            Err(_) if is_text => Err(BAD_TEXT),
            Ok(text) => Ok(Some(Received::Binary(text.into_bytes()))),
            Err(error) => Ok(Some(Received::Binary(error.into_bytes()))),
        };
        if is_final && self.partial.is_none() {
            return whole(kind == Data::Text, payload);
        }
        let partial = self.partial.get_or_insert_with(|| Box::new(Partial::new(kind == Data::Text)));
        partial.add(&payload, is_final)?;
        match self.partial.take_if(|_| is_final) {
            Some(message) => whole(message.is_text, message.bytes.as_slice().to_vec()),
            None => Ok(None),
        }
    }
}

impl Partial {
    fn new(is_text: bool) -> Self {
        Self { is_text, bytes: Buffer::default(), fragments: 0, valid: 0 }
    }

    /// Adds a fragment. A letter may be cut by its end, but not by the end of the message.
    fn add(&mut self, payload: &[u8], is_final: bool) -> Result<(), Violation> {
        self.bytes.append(payload);
        self.fragments += 1;
        match std::str::from_utf8(&self.bytes.as_slice()[self.valid..]) {
            _ if !self.is_text => {}
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_some() || is_final => return Err(BAD_TEXT),
            Err(error) => self.valid += error.valid_up_to(),
        }
        Ok(())
    }
}

const BAD_TEXT: Violation = Violation { code: BAD_UTF8, reason: "the text is not UTF-8" };

fn wrong(reason: &'static str) -> Violation {
    Violation { code: PROTOCOL_ERROR, reason }
}

fn unmask(masked: &[u8], mask: [u8; 4]) -> Vec<u8> {
    masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(wrong("a close code that may not be sent"));
            }
            std::str::from_utf8(reason).map(|_| Some(code)).map_err(|_| BAD_TEXT)
        }
        [_] => Err(wrong("half a close code")),
    }
}

/// Appends a text frame.
pub fn text_frame(out: &mut Vec<u8>, text: &str) {
    frame(out, OpCode::Data(Data::Text), text.as_bytes());
}

/// Appends a binary frame.
pub fn binary_frame(out: &mut Vec<u8>, bytes: &[u8]) {
    frame(out, OpCode::Data(Data::Binary), bytes);
}

/// A ping without content.
#[must_use]
pub fn ping() -> Vec<u8> {
    control(Control::Ping, &[])
}

/// The answer to a ping.
#[must_use]
pub fn pong(payload: &[u8]) -> Vec<u8> {
    control(Control::Pong, payload)
}

/// A close frame; without a code if there is none.
#[must_use]
pub fn close(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    control(Control::Close, &payload)
}

fn control(kind: Control, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + payload.len());
    frame(&mut out, OpCode::Control(kind), payload);
    out
}

fn frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
    // Writing to memory does not fail.
    let _ = header.format(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut out = vec![first];
        if payload.len() < 126 {
            out.push(0x80 | payload.len() as u8);
        } else {
            out.push(0x80 | 126);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(&mask);
        out.extend(unmask(payload, mask));
        out
    }

    fn decode(mut input: &[u8]) -> (Vec<Received>, Option<u16>) {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        loop {
            match decoder.next(input, 100) {
                Ok(None) => return (out, None),
                Ok(Some((used, received))) => {
                    out.extend(received);
                    input = &input[used..];
                }
                Err(violation) => return (out, Some(violation.code)),
            }
        }
    }

    #[test]
    fn a_ping_between_two_fragments_is_heard_at_once() {
        let input = [masked(0x01, b"Hel"), masked(0x89, b"?"), masked(0x80, b"lo")].concat();
        let (received, error) = decode(&input);
        assert_eq!(received, [Received::Ping(b"?".to_vec()), Received::Text("Hello".into())]);
        assert_eq!(error, None);
    }

    #[test]
    fn a_frame_may_be_split_anywhere() {
        let input = [masked(0x81, "größe".as_bytes()), masked(0x82, &[0; 99])].concat();
        for end in 0..input.len() {
            let (received, error) = decode(&input[..end]);
            assert_eq!((received.len(), error), (usize::from(end >= 13), None));
        }
        assert_eq!(decode(&input).0.len(), 2);
    }

    #[test]
    fn violations_have_the_code_that_the_rfc_gives_them() {
        let split = "é".as_bytes();
        for (name, input, code) in [
            ("unmasked", vec![0x81, 1, b'x'], PROTOCOL_ERROR),
            ("reserved bit", masked(0xc1, b"x"), PROTOCOL_ERROR),
            ("reserved opcode", masked(0x83, b"x"), PROTOCOL_ERROR),
            ("fragmented ping", masked(0x09, b"x"), PROTOCOL_ERROR),
            ("long ping", masked(0x89, &[0; 126]), PROTOCOL_ERROR),
            ("stray continuation", masked(0x80, b"x"), PROTOCOL_ERROR),
            ("nested message", [masked(0x01, b"x"), masked(0x81, b"y")].concat(), PROTOCOL_ERROR),
            ("half a code", masked(0x88, &[3]), PROTOCOL_ERROR),
            ("code 1005", masked(0x88, &1005u16.to_be_bytes()), PROTOCOL_ERROR),
            ("bad reason", masked(0x88, &[3, 232, 0xff]), BAD_UTF8),
            ("bad text", masked(0x81, &[0xff]), BAD_UTF8),
            ("cut letter at the end", masked(0x81, &split[..1]), BAD_UTF8),
            ("bad first fragment", masked(0x01, &[0xff]), BAD_UTF8),
            ("too long", masked(0x81, &[b'x'; 101]), TOO_BIG),
            ("too long in parts", [masked(0x01, &[b'x'; 60]), masked(0x80, &[b'x'; 41])].concat(), TOO_BIG),
            (
                "many fragments",
                [masked(0x01, b""), masked(0, b"").repeat(fragments_max(100))].concat(),
                TOO_BIG,
            ),
        ] {
            assert_eq!(decode(&input).1, Some(code), "{name}");
        }
        let whole = [masked(0x01, &split[..1]), masked(0x80, &split[1..])].concat();
        assert_eq!(decode(&whole), (vec![Received::Text("é".into())], None));
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_arrive() {
        let header = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
        assert_eq!(decode(&header).1, Some(TOO_BIG));
    }
}
