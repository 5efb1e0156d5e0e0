//! Encodings: a content in a framing. What is said is encoded once for each of them that somebody reads.

use super::{Notice, json, text, websocket};
use crate::chat::{Chat, Event, Reference, Reply, RoomName};

/// What is in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One line for people.
    Text,
    /// One JSON object for programs.
    Json,
}

/// How frames are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By a newline.
    Line,
    /// WebSocket text frames (RFC 6455).
    WebSocket,
}

/// A content in a framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// What is in a frame.
    pub content: Content,
    /// How frames are told apart.
    pub framing: Framing,
}

/// All encodings; the place of one here is the variant of its feed.
const TABLE: &[Encoding] = &[
    Encoding { content: Content::Text, framing: Framing::Line },
    Encoding { content: Content::Json, framing: Framing::Line },
    Encoding { content: Content::Text, framing: Framing::WebSocket },
    Encoding { content: Content::Json, framing: Framing::WebSocket },
];

impl Encoding {
    /// The number of this encoding.
    #[must_use]
    pub fn variant(self) -> u8 {
        TABLE.iter().position(|&encoding| encoding == self).unwrap_or_default() as u8
    }

    /// The encoding with this number.
    #[must_use]
    pub fn of(variant: u8) -> Self {
        TABLE[usize::from(variant)]
    }

    /// Appends an event, in whole frames, to `out`.
    pub fn event(self, out: &mut Vec<u8>, room: &RoomName, at_ms: u64, event: &Event) {
        match self.content {
            Content::Text => self.frame(out, &text::event(event)),
            Content::Json => self.frame(out, &json::event(room, at_ms, event)),
        }
    }

    /// Appends a reply of the chat, in whole frames, to `out`. Text needs several for some, and none for others.
    pub fn reply(self, out: &mut Vec<u8>, at_ms: u64, reply: &Reply, reference: &Reference, chat: &Chat) {
        match self.content {
            Content::Text => text::reply(at_ms, reply, chat, &mut |line| self.frame(out, line)),
            Content::Json => self.frame(out, &json::reply(at_ms, reply, reference, chat)),
        }
    }

    /// Appends a notice, in whole frames, to `out`.
    pub fn notice(self, out: &mut Vec<u8>, at_ms: u64, notice: &Notice, reference: &Reference) {
        match self.content {
            Content::Text => text::notice(notice, &mut |line| self.frame(out, line)),
            Content::Json => {
                if let Some(document) = json::notice(at_ms, notice, reference) {
                    self.frame(out, &document);
                }
            }
        }
    }

    /// Appends one frame that holds `content` to `out`.
    pub fn frame(self, out: &mut Vec<u8>, content: &str) {
        match self.framing {
            Framing::Line => {
                out.extend_from_slice(content.as_bytes());
                out.push(b'\n');
            }
            Framing::WebSocket => websocket::text_frame(out, content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_a_number_of_its_own() {
        for (number, &encoding) in TABLE.iter().enumerate() {
            assert_eq!(usize::from(encoding.variant()), number);
            assert_eq!(Encoding::of(encoding.variant()), encoding);
        }
    }
}
