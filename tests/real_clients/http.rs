//! HTTP on the same port: statuses, fields, and what a foreign web page may do to its visitor.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::common::{Client, Daemon, Stream, output_of, socket_path, timeless};

/// The status of the answer to a request, which ends the connection.
fn status(daemon: &Daemon, request: &str) -> u16 {
    let answer = daemon.http(request);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.unwrap_or_else(|| panic!("{request:?} is answered by {answer:?}"));
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    status.parse().expect("a number")
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let line =
        head.lines().find(|line| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase())));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).split_once(": ").expect("a value").1
}

#[test]
fn the_page_comes_with_what_protects_it() {
    let daemon = Daemon::start();
    let (head, body) = daemon.get("/");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body.contains("<html") && body.ends_with("</html>\n"));
    assert_eq!(field(&head, "Content-Length"), body.len().to_string());
    assert_eq!(field(&head, "Content-Type"), "text/html; charset=utf-8");
    assert_eq!(field(&head, "X-Frame-Options"), "DENY");
    assert_eq!(field(&head, "X-Content-Type-Options"), "nosniff");
    let policy = field(&head, "Content-Security-Policy");
    for rule in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn a_page_that_has_not_changed_is_not_sent_again() {
    let daemon = Daemon::start();
    let (head, _) = daemon.get("/");
    let etag = field(&head, "ETag");
    let again = |etag: &str| {
        daemon.http(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\n\r\n"))
    };
    assert!(again(etag).starts_with("HTTP/1.1 304 "));
    assert!(again("\"other\"").starts_with("HTTP/1.1 200 "));
}

#[test]
fn head_has_the_fields_and_no_body() {
    let daemon = Daemon::start();
    for path in ["/", "/healthz", "/metrics"] {
        let head = daemon.http(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(field(&head, "Content-Length").parse::<usize>().expect("a number") > 0);
    }
}

#[test]
fn health_and_metrics() {
    let daemon = Daemon::start();
    assert_eq!(daemon.get("/healthz").1, "ok\n");
    let _members = (daemon.enter("alice"), daemon.enter_json("bot"), daemon.guest(""));
    let (head, body) = daemon.get("/metrics");
    assert_eq!(field(&head, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "roomd_members 3",
        "roomd_rooms 1",
        "roomd_connections{dialect=\"text\"} 1",
        "roomd_connections{dialect=\"json\"} 1",
        "roomd_connections{dialect=\"ws-text\"} 1",
        "roomd_connections{dialect=\"http\"} 1",
    ] {
        assert!(body.lines().any(|l| l == line), "{line}: {body}");
    }
    // Every sample belongs to a family that says what it is.
    for sample in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = sample.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        let name = name.split('{').next().expect("a name");
        let family =
            ["_bucket", "_sum", "_count"].iter().fold(name, |n, end| n.strip_suffix(end).unwrap_or(n));
        assert!(body.contains(&format!("# TYPE {family} ")), "{sample}");
    }
}

#[test]
fn metrics_are_for_those_who_may_see_them() {
    let daemon = Daemon::with(&["--metrics-from", "none"]);
    assert!(daemon.get("/metrics").0.starts_with("HTTP/1.1 403 "));
}

#[test]
fn every_status_is_used_as_it_is_meant() {
    let daemon = Daemon::with(&["--http-head-bytes", "1KiB", "--http-wait", "300ms"]);
    let host = format!("Host: {}\r\n", daemon.host());
    for (request, expected) in [
        (format!("GET /nothing HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n"), 405),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("GET /ws HTTP/1.1\r\n{host}\r\n"), 426),
        (format!("GET / HTTP/1.1\r\n{host}Cookie: {}\r\n\r\n", "x".repeat(2000)), 431),
        // It has no end, and still it is too large.
        (format!("GET /{}", "x".repeat(2000)), 431),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".into(), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505),
        // Half a head, and then nothing.
        (format!("GET / HTTP/1.1\r\n{host}"), 408),
        ("GET / HTTP/1.0\r\n\r\n".into(), 200),
    ] {
        assert_eq!(status(&daemon, &request), expected, "{request:?}");
    }
}

#[test]
fn a_refused_upgrade_says_what_would_be_right() {
    let daemon = Daemon::start();
    let upgrade = |version: &str, key: &str| {
        daemon.http(&format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ))
    };
    let answer = upgrade("8", "dGhlIHNhbXBsZSBub25jZQ==");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
    assert!(upgrade("13", "short").starts_with("HTTP/1.1 400 "));
}

#[test]
fn what_a_proxy_could_read_differently_is_refused() {
    let daemon = Daemon::start();
    for request in [
        "GET / HTTP/1.1\nHost: localhost\n\n",
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbob\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        assert_eq!(status(&daemon, request), 400, "{request:?}");
    }
}

#[test]
fn empty_lines_before_a_request_are_no_person() {
    let daemon = Daemon::start();
    let answer = daemon.http("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// Whatever a web page of somebody else sends: nothing of it reaches the room.
#[test]
fn a_foreign_page_can_not_chat_for_its_visitor() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for (fields, expected) in [
        (vec![("Origin", "https://evil.example")], Err(403)),
        (vec![("Origin", "null")], Err(403)),
        (vec![("Origin", "http://127.0.0.1:1")], Err(403)),
        // DNS rebinding: Origin and Host agree, and both lie.
        (vec![("Origin", "http://evil.example:8080"), ("Host", "evil.example:8080")], Err(403)),
        (vec![("Host", "evil.example")], Err(403)),
        (vec![("Host", "127.0.0.1.nip.io")], Err(403)),
        (vec![("Origin", "https://chat.example")], Err(403)),
        (vec![("Origin", &*format!("http://{}", daemon.host()))], Ok(())),
        (vec![("Host", "localhost:9"), ("Origin", "http://localhost:9")], Ok(())),
        (vec![], Ok(())),
    ] {
        assert_eq!(daemon.handshake("?name=mallory", &fields).map(drop), expected, "{fields:?}");
        if expected.is_ok() {
            alice.hears(&["* mallory joined", "* mallory left"]);
        }
    }
    // A form that posts chat lines (cross-protocol).
    let body = "mallory\r\nhello\r\n{\"type\":\"public\",\"body\":\"hello\"}\r\n";
    for method in ["POST", "PUT", "GET", "OPTIONS"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            daemon.host(),
            body.len()
        );
        assert!(status(&daemon, &request) >= 400, "{method}");
    }
    alice.hears_nothing();
}

/// The status of a request for the page with this `Host`, and the body of the answer.
fn with_host<S: Stream>(mut client: Client<S>, host: &str) -> (u16, String) {
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let answer = client.rest();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

/// Without: a page of evil.example that gives its name the address of this machine reads what is said in the room.
#[test]
fn a_name_that_somebody_else_may_have_given_us_is_no_host_of_ours() {
    let path = socket_path();
    let unix = format!("unix:{}", path.display());
    let daemon = Daemon::with(&[
        "--listen=127.0.0.1:0",
        "--listen=0.0.0.0:0",
        "--listen",
        &unix,
        "--allow-origin=https://page.example:8443",
        "--allow-host=chat.example,Port.Example:81",
        "--allow-host=192.0.2.9",
    ]);
    let nodename = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("this is Linux");
    let status = |host: &str| {
        let tcp = |addr: &str| Client::new(TcpStream::connect(addr).expect("the port"));
        [
            with_host(tcp(&daemon.addrs[0]), host).0,
            with_host(tcp(&daemon.addrs[1]), host).0,
            with_host(Client::new(UnixStream::connect(&path).expect("the socket")), host).0,
        ]
    };
    for own in [
        "localhost",
        "localhost:1",
        "a.localhost",
        "127.0.0.1",
        "[::1]:8080",
        nodename.trim(),
        &format!("{}.:8080", nodename.trim().to_uppercase()),
        "chat.example",
        "CHAT.example.:8080",
        "port.example:81",
        "page.example",
        "192.0.2.9:8080",
    ] {
        assert_eq!(status(own), [200; 3], "{own}");
    }
    for other in
        ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "port.example", "", "x/y", "é"]
    {
        assert_eq!(status(other), [403; 3], "{other}");
    }
    // An address cannot be rebound; where only one leads to us, another one is a mistake.
    assert_eq!(status("192.0.2.7:8080"), [403, 200, 200]);
}

#[test]
fn a_host_that_is_refused_is_named_with_the_flag_that_would_allow_it() {
    let daemon = Daemon::start();
    let (status, body) = with_host(daemon.connect(), "evil.example:80");
    assert_eq!(status, 403);
    assert!(body.contains("\"evil.example:80\"") && body.contains("--allow-host"), "{body}");
    let (_, body) = with_host(daemon.connect(), &format!("\u{202e}\\{}", "x".repeat(1000)));
    assert!(body.contains("\"\\u{202e}\\\\xxx") && body.len() < 250, "{body}");
    for path in ["/healthz", "/metrics", "/ws", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert!(daemon.http(&request).starts_with("HTTP/1.1 403 "), "{path}");
    }
    // Only programs leave it out.
    assert!(daemon.http("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    let (status, said) = output_of(&["--allow-host", "https://chat.example"]);
    assert!(status != Some(0) && said.contains("it takes a host, as chat.example"), "{said}");
}

#[test]
fn an_allowed_origin_may_connect() {
    let daemon = Daemon::with(&["--allow-origin", "https://chat.example"]);
    assert!(daemon.handshake("", &[("Origin", "https://chat.example")]).is_ok());
    assert!(daemon.handshake("", &[("Origin", "https://evil.example")]).is_err());
    assert!(daemon.handshake("", &[("Origin", "http://chat.example")]).is_err(), "the scheme counts");
}

/// `null` is what a page says that was opened as a file.
#[test]
fn any_origin_and_null_may_be_allowed_for_tutorials() {
    let origin = |daemon: &Daemon, origin: &str| daemon.handshake("", &[("Origin", origin)]).is_ok();
    let daemon = Daemon::start();
    assert!(!origin(&daemon, "null"));
    let daemon = Daemon::with(&["--allow-origin", "null"]);
    assert!(origin(&daemon, "null") && !origin(&daemon, "https://evil.example"));
    let daemon = Daemon::with(&["--allow-origin", "any"]);
    assert!(origin(&daemon, "null") && origin(&daemon, "https://evil.example"));
    // A browser leaves out the port that the scheme has anyway.
    let daemon = Daemon::with(&["--allow-origin", "https://chat.example:443"]);
    assert!(origin(&daemon, "https://chat.example"));
    let (_, help) = output_of(&["--help"]);
    assert!(help.contains("any page can make itself null"), "what it risks is said");
}

#[test]
fn http_never_becomes_lines() {
    let daemon = Daemon::start();
    let mut alice = daemon.enter("alice");
    for nonsense in [
        "GET \r\n\r\nmallory\nhello\n",
        "GET nothing\nmallory\nhello\n",
        "POST / HTTP/1.1\r\nbad field\r\n\r\nmallory\nhello\n",
        "GET / HTTP/9.9\r\n\r\nmallory\nhello\n",
        "HEAD \0\n\nmallory\nhello\n",
    ] {
        let answer = daemon.http(nonsense);
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{nonsense:?}: {answer}"
        );
    }
    alice.hears_nothing();
}

#[test]
fn what_was_said_is_the_same_in_every_dialect() {
    let daemon = Daemon::start();
    let (mut alice, mut bot) = (daemon.enter("alice"), daemon.enter_json("bot"));
    alice.hears(&["* bot joined"]);
    let mut page = daemon.with_subprotocol("roomd.json", "?name=page");
    page.text();
    bot.json();
    let mut guest = daemon.guest("");
    bot.json();
    page.text();
    alice.hears(&["* page joined", "* guest-1 joined"]);
    guest.say("hello");
    alice.hears(&["guest-1: hello"]);
    guest.hears(&["guest-1: hello"]);
    let line = bot.json();
    let framed: serde_json::Value = serde_json::from_str(&page.text()).expect("JSON");
    assert_eq!(line, framed);
    assert_eq!(timeless(line)["id"], 1);
}
