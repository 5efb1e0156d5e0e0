//! The text dialect: what a person types into netcat, and what netcat shows.
//!
//! The first character of a server line tells its kind; no user can make a line of another kind. All of them stand in
//! `PROTOCOL.md`.

use std::fmt::Write;
use std::rc::Rc;

use time::OffsetDateTime;

use super::encoding::{Put, Writer};
use super::{Ask, Notice, names, place_in_answer, rooms};
use crate::chat::{
    Body, Bye, Chat, Command, ErrorCode, Event, HistoryQuery, Message, Name, Page, Refusal, Reply, RoomName,
    RoomView,
};

/// Lines for people.
pub(super) const WRITER: Writer = Writer {
    event: |_, _, event, put| self::event(event, put),
    reply: |at_ms, reply, _, chat, put| self::reply(at_ms, reply, chat, put),
    notice: |_, notice, _, put| self::notice(notice, put),
};

/// The same with the room in front. A name does not begin with `#`, so no line of a person looks like one.
pub(super) const LABELLED: Writer = Writer {
    event: |room, _, event, put| self::event(event, &mut |line| put(&format!("{room} {line}"))),
    ..WRITER
};

/// What a client is told that has still to say its name, as the answer to an empty line.
pub const GREETING: &str = concat!("* roomd ", env!("CARGO_PKG_VERSION"), " - your name?");

/// `/history` without a number shows so many messages.
const HISTORY_DEFAULT: usize = 20;
/// A welcome lists at most so many names.
const WELCOME_NAMES_MAX: usize = 20;
/// What a line of `/rooms` has for each room besides its name: at most so many bytes.
const ROOM_BYTES: usize = 24;
/// What an older line has besides who said what: at most so many bytes, those of a frame included.
const OLDER_BYTES: usize = 40;
/// `/who` lists at most so many names.
const WHO_NAMES_MAX: usize = 500;

const HELP: [&str; 13] = [
    "* what you type is said to everybody in your current room; a line that begins with / is a command:",
    "* /msg NAME TEXT - tell NAME something that nobody else sees",
    "* /me TEXT - do something",
    "* /who [ROOM] - who is here, or there",
    "* /nick NAME - change your name",
    "* /join ROOM - enter one more room, or make one, and speak there; or go back to one you are in",
    "* /leave [ROOM] - leave your current room, or ROOM",
    "* /ignore NAME - hear nothing of somebody, or list whom; /unignore NAME - hear it again",
    "* /rooms - which rooms there are, and which you are in",
    "* /history [N [M]] - the last N messages of your current room; those before the last M",
    "* /ping - is the server there?",
    "* /help - this list; /quit - leave",
    "* //TEXT - say a line that begins with /",
];

/// What a line asks for; none if it is empty.
///
/// # Errors
/// The refusal its sender gets.
pub fn parse(line: &str) -> Result<Option<Ask>, Refusal> {
    // A space that got in front of /msg must not tell everybody.
    let unindented = line.trim_start();
    let Some(command) = unindented.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
        if hides_command(line) {
            let text = "there is something invisible in front of the /; say the command again";
            return Err(Refusal::new(ErrorCode::BadArgument, text));
        }
        let said = unindented.strip_prefix('/').unwrap_or(line);
        return Ok(Body::new(said).map(|body| Ask::Command(Command::Say { room: None, body })));
    };
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    let command = match word.to_ascii_lowercase().as_str() {
        "msg" | "w" => {
            let (to, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            Command::Tell {
                to: to.into(),
                body: Body::new(text.trim()).ok_or_else(|| usage("/msg NAME TEXT"))?,
            }
        }
        "me" => Command::Act { room: None, body: Body::new(rest).ok_or_else(|| usage("/me TEXT"))? },
        "who" | "names" => Command::Who { room: room(rest)? },
        "nick" if rest.is_empty() => return Err(usage("/nick NAME")),
        "nick" => Command::Nick(Name::parse(rest)?),
        "join" if rest.is_empty() => return Err(usage("/join ROOM")),
        "leave" | "part" => Command::Leave { room: room(rest)? },
        "ignore" if rest.is_empty() => Command::Ignored,
        "ignore" => Command::Ignore(Name::parse(rest)?),
        "unignore" if rest.is_empty() => return Err(usage("/unignore NAME")),
        "unignore" => Command::Unignore(Name::parse(rest)?),
        "join" => Command::Join(RoomName::parse(rest)?),
        "rooms" | "list" => Command::Rooms,
        "history" => {
            let mut counts = rest.split_whitespace().map(str::parse::<usize>);
            let (limit, skip) =
                (counts.next().unwrap_or(Ok(HISTORY_DEFAULT)), counts.next().unwrap_or(Ok(0)));
            let (Ok(limit @ 1..), Ok(skip), None) = (limit, skip, counts.next()) else {
                return Err(usage(
                    "/history, or /history 50, or /history 50 100 for those before the last 100",
                ));
            };
            Command::History { room: None, query: HistoryQuery { limit, skip, ..HistoryQuery::default() } }
        }
        "ping" => return Ok(Some(Ask::Ping)),
        "help" => return Ok(Some(Ask::Help)),
        "quit" => return Ok(Some(Ask::Quit)),
        _ => {
            let shown: String = word.chars().filter(|c| c.is_alphanumeric()).take(20).collect();
            let text = format!("there is no /{shown}; /help lists what there is, //{shown} says it");
            return Err(Refusal::new(ErrorCode::UnknownCommand, text));
        }
    };
    Ok(Some(Ask::Command(command)))
}

/// Whether a line is a command but for what nobody sees in front of it, such as an arrow key: what was meant for one
/// must not be said to everybody.
fn hides_command(line: &str) -> bool {
    let is_of_key = |c: char| matches!(c, '[' | 'O' | ';' | '0'..='9' | 'A'..='Z' | '~');
    let is_invisible = |(place, piece): (usize, &str)| {
        Body::new(if place == 0 { piece } else { piece.trim_start_matches(is_of_key) }).is_none()
    };
    let Some((before, command)) = line.split_once('/') else { return false };
    !command.starts_with('/') && before.split('\u{1b}').enumerate().all(is_invisible)
}

/// The room that a command names, if it names one.
fn room(argument: &str) -> Result<Option<RoomName>, Refusal> {
    if argument.is_empty() { Ok(None) } else { RoomName::parse(argument).map(Some) }
}

fn usage(right: &str) -> Refusal {
    Refusal::new(ErrorCode::BadArgument, format!("say {right}"))
}

/// Calls `put` with each line of an event.
pub fn event(event: &Event, put: Put<'_>) {
    let line = match event {
        Event::Message(message) => return said(message, "", put),
        Event::Joined { name, .. } => format!("* {name} joined"),
        Event::Left { name, why: None, .. } => format!("* {name} left"),
        Event::Left { name, why: Some(why), .. } => format!("* {name} left ({why})"),
        Event::Renamed { from, to } => format!("* {from} is now {to}"),
        Event::Crowd { joined, left: 0, total } => format!("* {joined} joined, {total} here"),
        Event::Crowd { joined: 0, left, total } => format!("* {left} left, {total} here"),
        Event::Crowd { joined, left, total } => format!("* {joined} joined, {left} left, {total} here"),
    };
    put(&line);
}

/// Calls `put` with each line of a message, `prefix` in front of it.
fn said(message: &Message, prefix: &str, put: Put<'_>) {
    let Message { from, body, .. } = message;
    for line in body.lines() {
        put(&if message.is_action {
            format!("{prefix}** {from} {line}")
        } else {
            format!("{prefix}{from}: {line}")
        });
    }
}

/// Calls `put` with each line of a reply.
pub fn reply(at_ms: u64, reply: &Reply, chat: &Chat, put: Put<'_>) {
    match reply {
        Reply::Welcome { name, room, history, .. } => {
            let room = chat.room(*room);
            put(&format!(
                "* welcome {name} - {}, {}",
                room.name(),
                here(chat, room, Some(name), WELCOME_NAMES_MAX)
            ));
            older(at_ms, fit(chat, &room.history(*history)).0, put);
        }
        Reply::Left { room, .. } => put(&format!("* you left {}", chat.room(*room).name())),
        Reply::NoRoom { room, refusal: Refusal { code, text } } => {
            put(&format!("! {}: {room}: {text}", code.as_str()));
        }
        Reply::Private { from, body, .. } => body.lines().for_each(|line| put(&format!("@{from}: {line}"))),
        Reply::Users { room } => put(&format!("* {}", here(chat, chat.room(*room), None, WHO_NAMES_MAX))),
        Reply::Rooms { joined } => {
            let mark = |room: &RoomView<'_>| match joined.iter().position(|&number| number == room.number()) {
                None => "",
                Some(0) => ", current",
                Some(_) => ", joined",
            };
            let show = |room: &RoomView<'_>| format!("{} ({}{})", room.name(), room.total(), mark(room));
            let list: Vec<String> = rooms(chat, ROOM_BYTES).iter().map(show).collect();
            let total = chat.rooms().len();
            let noun = if total == 1 { "room" } else { "rooms" };
            put(&format!("* {total} {noun}: {}{}", list.join(", "), and_more(total - list.len())));
        }
        Reply::History { query, page, .. } => {
            let (messages, has_more) = fit(chat, page);
            let shown = messages.len();
            older(at_ms, messages, put);
            if shown == 0 {
                put(&match query.skip {
                    0 => "* nothing was said here yet".into(),
                    skip => format!("* there are no messages before the last {skip}"),
                });
            } else if has_more && shown < query.limit {
                let asked = if page.more { query.limit } else { page.messages.len() };
                let (left, before) = (asked - shown, query.skip + shown);
                put(&format!(
                    "* {shown} of {asked} messages; for those before them: /history {left} {before}"
                ));
            }
        }
        Reply::NotSaved { refusal } => put(&refused(refusal)),
        Reply::Ignored { names } if names.is_empty() => put("* you ignore nobody"),
        Reply::Ignored { names } => {
            let names: Vec<&str> = names.iter().map(Name::as_str).collect();
            put(&format!("* you ignore {}", names.join(", ")));
        }
        // Who typed it sees it in the terminal already.
        Reply::PrivateSent { .. } | Reply::Ack { .. } => {}
        // Only programs say which rooms they want to be in, all at once.
        Reply::Room { .. } => {}
    }
}

/// Calls `put` with each line of a notice.
pub fn notice(notice: &Notice, put: Put<'_>) {
    match notice {
        Notice::Pong => put("* pong"),
        Notice::Help => HELP.into_iter().for_each(put),
        Notice::Refused(refusal) => put(&refused(refusal)),
        Notice::Bye(Bye::Quit) => put("* bye"),
        Notice::Bye(Bye::Shutdown) => put("* server is shutting down"),
        Notice::Bye(Bye::Slow) => put("* bye: you did not keep up with the room (slow)"),
        Notice::Bye(Bye::Timeout) => put("* bye: nothing was heard of you for too long (timeout)"),
        Notice::Bye(Bye::TakenOver) => put("* bye: another connection goes on with your session"),
        Notice::Bye(Bye::Nameless) => put("* bye: you did not say a name in time (timeout)"),
    }
}

/// The line of a refusal.
#[must_use]
pub fn refused(refusal: &Refusal) -> String {
    format!("! {}: {}", refusal.code.as_str(), refusal.text)
}

/// `3 here: alice, bob, carol`
fn here(chat: &Chat, room: RoomView<'_>, always: Option<&Name>, max: usize) -> String {
    let names = names(chat, room, always, max, 1);
    let mut line = format!("{} here: ", room.total());
    for (i, name) in names.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let _ = write!(line, "{comma}{name}");
    }
    line + &and_more(room.total() - names.len())
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

/// The messages of a page, as far as they fit into an answer, and whether there are more.
fn fit<'a>(chat: &Chat, page: &'a Page) -> (&'a [Rc<Message>], bool) {
    let mut fits = place_in_answer(chat, 1);
    let bytes =
        |m: &Message| m.body.lines().count() * (OLDER_BYTES + m.from.as_str().len()) + m.body.as_str().len();
    page.fit(|m| fits(bytes(m)))
}

fn older(now_ms: u64, messages: &[Rc<Message>], put: Put<'_>) {
    let today = at(now_ms).date();
    for message in messages {
        let time = at(message.at_ms);
        let (hour, minute) = (time.hour(), time.minute());
        let date = if time.date() == today { String::new() } else { format!("{} ", time.date()) };
        said(message, &format!("~ {date}{hour:02}:{minute:02} "), put);
    }
}

fn at(unix_ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> String {
        match parse(line) {
            Ok(None) => "nothing".into(),
            Ok(Some(Ask::Command(Command::Say { room: None, body }))) => format!("say {body}"),
            Ok(Some(Ask::Command(Command::Act { room: None, body }))) => format!("act {body}"),
            Ok(Some(Ask::Command(Command::Tell { to, body }))) => format!("tell {to} {body}"),
            Ok(Some(ask)) => format!("{ask:?}").to_lowercase(),
            Err(refusal) => refused(&refusal),
        }
    }

    const HISTORY_USAGE: &str =
        "! bad-argument: say /history, or /history 50, or /history 50 100 for those before the last 100";

    #[test]
    fn what_lines_mean() {
        for (line, expected) in [
            ("hello", "say hello"),
            ("", "nothing"),
            ("   ", "nothing"),
            ("//shrug", "say /shrug"),
            ("///", "say //"),
            (" /msg bob secret", "tell bob secret"),
            ("\t//x", "say /x"),
            (" indented", "say  indented"),
            ("/msg bob psst  psst", "tell bob psst  psst"),
            ("/msg  bob   psst", "tell bob psst"),
            ("/me waves", "act waves"),
            ("/ping", "ping"),
            ("/PING", "ping"),
            ("/ME waves", "act waves"),
            ("/w bob psst", "tell bob psst"),
            ("/names", "command(who { room: none })"),
            ("/who #Dev", "command(who { room: some(roomname(\"dev\")) })"),
            ("/part", "command(leave { room: none })"),
            ("/leave dev", "command(leave { room: some(roomname(\"dev\")) })"),
            ("#dev bob: hi", "say #dev bob: hi"),
            ("/ignore", "command(ignored)"),
            ("/nick", "! bad-argument: say /nick NAME"),
            ("/join", "! bad-argument: say /join ROOM"),
            ("/list", "command(rooms)"),
            ("/quit now", "quit"),
            ("/msg bob", "! bad-argument: say /msg NAME TEXT"),
            ("/msg", "! bad-argument: say /msg NAME TEXT"),
            ("/me", "! bad-argument: say /me TEXT"),
            (
                "/history 5 7",
                "command(history { room: none, query: historyquery { limit: 5, before: none, after: none, skip: 7 } })",
            ),
            ("/history x", HISTORY_USAGE),
            ("/history 0", HISTORY_USAGE),
            ("/history 5 7 9", HISTORY_USAGE),
            (
                "/mgs bob secret",
                "! unknown-command: there is no /mgs; /help lists what there is, //mgs says it",
            ),
            (
                "\u{1b}[A\u{200b}/msg bob x",
                "! bad-argument: there is something invisible in front of the /; say the command again",
            ),
            ("\u{feff}//x", "say //x"),
            ("a/b", "say a/b"),
            ("/\u{1b}[2J", "! unknown-command: there is no /2J; /help lists what there is, //2J says it"),
            ("/nick a b", "! name-bad: a name has 1 to 32 characters: letters, digits, _ - ."),
        ] {
            assert_eq!(parsed(line), expected, "{line:?}");
        }
    }

    #[test]
    fn older_lines_carry_the_date_if_it_is_not_today() {
        let message = |at_ms| Message {
            id: 1,
            at_ms,
            from: Name::parse("bob").unwrap(),
            is_action: false,
            body: Body::new("hi").unwrap(),
        };
        let day = 24 * 3600 * 1000;
        let mut lines = Vec::new();
        older(
            20_000 * day + 1,
            &[message(20_000 * day - 60_000), message(20_000 * day)].map(Rc::new),
            &mut |line| {
                lines.push(line.to_owned());
            },
        );
        assert_eq!(lines, ["~ 2024-10-03 23:59 bob: hi", "~ 00:00 bob: hi"]);
    }
}
