//! Scrolling up fetches what was said before, as far as the server has it.

use serde_json::{Value, json};

use super::browser::server::{Daemon, flood};
use super::browser::stand_in::{Reply, StandIn, Upgrade, nothing, welcome};
use super::browser::{Browser, Page, wait_for_turn};
use super::rooms::{join, record};
use super::{IS_AWAY, IS_IN, log_in};

/// The ids of what is there.
const IDS: &str = "current.items.filter(item => item.id).map(item => item.id)";
const ASKED: &str = "sent.filter(({ type }) => type === 'history').map(({ before }) => before ?? 0)";
const ABOVE: &str = "document.getElementById('older-text').textContent";

/// Goes up until something is fetched; by how many pixels that moved what the reader saw.
const SHIFT: &str = "(async () => { const frame = () => new Promise(requestAnimationFrame); \
    while (!current.loading) { log.scrollTop = 0; await frame(); } \
    const { item, top } = firstVisible(); \
    while (current.loading) await frame(); \
    await frame(); await frame(); \
    return Math.round(item.node.getBoundingClientRect().top - top); })()";
/// What the scrolling brought about is drawn two frames later.
const TWO_FRAMES: &str = "new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))";

fn all_up_to(last: u32) -> Value {
    json!((1..=last).collect::<Vec<_>>())
}

/// Goes up until the room's beginning is reached.
fn scroll_to_beginning(page: &mut Page) {
    while page.eval(&format!("{ABOVE}.includes('beginning')")) != true {
        let before = page.eval("current.oldest").as_u64().expect("an id");
        page.until(&format!(
            "(log.scrollTop = 0, {ABOVE}.includes('beginning') || current.oldest < {before})"
        ));
    }
}

#[test]
#[ignore = "needs chromium"]
fn scrolling_up_fetches_older_messages_to_the_beginning_once_each() {
    let _turn = wait_for_turn();
    let mut daemon = Daemon::start();
    flood(daemon.port, "mallory", 450);
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    record(&mut page);
    log_in(&mut page, "alice");
    page.sees("flood 450");
    assert_eq!(page.eval(&format!("{IDS}.length")), 100);

    // The reader's place stays where it is while the older ones are put above it.
    assert_eq!(page.eval(SHIFT), 0);
    scroll_to_beginning(&mut page);
    assert_eq!(
        page.eval(ABOVE).as_str().map(|text| text.replace(['\u{2068}', '\u{2069}'], "")).as_deref(),
        Some("This is the beginning of #lobby.")
    );
    assert_eq!(page.eval(IDS), all_up_to(450));
    assert_eq!(page.eval(ASKED), json!([0, 351, 251, 151, 51]));
    page.eval("log.scrollTop = 0");
    page.press("PageUp");
    page.eval(TWO_FRAMES);
    assert_eq!(page.eval(&format!("{ASKED}.length")), 5);

    // A server that began anew: ids of before are not comparable with those that are fetched now.
    daemon.crash();
    page.until(IS_AWAY);
    page.eval("clearTimeout(link.timer)"); // until everything is said
    daemon.start_again();
    flood(daemon.port, "mallory", 900);
    record(&mut page);
    page.eval("connect()");
    page.until(IS_IN);
    page.click("#jump", "");
    page.sees("flood 900");
    assert_eq!(
        page.eval(&format!("{IDS}[0] > 1 && {IDS}.every((id, i, ids) => id === ids[0] + i)")),
        true,
        "nothing of before"
    );
    scroll_to_beginning(&mut page);
    assert_eq!(page.eval(IDS), all_up_to(900));
    assert_eq!(page.eval(&format!("new Set({ASKED}).size === {ASKED}.length")), true, "nothing twice");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn the_keyboard_goes_up_to_the_beginning_in_every_room() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let server = StandIn::before(daemon.port, Upgrade::answer(|request| archive(request, 250)));
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");
    join(&mut page, &["dev"]);
    for (room, focus, key) in [("dev", "log", "Home"), ("lobby", "entry", "PageUp")] {
        page.click("#rooms button", room);
        page.until(&format!("current.name === '{room}' && drawnTalk === current"));
        page.eval(&format!("document.getElementById('{focus}').focus()"));
        while page.eval(&format!("{ABOVE}.includes('beginning')")) != true {
            page.press(key);
            page.eval(TWO_FRAMES);
        }
        assert_eq!(page.eval(IDS), all_up_to(250));
    }
    let asked: Vec<_> =
        server.heard("history").into_iter().map(|(_, request)| request["before"].clone()).collect();
    let each = [Value::Null, json!(151), json!(51)];
    assert_eq!(
        asked,
        [
            each[0].clone(),
            each[0].clone(),
            each[1].clone(),
            each[2].clone(),
            each[1].clone(),
            each[2].clone()
        ]
    );
    page.assert_clean();
}

/// A server that has so many messages in each of its rooms.
fn archive(request: &Value, count: u64) -> Reply {
    let fields = json!({ "room": request["room"], "id": count, "name": "alice" });
    Reply::Say(vec![match request["type"].as_str() {
        Some("hello" | "join") => welcome(request, 2, &fields),
        Some("history") => {
            let last = request["before"].as_u64().unwrap_or(count + 1) - 1;
            let first = (last + 1).saturating_sub(request["limit"].as_u64().unwrap_or(100)).max(1);
            let events: Vec<_> = (first..=last)
                .map(|id| {
                    json!({ "type": "public", "id": id, "ts": id, "room": request["room"], "from": "bob",
                        "body": format!("number {id}") })
                })
                .collect();
            json!({ "type": "history", "ref": request["ref"], "room": request["room"], "events": events,
                "more": first > 1 })
        }
        _ => nothing(request),
    }])
}

#[test]
#[ignore = "needs chromium"]
fn what_was_dropped_to_keep_the_page_small_is_fetched_again() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let server = StandIn::before(daemon.port, Upgrade::answer(|request| archive(request, 150)));
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");
    scroll_to_beginning(&mut page);
    page.click("#jump", "");
    page.until("current.pinned");
    page.eval(
        "for (let id = 151; id <= 5100; id++) on.public({ type: 'public', id, ts: id, room: 'lobby', from: 'bob', body: `number ${id}` })",
    );
    assert_eq!(page.eval("[current.items.length, current.oldest, current.more]"), json!([5000, 101, true]));
    page.eval("Object.assign(current, { pinned: false, first: 0, last: WINDOW }); refresh()");
    page.eval(TWO_FRAMES);
    scroll_to_beginning(&mut page);
    assert_eq!(page.eval(IDS), all_up_to(5100));
    page.click("#jump", "");
    page.until("current.pinned");
    page.eval(
        "on.public({ type: 'public', id: 5101, ts: 5101, room: 'lobby', from: 'bob', body: 'the last' })",
    );
    assert_eq!(page.eval("[current.items.length, current.oldest, current.more]"), json!([5000, 102, true]));
    page.assert_clean();
}

/// As far back as the file goes, and not only as far as the daemon's memory.
#[test]
#[ignore = "needs chromium"]
fn scrolling_up_reaches_the_beginning_of_the_file() {
    let _turn = wait_for_turn();
    let mut daemon = Daemon::start_with_data();
    flood(daemon.port, "mallory", 1500);
    daemon.crash();
    daemon.start_again();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    page.sees("flood 1500");
    scroll_to_beginning(&mut page);
    assert_eq!(page.eval(IDS), all_up_to(1500));
    page.assert_clean();
}
