//! Encodings: a content in a framing. What is said is encoded once for each of them that somebody reads.

use super::{Notice, json, length, text, websocket};
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
    /// By a length in front.
    Length,
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
    Encoding { content: Content::Text, framing: Framing::Length },
    Encoding { content: Content::Json, framing: Framing::Length },
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
            Content::Text => text::event(event, &mut |line| self.frame(out, line)),
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
            Framing::Length => length::frame(out, content.as_bytes()),
            Framing::WebSocket => websocket::text_frame(out, content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Body, Command, HistoryQuery, Home, Name, Output};
    use crate::clock::Now;
    use crate::limits::Limits;

    #[test]
    fn every_encoding_has_a_number_of_its_own() {
        for (number, &encoding) in TABLE.iter().enumerate() {
            assert_eq!(usize::from(encoding.variant()), number);
            assert_eq!(Encoding::of(encoding.variant()), encoding);
        }
    }

    /// Otherwise a short request is answered by a list as long as whoever filled it wanted it.
    #[test]
    fn an_answer_is_bounded_by_what_is_sent_and_says_that_there_is_more() {
        for feed_bytes in [None, Some(256 * 1024), Some(40 * 1024)] {
            let limits = Limits {
                feed_bytes,
                max_rooms: None,
                max_rooms_per_ip: None,
                room_rate: None,
                quiet_above: None,
                ..Limits::default()
            };
            let max = limits.answer_bytes_max();
            let mut chat = Chat::new(limits, Now::default());
            let mut member = None;
            for i in 0..1500 {
                let name = Name::parse(&format!("{}{i}", "名".repeat(28))).unwrap();
                let entered =
                    chat.enter(i, Home::default(), name, RoomName::lobby(), &None, Now::default()).unwrap();
                member = Some(entered);
                let room = RoomName::parse(&format!("{}{i}", "室".repeat(28))).unwrap();
                let _ = chat.command(entered, Command::Join(room), &None, Now::default());
                let body = Body::new(&"\"\\\t".repeat(30)).unwrap();
                let _ = chat.command(entered, Command::Join(RoomName::lobby()), &None, Now::default());
                let _ = chat.command(entered, Command::Say(body), &None, Now::default());
            }
            let query = HistoryQuery { limit: 1000, ..HistoryQuery::default() };
            while chat.poll_output().is_some() {}
            for command in
                [Command::Who, Command::Rooms, Command::History(query), Command::Join(RoomName::lobby())]
            {
                let shown = format!("{command:?}");
                let reference = Some("r".repeat(64).into());
                chat.command(member.unwrap(), command, &reference, Now::default()).unwrap();
                while let Some(output) = chat.poll_output() {
                    let Output::ToMember { reply, .. } = output else { continue };
                    for encoding in TABLE {
                        let mut out = Vec::new();
                        encoding.reply(&mut out, 0, &reply, &reference, &chat);
                        assert!(out.len() <= max, "{encoding:?} {shown}: {}", out.len());
                        assert!(
                            out.len() > max / 2 || shown.contains("Join"),
                            "{encoding:?} {shown}: {}",
                            out.len()
                        );
                        let out = String::from_utf8_lossy(&out);
                        let says_more = ["\"more\":true", " more", " for those before them"]
                            .iter()
                            .any(|more| out.contains(more));
                        assert!(says_more || shown.contains("Join"), "{encoding:?} {shown}");
                    }
                }
            }
        }
    }
}
