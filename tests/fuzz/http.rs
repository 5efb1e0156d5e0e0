//! HTTP from anybody: how a request was cut on its way makes no difference, what is kept is bounded, and every answer
//! is one.

use roomd::server::Host;
use roomd::wire::http;

use crate::engine::{Target, any, corpus, magnitude, pieces};
use roomd::reactor::simulated::Rng;

pub const HTTP: &str = include_str!("../corpus/http.txt");

const HEAD_BYTES_MAX: usize = 600;

pub const TOKENS: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"%zz",
    b"?",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.0",
    b"\xff",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn http_request(rng: &mut Rng) -> Vec<u8> {
    let method = any(rng, &["GET", "GET", "HEAD", "POST"]);
    let target = any(rng, &["/", "/ws?name=al%20b&room=d+v", "*", "/\u{e9}", "http://a/"]);
    let mut head = format!("{}{method} {target} HTTP/1.1\r\n", any(rng, &["", "", "", "\r\n", "\r\n\r\n"]));
    head += any(rng, &["Host: a\r\n", "Host: a:8080\r\n", "host:\t[::1]:1 \r\n"]);
    for _ in 0..rng.below(4) {
        head += any(rng, &["Origin: null\r\n", "X-Y: z\r\n", "A: \r\n"]);
    }
    if rng.chance(50) {
        head += "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: roomd.json\r\n";
    }
    head += "\r\n";
    head += any(rng, &["", "", "\u{1}\u{2}glued"]);
    head.into_bytes()
}

/// Parses what has arrived after each piece, as the server does: the first verdict, and how much it has seen.
fn verdict(pieces: &[&[u8]]) -> Option<(Result<http::Request, http::Refused>, usize)> {
    let mut arrived = Vec::new();
    for piece in pieces {
        arrived.extend_from_slice(piece);
        match http::parse(&arrived, HEAD_BYTES_MAX) {
            Ok(None) => assert!(arrived.len() <= HEAD_BYTES_MAX, "{} bytes are kept", arrived.len()),
            Ok(Some(request)) => {
                check_request(&request, &arrived);
                return Some((Ok(request), arrived.len()));
            }
            Err(refused) => return Some((Err(refused), arrived.len())),
        }
    }
    None
}

fn check_request(request: &http::Request, arrived: &[u8]) {
    assert!(request.bytes <= arrived.len() && request.bytes <= HEAD_BYTES_MAX);
    let head = &arrived[..request.bytes];
    assert!(head.ends_with(b"\r\n\r\n"));
    let mut after_cr = false;
    for &byte in head {
        assert!(byte != b'\n' || after_cr, "a bare LF: {:?}", String::from_utf8_lossy(head));
        after_cr = byte == b'\r';
    }
    assert!(request.upgrade.is_some() || request.bytes == arrived.len(), "something follows");
    // All that is kept of it was in it.
    for text in [&request.host, &request.origin, &request.if_none_match].into_iter().flatten() {
        assert!(head.windows(text.len().max(1)).any(|w| w == text.as_bytes()) || text.is_empty());
    }
    // A decoded letter has three bytes of the query at least, unless it is as it was.
    assert!(request.parameter("name").is_none_or(|name| name.len() <= request.query.len()));
}

#[test]
fn any_split_of_any_request_is_taken_or_refused_alike() {
    let target = Target {
        corpus: corpus(&[HTTP]),
        tokens: &TOKENS,
        make: Some(http_request),
        inputs: 1500,
        bytes_max: 2 * HEAD_BYTES_MAX,
    };
    target.fuzz(|input, rng, seen| {
        let whole = verdict(&input.chunks(1).collect::<Vec<_>>());
        for cut in [vec![input], pieces(rng, input)] {
            match (&whole, verdict(&cut)) {
                (None, None) => {}
                (Some((Ok(request), _)), Some((Ok(same), _))) => assert_eq!(*request, same),
                // What is behind a request can be seen only if it arrives with it.
                (Some((Ok(request), _)), Some((Err(error), seen))) => {
                    assert!(request.upgrade.is_none() && seen > request.bytes, "{error:?}");
                }
                // Which rule is named may depend on it: a piece can break two.
                (Some((Err(_), _)), Some((Err(_), _))) => {}
                (one, other) => panic!("{one:?} and {other:?}"),
            }
        }
        match whole {
            None => seen.note(magnitude(input.len())),
            Some((Ok(request), _)) => {
                let has = [&request.host, &request.origin, &request.if_none_match].map(Option::is_some);
                seen.note((has, request.is_head, request.upgrade.is_some(), magnitude(request.query.len())));
            }
            Some((Err(refused), _)) => {
                seen.note((refused.status, &refused.why));
                for is_head in [false, true] {
                    let mut answer = Vec::new();
                    refused.write(&mut answer, is_head);
                    check_answer(&answer, is_head);
                }
            }
        }
        match http::accept_any(input, HEAD_BYTES_MAX) {
            Ok(None) => {}
            Ok(Some((bytes, answer))) => {
                assert!(bytes <= input.len() && answer.ends_with(b"\r\n\r\n"));
                assert_eq!(status(&answer), Some(101));
            }
            Err(answer) => check_answer(&answer, false),
        }
    });
}

/// The status of an answer that begins with a status line.
pub fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.1 ")?;
    let line = &rest[..rest.windows(2).position(|end| end == b"\r\n")?];
    let (status, reason) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    assert!(reason.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{reason:?}");
    status.parse().ok().filter(|status| (100..600).contains(status))
}

/// A whole answer that ends its connection.
pub fn check_answer(answer: &[u8], is_head: bool) {
    let shown = String::from_utf8_lossy(answer);
    assert!(status(answer).is_some(), "no status line: {shown}");
    let (head, body) = shown.split_once("\r\n\r\n").expect("the end of the head");
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "a bare line end: {head:?}");
    assert!(head.contains("\r\nConnection: close"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let expected = length.map_or(0, |length| length.parse().expect("a length"));
    assert_eq!(body.len(), if is_head { 0 } else { expected }, "{shown:?}");
}

const HOST_TOKENS: [&[u8]; 12] = [
    b"[",
    b"]",
    b":",
    b"::",
    b".",
    b":80",
    b":65536",
    b"%25",
    b"localhost",
    b"[::1]",
    b"127.0.0.1",
    b"::ffff:",
];

/// `Host` as it is, and with the changes that make no other host of it.
#[test]
fn a_host_is_the_same_in_any_case_and_at_any_port() {
    let corpus = corpus(&[include_str!("../corpus/hosts.txt")]);
    Target { corpus, tokens: &HOST_TOKENS, inputs: 5000, bytes_max: 200, ..Target::default() }.fuzz(
        |input, _, seen| {
            let text = String::from_utf8_lossy(input);
            let host: Result<Host, _> = text.parse();
            for same in [text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
                assert_eq!(same.parse(), host, "in another case");
            }
            for name in Host::names_of(&text) {
                assert_eq!(name.clone().at_any_port().at_any_port(), name.at_any_port());
            }
            seen.note((
                host.is_ok(),
                text.contains(':'),
                text.contains('['),
                text.contains('.'),
                magnitude(text.len()),
            ));
            let Ok(host) = host else { return };
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "it could end a line");
            let bare = text.parse::<std::net::Ipv6Addr>().is_ok();
            if bare || text.ends_with(']') || !text.contains(':') {
                let text = if bare { format!("[{text}]") } else { text.into_owned() };
                let at_port: Host = format!("{text}:80").parse().expect("a port is added");
                assert_ne!(at_port, host);
                assert_eq!(at_port.at_any_port(), host);
            }
        },
    );
}
