//! Requests and numbers in words.

use std::collections::BTreeSet;

use crate::cli::client::protocol::{Event, Message, Request, room_of};
use crate::cli::client::sanitize::in_one_line;
use crate::cli::counted;

pub(super) fn message_of(event: Event) -> Option<(Message, bool)> {
    match event {
        Event::Public(message) => Some((message, false)),
        Event::Action(message) => Some((message, true)),
        _ => None,
    }
}

/// A request as somebody would type it; behind what was said stands the room, if that is not the current one.
pub(super) fn as_typed(request: &Request, current: &str) -> String {
    let is_said = matches!(request, Request::Public { .. } | Request::Action { .. });
    let label = room_of(request).filter(|room| is_said && *room != current);
    let label = label.map(|room| format!("#{room} ")).unwrap_or_default();
    label
        + &match request {
            Request::Public { body, .. } if body.starts_with('/') => format!("/{body}"),
            Request::Public { body, .. } => body.clone(),
            Request::Action { body, .. } => format!("/me {body}"),
            Request::Private { to, body } => format!("/msg {to} {body}"),
            Request::Users { room: Some(room) } if room != current => format!("/who {room}"),
            Request::Users { .. } => "/who".into(),
            Request::Rooms => "/rooms".into(),
            Request::History { limit, .. } => format!("/history {}", limit.unwrap_or_default()),
            Request::Nick { name } => format!("/nick {name}"),
            Request::Join { room } => format!("/join {room}"),
            Request::Leave { room: Some(room) } if room != current => format!("/leave {room}"),
            Request::Leave { .. } => "/leave".into(),
            Request::Ping => "/ping".into(),
            Request::Quit => "/quit".into(),
            Request::Hello { name, .. } => name.clone(),
        }
}

/// Who is here, in words.
pub(super) fn here(names: &BTreeSet<String>, total: usize) -> String {
    const NAMED: usize = 20;
    let total = total.max(names.len());
    let mut list: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    if total > list.len() && !list.is_empty() {
        list.push("…");
    }
    format!("{total} here: {}", list.join(", "))
}

/// Names behind what they are.
pub(super) fn listed(what: &str, names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("{what}: {}", if names.is_empty() { "nobody".into() } else { names.join(", ") })
}

/// Comings and goings in a crowd, in words.
pub(super) fn crowd(joined: u32, left: u32, total: usize) -> String {
    let parts = [(joined as usize, "joined"), (left as usize, "left"), (total, "here")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What stands above a page of so many older messages, if `first` is the oldest one known now.
pub(super) fn page_in_words(room: &str, count: usize, first: u64, more: bool) -> String {
    match first {
        _ if more => format!("{} from before (PgUp shows more):", counted(count, "message")),
        ..=1 => format!("this is the beginning of #{room}"),
        _ => format!("what was said in #{room} before that is no longer kept"),
    }
}

/// The reason of a `bye` in words.
pub(super) fn good_bye(why: &str) -> String {
    match why {
        "shutdown" => "the server is shutting down".into(),
        "slow" => "the server says we read too slowly".into(),
        "taken-over" => "the server heard of our last attempt only now".into(),
        "timeout" => "the server has not heard from us for too long".into(),
        why => format!("the server says good-bye: {why}"),
    }
}

/// The beginning of a text, in one line.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = &in_one_line(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

/// True if `name` stands in `body` as a word of its own, in whatever case.
pub(super) fn mentions(body: &str, name: &str) -> bool {
    let (body, name) = (body.to_lowercase(), name.to_lowercase());
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    !name.is_empty()
        && body.match_indices(&name).any(|(at, _)| {
            !inside(body[..at].chars().next_back()) && !inside(body[at + name.len()..].chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_mentioned_as_a_word() {
        for (body, expected) in [
            ("alice: look", true),
            ("ask ALICE!", true),
            ("@alice", true),
            ("malice", false),
            ("alice-2 is here", false),
            ("nobody", false),
        ] {
            assert_eq!(mentions(body, "Alice"), expected, "{body}");
        }
        assert!(mentions("ユキ、元気?", "ユキ"));
        assert!(!mentions("anything", ""));
    }

    #[test]
    fn what_is_shown_as_typed_could_be_typed() {
        let body = "/etc".to_owned();
        let request = Request::Public { body, room: Some("dev".into()) };
        assert_eq!(as_typed(&request, "dev"), "//etc");
        assert_eq!(as_typed(&request, "lobby"), "#dev //etc");
    }
}
