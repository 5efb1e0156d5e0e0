//! Coming back: a session is continued, so that what was on its way is said once; and what becomes of it if nobody knows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::browser::server::{Cable, Daemon};
use super::browser::stand_in::{Reply, StandIn, Upgrade, nothing, welcome};
use super::browser::{Browser, PATIENCE, Page, wait_for_turn};
use super::rooms::{enter, is_shown, join, record};
use super::{IS_AWAY, IS_IN, log_in};

/// A server that knows one session, and in it the refs that it has acknowledged.
#[derive(Default)]
struct Clerk {
    /// What its `hello`s say.
    session: Mutex<Value>,
    /// How often the room was forgotten and made again.
    epoch: AtomicU64,
    /// Nothing that is said is acknowledged.
    is_silent: AtomicBool,
    /// The same, with this error.
    refusal: Mutex<Option<(&'static str, &'static str)>>,
    acknowledged: Mutex<Vec<Value>>,
}

impl Clerk {
    fn with(session: &str) -> Arc<Clerk> {
        let clerk = Clerk::default();
        clerk.knows(json!(session));
        Arc::new(clerk)
    }

    fn knows(&self, session: Value) {
        *self.session.lock().expect("no panic") = session;
    }

    fn be_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    fn serve(self: &Arc<Clerk>, daemon: &Daemon) -> StandIn {
        let clerk = self.clone();
        StandIn::before(daemon.port, Upgrade::answer(move |request| clerk.answer(request)))
    }

    fn answer(&self, request: &Value) -> Reply {
        let reference = &request["ref"];
        Reply::Say(match request["type"].as_str() {
            Some("hello") => {
                let session = self.session.lock().expect("no panic");
                let hello = welcome(
                    request,
                    2,
                    &json!({ "room": request["room"], "session": *session, "epoch": 1 + self.epoch.load(Ordering::SeqCst) }),
                );
                let others = request["rooms"].as_array().into_iter().flatten();
                let rooms = others.map(|room| {
                    json!({ "type": "room", "name": request["name"], "room": room, "id": 0, "epoch": 1,
                        "users": [request["name"]], "total": 1 })
                });
                [hello].into_iter().chain(rooms).collect()
            }
            Some("join") => vec![welcome(request, 0, &json!({ "name": "alice", "room": request["room"] }))],
            Some("public" | "action" | "private") if self.is_silent.load(Ordering::SeqCst) => vec![],
            Some("public" | "action" | "private") => {
                if let Some((code, text)) = *self.refusal.lock().expect("no panic") {
                    return Reply::Say(vec![
                        json!({ "type": "error", "ref": reference, "code": code, "text": text }),
                    ]);
                }
                let mut acknowledged = self.acknowledged.lock().expect("no panic");
                if !acknowledged.contains(reference) {
                    acknowledged.push(reference.clone());
                }
                let id =
                    acknowledged.iter().position(|other| other == reference).expect("just put there") + 1;
                vec![json!({ "type": "ack", "ref": reference, "ts": id, "id": id })]
            }
            Some("ping") => return Reply::TakenOver,
            _ => vec![nothing(request)],
        })
    }
}

/// What was said, by its `ref`: each time it was.
fn said(server: &StandIn) -> Vec<Vec<String>> {
    let mut by_ref = BTreeMap::<String, Vec<String>>::new();
    for kind in ["public", "action", "private"] {
        for (_, request) in server.heard(kind) {
            let to = request["room"].as_str().or(request["to"].as_str()).expect("somebody");
            let reference = request["ref"].as_str().expect("a ref").to_owned();
            by_ref.entry(reference).or_default().push(format!("{kind} {to}: {}", request["body"]));
        }
    }
    let mut said: Vec<_> = by_ref.into_values().collect();
    said.sort();
    said
}

/// One message of every kind, in several places. Afterwards, the private talk is on show.
fn say_everything(page: &mut Page) {
    join(page, &["dev"]);
    page.say("two\nlines");
    page.say("/me waves");
    page.click("#rooms button", "lobby");
    is_shown(page, "#lobby");
    page.say("in the lobby");
    page.say("/msg member0001 psst");
    is_shown(page, "member0001");
}

const EVERYTHING: [&str; 4] = [
    "action dev: \"waves\"",
    "private member0001: \"psst\"",
    "public dev: \"two\\nlines\"",
    "public lobby: \"in the lobby\"",
];
const NEVER_SENT: &str = "private member0001: \"never sent\"";

/// What the page shows of its own in all conversations: the state of each.
const STATES: &str = "[...conversations.values()].flatMap(talk => talk.items).filter(item => item.own)\
    .map(item => item.body.replace('\\n', ' ') + ' ' + item.state).sort()";

fn shows(page: &mut Page, expected: &[&str]) {
    page.until(&format!("JSON.stringify({STATES}) === JSON.stringify({})", json!(expected)));
}

/// With user activation, a browser would ask whether one really wants to leave.
fn reload(page: &mut Page) {
    page.eval("BeforeUnloadEvent.prototype.preventDefault = () => {}");
    page.reload();
}

/// The page comes back after it has sent everything, without an answer, and one message was never sent.
fn come_back(clerk: &Clerk, server: &StandIn, page: &mut Page, session: Value, by_reload: bool) {
    clerk.be_silent(true);
    say_everything(page);
    let deadline = Instant::now() + PATIENCE;
    while said(server).len() < EVERYTHING.len() {
        assert!(Instant::now() < deadline, "all arrives: {:?}", said(server));
        page.eval("new Promise(done => setTimeout(done, 16))");
    }
    clerk.knows(session);
    page.eval("link.tries = 3"); // so that there is time to write
    server.cut();
    page.until(IS_AWAY);
    page.say("never sent");
    clerk.be_silent(false);
    if by_reload {
        reload(page);
    } else {
        page.eval("connect()");
    }
    page.until(IS_IN);
}

#[test]
#[ignore = "needs chromium"]
fn what_was_not_acknowledged_is_sent_again_by_the_same_ref_and_said_once() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    for by_reload in [false, true] {
        let browser = Browser::start("en");
        let clerk = Clerk::with("cafe");
        let server = clerk.serve(&daemon);
        let mut page = browser.open(&server.url());
        log_in(&mut page, "alice");
        come_back(&clerk, &server, &mut page, json!("cafe"), by_reload);
        page.until("outbox.length === 0");

        let sessions: Vec<_> =
            server.heard("hello").into_iter().map(|(_, hello)| hello["session"].clone()).collect();
        assert_eq!(sessions, [Value::Null, json!("cafe")]);
        let mut expected: Vec<_> = EVERYTHING.iter().map(|line| vec![*line; 2]).collect();
        expected.insert(1, vec![NEVER_SENT]);
        assert_eq!(said(&server), expected);
        let private = ["never sent delivered", "psst delivered"];
        if by_reload {
            page.until("current.key === '@member0001'");
        }
        let rooms = ["in the lobby delivered", "two lines delivered", "waves delivered"];
        let mut all = [&private[..1], &rooms[..1], &private[1..], &rooms[1..]].concat();
        all.sort_unstable();
        shows(&mut page, &all);
        assert_eq!(page.eval("document.querySelectorAll('.remedy').length"), 0);

        // What was acknowledged is not sent a third time.
        server.cut();
        page.until(IS_AWAY);
        page.until(IS_IN);
        reload(&mut page);
        page.until(IS_IN);
        assert_eq!(said(&server).concat().len(), 9);
        page.assert_clean();
    }
}

#[test]
#[ignore = "needs chromium"]
fn what_a_server_cannot_know_again_is_not_sent_again_but_asked_about() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    // Another session, or a server that knows none; and the page was there all the time, or was loaded anew.
    for (session, by_reload) in [(json!("beef"), false), (json!("beef"), true), (Value::Null, false)] {
        let browser = Browser::start("en");
        let clerk = Clerk::with("cafe");
        if session.is_null() {
            clerk.knows(Value::Null);
        }
        let server = clerk.serve(&daemon);
        let mut page = browser.open(&server.url());
        log_in(&mut page, "alice");
        come_back(&clerk, &server, &mut page, session, by_reload);
        let states = ["in the lobby unknown", "never sent delivered", "psst unknown", "two lines unknown"];
        shows(&mut page, &[&states[..], &["waves unknown"]].concat());
        let mut once: Vec<_> = EVERYTHING.iter().map(|line| vec![*line]).collect();
        once.insert(1, vec![NEVER_SENT]);
        assert_eq!(said(&server), once);

        page.sees("perhaps this was not sent");
        page.click(".remedy button", "Send again");
        page.until("outbox.length === 3");
        once[2] = vec![EVERYTHING[1]; 2];
        assert_eq!(said(&server), once, "by the ref that it had");
        page.click("#rooms button", "dev");
        is_shown(&mut page, "#dev");
        page.click(".remedy button", "Discard");
        page.until("outbox.length === 2");

        // It stays a question until it is answered.
        reload(&mut page);
        page.until(IS_IN);
        page.until("outbox.length === 2 && outbox.every(item => item.state === 'unknown')");
        assert_eq!(said(&server), once);
        page.assert_clean();
    }
}

#[test]
#[ignore = "needs chromium"]
fn who_is_taken_over_does_not_fight_but_can_come_back() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let clerk = Clerk::with("cafe");
    let server = clerk.serve(&daemon);
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");
    page.say("/ping"); // which this server does not like
    page.until("link.state === 'elsewhere'");
    page.until("document.getElementById('banner').innerText.includes('goes on elsewhere')");
    page.eval("link.triedAt = 0; hurry(); everySecond(); dispatchEvent(new Event('online'))");
    assert_eq!(page.eval("[link.socket, link.state]"), json!([null, "elsewhere"]));
    page.say("too late");
    page.sees("goes on elsewhere");
    assert_eq!(page.eval("outbox.length"), 0);
    assert_eq!(server.heard("hello").len(), 1);

    page.click("#banner-button", "Continue here");
    page.until(IS_IN);
    assert_eq!(server.heard("hello")[1].1["session"], "cafe");
    page.assert_clean();
}

/// A tab with a copy of what another one remembers; `first` it runs this.
fn duplicate(browser: &Browser, page: &mut Page, url: &str, first: &str) -> Page {
    let copied = page.eval("keepNow(); JSON.stringify({ ...sessionStorage })");
    let mut copy = browser.open("about:blank");
    let source = format!(
        "{first}; if (!sessionStorage.length) \
         for (const [key, value] of Object.entries(JSON.parse({copied}))) sessionStorage[key] = value"
    );
    copy.call("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": source }));
    copy.call("Page.navigate", &json!({ "url": url }));
    copy
}

/// Where tabs cannot ask each other, the server tells.
#[test]
#[ignore = "needs chromium"]
fn of_two_tabs_with_one_session_the_one_that_was_used_last_has_it() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut first = browser.open("about:blank");
    let alone = "delete window.BroadcastChannel";
    first.call("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": alone }));
    first.call("Page.navigate", &json!({ "url": daemon.url() }));
    log_in(&mut first, "alice");
    let bob = enter(&daemon, "bob", "dev");
    let mut second = duplicate(&browser, &mut first, &daemon.url(), alone);
    second.until(IS_IN);
    first.until("link.state === 'elsewhere'");
    second.say("/join dev");
    bob.hears("alice joined");
    second.eval("keepNow()");
    first.eval("hurry()");
    first.click("#banner-button", "Continue here");
    first.until(IS_IN);
    second.until("link.state === 'elsewhere'");
    first.click("#rooms button", "dev");
    first.say("here I am");
    bob.hears("alice: here I am");
    assert_eq!(second.eval("link.state"), "elsewhere");
    first.assert_clean();
    second.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_duplicated_tab_leaves_the_session_to_the_first_and_says_nothing_of_its_own() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let clerk = Clerk::with("cafe");
    let server = clerk.serve(&daemon);
    let mut first = browser.open(&server.url());
    log_in(&mut first, "alice");
    clerk.be_silent(true);
    first.say("on its way");
    first.until("outbox[0].state === 'sent'");

    let mut second = duplicate(&browser, &mut first, &server.url(), "");
    second.until("link.state === 'elsewhere'");
    assert_eq!(second.eval("[me.session, link.socket, outbox[0].state]"), json!(["", null, "unknown"]));
    assert_eq!(first.eval(IS_IN), true);

    // Under another name, it has a session of its own.
    clerk.knows(json!("beef"));
    second.click("#banner-other", "Change your name");
    second.until("document.getElementById('name-dialog').open");
    second.write("bob");
    second.press("Enter");
    second.until(IS_IN);
    assert_eq!(second.eval("me.session"), "beef");
    let sessions = |server: &StandIn| -> Vec<_> {
        server.heard("hello").into_iter().map(|(_, hello)| hello["session"].clone()).collect()
    };
    assert_eq!(sessions(&server), [Value::Null, Value::Null]);
    assert_eq!(server.heard("public").len(), 1);
    second.eval("abandon()");

    // A tab that is closed leaves its session to the next one of that name.
    first.eval("keepNow(); abandon()");
    first.call("Page.navigate", &json!({ "url": "about:blank" }));
    first.until("location.href === 'about:blank'");
    second.eval("sessionStorage.clear(); localStorage.setItem('roomd-name', 'alice')");
    let mut third = browser.open(&server.url());
    third.until(IS_IN);
    assert_eq!(sessions(&server)[2], "cafe");
    third.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn what_could_not_be_saved_can_be_sent_again() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let clerk = Clerk::with("cafe");
    let server = clerk.serve(&daemon);
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");
    *clerk.refusal.lock().expect("no panic") = Some(("not-saved", "No space left on device"));
    page.say("important");
    page.until("document.querySelector('.own[data-state=failed]')");
    page.sees("No space left on device");
    reload(&mut page);
    page.until(IS_IN);
    page.sees("No space left on device");
    *clerk.refusal.lock().expect("no panic") = None;
    page.click(".remedy button", "Send again");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 1");
    assert_eq!(said(&server), [vec!["public lobby: \"important\""; 2]]);
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn what_a_killed_daemon_had_saved_is_not_said_again_and_what_it_had_not_is() {
    let _turn = wait_for_turn();
    let mut daemon = Daemon::start_with_data();
    let cable = Cable::to(daemon.port);
    let browser = Browser::start("en");
    let mut page = browser.open(&cable.url());
    record(&mut page);
    log_in(&mut page, "alice");
    join(&mut page, &["dev"]);
    let bob = enter(&daemon, "bob", "dev");
    cable.deafen();
    page.say("did it arrive?\nI wonder");
    bob.hears("did it arrive?");
    page.say("/me wonders");
    bob.hears("alice wonders");
    page.eval("swallows = true");
    page.say("did it arrive?\nI wonder"); // the same words: another message
    page.until("outbox.length === 3 && outbox.every(item => item.state === 'sent')");
    daemon.crash();
    page.until(IS_AWAY);
    page.eval("swallows = false");
    cable.mend();
    daemon.start_again();
    page.until(&format!("{IS_IN} && outbox.length === 0"));
    let said = "current.items.filter(item => item.id).map(item => [item.id, item.body])";
    let twice = "did it arrive?\nI wonder";
    assert_eq!(page.eval(said), json!([[1, twice], [2, "wonders"], [3, twice]]));
    assert_eq!(page.eval("document.querySelectorAll('.gap, .remedy').length"), 0);
    page.reload();
    page.until(&format!("{IS_IN} && current.fetched"));
    assert_eq!(page.eval(said), json!([[1, twice], [2, "wonders"], [3, twice]]));
    page.assert_clean();
}

/// The first `ack` of it would name a message of the room that is there now.
#[test]
#[ignore = "needs chromium"]
fn what_was_on_its_way_to_a_room_that_was_made_again_is_asked_about() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let clerk = Clerk::with("cafe");
    let server = clerk.serve(&daemon);
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");
    clerk.be_silent(true);
    page.say("of the old room");
    page.until("outbox[0]?.state === 'sent'");
    let first = page.eval("outbox[0].ref");
    server.cut();
    page.until(IS_AWAY);
    clerk.be_silent(false);
    clerk.epoch.store(1, Ordering::SeqCst);
    page.until(IS_IN);
    shows(&mut page, &["of the old room unknown"]);
    page.click(".remedy button", "Send again");
    shows(&mut page, &["of the old room delivered"]);
    let again = server.heard("public").pop().map(|(_, request)| request["ref"].clone());
    assert_ne!(again, Some(first));
    page.assert_clean();
}
