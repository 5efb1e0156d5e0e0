//! The session without sockets, terminal or clock: every test is a little script.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;

/// A session, the time, and what it said it wants.
pub(super) struct Script {
    pub(super) session: Session,
    pub(super) now: Instant,
    /// What was sent and not looked at yet.
    pub(super) sent: VecDeque<Value>,
    pub(super) shown: Vec<Line>,
    connects: usize,
    prompts: Vec<Prompt>,
    left: Option<Result<bool, String>>,
}

impl Script {
    fn new(mode: Mode, name: Option<&str>) -> Script {
        Script::in_rooms(mode, name, &[])
    }

    /// The same with `--room` for each of these.
    pub(super) fn in_rooms(mode: Mode, name: Option<&str>, rooms: &[&str]) -> Script {
        let now = Instant::now();
        let name = name.map(str::to_owned);
        let rooms: Vec<_> = rooms.iter().map(|room| (*room).to_owned()).collect();
        let session = Session::new(mode, "host:1".into(), name, &rooms, 1, now);
        let (sent, shown, prompts) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut script = Script { session, now, sent, shown, connects: 0, prompts, left: None };
        script.collect();
        script
    }

    /// Somebody called alice who is in the room, with `newest` messages said before.
    pub(super) fn alice(mode: Mode, newest: u64) -> Script {
        let mut script = Script::new(mode, Some("alice"));
        assert_eq!(script.connected()["type"], "hello");
        script.hello(newest, 1);
        if mode == Mode::Person && newest > 0 {
            assert_eq!(script.sent()["type"], "history");
            script.server(json!({"type": "history", "events": [], "ref": OWN_REF}));
        }
        script.shown.clear();
        script
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Connect => self.connects += 1,
                Output::Disconnect => {}
                Output::Send(line) => {
                    assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
                    self.sent.push_back(serde_json::from_str(&line).unwrap());
                }
                Output::Show(line) => self.shown.push(line),
                Output::Prompt(prompt) => self.prompts.push(prompt),
                Output::Leave(outcome) => self.left = Some(outcome),
            }
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.session.handle(self.now, input);
        self.collect();
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better")]
    pub(super) fn server(&mut self, event: Value) {
        self.input(Input::Received(event.to_string()));
    }

    /// The server lets us in. In another epoch it is another server, which does not know our session.
    pub(super) fn hello(&mut self, newest: u64, epoch: u64) {
        self.hello_as("alice", newest, epoch);
    }

    fn hello_as(&mut self, name: &str, newest: u64, epoch: u64) {
        self.server(json!({"type": "hello", "name": name, "room": "lobby", "id": newest,
            "users": [name, "bob"], "total": 2, "epoch": epoch, "session": format!("s{epoch}"),
            "ref": OWN_REF}));
    }

    fn said(&mut self, id: u64, from: &str, body: &str) {
        self.server(message(id, from, body));
    }

    pub(super) fn typed(&mut self, line: &str) {
        self.input(Input::Typed(line.into()));
    }

    /// The next request that was sent.
    pub(super) fn sent(&mut self) -> Value {
        self.sent.pop_front().expect("nothing was sent")
    }

    /// The connection that was asked for is there; returns what is sent first.
    pub(super) fn connected(&mut self) -> Value {
        self.input(Input::Connected);
        self.sent()
    }

    pub(super) fn breaks(&mut self) {
        self.input(Input::Lost("it broke".into()));
    }

    /// The connection breaks and `name` is asked for on the next one.
    pub(super) fn reconnect_as(&mut self, name: &str) {
        self.breaks();
        self.attempt();
        assert_eq!(self.connected()["name"], name);
    }

    /// The connection breaks and comes back, with a `hello`.
    fn reconnect(&mut self, newest: u64, epoch: u64) {
        self.reconnect_as("alice");
        self.hello(newest, epoch);
    }

    /// So much time passes.
    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Tick);
    }

    /// A request that has no id, or not this one, is refused.
    fn refuses(&mut self, code: &str, text: &str) {
        self.server(json!({"type": "error", "code": code, "text": text}));
    }

    /// The next attempt to connect comes due.
    pub(super) fn attempt(&mut self) {
        let before = self.connects;
        self.now = self.session.deadline().expect("nothing is due");
        self.input(Input::Tick);
        assert_eq!(self.connects, before + 1);
    }

    /// What was shown as said, as `name: body`, with its room if that is not the current one.
    pub(super) fn heard(&self) -> Vec<String> {
        let said = |line: &Line| match line.bare() {
            Line::Said { message, .. } => Some(format!("{}{}: {}", label(line), message.from, message.body)),
            Line::Private { from, to, body, .. } => Some(format!("{from}>{to}: {body}")),
            _ => None,
        };
        self.shown.iter().filter_map(said).collect()
    }

    /// Everything else that was shown.
    pub(super) fn notes(&self) -> String {
        let notes = self.shown.iter().filter_map(|line| match line.bare() {
            Line::Happened { text, .. } | Line::Answer(text) | Line::Status(text) | Line::Trouble(text) => {
                Some(format!("{}{text}", label(line)))
            }
            _ => None,
        });
        notes.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn unconfirmed(&self) -> Vec<String> {
        self.session.unconfirmed().collect()
    }
}

fn label(line: &Line) -> String {
    if let Line::Elsewhere(room, _) = line { format!("#{room} ") } else { String::new() }
}

pub(super) fn message(id: u64, from: &str, body: &str) -> Value {
    message_in("lobby", id, from, body)
}

pub(super) fn message_in(room: &str, id: u64, from: &str, body: &str) -> Value {
    json!({"type": "public", "id": id, "ts": 1, "room": room, "from": from, "body": body})
}

fn page(events: &[Value], more: bool) -> Value {
    part(events, more, &json!(OWN_REF))
}

pub(super) fn part(events: &[Value], more: bool, reference: &Value) -> Value {
    json!({"type": "history", "room": "lobby", "events": events, "more": more, "ref": reference})
}

pub(super) fn ack(reference: &Value, id: Option<u64>) -> Value {
    json!({"type": "ack", "ref": reference, "ts": 1, "id": id})
}

#[test]
fn what_is_not_a_roomd_is_named() {
    for (input, expected) in [
        (Input::Received(r#"{"jsonrpc":"2.0"}"#.into()), "host:1 is not a roomd: it answered “{"),
        (Input::Lost("the server closed it".into()), "host:1 does not answer like a roomd"),
        (Input::Received("* roomd 0.1.0 - your name?".into()), "host:1 is for text only"),
    ] {
        let mut script = Script::new(Mode::Person, Some("alice"));
        script.input(Input::Connected);
        script.input(input);
        let sentence = script.left.unwrap().unwrap_err();
        assert!(sentence.contains(expected), "{sentence}");
    }
    let mut script = Script::new(Mode::Person, Some("alice"));
    script.input(Input::Connected);
    script.passes(GREETING_WAIT);
    assert!(script.left.unwrap().unwrap_err().contains("nothing came within 10 s"));
}

#[test]
fn older_lines_come_first_and_what_arrives_meanwhile_after_them() {
    let mut script = Script::new(Mode::Person, Some("alice"));
    script.connected();
    script.hello(2, 1);
    let request = script.sent();
    assert_eq!((&request["before"], &request["limit"]), (&json!(3), &json!(10)));
    script.said(3, "bob", "live");
    script.server(page(&[message(1, "bob", "old"), message(2, "bob", "older")], false));
    assert_eq!(script.heard(), ["bob: old", "bob: older", "bob: live"]);
    assert!(matches!(script.shown[1], Line::Said { old: true, .. }));
    assert!(matches!(script.shown[3], Line::Said { old: false, .. }));
}

#[test]
fn an_own_message_is_shown_once_whether_ack_or_event_comes_first() {
    for ack_first in [true, false] {
        let mut script = Script::alice(Mode::Person, 4);
        script.typed("hi");
        script.typed("hi");
        assert_eq!(script.unconfirmed(), ["hi", "hi"]);
        let (first, second) = (script.sent(), script.sent());
        for (request, id) in [(first, 5), (second, 6)] {
            let (ack, said) = (ack(&request["ref"], Some(id)), message(id, "alice", "hi"));
            let (one, two) = if ack_first { (ack, said) } else { (said, ack) };
            script.server(one);
            script.server(two);
            assert!(ack_first || script.unconfirmed().len() as u64 == 6 - id);
        }
        assert_eq!(script.heard(), ["alice: hi", "alice: hi"]);
    }
}

#[test]
fn an_own_private_message_is_shown_once_whether_ack_or_copy_comes_first() {
    let copy = json!({"type": "private", "ts": 1, "from": "alice", "to": "bob", "body": "psst"});
    for ack_first in [true, false] {
        let mut script = Script::alice(Mode::Person, 0);
        script.typed("/msg bob psst");
        let ack = ack(&script.sent()["ref"], None);
        let (one, two) = if ack_first { (ack, copy.clone()) } else { (copy.clone(), ack) };
        script.server(one);
        script.server(two);
        assert_eq!(script.heard(), ["alice>bob: psst"]);
        assert!(script.unconfirmed().is_empty());
    }
}

#[test]
fn what_was_missed_is_fetched_by_id_and_counted() {
    let mut script = Script::alice(Mode::Person, 4);
    script.said(5, "bob", "before");
    script.reconnect(8, 1);
    let request = script.sent();
    assert_eq!((&request["after"], &request["limit"]), (&json!(5), &json!(1000)));
    script.said(9, "bob", "live");
    script.server(page(&[message(6, "bob", "six"), message(7, "bob", "seven")], true));
    assert_eq!(script.sent()["after"], 7);
    script.server(page(&[message(8, "bob", "eight"), message(9, "bob", "live")], false));
    assert_eq!(script.heard(), ["bob: before", "bob: six", "bob: seven", "bob: eight", "bob: live"]);
    assert!(script.notes().contains("missed 3 messages"), "{}", script.notes());
}

/// The history then begins behind what arrived live meanwhile, which used to come after it.
#[test]
fn what_is_newer_than_our_return_is_shown_in_its_place() {
    let mut script = Script::alice(Mode::Person, 4);
    script.reconnect(6, 1);
    for id in 7..=9 {
        script.said(id, "bob", &id.to_string());
    }
    script.server(page(&[message(8, "bob", "8"), message(9, "bob", "9")], false));
    assert_eq!(script.heard(), ["bob: 7", "bob: 8", "bob: 9"]);
    assert!(script.notes().contains("missed nothing (2 more are no longer kept)"));
}

#[test]
fn that_the_room_began_anew_is_told_when_we_are_back_however_many_breaks_that_takes() {
    let mut script = Script::alice(Mode::Person, 40);
    script.reconnect(2, 2);
    script.sent();
    script.reconnect(2, 2);
    script.sent();
    script.server(page(&[message(1, "bob", "anew"), message(2, "bob", "x")], false));
    assert!(script.notes().contains("the room began anew, missed 2 messages"), "{}", script.notes());
    assert_eq!(script.notes().matches("connection lost").count(), 1);
}

#[test]
fn what_has_no_answer_is_sent_again_as_it_was_and_shown_once() {
    let mut script = Script::alice(Mode::Person, 4);
    for line in ["hi", "hi", "/me waves", "/msg bob psst"] {
        script.typed(line);
    }
    let sent: Vec<_> = script.sent.drain(..).collect();
    script.server(ack(&sent[0]["ref"], Some(5)));
    script.said(5, "alice", "hi");
    script.typed("/who");
    script.sent.clear();
    script.reconnect(6, 1);
    script.typed("later");
    script.sent();
    script.server(page(&[message(6, "alice", "hi")], false));
    assert_eq!(script.sent.drain(..3).collect::<Vec<_>>(), sent[1..]);
    assert_eq!(script.sent()["type"], "users");
    assert_eq!(script.sent()["body"], "later");
    for (request, id) in sent[1..].iter().zip([Some(6), Some(7), None]) {
        script.server(ack(&request["ref"], id));
    }
    assert_eq!(script.heard(), ["alice: hi", "alice: hi", "alice>bob: psst"]);
    assert_eq!(script.unconfirmed(), ["/who", "later"]);
    assert!(!script.notes().contains("may not have arrived"), "{}", script.notes());
}

#[test]
fn the_session_is_asked_for_again_and_if_it_is_over_what_is_in_doubt_is_told() {
    let mut script = Script::alice(Mode::Sender, 4);
    for line in ["hi", "/msg bob psst", "/who", "/join dev", "hi dev"] {
        script.typed(line);
    }
    script.breaks();
    script.sent.clear();
    script.attempt();
    assert_eq!(script.connected()["session"], "s1");
    script.hello(4, 2);
    // However often it breaks: it is over.
    script.breaks();
    script.sent.clear();
    script.attempt();
    assert_eq!(script.connected()["session"], "s2");
    script.hello(0, 2);
    let doubt = "the connection broke, this may not have arrived";
    let doubts = script.notes().lines().filter(|line| line.contains(doubt)).count();
    assert!(
        script.notes().contains(&format!("{doubt}: #lobby hi\n{doubt}: /msg bob psst")),
        "{}",
        script.notes()
    );
    assert_eq!((doubts, &script.sent()["type"]), (2, &json!("users")));
    assert_eq!(script.unconfirmed(), ["/who lobby", "/join dev", "hi dev"]);
    assert!(script.session.failed);
}

#[test]
fn a_server_without_sessions_knows_nothing_of_the_last_one() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("hi");
    script.sent.clear();
    script.reconnect_as("alice");
    script.server(json!({"type": "hello", "name": "alice", "room": "lobby", "id": 0, "epoch": 1}));
    assert!(script.sent.is_empty());
    assert!(script.notes().contains("this may not have arrived: hi"), "{}", script.notes());
    script.breaks();
    script.attempt();
    assert_eq!(script.connected()["session"], Value::Null);
}

/// It is somebody else's by now: as long as our session lasts, nobody else can have it.
#[test]
fn a_name_that_was_lost_with_the_session_is_told() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("hi");
    script.sent();
    script.reconnect_as("alice");
    script.refuses("name-taken", "");
    assert_eq!(script.session.deadline(), None);
    assert!(script.notes().ends_with("the name alice is taken; /nick NAME takes another"));
    script.typed("/nick carol");
    assert_eq!(script.connected()["name"], "carol");
    script.hello_as("carol", 0, 2);
    assert!(script.sent.is_empty());
    assert!(script.notes().contains("this may not have arrived: hi"));
}

/// The server had done so, then the connection broke, and the `hello` with the old name undid it.
#[test]
fn a_name_is_asked_for_again_until_we_are_called_so() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("/nick al");
    script.typed("hi");
    let nick = script.sent();
    script.reconnect(0, 1);
    let again = script.sent();
    assert_eq!((&again["type"], &again["name"]), (&json!("nick"), &json!("al")));
    assert_ne!(again["ref"], nick["ref"]);
    script.server(json!({"type": "nick", "ts": 1, "room": "lobby", "from": "alice", "name": "al"}));
    assert_eq!(script.sent()["body"], "hi");
    script.reconnect_as("al");
    script.hello_as("al", 0, 1);
    assert_eq!(script.sent()["body"], "hi");
    assert!(script.sent.is_empty());
}

#[test]
fn who_is_taken_over_ends() {
    for (mode, is_fine) in [(Mode::Person, true), (Mode::Sender, false), (Mode::Receiver, false)] {
        let mut script = Script::alice(mode, 0);
        script.server(json!({"type": "bye", "why": "taken-over"}));
        assert_eq!(script.left, Some(Ok(is_fine)), "{mode:?}");
        assert_eq!(script.notes(), "this session goes on elsewhere, and ends here");
    }
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("hi");
    script.server(json!({"type": "bye", "why": "taken-over"}));
    assert_eq!(script.left, Some(Ok(false)));
    assert!(script.notes().ends_with("1 line not confirmed"), "{}", script.notes());
}

/// A `hello` that had not been answered arrived when the next connection was there already.
#[test]
fn who_is_taken_over_by_themselves_comes_back() {
    let mut script = Script::alice(Mode::Receiver, 0);
    script.reconnect_as("alice");
    script.passes(GREETING_WAIT);
    script.attempt();
    script.connected();
    script.hello(0, 1);
    script.server(json!({"type": "bye", "why": "taken-over"}));
    script.attempt();
    assert_eq!(script.connected()["session"], "s1");
    script.hello(0, 1);
    assert_eq!(script.left, None);
    script.server(json!({"type": "bye", "why": "taken-over"}));
    assert_eq!(script.left, Some(Ok(false)));
}

#[test]
fn what_could_not_be_saved_is_told_and_nothing_else_is_lost() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("one");
    script.typed("two");
    let (one, two) = (script.sent(), script.sent());
    let text = "the disk is full: nobody has seen this";
    script.server(json!({"type": "error", "code": "not-saved", "text": text, "ref": one["ref"]}));
    script.server(ack(&two["ref"], Some(1)));
    script.said(1, "alice", "two");
    assert_eq!(script.notes(), format!("{text} – not done: one"));
    assert_eq!(script.heard(), ["alice: two"]);
    assert!(script.unconfirmed().is_empty());
}

#[test]
fn after_a_bye_the_unread_is_sent_again() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("/msg bob psst");
    script.sent();
    script.server(json!({"type": "bye", "why": "shutdown"}));
    script.reconnect(0, 2);
    assert_eq!(script.sent()["body"], "psst");
}

/// The server throws away what waited for somebody too slow.
#[test]
fn who_was_too_slow_may_have_missed_answers() {
    for (epoch, is_sent_again) in [(1, true), (2, false)] {
        let mut script = Script::alice(Mode::Person, 0);
        script.typed("arrived");
        let request = script.sent();
        script.server(json!({"type": "bye", "why": "slow"}));
        script.reconnect(0, epoch);
        assert_eq!(script.sent.pop_front(), Some(request).filter(|_| is_sent_again));
    }
}

#[test]
fn a_silent_server_is_asked_and_then_given_up() {
    let mut script = Script::alice(Mode::Receiver, 0);
    script.passes(IDLE_BEFORE_PING);
    let ping = script.sent();
    assert_eq!(ping["type"], "ping");
    script.server(json!({"type": "pong", "ts": 1, "ref": ping["ref"]}));
    assert!(script.shown.is_empty());
    script.passes(IDLE_BEFORE_PING);
    script.passes(PING_WAIT);
    assert!(script.notes().contains("nothing heard for 45 s"));
    script.attempt();
}

#[test]
fn a_sender_loses_patience() {
    let mut script = Script::alice(Mode::Sender, 0);
    script.typed("hi");
    script.input(Input::Ended);
    script.breaks();
    while script.left.is_none() {
        script.now = script.session.deadline().unwrap();
        script.input(Input::Tick);
        script.input(Input::Failed("nothing is listening".into()));
    }
    let sentence = script.left.unwrap().unwrap_err();
    assert_eq!(sentence, "host:1 has not confirmed 1 line within 30 s");
}

#[test]
fn a_receiver_ends_with_the_servers_good_bye_but_survives_a_break() {
    let mut script = Script::alice(Mode::Receiver, 0);
    script.reconnect(1, 1);
    script.sent();
    script.server(page(&[message(1, "bob", "missed")], false));
    assert_eq!(script.heard(), ["bob: missed"]);
    script.server(json!({"type": "bye", "why": "shutdown"}));
    assert_eq!(script.left, Some(Ok(true)));
}

#[test]
fn leaving_waits_for_the_last_words_but_not_forever() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("last words");
    script.typed("/quit");
    assert_eq!(script.prompts, [Prompt::Chat; 2], "none after /quit");
    let request = script.sent();
    assert!(script.sent.is_empty());
    script.server(ack(&request["ref"], Some(1)));
    assert_eq!(script.sent()["type"], "quit");
    script.passes(LEAVE_WAIT);
    assert_eq!(script.left, Some(Ok(true)));

    let mut script = Script::alice(Mode::Person, 0);
    script.typed("never answered");
    script.input(Input::Ended);
    script.passes(LEAVE_WAIT);
    assert_eq!(script.left, Some(Ok(false)));
    assert!(script.notes().contains("1 line not confirmed"));
}

#[test]
fn another_room_has_its_own_ids() {
    let mut script = Script::alice(Mode::Person, 40);
    script.typed("/join dev");
    script.typed("hi dev");
    let join = script.sent();
    assert!(script.sent.is_empty(), "nothing overtakes a join");
    script.server(json!({"type": "hello", "name": "alice", "room": "dev", "id": 1,
        "users": ["alice"], "total": 1, "epoch": 1, "ref": join["ref"]}));
    assert_eq!(script.sent()["before"], 2);
    script.server(page(&[message_in("dev", 1, "bob", "old")], false));
    let said = script.sent();
    assert_eq!((&said["body"], &said["room"]), (&json!("hi dev"), &json!("dev")));
    script.server(message_in("dev", 2, "alice", "hi dev"));
    assert_eq!(script.heard(), ["bob: old", "alice: hi dev"]);
}

#[test]
fn comings_and_goings_keep_the_names() {
    let mut script = Script::alice(Mode::Person, 0);
    script.server(json!({"type": "join", "ts": 1, "room": "lobby", "name": "carol", "total": 3}));
    script.server(json!({"type": "nick", "ts": 1, "room": "lobby", "from": "bob", "name": "rob"}));
    script.server(json!({"type": "leave", "ts": 1, "room": "lobby", "name": "carol", "total": 2,
        "why": "timeout"}));
    script.server(json!({"type": "nick", "ts": 1, "room": "lobby", "from": "alice", "name": "al"}));
    let names: Vec<_> = script.session.names().iter().map(String::as_str).collect();
    assert_eq!(names, ["al", "rob"]);
    let expected = "carol joined\nbob is now rob\ncarol left (timeout)\nyou are now al";
    assert_eq!(script.notes(), expected);
    script.reconnect_as("al");
}

#[test]
fn a_full_server_is_asked_again_by_who_was_there_before() {
    let mut script = Script::alice(Mode::Person, 0);
    script.reconnect_as("alice");
    script.refuses("full", "the server is full");
    script.attempt();
    assert_eq!(script.left, None);
}

#[test]
fn nothing_is_sent_after_a_quit() {
    let mut script = Script::alice(Mode::Sender, 0);
    for line in ["one", "/quit", "two"] {
        script.typed(line);
    }
    assert_eq!(script.unconfirmed(), ["one"]);
}

/// Whoever writes may keep the pipe open: there may be more lines than have come.
#[test]
fn a_filter_that_is_told_to_leave_looks_ahead_but_not_forever() {
    let mut script = Script::alice(Mode::Sender, 0);
    script.typed("/quit");
    assert!(script.sent.is_empty());
    for line in ["two", " ", "/who"] {
        script.typed(line);
    }
    script.input(Input::Unreadable("line 5 is not UTF-8".into()));
    script.passes(LOOK_AHEAD);
    assert_eq!(script.sent()["type"], "quit");
    script.server(json!({"type": "bye", "why": "quit"}));
    assert_eq!(script.notes(), "at least 3 lines after /quit were not carried out");
    assert_eq!(script.left, Some(Ok(false)));
}

#[test]
fn who_leaves_a_room_goes_from_where_they_will_be() {
    let mut script = Script::alice(Mode::Person, 0);
    for line in ["/leave", "/part dev", "/join Dev", "/leave #dev", "/leave DEV", "/leave"] {
        script.typed(line);
    }
    assert_eq!(script.sent()["room"], "dev");
    assert_eq!(script.unconfirmed(), ["/join dev", "/leave dev"]);
    let here = "you are in the lobby; /quit leaves";
    assert_eq!(script.notes(), [here, "you are not in #dev", "you are not in #dev", here].join("\n"));
}

/// It used to come back four times a second, for ever: being let in counted as success.
#[test]
fn who_is_thrown_out_at_once_comes_back_ever_later() {
    let mut script = Script::alice(Mode::Person, 0);
    let ends =
        [Input::Lost("closed".into()), Input::Received(json!({"type": "bye", "why": "slow"}).to_string())];
    let mut waits = Vec::new();
    for end in ends.iter().cycle().take(12) {
        script.input(end.clone());
        let lost_at = script.now;
        script.attempt();
        waits.push(script.now - lost_at);
        script.connected();
        script.hello(0, 1);
    }
    assert!(waits[11] >= backoff::LONGEST / 2, "{waits:?}");
    assert!(waits.iter().zip(&waits[2..]).take(4).all(|(before, after)| before < after), "{waits:?}");
    script.now += backoff::LONGEST;
    script.breaks();
    let lost_at = script.now;
    script.attempt();
    assert!(script.now - lost_at < Duration::from_secs(1), "after a good while it begins anew");
}

#[test]
fn the_ignored_are_not_heard_whatever_they_call_themselves() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("/ignore Bob");
    let private = json!({"type": "private", "ts": 1, "from": "bob", "to": "alice", "body": "psst"});
    let action = json!({"type": "action", "id": 2, "ts": 1, "room": "lobby", "from": "bob", "body": "waves"});
    for event in [message(1, "bob", "alice!"), action, private.clone()] {
        script.server(event);
    }
    script.server(json!({"type": "nick", "ts": 1, "room": "lobby", "from": "bob", "name": "rob"}));
    script.said(3, "rob", "it is me");
    script.said(4, "carol", "hi");
    script.typed("/ignore");
    assert_eq!(script.heard(), ["carol: hi"]);
    assert!(script.notes().ends_with("ignored: bob, rob"), "{}", script.notes());
    script.typed("/unignore bob");
    script.server(private);
    assert_eq!(script.heard(), ["carol: hi", "bob>alice: psst"]);
}

#[test]
fn what_does_not_fit_into_one_answer_is_asked_for_in_parts() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("/history 5");
    script.typed("/join dev");
    let request = script.sent();
    script.server(part(&[message(8, "bob", "8"), message(9, "bob", "9")], true, &request["ref"]));
    assert!(script.heard().is_empty());
    let request = script.sent();
    assert_eq!((&request["type"], &request["limit"]), (&json!("history"), &json!(3)));
    assert_eq!(request["before"], 8);
    let older = [5, 6, 7].map(|id| message(id, "bob", &id.to_string()));
    script.server(part(&older, true, &request["ref"]));
    assert_eq!(
        script.heard(),
        [5, 6, 7, 8, 9].map(|id| format!("#lobby bob: {id}")),
        "dev is the current one"
    );
    assert!(script.notes().contains("the last 5 messages (/history N shows more):"), "{}", script.notes());
    assert_eq!(script.sent()["type"], "join");
}

/// Twelve messages were there when alice came, and she has seen the last ten.
fn pages_back() -> Script {
    let mut script = Script::new(Mode::Person, Some("alice"));
    script.connected();
    script.input(Input::PageUp(5));
    script.hello(12, 1);
    script.sent();
    let last: Vec<_> = (3..=12).map(|id| message(id, "bob", &id.to_string())).collect();
    script.server(page(&last, true));
    assert!(script.sent.is_empty(), "nothing was shown before");
    script.shown.clear();
    script
}

#[test]
fn page_up_goes_back_from_what_was_shown_to_the_beginning() {
    let mut script = pages_back();
    script.said(13, "bob", "live");
    script.input(Input::PageUp(1));
    let request = script.sent();
    assert_eq!((&request["before"], &request["limit"]), (&json!(3), &json!(1)));
    assert!(script.unconfirmed().is_empty(), "nothing was typed");
    script.input(Input::PageUp(1));
    assert!(script.sent.is_empty(), "the first page is still to come");
    script.shown.clear();
    script.server(part(&[message(2, "bob", "2")], true, &request["ref"]));
    assert_eq!(
        (script.heard(), script.notes().as_str()),
        (vec!["bob: 2".to_owned()], "1 message from before (PgUp shows more):")
    );
    assert!(matches!(script.shown[1], Line::Said { old: true, .. }));
    script.input(Input::PageUp(5));
    let request = script.sent();
    assert_eq!((&request["before"], &request["limit"]), (&json!(2), &json!(5)));
    script.server(part(&[message(1, "bob", "1")], false, &request["ref"]));
    script.input(Input::PageUp(5));
    let request = script.sent();
    assert_eq!(request["before"], 1);
    script.server(part(&[], false, &request["ref"]));
    assert_eq!(script.notes().matches("this is the beginning of #lobby").count(), 2);
    assert_eq!(script.heard(), ["bob: 2", "bob: 1"]);
}

#[test]
fn page_up_goes_on_behind_what_a_history_has_shown() {
    let mut script = pages_back();
    script.typed("/history 11");
    let request = script.sent();
    let last: Vec<_> = (2..=12).map(|id| message(id, "bob", &id.to_string())).collect();
    script.server(part(&last, true, &request["ref"]));
    script.input(Input::PageUp(5));
    let request = script.sent();
    assert_eq!(request["before"], 2);
    script.server(part(&[], false, &request["ref"]));
    assert!(script.notes().ends_with("what was said in #lobby before that is no longer kept"));
}

/// The server has begun anew: what is older than the first one there is nothing.
#[test]
fn page_up_survives_a_break() {
    for epoch in [1, 2] {
        let mut script = pages_back();
        script.input(Input::PageUp(5));
        script.sent();
        script.reconnect(12, epoch);
        if epoch == 2 {
            assert_eq!(script.sent()["after"], 0);
            script.server(page(&[message(12, "bob", "anew")], false));
        }
        assert_eq!(script.sent()["before"], if epoch == 1 { 3 } else { 1 });
    }
}

#[test]
fn of_a_crowd_nothing_is_said_that_is_zero() {
    let mut script = Script::alice(Mode::Person, 0);
    let presence =
        json!({"type": "presence", "ts": 1, "room": "lobby", "joined": 249, "left": 0, "total": 300});
    script.server(presence);
    assert_eq!(script.notes(), "249 joined, 300 here");
}
