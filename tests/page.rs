//! The page in a real browser: chromium, driven from here, talks to the real daemon.
//!
//! `cargo test --test page -- --ignored` runs these tests; they need Debian's `chromium`.
//! With `ROOMD_SCREENSHOTS=DIR` the test `screenshots` writes pictures of a conversation to `DIR`.

mod browser;

use std::path::PathBuf;
use std::time::Duration;

use browser::server::{Cable, Daemon, Netcat, flood, history};
use browser::stand_in::{Reply, StandIn, Upgrade, nothing, welcome};
use browser::{Browser, Page, wait_for_turn};
use serde_json::{Value, json};

/// Says what the page asks for first: a name.
fn log_in(page: &mut Page, name: &str) {
    page.until("document.getElementById('name-dialog').open");
    page.write(name);
    page.press("Enter");
    page.until(IS_IN);
}

/// In the room, and caught up.
const IS_IN: &str = "document.getElementById('me').dataset.state === 'open'";
const IS_AWAY: &str = "document.getElementById('me').dataset.state === 'waiting'";
const FOCUS: &str = "document.activeElement.id";

#[test]
#[ignore = "needs chromium"]
fn two_browsers_and_a_netcat_talk() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let (first, second) = (Browser::start("en"), Browser::start("en"));
    let (mut alice, mut bob) = (first.open(&daemon.url()), second.open(&daemon.url()));
    log_in(&mut alice, "alice");
    log_in(&mut bob, "bob");
    let mut carol = Netcat::enter(daemon.port, "carol");

    alice.say("hello from a browser");
    carol.hears("alice: hello from a browser");
    carol.say("hello from a terminal");
    bob.sees("hello from a terminal");
    bob.say("hello from another browser");
    carol.hears("bob: hello from another browser");

    for page in [&mut alice, &mut bob] {
        page.until("document.querySelectorAll('.message[data-id]').length === 3");
        let ids =
            page.eval("[...document.querySelectorAll('.message[data-id]')].map(m => Number(m.dataset.id))");
        assert_eq!(ids, json!([1, 2, 3]), "every message once, in the order of ids");
        for name in ["alice", "bob", "carol"] {
            page.until(&format!("document.getElementById('people').innerText.includes('{name}')"));
        }
        assert_eq!(page.eval("document.querySelectorAll('.message time[datetime]').length"), 3);
        page.until("document.querySelectorAll('.message.own[data-state=delivered]').length === 1");
    }
    assert_eq!(alice.eval("document.querySelector('.own .body').textContent"), "hello from a browser");

    // Who looks elsewhere finds the number of unread messages in the title, until they look again.
    alice.look(false);
    carol.say("one");
    carol.say("two");
    alice.until("document.title.startsWith('(2) #lobby')");
    alice.look(true);
    alice.until("document.title.startsWith('#lobby')");

    drop(carol);
    alice.sees("carol left");
    alice.assert_clean();
    bob.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn what_looks_like_markup_stays_text() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");

    let mut eve = Netcat::enter(daemon.port, "שלום");
    let hostile = [
        "<script>document.title = 'owned'; window.owned = 1</script>",
        "<img src=x onerror=\"window.owned = 1\">",
        "<style>* { display: none }</style>&lt;b&gt;",
        "{name} ${window.owned = 1} javascript:window.owned=1",
        "https://example.org/\"onmouseover=window.owned=1//",
    ];
    for text in hostile {
        eve.say(text);
        page.until(&format!(
            "[...document.querySelectorAll('.message .body')].some(e => e.textContent === {})",
            json!(text)
        ));
    }
    eve.say("\u{202e}txt.exe\u{2066} is turned around");
    page.sees("txt.exe is turned around");
    eve.say("/me <b>waves</b>");
    page.sees("<b>waves</b>");
    eve.say("/msg alice <script>window.owned = 1</script>");
    page.click("#talks button", "שלום");
    page.sees("<script>window.owned = 1</script>");

    // Names that would turn the line around, or that are markup, do not get in at all.
    for name in ["\u{202e}alice", "<b>eve</b>", "a b"] {
        let mut stranger = Netcat::connect(daemon.port);
        stranger.say(name);
        stranger.hears("name-bad");
    }
    // A name written from right to left is isolated from the words around it.
    assert_eq!(
        page.eval("[...document.querySelectorAll('.who')].every(e => e.firstElementChild.tagName === 'BDI')"),
        true
    );

    let made = "document.querySelectorAll('#items :is(script, img, style, b, iframe)').length";
    assert_eq!(page.eval(made), 0);
    assert_eq!(page.eval("typeof window.owned"), "undefined");
    let links = "[...document.querySelectorAll('#items a')].every(a => /^https?:$/.test(a.protocol) && a.relList.contains('noopener'))";
    assert_eq!(page.eval(links), true);
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_restarted_daemon_gets_its_page_back() {
    let _turn = wait_for_turn();
    let mut daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    page.say("before");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 1");

    daemon.crash();
    page.until(IS_AWAY);
    page.until("document.getElementById('banner').innerText.includes('Connection lost')");
    page.say("while away 1");
    page.say("while away 2");
    page.until("document.querySelectorAll('.own[data-state=queued]').length === 2");

    daemon.start_again();
    page.until(IS_IN);
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 3");
    page.until("document.getElementById('banner').hidden");
    page.sees("The server has started anew");
    assert_eq!(history(daemon.port), ["while away 1", "while away 2"], "each was sent once, in order");
    for body in ["before", "while away 1", "while away 2"] {
        assert_eq!(page.count(body), 1, "{body} is shown once");
    }

    // An orderly end: the page says why, and comes back just the same.
    daemon.shut_down();
    page.until(IS_AWAY);
    page.say("while away 3");
    daemon.start_again();
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 4");
    assert_eq!(history(daemon.port), ["while away 3"]);
    assert_eq!(page.eval("document.getElementById('me-name').textContent"), "alice", "the same name again");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn what_was_missed_is_fetched_and_nothing_is_said_twice() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let cable = Cable::to(daemon.port);
    let browser = Browser::start("en");
    let mut page = browser.open(&cable.url());
    log_in(&mut page, "alice");
    let mut bob = Netcat::enter(daemon.port, "bob");
    bob.say("before");
    page.sees("before");

    // This one reaches the daemon, but its acknowledgement does not reach the page.
    cable.deafen();
    page.say("did it arrive?");
    bob.hears("alice: did it arrive?");
    page.until("document.querySelectorAll('.own[data-state=sent]').length === 1");
    cable.cut();
    page.until(IS_AWAY);
    page.say("this waits");
    for i in 1..=250 {
        bob.say(&format!("missed {i}"));
    }
    bob.say("/ping");
    bob.hears("pong");

    cable.mend();
    page.until(IS_IN);
    page.until("document.querySelectorAll('.own[data-state=delivered]').length >= 1");
    page.sees("this waits");
    bob.hears("alice: this waits");
    page.until("outbox.length === 0");

    let said = history(daemon.port);
    assert_eq!(said.len(), 253);
    assert_eq!(said.iter().filter(|body| *body == "did it arrive?").count(), 1, "not said again");
    let ids = page.eval("current.items.filter(item => item.id).map(item => item.id)");
    assert_eq!(ids, json!((1..=253).collect::<Vec<_>>()), "nothing is missing, nothing is there twice");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn private_talks_reach_nobody_else() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let (first, second) = (Browser::start("en"), Browser::start("en"));
    let (mut alice, mut eve) = (first.open(&daemon.url()), second.open(&daemon.url()));
    log_in(&mut alice, "alice");
    log_in(&mut eve, "eve");
    let mut bob = Netcat::enter(daemon.port, "bob");

    alice.click("#people button", "bob");
    alice.until("document.getElementById('title').textContent === 'bob'");
    alice.say("psst");
    bob.hears("@alice: psst");
    alice.until("document.querySelector('.own[data-state=delivered]')");
    bob.say("/msg alice what is it?");
    alice.sees("what is it?");

    // Back in the room: nothing of it is there, and the next one is counted instead of shown.
    alice.click("#rooms button", "lobby");
    alice.until("!document.getElementById('items').innerText.includes('psst')");
    bob.say("/msg alice are you there?");
    alice.until("document.title.startsWith('(1)')");
    alice.until("document.querySelector('#talks .badge')?.textContent === '1'");
    alice.click("#talks button", "bob");
    alice.sees("are you there?");
    alice.until("document.title.startsWith('bob')");

    // Somebody who is not there (any more): the message is refused, not lost.
    drop(bob);
    alice.say("still there?");
    alice.until("document.querySelector('.own[data-state=failed]')");
    alice.sees("nobody here is called bob");
    alice.click(".remedy button", "Edit");
    alice.until("document.getElementById('entry').value === 'still there?'");

    assert_eq!(eve.eval("/psst|what is it|are you there/.test(document.body.textContent)"), false);
    assert_eq!(history(daemon.port), [] as [&str; 0]);
    alice.assert_clean();
    eve.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn commands_work_and_a_mistyped_one_is_never_sent() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    let bob = Netcat::enter(daemon.port, "bob");

    page.say("/msgg bob secret");
    page.sees("There is no command /msgg");
    page.until("document.getElementById('entry').value === '/msgg bob secret'");
    page.eval("setEntry('')");
    page.say("/toString");
    page.sees("There is no command /toString");
    page.eval("setEntry('')");
    page.say("  /msgg bob secret");
    page.sees("There is no command /msgg");
    page.eval("setEntry('')");
    page.say("one line\n/msg bob secret");
    page.sees("A command must be the only line");
    page.eval("setEntry('')");
    page.say("//msg is a command");
    page.say("/me waves");
    let heard = bob.hears_until("alice waves");
    assert!(heard.iter().any(|line| line == "alice: /msg is a command"), "{heard:?}");
    assert!(!heard.iter().any(|line| line.contains("secret") || line.contains("toString")), "{heard:?}");
    page.until("document.querySelector('.message.action .body').textContent === 'alice waves'");

    page.say("/who");
    page.sees("2 here: alice, bob");
    page.say("/ping");
    page.sees("The server answered in");
    page.say("/nick alicia");
    page.sees("You are now alicia");
    bob.hears("alice is now alicia");
    page.until("document.getElementById('me-name').textContent === 'alicia'");
    page.say("/nick bob");
    page.sees("bob is in use");

    page.say("/join dev");
    page.until("document.getElementById('title').textContent === '#dev'");
    assert_eq!(page.eval("location.hash"), "#dev");
    page.say("first here");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 1");
    page.say("/rooms");
    page.sees("#dev (1)");
    page.say("/msg bob psst");
    bob.hears("@alicia: psst");
    page.until("document.getElementById('title').textContent === 'bob'");
    page.say("/join lobby");
    page.sees("/msg is a command");
    page.say("/history 5");
    page.say("/help");
    page.until("document.getElementById('help-dialog').open");
    page.press("Escape");
    page.until("!document.getElementById('help-dialog').open");

    page.say("/quit");
    bob.hears("alicia left");
    page.until("document.getElementById('banner').innerText.includes('You have left')");
    page.click("#banner button", "Come back");
    page.until(IS_IN);
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn everything_can_be_done_from_the_keyboard() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let _bob = Netcat::enter(daemon.port, "bob");
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());

    // The dialog has the focus and keeps it.
    page.until("document.activeElement.id === 'name'");
    for _ in 0..6 {
        page.press("Tab");
        assert_eq!(page.eval("!document.hasFocus() || document.activeElement === document.body || Boolean(document.activeElement.closest('#name-dialog'))"), true);
    }
    page.press("Escape");
    page.until("!document.getElementById('name-dialog').open && document.activeElement.id === 'entry'");
    page.press("Enter"); // an empty line says nothing
    page.write("let me in");
    page.press("Enter"); // and without a name one is asked for it
    page.until("document.activeElement.id === 'name'");
    page.write("alice");
    page.press("Enter");
    page.until(IS_IN);
    assert_eq!(page.eval(FOCUS), "entry", "ready to write");
    page.press("Enter");
    page.sees("let me in");

    // Back through the page to bob's name; Enter opens the talk, and one can write at once.
    for _ in 0..30 {
        if page.eval("Boolean(document.activeElement.closest('#people')) && document.activeElement.innerText.includes('bob')") == true {
            break;
        }
        page.press("Shift+Tab");
    }
    assert_eq!(
        page.eval("document.activeElement.matches('#people button:focus-visible')"),
        true,
        "the focus is seen"
    );
    assert_ne!(page.eval("getComputedStyle(document.activeElement).outlineStyle"), "none");
    page.press("Enter");
    page.until("document.getElementById('title').textContent === 'bob'");
    assert_eq!(page.eval(FOCUS), "entry");
    page.press("Alt+ArrowDown");
    page.until("document.getElementById('title').textContent === '#lobby'");

    // Commands complete; Escape gives up.
    page.write("/he");
    page.until("!document.getElementById('hints').hidden");
    page.press("Tab");
    assert_eq!(page.eval("document.getElementById('entry').value"), "/help ");
    page.press("Enter");
    page.until("document.getElementById('help-dialog').open");
    page.press("Escape");
    page.until("document.activeElement.id === 'entry'");

    // What a screen reader finds: names for all controls, a log, and a live region that speaks.
    let nameless = "[...document.querySelectorAll('button, input, textarea')].filter(e => !e.hidden && !(e.innerText.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)";
    assert_eq!(page.eval(nameless), json!([]));
    assert_eq!(page.eval("document.getElementById('log').getAttribute('role')"), "log");
    let mut carol = Netcat::enter(daemon.port, "carol");
    carol.say("do you hear me?");
    page.until("document.querySelector('[aria-live=polite]').textContent.includes('do you hear me?')");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_name_in_use_is_asked_for_again_and_a_good_one_is_remembered() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let _bob = Netcat::enter(daemon.port, "bob");
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in_refused(&mut page, "bob", "in use");
    log_in_refused(&mut page, "no spaces allowed", "1 to 32 characters");
    page.write("alice"); // the bad name is selected, so typing replaces it
    page.press("Enter");
    page.until(IS_IN);

    page.reload();
    page.until(IS_IN);
    assert_eq!(page.eval("document.getElementById('me-name').textContent"), "alice");
    assert_eq!(page.eval("document.getElementById('name-dialog').open"), false, "not asked again");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_name_that_a_dead_connection_still_holds_is_taken_back() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let mut cable = Cable::to(daemon.port);
    let browser = Browser::start("en");
    let mut page = browser.open(&cable.url());
    log_in(&mut page, "alice");

    cable.strand();
    page.until("document.getElementById('banner').innerText.includes('still holds your name')");
    assert_eq!(page.eval("document.getElementById('name-dialog').open"), false, "not asked, for now");
    cable.notice();
    page.until(IS_IN);
    assert_eq!(page.eval("document.getElementById('me-name').textContent"), "alice");
    assert_eq!(page.eval("document.getElementById('name-dialog').open"), false);
    page.assert_clean();
}

fn log_in_refused(page: &mut Page, name: &str, why: &str) {
    page.until("document.getElementById('name-dialog').open");
    page.write(name);
    page.press("Enter");
    page.until(&format!("document.getElementById('name-dialog').open && document.getElementById('name-trouble').textContent.includes('{why}')"));
}

#[test]
#[ignore = "needs chromium"]
fn ten_thousand_messages_do_not_slow_it_down() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");

    flood(daemon.port, "mallory", 10_000);
    page.sees("flood 10000");
    let nodes = "document.querySelectorAll('*').length";
    let count = page.eval(nodes).as_u64().expect("a number");
    assert!(count < 5000, "{count} elements: old ones must be dropped");
    assert_eq!(
        page.eval("log.scrollHeight - log.scrollTop - log.clientHeight < 2"),
        true,
        "still at the end"
    );

    // Who reads older messages is not moved by new ones, and is told of them.
    page.eval("log.scrollTop -= 3 * log.clientHeight");
    page.until("!current.pinned");
    // Two frames: what the scrolling brought about has been drawn.
    page.eval("new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))");
    let place = "(() => { const { item, top } = firstVisible(); return [item.body, Math.round(top)]; })()";
    let before = page.eval(place);
    flood(daemon.port, "mallory", 2_000);
    page.until("document.getElementById('jump').textContent.startsWith('2000 new messages')");
    assert_eq!(page.eval(place), before, "the reader's place has not moved");
    let count = page.eval(nodes).as_u64().expect("a number");
    assert!(count < 7000, "{count} elements");
    assert_eq!(
        page.eval("current.items.filter(item => item.node).length <= WINDOW"),
        true,
        "none is kept aside"
    );
    page.click("#jump", "new messages");
    page.sees("flood 2000");
    page.until("document.getElementById('jump').hidden && document.title.startsWith('#lobby')");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn it_speaks_chinese_to_those_who_read_it() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("zh-CN");
    let mut page = browser.open(&daemon.url());
    page.until("document.getElementById('name-title').textContent === '怎么称呼你？'");
    log_in(&mut page, "小明");
    assert_eq!(page.eval("document.documentElement.lang"), "zh-CN");
    let mut bob = Netcat::enter(daemon.port, "李雷");
    page.sees("李雷 加入了");
    bob.say("你好，小明");
    page.sees("你好，小明");
    page.say("你好！");
    bob.hears("小明: 你好！");
    page.say("/xyz");
    page.sees("没有 /xyz 这个命令");

    // While an input method composes, Enter chooses a character and sends nothing.
    page.eval("setEntry('')");
    page.call("Input.imeSetComposition", &json!({ "text": "ni", "selectionStart": 2, "selectionEnd": 2 }));
    page.call(
        "Input.dispatchKeyEvent",
        &json!({ "type": "rawKeyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229 }),
    );
    assert_eq!(page.eval("document.getElementById('entry').value"), "ni");

    // Both languages have the same texts.
    let keys = "(function keys(o) { return Object.entries(o).flatMap(([k, v]) => v && typeof v === 'object' && !Array.isArray(v) ? keys(v).map(x => k + '.' + x) : [k]); })";
    let missing = format!("{keys}(TEXTS.en).filter(key => !{keys}(TEXTS.zh).includes(key))");
    assert_eq!(page.eval(&missing), json!([]));
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_link_keeps_the_brackets_that_it_opened_and_no_others() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "alice");
    let mut bob = Netcat::enter(daemon.port, "bob");
    for (said, link) in [
        ("https://en.wikipedia.org/wiki/Foo_(bar)", "https://en.wikipedia.org/wiki/Foo_(bar)"),
        ("(see https://en.wikipedia.org/wiki/Foo_(bar)).", "https://en.wikipedia.org/wiki/Foo_(bar)"),
        ("(or https://example.org/a)", "https://example.org/a"),
        ("(https://example.org/b), and", "https://example.org/b"),
        ("[https://example.org/c](d)", "https://example.org/c"),
        ("is it https://example.org/?q=[1]&r=2?!", "https://example.org/?q=[1]&r=2"),
        ("https://example.org/e...", "https://example.org/e"),
        ("看（https://example.org/f）。", "https://example.org/f"),
    ] {
        bob.say(said);
        page.until(&format!(
            "[...document.querySelectorAll('.body')].find(e => e.textContent === {})?.querySelector('a').textContent === {}",
            json!(said),
            json!(link)
        ));
    }
    page.assert_clean();
}

/// A server that knows lines, and says what was said to it to everybody.
fn echo(request: &Value) -> Reply {
    Reply::Say(match request["type"].as_str() {
        Some("hello") => vec![welcome(request, 2, &json!({ "limit": 200 }))],
        Some("public") => {
            // The page's references count up, and so do ids.
            let id: u64 = request["ref"].as_str().expect("a ref")[1..].parse().expect("a number");
            vec![
                json!({ "type": "public", "id": id, "ts": id, "room": "lobby", "from": "alice", "body": request["body"] }),
                json!({ "type": "ack", "ref": request["ref"], "ts": id, "id": id }),
            ]
        }
        _ => vec![nothing(request)],
    })
}

#[test]
#[ignore = "needs chromium"]
fn several_lines_are_one_message_and_code_stays_as_it_was_written() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let server = StandIn::before(daemon.port, Upgrade::Answer(echo));
    let browser = Browser::start("en");
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");

    page.write("one");
    let before = page.eval("entry.clientHeight").as_u64();
    page.press("Shift+Enter");
    page.write("  two");
    page.until("entry.value === 'one\\n  two'");
    assert!(page.eval("entry.clientHeight").as_u64() > before, "the field grows");
    page.press("Enter");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 1");

    let code = "see:\n```rust\nfn main() {\n\tif true {\n\t    x();\n\t}\n}\n```\nand `a <b> *c*`, not *this*\n\n  - end";
    page.say(&format!("\n{code}\n"));
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 2");
    page.say("    indented");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 3");
    let bodies: Vec<_> =
        server.heard("public").into_iter().map(|(_, request)| request["body"].clone()).collect();
    assert_eq!(bodies, [json!("one\n  two"), json!(code), json!("    indented")]);

    let block = page.eval("document.querySelector('#items pre').textContent");
    assert_eq!(block, "fn main() {\n\tif true {\n\t    x();\n\t}\n}");
    assert_eq!(page.eval("document.querySelector('#items :not(pre) > code').textContent"), "a <b> *c*");
    let face = "getComputedStyle(document.querySelector('#items pre code')).fontFamily.includes('monospace')";
    assert_eq!(page.eval(face), true);
    assert_eq!(page.eval("document.querySelectorAll('#items :is(em, strong, li, b)').length"), 0);
    page.sees("one\n  two");
    page.sees("    indented");

    // A command in a later line would be read by everybody; in a block of code it is meant to be.
    page.say("x\n/msg bob secret");
    page.sees("A command must be the only line");
    page.eval("setEntry('')");
    page.say("```\n/msg bob example\n```");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 4");
    page.say("/msg member0001 a\n b");
    page.until("current.name === 'member0001'");
    page.until("document.querySelector('.own')");
    assert_eq!(server.heard("private")[0].1["body"], "a\n b");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn a_message_that_is_too_long_is_not_sent_but_asked_about() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let server = StandIn::before(daemon.port, Upgrade::Answer(echo)); // it takes 200 bytes
    let browser = Browser::start("en");
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");

    let long = format!("{}\n{}", "yes ".repeat(40), "好".repeat(80)); // 161 and 240 bytes
    page.say(&long);
    page.until("document.getElementById('long-dialog').open");
    page.until("document.getElementById('long-text').textContent.includes('201 too long')");
    page.press("Escape");
    page.until("!document.getElementById('long-dialog').open && document.activeElement === entry");
    assert_eq!(page.eval("entry.value"), json!(long), "nothing is lost");
    assert_eq!(page.eval("document.getElementById('surplus').textContent"), "201 bytes too long");
    assert!(server.heard("public").is_empty());

    page.press("Enter");
    page.click("#long-split", "Send as 3 messages");
    page.until("document.querySelectorAll('.own[data-state=delivered]').length === 3");
    let bodies: Vec<_> = server
        .heard("public")
        .iter()
        .map(|(_, request)| request["body"].as_str().expect("a body").to_owned())
        .collect();
    assert_eq!(bodies.concat(), long.replace('\n', ""));
    assert!(bodies.iter().all(|body| body.len() <= 200));
    assert_eq!(page.eval("entry.value"), "");

    // A block of code that is cut is a block on both sides.
    page.say(&format!("```\n{}```", "let x = 1;\n".repeat(25)));
    page.click("#long-split", "Send as 2 messages");
    page.until("document.querySelectorAll('#items pre').length === 2");
    assert_eq!(page.eval("document.getElementById('items').innerText.includes('`')"), false);
    // What nobody would read in pieces is only edited.
    page.say(&"z".repeat(10_000));
    page.until("document.getElementById('long-dialog').open && document.getElementById('long-split').hidden");
    assert_eq!(server.heard("hello").len(), 1, "the connection stayed");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn what_the_server_refuses_is_never_sent_again() {
    fn refuse(request: &Value) -> Reply {
        match request["type"].as_str() {
            Some("hello") => Reply::Say(vec![welcome(request, 2, &json!({}))]),
            Some("public") if request["body"] == "break" => Reply::Close(1009),
            Some("public") => Reply::Say(vec![
                json!({ "type": "error", "ref": request["ref"], "code": "too-long", "text": "no more than 10" }),
            ]),
            _ => Reply::Say(vec![nothing(request)]),
        }
    }
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let server = StandIn::before(daemon.port, Upgrade::Answer(refuse));
    let browser = Browser::start("en");
    let mut page = browser.open(&server.url());
    log_in(&mut page, "alice");

    page.say("a refused one");
    page.until("document.querySelector('.own[data-state=failed]')");
    page.sees("no more than 10");
    page.say("break");
    page.until("document.querySelectorAll('.own[data-state=failed]').length === 2");
    page.until("link.tries === 1");
    page.until(IS_IN);
    page.eval("link.welcomed = 1"); // as if it had been so for a while
    server.cut();
    page.until(IS_AWAY);
    page.until(IS_IN);
    page.say("another");
    page.until("document.querySelectorAll('.own[data-state=failed]').length === 3");
    assert_eq!(server.heard("public").len(), 3, "each was sent once");
    page.assert_clean();
}

#[test]
#[ignore = "needs chromium"]
fn every_failure_makes_the_next_attempt_wait_longer() {
    fn close(request: &Value) -> Reply {
        match request["type"].as_str() {
            Some("hello") => Reply::Say(vec![welcome(request, 2, &json!({}))]),
            _ => Reply::Close(1009),
        }
    }
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let server = StandIn::before(daemon.port, Upgrade::Answer(close));
    let browser = Browser::start("en");
    let mut page = browser.open(&server.url());
    page.write("alice");
    page.press("Enter");
    page.until("link.tries === 4");
    page.until("link.tries === 5");
    let times: Vec<_> = server.heard("hello").into_iter().map(|(at, _)| at).collect();
    assert_eq!(times.len(), 5);
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[3] >= Duration::from_secs(2), "being let in alone is no success: {waits:?}");
    // Who comes back to the page hurries it, but not without end.
    page.eval("for (let i = 0; i < 100; i++) document.dispatchEvent(new Event('visibilitychange'))");
    assert!(server.heard("hello").len() <= 6);
}

#[test]
#[ignore = "needs chromium"]
fn a_connection_that_is_refused_shows_what_the_server_answered() {
    let _turn = wait_for_turn();
    let daemon = Daemon::start();
    let browser = Browser::start("en");
    let banner = |text: &str| format!("document.getElementById('banner').innerText.includes('{text}')");

    // This proxy changes Host, so that our own page looks like a foreign one. Only the real daemon can say so.
    let proxy = StandIn::before(daemon.port, Upgrade::Forward);
    let mut page = browser.open(&proxy.url());
    page.write("alice");
    page.press("Enter");
    page.until(&banner("403 Forbidden: pages of this Origin may not connect"));
    page.until(&banner("Try now"));
    page.assert_clean();

    let proxy = StandIn::before(daemon.port, Upgrade::Refuse("502 Bad Gateway", "no upstream"));
    let mut page = browser.open(&proxy.url());
    page.write("alice");
    page.press("Enter");
    page.until(&banner("502 Bad Gateway no upstream"));
    page.assert_clean();
}

/// Writes pictures of the page to the directory named by `ROOMD_SCREENSHOTS`; without it, does nothing.
#[test]
#[ignore = "needs chromium"]
fn screenshots() {
    let Some(directory) = std::env::var_os("ROOMD_SCREENSHOTS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&directory).expect("the directory for the screenshots");
    let _turn = wait_for_turn();
    let mut daemon = Daemon::start();
    let browser = Browser::start("en-GB");
    let mut page = browser.open(&daemon.url());
    let shoot = |page: &mut Page, name: &str| page.screenshot(&directory.join(name));

    page.until("document.getElementById('name-dialog').open");
    shoot(&mut page, "name.png");
    let mut bob = Netcat::enter(daemon.port, "bob");
    let mut carol = Netcat::enter(daemon.port, "carol");
    let mut dana = Netcat::enter(daemon.port, "dana");
    log_in(&mut page, "alice");
    shoot(&mut page, "empty.png");

    hear(&mut page, &mut bob, "Morning! Is the new build on the test box already?");
    hear(&mut page, &mut bob, "I still see yesterday’s.");
    tell(&mut page, "Since nine. Reload once, the old one is in your cache.");
    tell(&mut page, "The notes are at https://example.org/notes/47 (two pages).");
    hear(
        &mut page,
        &mut carol,
        "Reading. The part about slow readers is good: nobody waits for a peer that does not read, and yet nothing is thrown away for one that does.",
    );
    hear(&mut page, &mut dana, "I am here with plain netcat, by the way. Works.");
    carol.say("/me pours everybody another coffee");
    page.sees("another coffee");
    tell(&mut page, "Welcome, dana! So that makes two terminals and a browser in one room.");
    hear(&mut page, &mut dana, "And <b>markup</b> stays what it is: text.");
    let _dave = Netcat::enter(daemon.port, "dave");
    page.sees("dave joined");
    tell(&mut page, "Just as it should.");
    bob.say("/msg alice Lunch at twelve? The usual place.");
    page.until("document.querySelector('#talks .badge')");

    shoot(&mut page, "light.png");
    page.dark(true);
    shoot(&mut page, "dark.png");
    page.size(375, 720);
    shoot(&mut page, "phone-dark.png");
    page.dark(false);
    shoot(&mut page, "phone.png");
    page.click("#menu", "");
    shoot(&mut page, "phone-side.png");
    page.press("Escape");
    page.size(1280, 800);
    page.click("#talks button", "bob");
    tell(&mut page, "Yes! I will bring carol along.");
    shoot(&mut page, "private.png");
    page.click("#rooms button", "lobby");
    daemon.crash();
    page.until(IS_AWAY);
    page.say("I write this while nobody listens.");
    shoot(&mut page, "disconnected.png");
    page.assert_clean();

    daemon.start_again();
    let browser = Browser::start("zh-CN");
    let mut page = browser.open(&daemon.url());
    log_in(&mut page, "小明");
    let mut bob = Netcat::enter(daemon.port, "李雷");
    hear(&mut page, &mut bob, "早上好！我用终端连上来了。");
    tell(&mut page, "早上好！我在浏览器里。");
    shoot(&mut page, "chinese.png");
}

fn hear(page: &mut Page, who: &mut Netcat, text: &str) {
    who.say(text);
    page.sees(text);
}

fn tell(page: &mut Page, text: &str) {
    page.say(text);
    page.until(&format!(
        "[...document.querySelectorAll('.own[data-state=delivered] .body')].some(e => e.textContent === {})",
        json!(text)
    ));
}
