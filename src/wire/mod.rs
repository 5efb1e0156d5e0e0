//! The dialects: bytes to commands, and events to bytes.
//!
//! One port speaks them all; [`sniff`] tells from the first bytes which one a client speaks. Nothing
//! here knows a socket, or who else is in the room.
//!
//! | dialect | frames | content |
//! |---|---|---|
//! | [`Dialect::TextLines`] (netcat, telnet) | [`mod@line`] | [`text`] |
//! | [`Dialect::JsonLines`] (programs) | [`mod@line`] | [`json`] |
//! | [`Dialect::TextFrames`] (browsers) | [`websocket`], after [`http`] | [`text`] |
//! | [`Dialect::JsonFrames`] (the page, programs) | [`websocket`], after [`http`] | [`json`] |

pub mod http;
pub mod json;
pub mod line;
pub mod text;
pub mod websocket;

use crate::room::{Event, Reference, Reply, RoomName};

/// A content and the frames it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Text, one event per line.
    TextLines,
    /// JSON, one object per line.
    JsonLines,
    /// Text, one event per WebSocket text frame.
    TextFrames,
    /// JSON, one object per WebSocket text frame.
    JsonFrames,
}

impl Dialect {
    /// All of them; a dialect's place here is its number.
    pub const ALL: [Self; 4] = [Self::TextLines, Self::JsonLines, Self::TextFrames, Self::JsonFrames];

    /// Whether the content is JSON.
    #[must_use]
    pub fn is_json(self) -> bool {
        matches!(self, Self::JsonLines | Self::JsonFrames)
    }

    /// At most so many names go into a list of who is here: a person does not read more, a program may.
    #[must_use]
    pub fn names_max(self) -> usize {
        if self.is_json() { 1000 } else { 20 }
    }

    /// Appends an event, in whole frames, to `out`.
    pub fn encode_event(self, out: &mut Vec<u8>, room: &RoomName, at_ms: u64, event: &Event) {
        if self.is_json() {
            self.frame(out, &json::event(room, at_ms, event));
        } else {
            self.frame(out, &text::event(event));
        }
    }

    /// Appends a reply, in whole frames, to `out`. The text dialect needs several for some, and none
    /// for others.
    pub fn encode_reply(self, out: &mut Vec<u8>, at_ms: u64, reply: &Reply, reference: &Reference) {
        if self.is_json() {
            if let Some(document) = json::reply(at_ms, reply, reference) {
                self.frame(out, &document);
            }
        } else {
            text::reply(at_ms, reply, &mut |line| self.frame(out, line));
        }
    }

    /// Appends one frame that holds `content` to `out`.
    pub fn frame(self, out: &mut Vec<u8>, content: &str) {
        match self {
            Self::TextLines | Self::JsonLines => {
                out.extend_from_slice(content.as_bytes());
                out.push(b'\n');
            }
            Self::TextFrames | Self::JsonFrames => websocket::text_frame(out, content),
        }
    }
}

/// What the first bytes of a connection say about who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniffed {
    /// They could still be the beginning of an HTTP request.
    TooLittle,
    /// An HTTP request. It never becomes lines: a web page must not be able to chat for its visitor.
    Http,
    /// A TLS client, which will not understand anything we say.
    Tls,
    /// JSON, one object per line.
    Json,
    /// Text lines.
    Text,
}

/// Methods of HTTP (RFC 9110, section 9; PATCH: RFC 5789; PRI: RFC 9113, section 3.4).
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
];

/// Tells who is calling from the first bytes, at least one.
#[must_use]
pub fn sniff(input: &[u8]) -> Sniffed {
    match input {
        // Handshake record, version 3.x (RFC 8446, section 5.1).
        [0x16, 0x03, ..] => Sniffed::Tls,
        [] | [0x16] => Sniffed::TooLittle,
        [b'{', ..] => Sniffed::Json,
        _ if METHODS.iter().any(|method| input.starts_with(method)) => Sniffed::Http,
        _ if METHODS.iter().any(|method| method.starts_with(input)) => Sniffed::TooLittle,
        _ => Sniffed::Text,
    }
}

/// Whether a text line is the first line of an HTTP request: somebody makes a browser speak here.
#[must_use]
pub fn is_http_request_line(line: &[u8]) -> bool {
    let Some(version_at) = memchr::memmem::rfind(line, b" HTTP/") else { return false };
    METHODS.iter().any(|method| line.starts_with(method)) && line.len() > version_at + 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_who_is_calling() {
        for (input, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Sniffed::Http),
            (b"GET ", Sniffed::Http),
            (b"GE", Sniffed::TooLittle),
            (b"GET", Sniffed::TooLittle),
            (b"GET\n", Sniffed::Text),
            (b"get / http/1.1", Sniffed::Text),
            (b"POST / HTTP/1.1", Sniffed::Http),
            (b"PRI * HTTP/2.0", Sniffed::Http),
            (b"Gustav\n", Sniffed::Text),
            (b"{\"type\"", Sniffed::Json),
            (b"\x16\x03\x01\x02", Sniffed::Tls),
            (b"\x16", Sniffed::TooLittle),
            (b"\xff\xfb\x1f", Sniffed::Text),
            (b"alice\n", Sniffed::Text),
            (b"\n", Sniffed::Text),
        ] {
            assert_eq!(sniff(input), expected, "{input:?}");
        }
    }

    #[test]
    fn request_lines_are_known_among_chat_lines() {
        assert!(is_http_request_line(b"POST /x HTTP/1.1"));
        assert!(is_http_request_line(b"GET / HTTP/1.0"));
        assert!(!is_http_request_line(b"GET me a coffee"));
        assert!(!is_http_request_line(b"what does GET / HTTP/1.1 mean?"));
    }
}
