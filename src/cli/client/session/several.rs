//! Several rooms at once: scripts as in `tests`.

use serde_json::{Value, json};

use super::tests::{Script, ack, message, message_in, part};
use super::*;

fn hello(room: &str, newest: u64, epoch: u64, reference: &Value) -> Value {
    json!({"type": "hello", "name": "alice", "room": room, "id": newest, "users": ["alice"], "total": 1,
        "epoch": epoch, "session": "s1", "ref": reference})
}

/// We are in this room, too.
fn room(room: &str, newest: u64, epoch: u64) -> Value {
    json!({"type": "room", "room": room, "name": room, "id": newest, "users": ["alice", "bob"], "total": 2,
        "epoch": epoch})
}

/// The answer to a request for what was missed or is older.
fn page_of(room: &str, events: &[Value]) -> Value {
    json!({"type": "history", "room": room, "events": events, "more": false, "ref": OWN_REF})
}

fn left(room: &str, reference: &Value) -> Value {
    json!({"type": "leave", "ts": 1, "room": room, "name": "alice", "total": 0, "ref": reference})
}

impl Script {
    /// Joins a room in which nothing was said yet.
    fn joins(&mut self, name: &str) {
        self.typed(&format!("/join {name}"));
        let join = self.sent();
        assert_eq!((&join["type"], &join["room"]), (&json!("join"), &json!(name)));
        self.server(hello(name, 0, 1, &join["ref"]));
        self.shown.clear();
    }

    /// Alice in the lobby, #dev and #ops, which is the current one.
    fn in_three(mode: Mode) -> Script {
        let mut script = Script::alice(mode, 0);
        script.joins("dev");
        script.joins("ops");
        script
    }

    fn bar(&self) -> String {
        self.session.bar().unwrap_or_default()
    }

    fn current(&self) -> &str {
        self.session.rooms.current()
    }

    /// What is said next, and where.
    fn said_where(&mut self) -> (String, String) {
        let request = self.sent();
        let field = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        (field("room"), field("body"))
    }
}

#[test]
fn one_more_room_is_the_current_one_and_the_others_go_on() {
    let mut script = Script::alice(Mode::Person, 0);
    script.typed("/join #Dev");
    let join = script.sent();
    script.server(hello("dev", 0, 7, &join["ref"]));
    assert_eq!(script.notes(), "you are alice in #dev, 1 here: alice");
    script.shown.clear();
    script.typed("hi");
    assert_eq!(script.said_where(), ("dev".into(), "hi".into()));
    script.server(message_in("dev", 1, "alice", "hi"));
    script.server(message(1, "bob", "hello"));
    script.server(json!({"type": "join", "ts": 1, "room": "lobby", "name": "carol", "total": 3}));
    script.server(json!({"type": "leave", "ts": 1, "room": "dev", "name": "dan", "total": 1}));
    script.server(message_in("elsewhere", 1, "bob", "who asked?"));
    assert_eq!(script.heard(), ["alice: hi", "#lobby bob: hello"]);
    assert_eq!(script.notes(), "#lobby carol joined\ndan left");
}

#[test]
fn what_is_unread_is_counted_until_one_turns_there() {
    let mut script = Script::in_three(Mode::Person);
    assert_eq!(script.bar(), "#ops");
    script.server(message_in("dev", 1, "bob", "one"));
    script.server(message_in("dev", 2, "bob", "two, Alice"));
    script.server(message_in("dev", 3, "alice", "my own"));
    script.server(message_in("lobby", 1, "bob", "three"));
    script.server(message_in("ops", 1, "bob", "alice, this is where you are"));
    assert_eq!(script.bar(), "#ops [#lobby 1 #dev 2!]");
    script.input(Input::TurnTo(1));
    assert_eq!(script.bar(), "#dev [#lobby 1]");
    script.input(Input::TurnOn);
    assert_eq!(script.bar(), "#ops [#lobby 1]");
    script.input(Input::TurnOn);
    assert_eq!(script.bar(), "#lobby");
    script.input(Input::TurnTo(8));
    assert_eq!(script.current(), "lobby", "there is no ninth room");
    script.typed("/join dev");
    assert_eq!(script.current(), "dev");
    assert!(script.sent.is_empty(), "to turn to another room sends nothing: {:?}", script.sent);
}

#[test]
fn names_and_questions_are_those_of_the_current_room() {
    let mut script = Script::in_three(Mode::Person);
    script.server(json!({"type": "join", "ts": 1, "room": "dev", "name": "dan", "total": 2}));
    let names = |script: &Script| script.session.names().iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(&script), ["alice"]);
    script.input(Input::TurnTo(1));
    assert_eq!(names(&script), ["alice", "dan"]);
    for (line, room) in [("/who", "dev"), ("/who #OPS", "ops"), ("/history 5", "dev")] {
        script.typed(line);
        assert_eq!(script.sent()["room"], room, "{line}");
    }
    script
        .server(json!({"type": "users", "room": "ops", "users": ["alice", "eve"], "total": 2, "ref": "c4"}));
    assert!(script.notes().ends_with("#ops 2 here: alice, eve"), "{}", script.notes());
    script.typed("/rooms");
    let rooms = [("lobby", 2), ("dev", 2), ("ops", 1), ("zoo", 1)];
    let rooms = rooms.map(|(name, members)| json!({"name": name, "members": members}));
    let request = script.sent();
    script.server(json!({"type": "rooms", "rooms": rooms, "ref": request["ref"]}));
    let listed = "rooms: #lobby (2, joined), #dev (2, current), #ops (1, joined), #zoo (1)";
    assert!(script.notes().ends_with(listed), "{}", script.notes());
    assert!(script.session.known_rooms().contains("zoo"));
}

#[test]
fn a_part_of_the_history_is_counted_from_the_newest_message() {
    let mut script = Script::alice(Mode::Person, 40);
    script.typed("/history 5 10");
    let request = script.sent();
    assert_eq!((&request["limit"], &request["before"]), (&json!(5), &json!(31)));
    let events = [message(29, "bob", "29"), message(30, "bob", "30")];
    script.server(part(&events, true, &request["ref"]));
    let request = script.sent();
    assert_eq!((&request["limit"], &request["before"]), (&json!(3), &json!(29)));
    script.server(part(&[], false, &request["ref"]));
    assert_eq!(script.notes(), "the last 2 messages but for 10:");
    script.typed("/history 5 100");
    assert_eq!(script.sent()["before"], 1);
}

#[test]
fn leaving_goes_back_to_where_one_was_before_and_at_last_to_the_lobby() {
    let mut script = Script::in_three(Mode::Person);
    script.input(Input::TurnTo(0));
    script.input(Input::TurnTo(2));
    for (room, next) in [("ops", "lobby"), ("lobby", "dev")] {
        script.typed("/leave");
        assert_eq!(script.current(), next, "at once");
        let leave = script.sent();
        assert_eq!((&leave["type"], &leave["room"]), (&json!("leave"), &json!(room)));
        script.server(left(room, &leave["ref"]));
        script.server(hello(next, 0, 1, &Value::Null));
    }
    assert_eq!(script.notes(), "you left #ops\nyou left #lobby");
    script.shown.clear();
    script.typed("/part");
    script.typed("hi");
    let leave = script.sent();
    assert!(script.sent.is_empty(), "nothing overtakes a leave");
    script.server(left("dev", &leave["ref"]));
    assert!(script.sent.is_empty(), "we are nowhere yet");
    script.server(hello("lobby", 3, 9, &Value::Null));
    assert_eq!(script.notes(), "you left #dev\nyou are alice in #lobby, 1 here: alice");
    assert_eq!(script.sent()["before"], 4);
    script.server(page_of("lobby", &[message(3, "bob", "old")]));
    assert_eq!(script.said_where(), ("lobby".into(), "hi".into()));
    script.typed("/leave");
    assert!(script.notes().ends_with("you are in the lobby; /quit leaves"), "{}", script.notes());
}

/// The lobby must not hear what was meant for the room that could not be had.
#[test]
fn what_was_typed_for_a_room_is_said_there_or_nowhere() {
    let mut script = Script::alice(Mode::Person, 0);
    for line in ["/join dev", "secret", "/join lobby", "hello"] {
        script.typed(line);
    }
    let join = script.sent();
    let (code, text) = ("full", "you are in 32 rooms");
    script.server(json!({"type": "error", "code": code, "text": text, "ref": join["ref"]}));
    assert_eq!(script.current(), "lobby");
    let secret = script.sent();
    assert_eq!((&secret["room"], &secret["body"]), (&json!("dev"), &json!("secret")));
    let (code, text) = ("not-here", "you are not in #dev");
    script.server(json!({"type": "error", "code": code, "text": text, "ref": secret["ref"]}));
    let hello = script.sent();
    assert_eq!((&hello["room"], &hello["body"]), (&json!("lobby"), &json!("hello")));
    script.server(ack(&hello["ref"], Some(1)));
    assert!(script.notes().ends_with("you are not in #dev – not done: #dev secret"), "{}", script.notes());
    script.typed("/join ops");
    let join = script.sent();
    script.server(json!({"type": "error", "code": "full", "text": "", "ref": join["ref"]}));
    assert_eq!(script.current(), "lobby", "a room that cannot be had is no current one");
}

/// One was in the lobby, then, for the client only.
#[test]
fn who_may_not_leave_a_room_stays_in_it() {
    let mut script = Script::in_rooms(Mode::Person, Some("alice"), &["dev"]);
    script.connected();
    script.server(hello("dev", 0, 1, &json!(OWN_REF)));
    for lines in [&["/leave"][..], &["/leave", "/join ops", "/leave ops", "/join ops"]] {
        lines.iter().for_each(|line| script.typed(line));
        while let Some(request) = script.sent.pop_front() {
            script
                .server(json!({"type": "error", "code": "rate", "text": "slow down", "ref": request["ref"]}));
        }
        assert_eq!(script.current(), "dev");
        assert!(script.session.rooms.wants_only("dev"));
    }
    script.typed("hi");
    assert_eq!(script.said_where(), ("dev".into(), "hi".into()));
}

#[test]
fn a_room_that_is_asked_for_again_stays_the_current_one() {
    let mut script = Script::alice(Mode::Person, 0);
    for line in ["/join dev", "/leave", "/join dev"] {
        script.typed(line);
    }
    for code in ["rate", "not-here"] {
        let request = script.sent();
        script.server(json!({"type": "error", "code": code, "text": "no", "ref": request["ref"]}));
    }
    let join = script.sent();
    script.server(hello("dev", 0, 1, &join["ref"]));
    assert_eq!((script.bar().as_str(), script.session.rooms.wants("lobby")), ("#dev", true));
}

#[test]
fn all_rooms_come_back_at_once_and_each_with_what_was_missed_there() {
    let mut script = Script::in_three(Mode::Person);
    script.server(message_in("dev", 1, "bob", "before"));
    script.typed("for ops");
    script.input(Input::TurnTo(1));
    script.typed("for dev");
    script.sent.clear();
    script.breaks();
    script.typed("later for dev");
    script.input(Input::TurnTo(0));
    script.typed("later for the lobby");
    script.input(Input::TurnTo(1));
    script.shown.clear();
    script.attempt();
    let request = script.connected();
    assert_eq!((&request["room"], &request["rooms"]), (&json!("dev"), &json!(["dev", "lobby", "ops"])));
    script.server(hello("dev", 3, 1, &json!(OWN_REF)));
    let request = script.sent();
    assert_eq!((&request["room"], &request["after"]), (&json!("dev"), &json!(1)));
    script.server(room("dev", 3, 1));
    script.server(room("lobby", 0, 1));
    script.server(message_in("dev", 4, "bob", "live"));
    let missed = [message_in("dev", 2, "bob", "dev 2"), message_in("dev", 3, "alice", "for dev")];
    script.server(page_of("dev", &missed));
    assert!(script.sent.is_empty() && script.heard().is_empty(), "#ops has not been told of");
    // It was forgotten and made again.
    script.server(room("ops", 1, 2));
    let request = script.sent();
    assert_eq!((&request["room"], &request["after"]), (&json!("ops"), &json!(0)));
    script.server(page_of("ops", &[message_in("ops", 1, "bob", "hey alice")]));
    let expected = ["bob: dev 2", "alice: for dev", "#ops bob: hey alice", "bob: live"];
    assert_eq!(script.heard(), expected);
    let notes = script.notes();
    let back: Vec<_> = notes.lines().map(|line| line.split(" after ").next().unwrap()).collect();
    assert_eq!(
        back,
        ["back as alice in #dev", "back as alice in #ops, the room began anew, missed 1 message"]
    );
    assert_eq!(script.bar(), "#dev [#ops 1!]");
    let said =
        [("ops", "for ops"), ("dev", "for dev"), ("dev", "later for dev"), ("lobby", "later for the lobby")];
    for (room, body) in said {
        assert_eq!(script.said_where(), (room.into(), body.into()));
    }
    assert!(script.sent.is_empty());
}

/// The server knows whether it was; it would not hear it now.
#[test]
fn a_room_that_cannot_be_had_again_is_told_and_what_was_said_there_is_asked_about() {
    let mut script = Script::in_three(Mode::Person);
    script.typed("for ops");
    let said = script.sent();
    script.input(Input::TurnTo(1));
    script.reconnect_as("alice");
    script.server(hello("dev", 0, 1, &json!(OWN_REF)));
    script.server(json!({"type": "error", "code": "full", "text": "there are 100 rooms", "room": "ops",
        "ref": OWN_REF}));
    script.server(room("lobby", 0, 1));
    assert_eq!(script.sent(), said);
    script.server(ack(&said["ref"], Some(1)));
    assert!(script.sent.is_empty() && script.unconfirmed().is_empty());
    script.reconnect_as("alice");
    assert_eq!(script.session.rooms.to_ask(), ["dev", "lobby"]);
}

/// It was taken for an answer about another room.
#[test]
fn one_can_turn_to_another_room_while_coming_back() {
    let mut script = Script::in_three(Mode::Person);
    script.reconnect_as("alice");
    script.input(Input::TurnTo(0));
    for event in
        [hello("ops", 0, 1, &json!(OWN_REF)), room("ops", 0, 1), room("lobby", 0, 1), room("dev", 0, 1)]
    {
        script.server(event);
    }
    assert!(script.notes().contains("back as alice in #ops"), "{}", script.notes());
    assert_eq!(script.bar(), "#lobby");
    script.typed("hi");
    assert_eq!(script.said_where(), ("lobby".into(), "hi".into()));
}

/// A join or leave that was not answered is asked for again; until then the rooms are as they were.
#[test]
fn a_join_and_a_leave_survive_a_break() {
    let mut script = Script::in_three(Mode::Person);
    script.typed("/leave dev");
    script.typed("/join zoo");
    script.typed("hi zoo");
    script.sent.clear();
    script.breaks();
    script.attempt();
    assert_eq!(script.connected()["rooms"], json!(["ops", "lobby", "dev"]));
    script.server(hello("ops", 0, 1, &json!(OWN_REF)));
    script.server(room("lobby", 0, 1));
    script.server(room("dev", 0, 1));
    let leave = script.sent();
    assert_eq!((&leave["type"], &leave["room"]), (&json!("leave"), &json!("dev")));
    script.server(left("dev", &leave["ref"]));
    let join = script.sent();
    assert_eq!(join["room"], "zoo");
    script.server(hello("zoo", 0, 1, &join["ref"]));
    assert_eq!(script.said_where(), ("zoo".into(), "hi zoo".into()));
    assert_eq!((script.bar(), script.session.rooms.get("dev").is_none()), ("#zoo".into(), true));
}

#[test]
fn a_break_before_all_rooms_have_come_asks_for_all_of_them_again() {
    let mut script = Script::in_rooms(Mode::Receiver, Some("alice"), &["dev", "ops", "dev"]);
    let request = script.connected();
    assert_eq!((&request["room"], &request["rooms"]), (&json!("dev"), &json!(["dev", "ops"])));
    script.server(hello("dev", 0, 1, &json!(OWN_REF)));
    script.breaks();
    script.attempt();
    assert_eq!(script.connected()["rooms"], json!(["dev", "ops"]));
    script.server(hello("dev", 0, 1, &json!(OWN_REF)));
    script.server(room("ops", 5, 1));
    script.server(message_in("ops", 6, "bob", "hi"));
    script.server(message_in("dev", 1, "bob", "hi"));
    assert_eq!(script.heard(), ["#ops bob: hi", "bob: hi"]);
}

#[test]
fn a_new_name_is_known_in_all_rooms_and_told_once() {
    let mut script = Script::in_three(Mode::Person);
    for room in ["lobby", "dev"] {
        script.server(json!({"type": "join", "ts": 1, "room": room, "name": "carol", "total": 3}));
    }
    script.shown.clear();
    let nick = |room: &str, from: &str, name: &str| json!({"type": "nick", "ts": 1, "room": room, "from": from, "name": name});
    script.server(nick("lobby", "carol", "caroline"));
    script.input(Input::TurnTo(1));
    assert!(script.session.names().contains("caroline"));
    script.server(nick("lobby", "caroline", "carol"));
    script.server(nick("lobby", "alice", "al"));
    assert_eq!(script.notes(), "#lobby carol is now caroline\ncaroline is now carol\nyou are now al");
    assert!(
        script.session.rooms.iter().all(|room| room.names.contains("al") && !room.names.contains("alice"))
    );
}

#[test]
fn an_own_message_elsewhere_is_shown_once_whether_ack_or_event_comes_first() {
    for ack_first in [true, false] {
        let mut script = Script::in_three(Mode::Person);
        script.typed("hi");
        let request = script.sent();
        script.input(Input::TurnTo(0));
        assert_eq!(script.unconfirmed(), ["#ops hi"]);
        let (ack, said) = (ack(&request["ref"], Some(1)), message_in("ops", 1, "alice", "hi"));
        let (one, two) = if ack_first { (ack, said) } else { (said, ack) };
        script.server(one);
        script.server(two);
        assert_eq!(script.heard(), ["#ops alice: hi"]);
        assert_eq!(script.bar(), "#lobby", "what one has said is not unread");
    }
}
