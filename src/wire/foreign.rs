//! What is not chat: programs that have come to the wrong port, or that somebody has sent to this one.
//!
//! A web page can make its visitor's browser speak here, a scanner tries what it knows, and a program may have been
//! given the wrong port. Whatever of that were taken for lines would be said to everybody. So:
//!
//! * The request line of HTTP is no line of anybody, at any time: nobody else decides what stands behind it.
//! * Before somebody has said a name, nothing else is text than what a keyboard makes; that alone keeps out nearly all
//!   protocols (TLS, SOCKS, SMB, MQTT, AMQP, the databases …), for they begin with a NUL or another control byte.
//! * What is left are protocols of text lines. They are known by the first things that they say, in exactly that shape:
//!   `PING` is Redis', and `Ping` a person.
//!
//! Words that people use are nobody's: memcached's `stats` becomes a member, and so does whoever fingers `bob`.

/// What a client says before anything else, by the beginning of the line.
const BEGINNINGS: [(&[u8], &str); 20] = [
    (b"SSH-1.", "SSH"),
    (b"SSH-2.", "SSH"),
    (b"EHLO ", "SMTP"),
    (b"HELO ", "SMTP"),
    (b"LHLO ", "LMTP"),
    (b"MAIL FROM:", "SMTP"),
    (b"CAP ", "IRC"),
    (b"NICK ", "IRC"),
    (b"USER ", "IRC, FTP or POP3"),
    (b"PASS ", "IRC, FTP or POP3"),
    (b"AUTH ", "Redis or FTP"),
    (b"HELLO ", "Redis"),
    (b"PROXY ", "the PROXY protocol"),
    (b"@RSYNCD:", "rsync"),
    (b"BEGIN AUTH REQUEST", "CVS"),
    (b"BEGIN VERIFICATION REQUEST", "CVS"),
    (b"RFB 003.", "VNC"),
    (b"<?xml", "XMPP"),
    (b"<stream:", "XMPP"),
    (b"<policy-file-request", "Flash"),
];

/// The same, by the whole line. All of these could be names.
const LINES: [(&[u8], &str); 17] = [
    (b"PING", "Redis"),
    (b"INFO", "Redis"),
    (b"FLUSHALL", "Redis"),
    (b"MULTI", "Redis"),
    (b"RSET", "SMTP"),
    (b"NOOP", "SMTP, FTP or IMAP"),
    (b"SYST", "FTP"),
    (b"LOGOUT", "ManageSieve"),
    (b"EHLO", "SMTP"),
    (b"HELO", "SMTP"),
    (b"STARTTLS", "SMTP"),
    (b"CAPA", "POP3"),
    (b"STLS", "POP3"),
    (b"FEAT", "FTP"),
    (b"STOMP", "STOMP"),
    (b"CONNECT", "STOMP"),
    (b"QUIT", "SMTP, FTP or Redis"),
];

/// Second words of IMAP, where the first is any tag (RFC 9051, section 2.2.1).
const IMAP: [&[u8]; 5] = [b"CAPABILITY", b"STARTTLS", b"AUTHENTICATE", b"LOGIN", b"LOGOUT"];

/// Protocols with a request line like that of HTTP: method, target, and this with a version.
const VERSIONS: [(&[u8], &str); 4] =
    [(b"HTTP/", HTTP), (b"RTSP/", "RTSP"), (b"SIP/", "SIP"), (b"ICAP/", "ICAP")];

/// What [`is_binary`] finds.
pub const BINARY: &str = "a binary protocol";
/// What [`is_http_request_line`] finds.
pub const HTTP: &str = "an HTTP request";

/// The protocol in which somebody speaks who has said no name so far, if this first line of his is in another one than
/// ours.
#[must_use]
pub fn protocol(line: &[u8]) -> Option<&'static str> {
    if is_binary(line) {
        return Some(BINARY);
    }
    let line = line.trim_ascii();
    let beginning = BEGINNINGS.iter().find(|(beginning, _)| line.starts_with(beginning));
    let whole = LINES.iter().find(|(whole, _)| line == *whole);
    match (beginning.or(whole), line) {
        (Some((_, protocol)), _) => Some(protocol),
        // The head of an array or a string (RESP): *1
        (None, [b'*' | b'$', digits @ ..]) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Some("Redis")
        }
        // A packet and its length: 0032git-upload-pack
        (None, [_, _, _, _, b'g', b'i', b't', b'-', ..]) => Some("git"),
        _ => protocol_of_words(line),
    }
}

fn protocol_of_words(line: &[u8]) -> Option<&'static str> {
    let mut words = words(line);
    let second = words.nth(1)?;
    if IMAP.contains(&second) {
        return Some("IMAP");
    }
    let version = words.last()?;
    let has_version = |name: &[u8]| version.get(..name.len()).is_some_and(|v| v.eq_ignore_ascii_case(name));
    VERSIONS.iter().find(|(name, _)| has_version(name)).map(|(_, protocol)| *protocol)
}

/// Whether there is a byte that no keyboard makes: a control character other than Tab, CR, LF, Backspace and Escape, with
/// which arrow keys begin.
#[must_use]
pub fn is_binary(text: &[u8]) -> bool {
    text.iter().any(|&byte| byte < b' ' && !b"\t\r\n\x08\x1b".contains(&byte))
}

/// Whether a line is the first line of an HTTP request (RFC 9112, section 3), also with other white space than there
/// may be and in any case: somebody makes a browser speak here.
#[must_use]
pub fn is_http_request_line(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = words(line).take(4).collect();
    let [method, target, version] = words[..] else { return false };
    let ends_in_port = || {
        let port = target.rsplit(|&byte| byte == b':').next().unwrap_or_default();
        port.len() < target.len() && !port.is_empty() && port.iter().all(u8::is_ascii_digit)
    };
    let is_target = target.starts_with(b"/")
        || target == b"*"
        || memchr::memmem::find(target, b"://").is_some()
        || ends_in_port();
    is_token(method) && is_target && version.len() > 5 && version[..5].eq_ignore_ascii_case(b"HTTP/")
}

/// Whether a line that is too long to be read may be the first line of an HTTP request. From whoever has said no name,
/// the method may be any; from others it is in capitals, for people write long lines, too.
#[must_use]
pub fn begins_http_request(line: &[u8], may_be_any: bool) -> bool {
    let mut words = words(line);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return false };
    let is_method = is_token(method) && (may_be_any || method.iter().all(u8::is_ascii_uppercase));
    let target = &target[..target.len().min(128)];
    let is_target = target.starts_with(b"/") || target == b"*" || target.contains(&b':');
    is_method && is_target
}

/// Whether a word could be the method of a request (RFC 9110, section 5.6.2).
fn is_token(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_known_among_chat_lines() {
        for line in [
            "POST /x HTTP/1.1",
            "GET / HTTP/1.0",
            "BREW /pot HTTP/1.1",
            "get http://x/ http/1.1",
            " POST /evil HTTP/1.1",
            "\t \tPOST\t/evil  HTTP/1.1 ",
            "PRI * HTTP/2.0",
            "pri * http/2.0",
            "CONNECT mail.example:25 HTTP/1.1",
            "x!$ / HTTP/1.1",
        ] {
            assert!(is_http_request_line(line.as_bytes()), "{line:?}");
        }
        for line in [
            "speak plain HTTP/1.1",
            "GET me a coffee",
            "what does GET / HTTP/1.1 mean?",
            "try: / HTTP/1.1",
            "bob: HTTP/1.1",
            "GET /",
            "",
        ] {
            assert!(!is_http_request_line(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn other_protocols_are_known_by_what_they_say_first() {
        for (line, expected) in [
            (&b"SSH-2.0-Go"[..], "SSH"),
            (b"PING", "Redis"),
            (b"  PING ", "Redis"),
            (b"*1", "Redis"),
            (b"$4", "Redis"),
            (b"EHLO mail.example", "SMTP"),
            (b"NICK bob", "IRC"),
            (b"CAP LS 302", "IRC"),
            (b"USER bob 0 * :Bob", "IRC, FTP or POP3"),
            (b"a001 CAPABILITY", "IMAP"),
            (b"OPTIONS sip:nm SIP/2.0", "SIP"),
            (b"DESCRIBE rtsp://x/ RTSP/1.0", "RTSP"),
            (b"GET nothing HTTP/1.1", HTTP),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "the PROXY protocol"),
            (b"@RSYNCD: 31.0", "rsync"),
            (b"0032git-upload-pack /x", "git"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", "a binary protocol"), // PostgreSQL
            (b"\x05\x01\x00", "a binary protocol"),               // SOCKS
            (b"\x10\x10\x00\x04MQTT", "a binary protocol"),
            (b"\x13BitTorrent protocol", "a binary protocol"),
            (b"AMQP\0\0\x09\x01", "a binary protocol"),
            (b"l\0\x0b\0", "a binary protocol"), // X11
        ] {
            assert_eq!(protocol(line), Some(expected), "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn people_are_not_protocols() {
        for line in [
            "ping",
            "Ping",
            "PINGU",
            "help",
            "HELP",
            "user",
            "nick",
            "Nick",
            "SSH",
            "git",
            "stats",
            "*",
            "$",
            "$a",
            "Ren\u{e9}e",
            "\u{1b}[Abob",
            "bob\u{8}",
            "nick bob",
            "hello everybody",
            "/nick bob",
            "a b c",
            "",
        ] {
            assert_eq!(protocol(line.as_bytes()), None, "{line:?}");
        }
    }
}
