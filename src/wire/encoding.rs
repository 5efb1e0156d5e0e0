//! Encodings: a content in a framing. What is said is encoded once for each of them that somebody reads.

use super::{Notice, json, length, text, websocket};
use crate::chat::{Chat, Event, Reference, Reply, RoomName};

/// What is called with what is in one frame.
pub(super) type Put<'a> = &'a mut dyn FnMut(&str);

/// How a content writes what there is to tell: each calls `put` once or several times, or not at all.
#[derive(Debug)]
pub(super) struct Writer {
    /// What everybody in a room learns, at a time in Unix milliseconds.
    pub(super) event: fn(&RoomName, u64, &Event, Put<'_>),
    /// What the chat answers one member.
    pub(super) reply: fn(u64, &Reply, &Reference, &Chat, Put<'_>),
    /// What the server itself says to one client.
    pub(super) notice: fn(u64, &Notice, &Reference, Put<'_>),
}

/// The contents, one a line: `Name: its writer;`.
macro_rules! contents {
    ($($(#[doc = $doc:literal])+ $name:ident: $writer:expr;)+) => {
        /// What is in a frame.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Content {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Content {
            const ALL: &[Self] = &[$(Self::$name,)+];

            fn writer(self) -> &'static Writer {
                match self {
                    $(Self::$name => &$writer,)+
                }
            }
        }
    };
}

contents! {
    /// One line for people.
    Text: text::WRITER;
    /// The same, with the room in front: what people are told of rooms that are not their current one.
    Labelled: text::LABELLED;
    /// One JSON object for programs.
    Json: json::WRITER;
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

impl Framing {
    const ALL: [Self; 3] = [Self::Line, Self::Length, Self::WebSocket];
}

/// A content in a framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// What is in a frame.
    pub content: Content,
    /// How frames are told apart.
    pub framing: Framing,
}

impl Encoding {
    /// How many there are. Of those that nobody reads, no feed is made.
    pub const COUNT: u8 = (Content::ALL.len() * Framing::ALL.len()) as u8;

    /// The number of this encoding, which is the variant of its feeds.
    #[must_use]
    pub fn variant(self) -> u8 {
        (self.content as usize * Framing::ALL.len() + self.framing as usize) as u8
    }

    /// The encoding with this number.
    #[must_use]
    pub fn of(variant: u8) -> Self {
        let (content, framing) =
            (usize::from(variant) / Framing::ALL.len(), usize::from(variant) % Framing::ALL.len());
        Self { content: Content::ALL[content], framing: Framing::ALL[framing] }
    }

    /// How somebody who reads this is told of rooms other than the current one.
    #[must_use]
    pub fn of_other_rooms(self) -> Self {
        match self.content {
            Content::Text => Self { content: Content::Labelled, ..self },
            Content::Labelled | Content::Json => self,
        }
    }

    /// Appends an event, in whole frames, to `out`.
    pub fn event(self, out: &mut Vec<u8>, room: &RoomName, at_ms: u64, event: &Event) {
        (self.content.writer().event)(room, at_ms, event, &mut |content| self.frame(out, content));
    }

    /// Appends a reply of the chat, in whole frames, to `out`.
    pub fn reply(self, out: &mut Vec<u8>, at_ms: u64, reply: &Reply, reference: &Reference, chat: &Chat) {
        (self.content.writer().reply)(at_ms, reply, reference, chat, &mut |content| self.frame(out, content));
    }

    /// Appends a notice, in whole frames, to `out`.
    pub fn notice(self, out: &mut Vec<u8>, at_ms: u64, notice: &Notice, reference: &Reference) {
        (self.content.writer().notice)(at_ms, notice, reference, &mut |content| self.frame(out, content));
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
    use crate::chat::{Answer, Ask, Body, Command, Hello, HistoryQuery, Home, Name, Output};
    use crate::clock::Now;
    use crate::limits::Limits;

    #[test]
    fn every_encoding_has_a_number_of_its_own() {
        let numbers: Vec<u8> = Content::ALL
            .iter()
            .flat_map(|&content| Framing::ALL.map(|framing| Encoding { content, framing }))
            .inspect(|&encoding| assert_eq!(Encoding::of(encoding.variant()), encoding))
            .map(Encoding::variant)
            .collect();
        assert_eq!(numbers, (0..Encoding::COUNT).collect::<Vec<_>>());
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
                    chat.enter(i, Home::default(), Hello::new(name, None), &None, Now::default()).unwrap();
                member = Some(entered);
                let room = RoomName::parse(&format!("{}{i}", "室".repeat(28))).unwrap();
                let _ = chat.command(entered, Command::Join(room), &None, Now::default());
                let body = Body::new(&"\"\\\t".repeat(30)).unwrap();
                let _ = chat.command(entered, Command::Join(RoomName::lobby()), &None, Now::default());
                let _ = chat.command(entered, Command::Say { room: None, body }, &None, Now::default());
            }
            let query = HistoryQuery { limit: 1000, ..HistoryQuery::default() };
            let mut id = 0;
            while let Some(output) = chat.poll_output() {
                if let Output::Ask(Ask::Append { ticket, mut message, .. }) = output {
                    id += 1;
                    message.id = id;
                    chat.answer(Answer::Appended { ticket, message }, Now::default());
                }
            }
            let (who, history) = (Command::Who { room: None }, Command::History { room: None, query });
            for command in [who, Command::Rooms, history, Command::Join(RoomName::lobby())] {
                let shown = format!("{command:?}");
                let reference = Some("r".repeat(64).into());
                chat.command(member.unwrap(), command, &reference, Now::default()).unwrap();
                while let Some(output) = chat.poll_output() {
                    let Output::ToMember { reply, .. } = output else { continue };
                    for encoding in (0..Encoding::COUNT).map(Encoding::of) {
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
