//! A typed line and what it asks for.
//!
//! `/name …` is a command, `//x` says `/x`, everything else is said. An unknown `/xyz` is refused
//! here and never sent: a mistyped `/msg` must not tell the room. What is pasted may have several
//! lines; it is one message, and only its first line can name a command.

use super::protocol::Request;
use super::sanitize::clean_body;
use crate::chat::BODY_LINES_MAX;

/// Every command: its name, what it takes, what it does.
pub(super) const COMMANDS: [(&str, &str, &str); 13] = [
    ("/msg", "NAME TEXT", "tell NAME privately (also /w)"),
    ("/who", "[ROOM]", "who is here, or there (also /names)"),
    ("/nick", "NAME", "take another name"),
    ("/me", "TEXT", "say what you do"),
    ("/join", "ROOM", "enter one more room, or turn to it (as Tab, Alt+N and F1 … F9 do)"),
    ("/leave", "[ROOM]", "leave the current room, or ROOM (also /part)"),
    ("/rooms", "", "which rooms there are (also /list)"),
    ("/history", "[N [M]]", "show the last N lines (20) of the room, but for the last M (PgUp: older ones)"),
    ("/ignore", "[NAME]", "hide what NAME says, until you leave; alone: whom you ignore"),
    ("/unignore", "NAME", "show it again"),
    ("/ping", "", "how far away the server is"),
    ("/help", "", "this list; //x says /x"),
    ("/quit", "", "leave (or Ctrl-D)"),
];

/// How many lines `/history` without a number shows.
const HISTORY_LINES: usize = 20;
/// The most lines one `history` request may ask for.
const HISTORY_LINES_MAX: usize = 1000;

/// What a typed line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Something the server has to do; a history, but for so many of the newest messages.
    Ask(Request, Option<u64>),
    /// To hide what somebody says; without a name, who that is.
    Ignore(Option<String>),
    /// To show it again.
    Unignore(String),
    /// To enter this room, or to turn to it.
    Join(String),
    /// To leave this room, or the current one.
    Leave(Option<String>),
    /// The list of commands.
    Help,
    /// To leave.
    Quit,
}

/// Reads what was typed; `Ok(None)` if that is nothing.
pub(super) fn parse(typed: &str) -> Result<Option<Command>, String> {
    let typed = clean_body(typed);
    let text = typed.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('/') || text.starts_with("//") {
        // The first line of several is indented as the others are.
        let said = if text.contains('\n') { typed.trim_start_matches('\n').trim_end() } else { text };
        let body = text.strip_prefix('/').unwrap_or(said).to_owned();
        return Ok(Some(Command::Ask(Request::Public { body, room: None }, None)));
    }
    let (name, rest) = split_word(text);
    let name = name.to_lowercase();
    let name = match name.as_str() {
        "/w" => "/msg",
        "/names" => "/who",
        "/list" => "/rooms",
        "/part" => "/leave",
        name => name,
    };
    let mut skip = None;
    let request = match name {
        "/msg" => {
            let (to, body) = split_word(rest);
            Request::Private { to: given(name, to)?.trim_start_matches('@').into(), body: given(name, body)? }
        }
        "/me" => Request::Action { body: given(name, rest)?, room: None },
        // All others take one line.
        _ if text.contains('\n') && is_command(name) => return Err(usage(name)),
        "/who" if rest.is_empty() => Request::Users { room: None },
        "/who" => Request::Users { room: Some(one_word(name, rest)?) },
        "/nick" => Request::Nick { name: one_word(name, rest)? },
        "/join" => return Ok(Some(Command::Join(one_word(name, rest)?))),
        "/leave" if rest.is_empty() => return Ok(Some(Command::Leave(None))),
        "/leave" => return Ok(Some(Command::Leave(Some(one_word(name, rest)?)))),
        "/rooms" => Request::Rooms,
        "/history" => {
            let (lines, but) = split_word(rest);
            if !but.is_empty() {
                skip = Some(but.parse().map_err(|_| usage(name))?);
            }
            let limit = Some(number_of_lines(name, lines)?);
            Request::History { room: None, limit, before: None, after: None }
        }
        "/ignore" if rest.is_empty() => return Ok(Some(Command::Ignore(None))),
        "/ignore" => {
            return Ok(Some(Command::Ignore(Some(one_word(name, rest)?.trim_start_matches('@').into()))));
        }
        "/unignore" => return Ok(Some(Command::Unignore(one_word(name, rest)?))),
        "/ping" => Request::Ping,
        "/help" => return Ok(Some(Command::Help)),
        "/quit" => return Ok(Some(Command::Quit)),
        name if is_command(name) => return Err(usage(name)),
        _ => {
            return Err(format!("unknown command {name}: nothing was sent (/help lists them, //… says it)"));
        }
    };
    Ok(Some(Command::Ask(request, skip)))
}

/// Why a message that was typed is too long for a server that takes so many bytes, if it is.
pub(super) fn too_long(typed: &str, bytes_max: usize) -> Option<String> {
    let Ok(Some(Command::Ask(
        Request::Public { body, .. } | Request::Action { body, .. } | Request::Private { body, .. },
        _,
    ))) = parse(typed)
    else {
        return None;
    };
    let sizes = [(body.len(), bytes_max, "bytes"), (body.split('\n').count(), BODY_LINES_MAX, "lines")];
    let (size, most, what) = sizes.into_iter().find(|(size, most, _)| size > most)?;
    Some(format!("not sent: a message has at most {most} {what}, this one {size}"))
}

fn is_command(name: &str) -> bool {
    COMMANDS.iter().any(|(known, ..)| *known == name)
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn given(command: &str, argument: &str) -> Result<String, String> {
    if argument.is_empty() {
        return Err(usage(command));
    }
    Ok(argument.to_owned())
}

fn one_word(command: &str, argument: &str) -> Result<String, String> {
    if argument.contains(char::is_whitespace) {
        return Err(usage(command));
    }
    given(command, argument)
}

fn number_of_lines(command: &str, argument: &str) -> Result<usize, String> {
    if argument.is_empty() {
        return Ok(HISTORY_LINES);
    }
    match argument.parse() {
        Ok(n @ 1..=HISTORY_LINES_MAX) => Ok(n),
        _ => Err(usage(command)),
    }
}

fn usage(command: &str) -> String {
    let (_, takes, does) =
        COMMANDS.iter().find(|(name, ..)| *name == command).expect("only listed commands are parsed");
    format!("usage: {command} {takes} – {does}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        match parse(line) {
            Ok(Some(Command::Ask(request, None))) => request,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    #[test]
    fn every_listed_command_is_known() {
        for (name, ..) in COMMANDS {
            let outcome = parse(&format!("{name} 1 x"));
            assert!(!matches!(&outcome, Err(text) if text.starts_with("unknown")), "{outcome:?}");
        }
    }

    #[test]
    fn commands_are_known_in_any_case_and_by_the_names_they_have_elsewhere() {
        let body = "waves".to_owned();
        assert_eq!(request("/ME waves"), Request::Action { body, room: None });
        let (to, body) = ("bob".to_owned(), "psst".to_owned());
        assert_eq!(request("/W bob psst"), Request::Private { to, body });
        assert_eq!((request("/names"), request("/list")), (Request::Users { room: None }, Request::Rooms));
        assert_eq!(parse("/part"), Ok(Some(Command::Leave(None))));
        assert_eq!(parse("/Part #dev"), Ok(Some(Command::Leave(Some("#dev".into())))));
        assert_eq!(parse("/Ignore @bob"), Ok(Some(Command::Ignore(Some("bob".into())))));
    }

    #[test]
    fn several_lines_are_one_message_with_its_indentation() {
        let body = "  if x:\n\t/quit\n\n  y".to_owned();
        assert_eq!(request(&format!("\n{body}\n\n")), Request::Public { body, room: None });
        let body = "one\n  two".to_owned();
        assert_eq!(request("/me one\n  two"), Request::Action { body, room: None });
        let (to, body) = ("bob".to_owned(), "one\n/two".to_owned());
        assert_eq!(request("/msg bob one\n/two"), Request::Private { to, body });
        for text in ["/who\nis here", "/quit\nx", "/nick a\nb"] {
            assert!(parse(text).unwrap_err().starts_with("usage: "), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_is_known_before_it_is_sent() {
        assert_eq!(too_long(&"x".repeat(100), 100), None);
        assert!(too_long(&"ユ".repeat(34), 100).unwrap().contains("at most 100 bytes, this one 102"));
        assert_eq!(too_long(&format!("/msg bob {}", "x".repeat(100)), 100), None);
        assert_eq!(too_long(&"x\n".repeat(BODY_LINES_MAX), 4096), None);
        assert!(
            too_long(&"x\n".repeat(BODY_LINES_MAX + 1), 4096).unwrap().contains("128 lines, this one 129")
        );
    }

    #[test]
    fn arguments_are_checked_before_anything_is_sent() {
        for line in [
            "/msg",
            "/msg bob",
            "/nick",
            "/nick a b",
            "/history 0",
            "/history x",
            "/history 1 x",
            "/who a b",
            "/join",
        ] {
            assert!(parse(line).unwrap_err().starts_with("usage: "), "{line}");
        }
        assert!(parse("/").is_err());
        let (to, body) = ("bob".to_owned(), "hi there".to_owned());
        assert_eq!(request("/msg @bob  hi there"), Request::Private { to, body });
        assert_eq!(parse("/join #dev"), Ok(Some(Command::Join("#dev".into()))));
        let room = Some("dev".to_owned());
        assert_eq!(request("/who dev"), Request::Users { room });
        let (room, limit) = (None, Some(30));
        let history = Request::History { room, limit, before: None, after: None };
        assert_eq!(parse("/history 30 5"), Ok(Some(Command::Ask(history, Some(5)))));
    }

    #[test]
    fn controls_and_empty_lines_are_not_sent() {
        assert_eq!(parse("  \t "), Ok(None));
        let body = "a[0mb".to_owned();
        assert_eq!(request("a\u{1b}[0mb"), Request::Public { body, room: None });
    }
}
