//! A typed line and what it asks for.
//!
//! `/name …` is a command, `//x` says `/x`, everything else is said. An unknown `/xyz` is refused
//! here and never sent: a mistyped `/msg` must not tell the room.

use super::protocol::Request;
use super::sanitize::clean;

/// Every command: its name, what it takes, what it does.
pub(super) const COMMANDS: [(&str, &str, &str); 10] = [
    ("/msg", "NAME TEXT", "tell NAME privately"),
    ("/who", "", "who is here"),
    ("/nick", "NAME", "take another name"),
    ("/me", "TEXT", "say what you do"),
    ("/join", "ROOM", "go to another room"),
    ("/rooms", "", "which rooms there are"),
    ("/history", "[N]", "show the last N lines (20)"),
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
    /// Something the server has to do.
    Ask(Request),
    /// The list of commands.
    Help,
    /// To leave.
    Quit,
}

/// Reads a typed line; `Ok(None)` for an empty one.
pub(super) fn parse(line: &str) -> Result<Option<Command>, String> {
    let line = clean(line);
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    if !line.starts_with('/') || line.starts_with("//") {
        let body = line.strip_prefix('/').unwrap_or(line).to_owned();
        return Ok(Some(Command::Ask(Request::Public { body })));
    }
    let (name, rest) = split_word(line);
    let request = match name {
        "/msg" => {
            let (to, body) = split_word(rest);
            Request::Private {
                to: given(name, to)?.trim_start_matches('@').to_owned(),
                body: given(name, body)?,
            }
        }
        "/who" => Request::Users,
        "/nick" => Request::Nick { name: one_word(name, rest)? },
        "/me" => Request::Action { body: given(name, rest)? },
        "/join" => Request::Join { room: one_word(name, rest)?.trim_start_matches('#').to_owned() },
        "/rooms" => Request::Rooms,
        "/history" => {
            Request::History { limit: Some(number_of_lines(name, rest)?), before: None, after: None }
        }
        "/ping" => Request::Ping,
        "/help" => return Ok(Some(Command::Help)),
        "/quit" => return Ok(Some(Command::Quit)),
        _ => {
            return Err(format!("unknown command {name}: nothing was sent (/help lists them, //… says it)"));
        }
    };
    Ok(Some(Command::Ask(request)))
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
            Ok(Some(Command::Ask(request))) => request,
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
    fn two_slashes_say_one() {
        let body = "/etc/passwd".to_owned();
        assert_eq!(request("//etc/passwd"), Request::Public { body });
    }

    #[test]
    fn a_mistyped_command_is_never_said() {
        assert!(parse("/mgs bob secret").unwrap_err().contains("/mgs"));
        assert!(parse("/").is_err());
    }

    #[test]
    fn arguments_are_checked_before_anything_is_sent() {
        for line in ["/msg", "/msg bob", "/nick", "/nick a b", "/history 0", "/history x"] {
            assert!(parse(line).unwrap_err().starts_with("usage: "), "{line}");
        }
        let (to, body) = ("bob".to_owned(), "hi there".to_owned());
        assert_eq!(request("/msg @bob  hi there"), Request::Private { to, body });
        let room = "dev".to_owned();
        assert_eq!(request("/join #dev"), Request::Join { room });
    }

    #[test]
    fn controls_and_empty_lines_are_not_sent() {
        assert_eq!(parse("  \t "), Ok(None));
        let body = "a[0mb".to_owned();
        assert_eq!(request("a\u{1b}[0mb"), Request::Public { body });
    }
}
