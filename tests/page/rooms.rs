//! Several rooms at once: what is counted, kept, sent and fetched when one is in more than the one that is on show.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::browser::server::{Cable, Daemon, Netcat};
use super::browser::stand_in::{Reply, StandIn, Upgrade, nothing, welcome};
use super::browser::{Browser, Page, wait_for_turn};
use super::{FOCUS, IS_AWAY, IS_IN, log_in};

/// Enters these rooms, and is in the last of them.
pub(super) fn join(page: &mut Page, rooms: &[&str]) {
    for room in rooms {
        page.say(&format!("/join {room}"));
        is_shown(page, &format!("#{room}"));
        page.until("current.joined && !current.catchingUp");
    }
}

/// A conversation of this title is on show, and what belongs to it is drawn.
pub(super) fn is_shown(page: &mut Page, title: &str) {
    page.until(&format!(
        "document.getElementById('title').textContent === '{title}' && drawnTalk === current"
    ));
}

/// Somebody with `nc` who speaks in one room only.
pub(super) fn enter(daemon: &Daemon, name: &str, room: &str) -> Netcat {
    let mut netcat = Netcat::enter(daemon.port, name);
    netcat.say(&format!("/join {room}"));
    netcat.hears(&format!("#{room},"));
    netcat.say("/leave lobby");
    netcat.say("/ping");
    netcat.hears("pong");
    netcat
}

const TITLE: &str = "document.title.replace(' · roomd', '')";

/// The rooms on the list, from above: name, number, and whether a mention is marked.
const LIST: &str = "[...document.querySelectorAll('#rooms li')].map(li => [li.querySelector('bdi').textContent, \
    li.querySelector('.badge')?.textContent ?? '', !li.querySelector('.call').hidden])";

fn list(page: &mut Page, expected: &Value) {
    page.until(&format!("JSON.stringify({LIST}) === JSON.stringify({expected})"));
}

/// From here on, `sent` holds what the page asks of the server; while `swallows` is true, nothing of it arrives.
pub(super) fn record(page: &mut Page) {
    page.eval(
        "window.sent = []; window.swallows = false; if (!window.said) { window.said = WebSocket.prototype.send; \
         WebSocket.prototype.send = function (text) { sent.push(JSON.parse(text)); swallows || said.call(this, text); }; }",
    );
}

#[test]
#[ignore = "needs chromium"]
fn what_is_new_is_counted_room_by_room_and_mentions_are_marked() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev", "ops"]);
    let (mut bob, mut carol) = (enter(&daemon, "bob", "dev"), enter(&daemon, "carol", "ops"));
    page.click("#rooms button", "lobby");
    is_shown(&mut page, "#lobby");

    bob.say("one");
    bob.say("alice: two");
    bob.say("three");
    carol.say("alicia is somebody else");
    list(&mut page, &json!([["lobby", "", false], ["dev", "3", true], ["ops", "1", false]]));
    assert_eq!(page.eval(TITLE), "(4) @1 #lobby");
    let spoken =
        "[...document.querySelectorAll('#rooms .entry')].map(e => e.querySelector('.unseen').textContent)";
    assert_eq!(page.eval(spoken), json!(["1 here", "3 unread, one names you", "1 unread"]));
    page.until(
        "document.getElementById('subtitle').textContent === '1 here · elsewhere 4 unread, one names you'",
    );
    assert_eq!(page.eval("document.getElementById('items').innerText.includes('alice: two')"), false);

    // Who comes and goes is no news.
    drop(enter(&daemon, "dan", "dev"));
    page.until("conversations.get('#dev').items.at(-1).nodes?.some(node => node.textContent === 'dan')");
    assert_eq!(page.eval(TITLE), "(4) @1 #lobby");

    // What is looked at is no news any more, and only that.
    page.click("#rooms button", "dev");
    page.sees("alice: two");
    list(&mut page, &json!([["lobby", "", false], ["dev", "", false], ["ops", "1", false]]));
    page.until(&format!("{TITLE} === '(1) #dev'"));
    assert_eq!(page.eval("document.querySelectorAll('[aria-current=true]').length"), 1);
    assert_eq!(page.eval("document.querySelector('[aria-current=true] bdi').textContent"), "dev");
    let mark = "document.querySelector('.day.mark').nextElementSibling.querySelector('.body').textContent";
    assert_eq!(page.eval(mark), "one", "where the reader went away");
    page.look(false);
    bob.say("nobody looks");
    page.until(&format!("{TITLE} === '(2) #dev'"));
    page.look(true);
    page.until(&format!("{TITLE} === '(1) #dev'"));
    page.press("Alt+ArrowDown");
    page.until(&format!("{TITLE} === '#ops'"));
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn to_look_at_another_room_asks_the_server_for_nothing() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev", "ops"]);
    let (mut bob, mut carol) = (enter(&daemon, "bob", "dev"), enter(&daemon, "carol", "ops"));
    bob.say("/msg alice psst");
    page.until("document.querySelector('#talks .badge')");

    record(&mut page);
    page.click("#rooms button", "lobby");
    is_shown(&mut page, "#lobby");
    // While nobody looks there: one comes, one goes, one is called otherwise, and all are known.
    let _dan = enter(&daemon, "dan", "dev");
    drop(enter(&daemon, "eve", "dev"));
    bob.say("/nick bobby");
    bob.say("in dev");
    carol.say("in ops");
    list(&mut page, &json!([["lobby", "", false], ["dev", "1", false], ["ops", "1", false]]));
    let people = "[...document.querySelectorAll('#people [role=option]')].map(e => e.dataset.name).join()";
    for (title, who, text) in [
        ("#dev", "alice,bobby,dan", "in dev"),
        ("#ops", "alice,carol", "in ops"),
        ("bobby", "alice,carol", "psst"),
    ] {
        page.press("Alt+ArrowDown");
        is_shown(&mut page, title);
        page.sees(text);
        page.until(&format!("{people} === '{who}'"));
    }
    page.press("Alt+ArrowDown"); // round the end
    is_shown(&mut page, "#lobby");
    page.press("Alt+ArrowUp");
    is_shown(&mut page, "bobby");
    page.click("#rooms button", "dev");
    is_shown(&mut page, "#dev");
    page.until("document.getElementById('subtitle').textContent === '3 here'");
    assert_eq!(page.eval("sent"), json!([]));
    // And what is typed is said where it was typed.
    page.say("here");
    bob.hears("alice: here");
    assert_eq!(page.eval("sent.map(({ type, room }) => [type, room])"), json!([["public", "dev"]]));
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn each_room_keeps_its_draft_and_its_place() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    let mut bob = enter(&daemon, "bob", "dev");
    for i in 1..=80 {
        bob.say(&format!("line {i}"));
    }
    bob.say("/ping");
    bob.hears("pong");
    page.write("for the lobby");
    page.eval("setEntry('/join dev')");
    page.press("Enter");
    is_shown(&mut page, "#dev");
    page.sees("line 80");
    page.write("for dev");
    page.eval("log.scrollTop -= 2 * log.clientHeight");
    page.until("!current.pinned");
    let place = "(() => { const { item, top } = firstVisible(); \
         return JSON.stringify([item.body, Math.round(top)]); })()";
    let before = page.eval(place);
    page.press("Alt+ArrowUp");
    is_shown(&mut page, "#lobby");
    assert_eq!(page.eval("entry.value"), "");
    page.write("half a line");
    page.press("Alt+ArrowDown");
    is_shown(&mut page, "#dev");
    assert_eq!(page.eval("entry.value"), "for dev");
    page.until(&format!("{place} === {before}"));
    page.press("Alt+ArrowUp");
    assert_eq!(page.eval("entry.value"), "half a line");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_reload_keeps_rooms_order_drafts_and_what_was_read() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev", "ops", "tea"]);
    let (mut bob, mut carol) = (enter(&daemon, "bob", "dev"), enter(&daemon, "carol", "ops"));
    bob.say("seen");
    page.click("#rooms button", "dev");
    page.sees("seen");
    page.write("a draft for dev");
    page.press("Alt+Shift+ArrowDown");
    list(
        &mut page,
        &json!([["lobby", "", false], ["ops", "", false], ["dev", "", false], ["tea", "", false]]),
    );
    page.click("#rooms button", "ops");
    is_shown(&mut page, "#ops");
    page.write("a draft for ops");

    // The page is closed for a while.
    page.eval("keepNow(); abandon()"); // the browser would keep it for whoever goes back
    page.call("Page.navigate", &json!({ "url": "about:blank" }));
    page.until("location.href === 'about:blank'");
    bob.hears("alice left");
    bob.say("missed");
    bob.say("missed, alice");
    carol.say("missed here");
    for who in [&mut bob, &mut carol] {
        who.say("/ping");
        who.hears("pong");
    }
    page.call("Page.navigate", &json!({ "url": daemon.url() }));
    page.until(IS_IN);
    is_shown(&mut page, "#ops");
    page.sees("missed here");
    assert_eq!(page.eval("entry.value"), "a draft for ops");
    list(
        &mut page,
        &json!([["lobby", "", false], ["ops", "", false], ["dev", "2", true], ["tea", "", false]]),
    );
    page.until(&format!("{TITLE} === '(2) @1 #ops'"));
    // Fetched once, in the background: to look at it asks for nothing.
    page.until("rooms().every(room => room.fetched)");
    record(&mut page);
    page.press("Alt+ArrowDown");
    page.sees("missed, alice");
    page.sees("seen");
    assert_eq!(page.eval("entry.value"), "a draft for dev");
    let mark = "document.querySelector('.day.mark').nextElementSibling.querySelector('.body').textContent";
    assert_eq!(page.eval(mark), "missed");
    assert_eq!(page.eval("sent"), json!([]));

    // An address that names a room adds it, and shows it.
    page.press("Alt+ArrowUp");
    is_shown(&mut page, "#ops");
    page.eval("keepNow(); location.hash = '#new'");
    is_shown(&mut page, "#new");
    page.until("current.joined");
    page.press("Alt+ArrowUp");
    is_shown(&mut page, "#tea");
    page.call("Page.navigate", &json!({ "url": "about:blank" }));
    page.until("location.href === 'about:blank'");
    page.call("Page.navigate", &json!({ "url": format!("{}#Newer", daemon.url()) }));
    page.until(IS_IN);
    is_shown(&mut page, "#newer");
    let names = ["lobby", "ops", "dev", "tea", "new", "newer"];
    let expected: Vec<_> = names.into_iter().map(|name| json!([name, "", false])).collect();
    list(&mut page, &json!(expected));
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn the_order_is_the_readers() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    join(&mut page, &["b", "c", "d"]);
    let order = |page: &mut Page, names: &str| {
        page.until(&format!(
            "[...document.querySelectorAll('#rooms bdi')].map(e => e.textContent).join('') === '{names}'"
        ));
    };
    order(&mut page, "lobbybcd");
    page.press("Alt+Shift+ArrowUp");
    order(&mut page, "lobbybdc");
    page.until("document.getElementById('announcer').textContent.includes('Now number 3 of 4')");
    assert_eq!(page.eval(FOCUS), "entry");
    page.press("Alt+Shift+ArrowUp");
    page.press("Alt+Shift+ArrowUp");
    order(&mut page, "dlobbybc");
    page.press("Alt+Shift+ArrowUp"); // round the end
    order(&mut page, "lobbybcd");

    // With the mouse.
    page.eval(
        "(() => { const options = { dataTransfer: new DataTransfer(), bubbles: true, cancelable: true }; \
         const row = name => [...document.querySelectorAll('#rooms li')].find(li => li.innerText.includes(name)); \
         const fire = (name, type) => row(name).dispatchEvent(new DragEvent(type, options)); \
         fire('lobby', 'dragstart'); fire('c', 'dragover'); fire('c', 'drop'); fire('lobby', 'dragend'); })()",
    );
    order(&mut page, "bclobbyd");
    is_shown(&mut page, "#d");
    page.reload();
    page.until(IS_IN);
    order(&mut page, "bclobbyd");
    page.click("#help", "");
    page.until("document.getElementById('help-list').innerText.includes('Alt+Shift+↑/↓')");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn other_rooms_are_found_by_typing_and_new_ones_made() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let _crew = [("bob", "dev"), ("carol", "devops"), ("dan", "devops"), ("eve", "tea")]
        .map(|(name, room)| enter(&daemon, name, room));
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    let found = |page: &mut Page, expected: Value| {
        let rows = "[...document.querySelectorAll('#others [role=option]')]\
             .map(e => e.innerText.split(/\\s*\\n\\s*/).filter(Boolean).join(' '))";
        page.until(&format!("JSON.stringify({rows}) === JSON.stringify({expected})"));
    };

    page.click("#new-room", "");
    page.until("document.getElementById('rooms-dialog').open");
    assert_eq!(page.eval(FOCUS), "room");
    found(&mut page, json!(["# devops 2 here", "# dev 1 here", "# tea 1 here"])); // the lobby is ours already
    page.press("Escape");
    page.until("!document.getElementById('rooms-dialog').open && document.activeElement.id === 'entry'");

    page.click("#new-room", "");
    page.write("OPS");
    found(&mut page, json!(["# devops 2 here", "+ Make #OPS"]));
    page.press("Enter");
    is_shown(&mut page, "#devops");
    page.until("current.joined && !document.getElementById('rooms-dialog').open");
    assert_eq!(page.eval(FOCUS), "entry");
    page.until("document.getElementById('people').innerText.includes('dan')");

    page.click("#new-room", "");
    page.write("dev");
    found(&mut page, json!(["# dev 1 here"]));
    page.eval("$('room').select()");
    page.write("te");
    found(&mut page, json!(["# tea 1 here", "+ Make #te"]));
    page.press("ArrowDown");
    page.until(
        "document.getElementById($('room').getAttribute('aria-activedescendant')).innerText.includes('#te')",
    );
    page.press("Enter");
    is_shown(&mut page, "#te");
    page.until("current.joined");
    page.click("#new-room", "");
    page.write("devops");
    found(&mut page, json!(["+ Go to #devops, where you are already"]));
    page.press("Enter");
    is_shown(&mut page, "#devops");
    page.click("#new-room", "");
    page.click("#others [role=option]", "tea");
    is_shown(&mut page, "#tea");
    page.until("current.joined");

    // What can be no name is told by the server, and leaves no trace.
    page.click("#new-room", "");
    page.write("two words");
    page.press("Enter");
    page.sees("a room name has 1 to 32 characters");
    is_shown(&mut page, "#tea");
    let expected = ["lobby", "devops", "te", "tea"].map(|name| json!([name, "", false]));
    list(&mut page, &json!(expected));
    page.eval("location.hash = '#three%20words'");
    page.until("document.querySelectorAll('#items .trouble').length === 1"); // the last one only
    is_shown(&mut page, "#tea");
    // Nor can one be everywhere.
    for i in 5..=32 {
        join(&mut page, &[&format!("room{i}")]);
    }
    page.say("/join room33");
    page.until("document.querySelector('#items .trouble')?.textContent.includes('32')");
    is_shown(&mut page, "#room32");
    page.say("nothing broke");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 1");

    // The same by the address of a page that comes again: the others are not lost by it.
    for address in ["#four%20words", "#room33"] {
        page.eval(&format!("keepNow(); history.replaceState(null, '', '{address}')"));
        page.reload();
        page.until(&format!("{IS_IN} && rooms().length === 32 && rooms().every(room => room.joined)"));
    }
    page.until("conversations.has('#room33') && document.body.innerText.includes('32 rooms at most')");
    page.assert_clean();
}

/// A server that lets us into a room, has forgotten it when we speak there, and lets us in again.
fn forget(request: &Value) -> Reply {
    static TIMES: AtomicU32 = AtomicU32::new(0);
    let reference = &request["ref"];
    let room = json!({ "type": "room", "name": "alice", "room": "dev", "id": 0, "epoch": 1, "users": ["alice"],
        "total": 1 });
    Reply::Say(match request["type"].as_str() {
        Some("hello") if request["rooms"] == json!(["dev"]) => vec![welcome(request, 2, &json!({})), room],
        Some("hello") => vec![welcome(request, 2, &json!({}))],
        Some("join") => {
            vec![welcome(request, 0, &json!({ "name": "alice", "room": request["room"], "epoch": 1 }))]
        }
        Some("public") if TIMES.fetch_add(1, Ordering::Relaxed) == 0 => {
            vec![
                json!({ "type": "error", "ref": reference, "code": "not-here", "room": "dev", "text": "where?" }),
            ]
        }
        Some("public") => vec![json!({ "type": "ack", "ref": reference, "ts": 1, "id": 1 })],
        _ => vec![nothing(request)],
    })
}

#[test]
#[ignore = "needs chromium"]
fn a_room_that_the_server_has_forgotten_is_entered_again() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let server = StandIn::before(daemon.port, Upgrade::answer(forget));
    let browser = Browser::start("en");
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev"]);
    page.click("#rooms button", "lobby");
    server.cut();
    page.until(IS_AWAY);
    page.until(&format!("{IS_IN} && rooms().every(room => room.joined && !room.catchingUp)"));
    page.click("#rooms button", "dev");
    page.say("twice");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 1");
    let asked = |kind: &str| {
        server.heard(kind).into_iter().map(|(_, request)| request["room"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(asked("hello"), ["lobby", "lobby"]);
    assert_eq!(asked("join"), ["dev", "dev"]);
    assert_eq!(asked("public"), ["dev", "dev"]);
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn leaving_a_room_leaves_that_one_only_and_the_lobby_is_the_last() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev", "ops", "tea"]);
    let (mut bob, carol) = (enter(&daemon, "bob", "dev"), enter(&daemon, "carol", "ops"));
    let names = |page: &mut Page, names: &[&str]| {
        let expected: Vec<_> = names.iter().map(|name| json!([name, "", false])).collect();
        list(page, &json!(expected));
    };
    page.click("#rooms button", "dev");
    is_shown(&mut page, "#dev");

    // One that is not on show, by its button.
    let close = |name: &str| {
        format!("[...document.querySelectorAll('#side .close')].find(e => e.ariaLabel.includes('{name}'))")
    };
    assert_eq!(
        page.eval(&format!("{}.ariaLabel.replace(/[\\u2068\\u2069]/g, '')", close("ops"))),
        "Leave #ops"
    );
    page.eval(&format!("{}.click()", close("ops")));
    carol.hears("alice left");
    names(&mut page, &["lobby", "dev", "tea"]);
    is_shown(&mut page, "#dev");
    page.say("still here");
    bob.hears("alice: still here");

    // The one on show, by the command: the next one takes its place, and nothing of the other is heard any more.
    page.until("outbox.length === 0");
    page.say("/leave");
    bob.hears("alice left");
    is_shown(&mut page, "#tea");
    bob.say("alice, are you gone?");
    bob.say("/ping");
    bob.hears("pong");
    page.say("/leave lobby");
    names(&mut page, &["tea"]);
    page.say("/who dev");
    page.sees("you are not in #dev");
    page.say("/leave");
    is_shown(&mut page, "#lobby");
    names(&mut page, &["lobby"]);
    page.until("current.joined && current.people.total > 0");
    assert_eq!(
        page.eval("[...document.querySelectorAll('#rooms .close')].map(e => e.hidden)"),
        json!([true])
    );
    page.say("/leave");
    page.sees("You are in #lobby already");
    page.eval("setEntry('')");
    page.reload();
    page.until(IS_IN);
    names(&mut page, &["lobby"]);

    // What was said before one came again is no news; a private conversation is closed in the same way.
    page.look(false);
    join(&mut page, &["dev"]);
    page.sees("are you gone?");
    assert_eq!(page.eval(TITLE), "#dev");
    page.look(true);
    bob.say("/msg alice psst");
    page.click("#talks button", "bob");
    page.sees("psst");
    page.eval(&format!("{}.click()", close("bob")));
    is_shown(&mut page, "#dev");
    page.until("document.querySelectorAll('#talks li').length === 0");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn coming_back_is_one_hello_and_nothing_is_lost_or_doubled_in_any_room() {
    let _turn = wait_for_turn();
    let mut daemon = Daemon::start();
    let cable = Cable::to(daemon.port);
    let browser = Browser::start("en");
    let mut page = browser.open(&cable.url());
    record(&mut page);
    log_in(&mut page, "alice");
    join(&mut page, &["dev", "ops"]);
    let mut bob = enter(&daemon, "bob", "dev");
    let mut carol = enter(&daemon, "carol", "ops");
    bob.say("before");
    carol.say("before");
    page.sees("before");
    page.click("#rooms button", "dev");
    page.sees("before");

    // One message reaches #dev, but its acknowledgement is lost; one is lost itself; one waits behind it, one for #ops.
    cable.deafen();
    page.say("did it arrive?");
    bob.hears("alice: did it arrive?");
    page.eval("swallows = true");
    page.say("lost on the way");
    cable.cut();
    page.until(IS_AWAY);
    page.say("dev waits");
    page.press("Alt+ArrowDown");
    page.say("ops waits");
    for i in 1..=220 {
        bob.say(&format!("missed {i}"));
    }
    bob.say("alice?");
    carol.say("missed");
    for who in [&mut bob, &mut carol] {
        who.say("/ping");
        who.hears("pong");
    }
    record(&mut page);
    cable.mend();
    page.until(&format!("{IS_IN} && outbox.length === 0"));
    bob.hears("alice: lost on the way");
    bob.hears("alice: dev waits");
    carol.hears("alice: ops waits");
    let hellos = "sent.filter(({ type }) => type === 'hello').map(({ room, rooms }) => [room, rooms])";
    assert_eq!(page.eval(hellos), json!([["ops", ["lobby", "dev"]]]));
    assert_eq!(page.eval("sent.filter(({ type }) => type === 'join').length"), 0);
    let ids = "['#dev', '#ops'].map(key => conversations.get(key).items.filter(item => item.id).map(item => item.id))";
    page.until(&format!("{ids}[0].length === 225"));
    let (dev, ops): (Vec<_>, Vec<_>) = ((1..=225).collect(), (1..=3).collect());
    assert_eq!(page.eval(ids), json!([dev, ops]));
    list(&mut page, &json!([["lobby", "", false], ["dev", "99+", true], ["ops", "", false]]));
    assert_eq!(page.eval(TITLE), "(221) @1 #ops");

    // A server that has forgotten everything: what it has anew is told apart; what waits is said where it was typed.
    daemon.crash();
    page.until(IS_AWAY);
    page.say("ops again");
    page.press("Alt+ArrowUp");
    page.say("dev again");
    daemon.start_again();
    page.until(&format!("{IS_IN} && outbox.length === 0"));
    let (mut bob, carol) = (enter(&daemon, "bob", "dev"), enter(&daemon, "carol", "ops"));
    page.sees("The server has started anew");
    let said = "['#dev', '#ops'].map(key => conversations.get(key).items)\
         .map(items => items.filter(item => item.id && item.era === 1).map(item => [item.id, item.body]))";
    assert_eq!(page.eval(said), json!([[[1, "dev again"]], [[1, "ops again"]]]));
    bob.say("all are here");
    page.sees("all are here");
    for body in ["did it arrive?", "lost on the way", "dev waits", "dev again", "all are here"] {
        let count = page.eval(&format!("current.items.filter(item => item.body === {}).length", json!(body)));
        assert_eq!(count, 1, "{body} is there once");
    }
    drop(carol);
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_name_is_the_same_in_all_rooms() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev", "ops"]);
    let mut bob = Netcat::enter(daemon.port, "bob");
    bob.say("/join dev");
    bob.hears("#dev,");
    bob.say("/nick rob");
    let names = "['#lobby', '#dev'].map(key => conversations.get(key).people.names)";
    page.until(&format!("{names}.every(names => names.has('rob') && !names.has('bob'))"));
    assert_eq!(page.eval("conversations.get('#ops').people.names.size"), 1);
    page.say("/nick alicia");
    bob.hears("alice is now alicia");
    page.until("rooms().every(({ people }) => people.names.has('alicia') && !people.names.has('alice'))");
    for title in ["#ops", "#lobby", "#dev"] {
        is_shown(&mut page, title);
        page.sees("You are now alicia");
        page.until("document.querySelector('#people [data-name=alicia]').innerText.includes('you')");
        page.press("Alt+ArrowDown");
    }
    is_shown(&mut page, "#ops");
    bob.say("alicia is a nice name");
    list(&mut page, &json!([["lobby", "", false], ["dev", "1", true], ["ops", "", false]]));
    page.reload();
    page.until(IS_IN);
    list(&mut page, &json!([["lobby", "", false], ["dev", "1", true], ["ops", "", false]]));
    page.assert_clean();
}
