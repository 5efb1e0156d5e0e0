//! HTTP/1.1 (RFC 9112), as much as a page, a health check and a WebSocket upgrade need.
//!
//! One request per connection: every answer but the upgrade says `Connection: close`. What a proxy in
//! front of us could read differently is refused rather than interpreted: a bare LF, white space
//! before a colon, two `Host`s, a body, a second request behind the first.

use std::borrow::Cow;
use std::fmt::Write;

pub use ::http::StatusCode;
use tungstenite::handshake::derive_accept_key;

/// A request has at most this many header fields.
const FIELDS_MAX: usize = 64;

/// The head of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `HEAD` rather than `GET`: no body in the answer.
    pub is_head: bool,
    /// The path, without the query.
    pub path: String,
    /// The query, without `?`; empty if there is none.
    pub query: String,
    /// `Host`.
    pub host: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// What it wants to become, if anything.
    pub upgrade: Option<Upgrade>,
    /// How many bytes the head has.
    pub bytes: usize,
}

/// The fields of a WebSocket upgrade (RFC 6455, section 4.2.1), as they came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// `Sec-WebSocket-Version`.
    pub version: Option<String>,
    /// `Sec-WebSocket-Key`.
    pub key: Option<String>,
    /// `Sec-WebSocket-Protocol`: the subprotocols offered, in order.
    pub protocols: Vec<String>,
}

/// A status and why, for a request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// A sentence for whoever debugs the client.
    pub why: Cow<'static, str>,
}

impl Refused {
    /// A refusal with a sentence for whoever debugs the client.
    #[must_use]
    pub fn new(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self { status, why: why.into() }
    }
}

/// Reads the head of a request at the front of `input`; none if it has not arrived whole.
///
/// # Errors
/// 400, 405, 431 or 505, with the reason.
pub fn parse(input: &[u8], head_bytes_max: usize) -> Result<Option<Request>, Refused> {
    if has_bare_line_feed(input) {
        return Err(bad("a line ends with LF alone"));
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let bytes = match head.parse(input) {
        Ok(httparse::Status::Complete(bytes)) if bytes <= head_bytes_max => bytes,
        Ok(httparse::Status::Partial) if input.len() <= head_bytes_max => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Refused::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large"));
        }
        Err(httparse::Error::Version) => {
            return Err(Refused::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "speak HTTP/1.1"));
        }
        Err(_) => return Err(bad("this is not HTTP/1.1")),
    };
    let is_head = match head.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "there is only GET and HEAD")),
    };
    let (path, query) = {
        let target = head.path.unwrap_or("/");
        target.split_once('?').unwrap_or((target, ""))
    };
    let mut request =
        Request { is_head, path: path.to_owned(), query: query.to_owned(), bytes, ..Request::default() };
    request.read_fields(head.headers)?;
    if request.host.is_none() && head.version == Some(1) {
        return Err(bad("there is no Host"));
    }
    if request.upgrade.is_none() && input.len() > bytes {
        return Err(bad("something follows the request; there is one per connection"));
    }
    Ok(Some(request))
}

impl Request {
    fn read_fields(&mut self, fields: &[httparse::Header<'_>]) -> Result<(), Refused> {
        let (mut asks_websocket, mut asks_upgrade) = (false, false);
        let mut upgrade = Upgrade::default();
        for field in fields {
            let value = std::str::from_utf8(field.value).map_err(|_| bad("a field is not UTF-8"))?.trim();
            let once = |place: &mut Option<String>| {
                if place.replace(value.to_owned()).is_some() {
                    return Err(bad("a field that may be there once is there twice"));
                }
                Ok(())
            };
            match field.name.to_ascii_lowercase().as_str() {
                "host" => once(&mut self.host)?,
                "origin" => once(&mut self.origin)?,
                "if-none-match" => once(&mut self.if_none_match)?,
                "sec-websocket-version" => once(&mut upgrade.version)?,
                "sec-websocket-key" => once(&mut upgrade.key)?,
                "sec-websocket-protocol" => upgrade.protocols.extend(list(value).map(str::to_owned)),
                "upgrade" => asks_websocket |= list(value).any(|v| v.eq_ignore_ascii_case("websocket")),
                "connection" => asks_upgrade |= list(value).any(|v| v.eq_ignore_ascii_case("upgrade")),
                "content-length" if value == "0" => {}
                "content-length" | "transfer-encoding" => return Err(bad("a body is not wanted here")),
                _ => {}
            }
        }
        self.upgrade = (asks_websocket && asks_upgrade).then_some(upgrade);
        Ok(())
    }

    /// The value of a parameter of the query, decoded; none if it is not there or not UTF-8.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (_, value) = form_urlencoded::parse(self.query.as_bytes()).find(|(key, _)| key == name)?;
        // What is not UTF-8 was replaced.
        (!value.contains(char::REPLACEMENT_CHARACTER)).then(|| value.into_owned())
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn has_bare_line_feed(input: &[u8]) -> bool {
    // Empty lines before a request are skipped (RFC 9112, section 2.2): they are not the end of its head.
    let start = input.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(input.len());
    let head = memchr::memmem::find(&input[start..], b"\r\n\r\n").map_or(input, |end| &input[..start + end]);
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

fn bad(why: &'static str) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, why)
}

/// An answer that ends the connection.
#[derive(Debug, Default)]
pub struct Response<'a> {
    /// The status.
    pub status: StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further fields, each with its CRLF.
    pub fields: &'a str,
    /// The body; left out if the request was a `HEAD`.
    pub body: &'a str,
}

impl Response<'_> {
    /// Appends the answer to `out`.
    pub fn write(&self, out: &mut Vec<u8>, is_head: bool) {
        let mut head = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            head,
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\
             X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n{}",
            self.status, self.content_type, self.fields
        );
        // A 304 has no body, and the length would be that of the page (RFC 9110, section 8.6).
        if self.status != StatusCode::NOT_MODIFIED {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
        if !is_head {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

impl Refused {
    /// Appends the refusal to `out`.
    pub fn write(&self, out: &mut Vec<u8>, is_head: bool) {
        let fields = match self.status {
            StatusCode::METHOD_NOT_ALLOWED => "Allow: GET, HEAD\r\n",
            StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        let body = format!("{}: {}\n", self.status, self.why);
        let content_type = "text/plain; charset=utf-8";
        Response { status: self.status, content_type, fields, body: &body }.write(out, is_head);
    }
}

/// The whole answer.
impl From<Refused> for Vec<u8> {
    fn from(refused: Refused) -> Self {
        let mut out = Self::new();
        refused.write(&mut out, false);
        out
    }
}

/// The answer that makes a connection a WebSocket (RFC 6455, section 4.2.2).
///
/// # Errors
/// 426 if the client does not speak version 13, 400 if its key is not one.
pub fn accept(upgrade: &Upgrade, protocol: Option<&str>) -> Result<Vec<u8>, Refused> {
    if upgrade.version.as_deref() != Some("13") {
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, "speak WebSocket version 13"));
    }
    // 16 bytes in base64.
    let is_key = |key: &&String| key.len() == 24 && key.ends_with("==");
    let Some(key) = upgrade.key.as_ref().filter(is_key) else {
        return Err(bad("Sec-WebSocket-Key is not a key"));
    };
    let accept = derive_accept_key(key.as_bytes());
    let protocol = protocol.map_or(String::new(), |p| format!("Sec-WebSocket-Protocol: {p}\r\n"));
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    )
    .into_bytes())
}

/// Makes whoever asks for it a WebSocket, on any path and from any origin: how many bytes the request at
/// the front of `input` has, and the answer. None if it has not arrived whole.
///
/// # Errors
/// The answer to a request for anything else, after which the connection has to be closed.
pub fn accept_any(input: &[u8], head_bytes_max: usize) -> Result<Option<(usize, Vec<u8>)>, Vec<u8>> {
    let Some(request) = parse(input, head_bytes_max)? else { return Ok(None) };
    let answer = accept(&request.upgrade.unwrap_or_default(), None)?;
    Ok(Some((request.bytes, answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(input: &str) -> u16 {
        parse(input.as_bytes(), 8192).unwrap_err().status.as_u16()
    }

    #[test]
    fn a_request_may_arrive_byte_by_byte() {
        let input = b"GET /ws?name=al%20b&room=d+v HTTP/1.1\r\nHost: h:1\r\nUpgrade: WebSocket\r\n\
                      Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nrest";
        let head = input.len() - 4;
        for end in 0..head {
            assert_eq!(parse(&input[..end], 8192), Ok(None), "{end}");
        }
        let request = parse(input, 8192).unwrap().unwrap();
        assert_eq!((request.bytes, request.path.as_str()), (head, "/ws"));
        assert_eq!(request.parameter("name").as_deref(), Some("al b"));
        assert_eq!(request.parameter("room").as_deref(), Some("d v"));
        let answer = accept(&request.upgrade.unwrap(), None).unwrap();
        // The example of RFC 6455, section 1.3.
        assert!(String::from_utf8(answer).unwrap().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn what_a_proxy_could_read_differently_is_refused() {
        for input in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nbob\nhello\n",
            "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(refused(input), 400, "{input:?}");
        }
        assert_eq!(refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nbob\nhi"), 405);
        assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9000))), 431);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(65))), 431);
    }

    #[test]
    fn a_head_has_no_body_but_says_how_long_it_would_be() {
        let response =
            Response { status: StatusCode::OK, content_type: "text/plain", fields: "", body: "hello" };
        let mut out = Vec::new();
        response.write(&mut out, true);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"));
    }
}
