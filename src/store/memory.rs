//! The store of a daemon without a file: it counts, and answers at once.

use super::{Answer, Ask, Store};
use crate::chat::{Chat, Output};
use crate::clock::Now;

/// See the [module documentation](super).
#[derive(Debug, Default)]
pub struct Memory {
    /// The id of the newest message of each room.
    newest_ids: Vec<u64>,
}

impl Memory {
    /// The next thing that a chat wants done, but for what it asks its store, which is this one.
    pub fn poll_output(&mut self, chat: &mut Chat, now: Now) -> Option<Output> {
        loop {
            match chat.poll_output()? {
                Output::Ask(ask) => self.ask(ask).into_iter().for_each(|answer| chat.answer(answer, now)),
                output => return Some(output),
            }
        }
    }
}

impl Store for Memory {
    fn ask(&mut self, ask: Ask) -> Option<Answer> {
        Some(match ask {
            Ask::Open { ticket, room, now_ms, .. } => {
                let slot = room as usize;
                if self.newest_ids.len() <= slot {
                    self.newest_ids.resize(slot + 1, 0);
                }
                self.newest_ids[slot] = 0;
                Answer::Opened { ticket, epoch_ms: now_ms, newest_id: 0, messages: Vec::new() }
            }
            Ask::Append { ticket, room, mut message, .. } => {
                let newest_id = &mut self.newest_ids[room as usize];
                *newest_id += 1;
                message.id = *newest_id;
                Answer::Appended { ticket, message }
            }
            Ask::Read { ticket, .. } => Answer::Found { ticket, messages: Vec::new(), more: false },
            Ask::Recall { ticket, .. } => Answer::Recalled { ticket, marks: Vec::new() },
            Ask::Keep { ticket, .. } => Answer::Kept { ticket: ticket? },
            Ask::Close { .. } | Ask::Forget { .. } => return None,
        })
    }
}
