//! The client's side of WebSocket: the upgrade, masked frames out, plain frames in.
//!
//! Frame headers and keys are `tungstenite`'s, response heads `httparse`'s; here is only what a
//! load generator needs on top: no state per connection, no copy of a payload.

use std::io::Cursor;

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The key of every upgrade: the generator talks to servers, not to caches that must not reuse it.
const KEY: &str = "cm9vbWQtYmVuY2gtbG9hZA==";
/// Masks every frame. RFC 6455 wants it unpredictable to protect proxies from scripts, which does
/// not concern a generator on loopback; it is not zero, so that a server has to unmask.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x3c, 0xa5];

/// What begins at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A text message, or a part of one.
    Text(&'a [u8]),
    /// A ping with its payload, to be answered by [`write_pong`].
    Ping(&'a [u8]),
    /// The server says good-bye; code and reason.
    Close(u16, &'a [u8]),
    /// Something else, to be ignored.
    Other,
}

/// The HTTP request that asks for the upgrade.
pub(super) fn request(host: &str, path_and_query: &str, subprotocol: Option<&str>) -> String {
    let subprotocol =
        subprotocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "GET {path_and_query} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         {subprotocol}\r\n"
    )
}

/// Reads the server's answer to [`request`]: its length in bytes, or `None` while it is incomplete.
///
/// # Errors
/// What the server said instead of upgrading.
pub(super) fn read_response(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("answered the upgrade with no HTTP response: {error}")),
    };
    if response.code != Some(101) {
        let code = response.code.unwrap_or_default();
        let reason = response.reason.unwrap_or_default();
        return Err(format!("refused the WebSocket upgrade: {code} {reason}"));
    }
    let accept =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.map(|header| header.value) != Some(derive_accept_key(KEY.as_bytes()).as_bytes()) {
        return Err("accepted the WebSocket upgrade with a wrong key".into());
    }
    Ok(Some(length))
}

/// Appends a text frame with the payload `parts`, end to end.
pub(super) fn write_text(parts: &[&[u8]], out: &mut Vec<u8>) {
    write_frame(OpCode::Data(Data::Text), parts, out);
}

/// Appends the pong that answers a ping with `payload`.
pub(super) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(OpCode::Control(Control::Pong), &[payload], out);
}

fn write_frame(opcode: OpCode, parts: &[&[u8]], out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, mask: Some(MASK), ..FrameHeader::default() };
    let length: usize = parts.iter().map(|part| part.len()).sum();
    header.format(length as u64, out).expect("a vector takes every byte written to it");
    let payload = parts.iter().flat_map(|part| part.iter());
    out.extend(payload.zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The frame at the front of `bytes` and its length with header, or `None` while it is incomplete.
///
/// # Errors
/// The bytes are no frame a server may send.
pub(super) fn read_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, String> {
    let mut cursor = Cursor::new(bytes);
    let (header, length) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(error) => return Err(format!("sent a bad WebSocket frame: {error}")),
    };
    let start = cursor.position() as usize;
    let Some(end) = usize::try_from(length).ok().and_then(|length| start.checked_add(length)) else {
        return Err("sent a WebSocket frame of impossible length".into());
    };
    let Some(payload) = bytes.get(start..end) else {
        return Ok(None);
    };
    let frame = match header.opcode {
        OpCode::Data(Data::Text | Data::Continue) => Frame::Text(payload),
        OpCode::Control(Control::Ping) => Frame::Ping(payload),
        OpCode::Control(Control::Close) => match payload {
            [high, low, reason @ ..] => Frame::Close(u16::from_be_bytes([*high, *low]), reason),
            _ => Frame::Close(1005, b""),
        },
        _ => Frame::Other,
    };
    Ok(Some((frame, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_complete() {
        let bytes = b"\x81\x05hello\x89\x01x\x88\x06\x0f\xa0slow";
        assert_eq!(read_frame(&bytes[..1]), Ok(None));
        assert_eq!(read_frame(&bytes[..6]), Ok(None));
        assert_eq!(read_frame(bytes), Ok(Some((Frame::Text(b"hello"), 7))));
        assert_eq!(read_frame(&bytes[7..]), Ok(Some((Frame::Ping(b"x"), 3))));
        assert_eq!(read_frame(&bytes[10..]), Ok(Some((Frame::Close(4000, b"slow"), 8))));
    }

    #[test]
    fn long_frames_have_long_headers() {
        for length in [125, 126, 65_535, 65_536] {
            let mut out = Vec::new();
            write_text(&[&vec![b'a'; length - 1], b"b"], &mut out);
            out[1] &= 0x7f; // as a server would send it: no mask
            let start = out.len() - length - 4;
            out.drain(start..start + 4);
            let (frame, end) = read_frame(&out).unwrap().unwrap();
            assert!(matches!(frame, Frame::Text(payload) if payload.len() == length));
            assert_eq!(end, out.len());
        }
    }

    #[test]
    fn only_an_upgrade_with_the_right_key_will_do() {
        let accept = derive_accept_key(KEY.as_bytes());
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
        let glued = format!("{good}\u{1}");
        assert_eq!(read_response(glued.as_bytes()), Ok(Some(good.len())));
        assert_eq!(read_response(&good.as_bytes()[..30]), Ok(None));
        assert!(read_response(b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: x\r\n\r\n").is_err());
        let refused = read_response(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap_err();
        assert!(refused.contains("403 Forbidden"), "{refused}");
    }
}
