//! The loop serving something else than chat: it echoes text lines, and WebSocket messages up to 16 MiB.
//!
//! `cargo run --example echo -- 127.0.0.1:9001`, then `nc 127.0.0.1 9001`, or a browser's
//! `new WebSocket("ws://127.0.0.1:9001/")`.

use std::collections::HashMap;

use roomd::framing::line::{Found, Lines};
use roomd::framing::websocket::{self, Decoder, Received};
use roomd::framing::{Sniffed, http, sniff};
use roomd::limits::Limits;
use roomd::reactor::epoll::{Epoll, ListenAddr};
use roomd::reactor::{ConnectionId, Consumed, Handler, Loss, Net, Reactor, Rest};

const BYTES_MAX: usize = 16 * 1024 * 1024;

enum Speaks {
    Lines(Lines),
    WebSocket(Decoder),
}

/// How each connection speaks, once that is known.
#[derive(Default)]
struct Echo(HashMap<ConnectionId, Speaks>);

impl Echo {
    /// Echoes the first thing in `input`: its length, or none if it is not there yet. The error is what
    /// to say before closing.
    fn take(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Result<Option<usize>, Vec<u8>> {
        let (mut out, mut used) = (Vec::new(), 0);
        match self.0.get_mut(&id) {
            None if sniff(input) == Sniffed::TooLittle => return Ok(None),
            None if sniff(input) == Sniffed::Http => {
                let Some(accepted) = http::accept_any(input, 8192)? else { return Ok(None) };
                (used, out) = accepted;
                self.0.insert(id, Speaks::WebSocket(Decoder::default()));
            }
            None => drop(self.0.insert(id, Speaks::Lines(Lines::default()))),
            Some(Speaks::Lines(lines)) => match lines.next(input, BYTES_MAX, &mut Vec::new()) {
                Found::Line(line, length) => (used, out) = (length, [&line, &b"\n"[..]].concat()),
                Found::Nothing(_) => return Ok(None),
                Found::TooLong(_) | Found::Flood => return Err(b"too long\n".to_vec()),
            },
            Some(Speaks::WebSocket(decoder)) => {
                let frame =
                    decoder.next(input, BYTES_MAX).map_err(|v| websocket::close(Some(v.code), v.reason))?;
                let Some((length, received)) = frame else { return Ok(None) };
                used = length;
                match received {
                    Some(Received::Text(text)) => websocket::text_frame(&mut out, &text),
                    Some(Received::Binary(bytes)) => websocket::binary_frame(&mut out, &bytes),
                    Some(Received::Ping(payload)) => out = websocket::pong(&payload),
                    Some(Received::Close(code)) => return Err(websocket::close(code, "")),
                    Some(Received::Pong) | None => {}
                }
            }
        }
        net.send(id, &out);
        Ok(Some(used))
    }
}

impl Handler for Echo {
    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        Consumed::each(input, |rest| match self.take(net, id, rest) {
            Ok(used) => used,
            Err(last_words) => {
                net.send(id, &last_words);
                net.close(id);
                self.0.remove(&id);
                None
            }
        })
    }

    fn ended(&mut self, net: &mut Net, id: ConnectionId, rest: Rest<'_>) {
        if let (Rest::Unfinished(rest), None | Some(Speaks::Lines(_))) = (rest, self.0.remove(&id)) {
            net.send(id, rest);
        }
    }

    fn lost(&mut self, _net: &mut Net, id: ConnectionId, _loss: Loss) -> Vec<u8> {
        self.0.remove(&id);
        Vec::new()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let mut os = Epoll::new()?;
    let limits = Limits { max_buffered_bytes: None, ..Limits::default() };
    println!("echo on {}", os.listen(&ListenAddr::Tcp(addr.parse()?), &limits)?);
    Ok(Reactor::new(os, Echo::default(), limits).run()?)
}
