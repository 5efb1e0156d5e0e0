//! The examples do what they say, on the scripted machine.

#![allow(dead_code, clippy::unwrap_used, reason = "an example has a `main`; a test that cannot go on fails")]

#[path = "../examples/kv.rs"]
mod kv;

use roomd::limits::Limits;
use roomd::reactor::Reactor;
use roomd::reactor::simulated::Machine;

struct Kv {
    machine: Machine,
    reactor: Reactor<Machine, kv::Store>,
}

impl Kv {
    fn new() -> Self {
        let machine = Machine::new(1);
        machine.world_mut().wait_max_ms = 0;
        Self { reactor: Reactor::new(machine.clone(), kv::Store::default(), Limits::default()), machine }
    }

    fn connect(&self) -> usize {
        self.machine.connect(128 * 1024)
    }

    /// What a client hears by the end of `ms` milliseconds.
    fn hears(&mut self, client: usize, ms: u64) -> String {
        let mut heard = Vec::new();
        for _ in 0..ms {
            self.machine.world_mut().now_ms += 1;
            self.reactor.turn().unwrap();
            self.reactor.net().check_invariants();
            heard.extend(self.machine.receive(client, usize::MAX));
        }
        String::from_utf8(heard).unwrap()
    }

    fn says(&mut self, client: usize, text: &str) -> String {
        self.machine.send(client, text.as_bytes());
        self.hears(client, 5)
    }
}

#[test]
fn what_was_set_is_got_by_line_and_by_http_until_it_is_deleted() {
    let mut kv = Kv::new();
    let alice = kv.connect();
    assert_eq!(kv.says(alice, "SET a one two\r\nGET a\nGET b\nFLY\n"), "ok\none two\n?\n?\n");
    let browser = kv.connect();
    let page = kv.says(browser, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\none two"), "{page}");
    assert!(kv.machine.is_at_end(browser));
    assert_eq!(kv.says(alice, "DEL a\nGET a\n"), "ok\n?\n");
    let browser = kv.connect();
    assert!(kv.says(browser, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
}

#[test]
fn whoever_watches_hears_what_changes_and_what_expires_and_when() {
    let mut kv = Kv::new();
    let (alice, bob) = (kv.connect(), kv.connect());
    assert_eq!(kv.says(bob, "WATCH\n"), "ok\n");
    assert_eq!(
        kv.says(alice, "SET a 1\nSET b 2\nTTL a 9\nTTL b 1\nTTL b 2\nTTL c 1\n"),
        "ok\nok\nok\nok\nok\n?\n"
    );
    assert_eq!(kv.hears(bob, 1), "* a 1\n* b 2\n");
    assert_eq!(kv.hears(bob, 1_900), "");
    assert_eq!(kv.hears(bob, 200), "* b is gone\n");
    assert_eq!(kv.says(alice, "SET a 3\nGET b\n"), "ok\n?\n");
    assert_eq!(kv.hears(bob, 20_000), "* a 3\n", "what is set anew does not expire");
}

#[test]
fn a_dump_is_complete_and_in_order_and_what_is_asked_meanwhile_is_answered_after_it() {
    let mut kv = Kv::new();
    let alice = kv.connect();
    let value = "x".repeat(10_000);
    let mut expected = String::from("ok\n");
    for i in 0..2000 {
        assert_eq!(kv.says(alice, &format!("SET {i:04} {value}\n")), "ok\n");
        expected += &format!("{i:04} {value}\n");
    }
    let bob = kv.machine.connect(3000);
    kv.machine.send(bob, b"DUMP\nGET 0000\n");
    let heard = kv.hears(bob, 8000);
    assert!(heard == expected.clone() + &value + "\n", "{} bytes of {}", heard.len(), expected.len());
    // And to whoever ends at once, as `nc -N` does.
    let carol = kv.machine.connect(3000);
    kv.machine.send(carol, b"DUMP\n");
    kv.machine.end(carol);
    assert!(kv.hears(carol, 8000) == expected);
    assert!(kv.machine.is_at_end(carol));
}

#[test]
fn shutdown_closes_everybody() {
    let mut kv = Kv::new();
    let (alice, silent) = (kv.connect(), kv.connect());
    assert_eq!(kv.says(alice, "SHUTDOWN\n"), "ok\n");
    assert!(kv.machine.is_at_end(alice) && kv.machine.is_at_end(silent));
    kv.hears(alice, 300);
    assert!(kv.reactor.is_stopped());
}
