//! A key/value server: `SET key value`, `GET key`, `DEL key`, `TTL key seconds`, `DUMP` (everything), `WATCH` (what
//! changes from now on) and `SHUTDOWN`, one a line; and `GET /key` for browsers.
//! `cargo run --example kv -- 127.0.0.1:9002`, then `nc 127.0.0.1 9002`, or `curl http://127.0.0.1:9002/key`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use roomd::clock::Millis;
use roomd::framing::http::{self, Refused, Response, StatusCode};
use roomd::framing::line::{Found, Lines};
use roomd::limits::Limits;
use roomd::reactor::epoll::{Epoll, ListenAddr};
use roomd::reactor::turn::WRITE_BYTES_PER_TURN;
use roomd::reactor::{ChannelId, ConnectionId, Consumed, Handler, Loss, Net, Reactor, Rest, Then};

const LINE_BYTES_MAX: usize = 32 * 1024;

#[derive(Default)]
pub(crate) struct Store {
    /// Each with the time at which it goes.
    values: BTreeMap<String, (String, Millis)>,
    /// Those times, and some that were replaced.
    ends: BTreeSet<(Millis, String)>,
    changes: ChannelId,
    clients: HashMap<ConnectionId, Lines>,
    /// Who is being sent everything, and the last key that was sent.
    dumps: HashMap<ConnectionId, String>,
}

impl Store {
    fn command(&mut self, net: &mut Net, id: ConnectionId, line: &str) -> Option<String> {
        match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["GET", key] => return Some(self.values.get(key)?.0.clone() + "\n"),
            ["SET", key, value] if !key.is_empty() => self.put(net, key, Some(value)),
            ["DEL", key] => self.put(net, key, None),
            ["TTL", key, seconds] => {
                let (_, end) = self.values.get_mut(key)?;
                *end = net.now().monotonic.after(Duration::from_secs(seconds.parse().ok()?));
                self.ends.insert((*end, key.into()));
            }
            ["WATCH"] => net.subscribe(id, self.changes, 0),
            ["DUMP"] => {
                self.dumps.insert(id, String::new());
                net.when_drained(id);
            }
            ["SHUTDOWN"] => net.stop(),
            _ => return None,
        }
        Some("ok\n".into())
    }

    fn put(&mut self, net: &mut Net, key: &str, value: Option<&str>) {
        self.values.remove(key);
        self.values.extend(value.map(|value| (key.into(), (value.into(), Millis::NEVER))));
        let change = format!("* {key} {}\n", value.unwrap_or("is gone"));
        net.publish(self.changes, None, |_, out| out.extend(change.bytes()));
    }

    /// The page a browser asks for; none if it has not asked to the end.
    fn page(&self, input: &[u8]) -> Result<Option<Vec<u8>>, Vec<u8>> {
        let Some(request) = http::parse(input, LINE_BYTES_MAX)? else { return Ok(None) };
        let found = self.values.get(&request.path[1..]);
        let (body, _) = found.ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "no such key"))?;
        let mut out = Vec::new();
        Response { content_type: "text/plain", body, ..Response::default() }.write(&mut out, false);
        Ok(Some(out))
    }

    fn dismiss(&mut self, net: &mut Net, id: ConnectionId, last_words: &[u8]) -> Then {
        net.send(id, last_words);
        net.close(id);
        self.clients.remove(&id);
        Then::Read
    }
}

impl Handler for Store {
    fn started(&mut self, net: &mut Net) {
        self.changes = net.open_channel();
    }

    fn received(&mut self, net: &mut Net, id: ConnectionId, input: &[u8]) -> Consumed {
        let mut bytes = 0;
        let then = loop {
            let rest = &input[bytes..];
            match self.clients.entry(id).or_default().next(rest, LINE_BYTES_MAX, &mut Vec::new()) {
                _ if rest.is_empty() => break Then::Read,
                _ if self.dumps.contains_key(&id) => break Then::Pause(Millis::NEVER),
                _ if net.is_turn_full() => break Then::Yield,
                _ if rest.starts_with(b"GET /") => match self.page(rest) {
                    Ok(None) => break Then::Read,
                    Ok(Some(page)) | Err(page) => break self.dismiss(net, id, &page),
                },
                Found::Nothing(_) => break Then::Read,
                Found::TooLong(_) | Found::Flood => break self.dismiss(net, id, b"too long\n"),
                Found::Line(line, length) => {
                    bytes += length;
                    let answer = self.command(net, id, &String::from_utf8_lossy(&line));
                    net.send(id, answer.as_deref().unwrap_or("?\n").as_bytes());
                }
            }
        };
        Consumed { bytes, then }
    }

    /// No more than a turn can write is held for whoever is sent everything.
    fn drained(&mut self, net: &mut Net, id: ConnectionId) {
        let Some(last) = self.dumps.remove(&id) else { return };
        let mut piece = String::new();
        for (key, (value, _)) in self.values.range((Excluded(last), Unbounded)) {
            piece += &format!("{key} {value}\n");
            if piece.len() >= WRITE_BYTES_PER_TURN {
                self.dumps.insert(id, key.clone());
                net.when_drained(id);
                break;
            }
        }
        net.send(id, piece.as_bytes());
        net.resume(id);
    }

    fn deadline(&self) -> Millis {
        self.ends.first().map_or(Millis::NEVER, |(end, _)| *end)
    }

    fn expired(&mut self, net: &mut Net) {
        let Some((end, key)) = self.ends.pop_first() else { return };
        if self.values.get(&key).is_some_and(|(_, at)| *at == end) {
            self.put(net, &key, None);
        }
    }

    fn ended(&mut self, _net: &mut Net, id: ConnectionId, _rest: Rest<'_>) {
        self.clients.remove(&id);
    }

    fn lost(&mut self, _net: &mut Net, id: ConnectionId, _loss: Loss) -> Vec<u8> {
        self.clients.remove(&id);
        self.dumps.remove(&id);
        Vec::new()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9002".into());
    let (mut os, limits) = (Epoll::new()?, Limits::default());
    println!("kv on {}", os.listen(&ListenAddr::Tcp(addr.parse()?), &limits)?);
    Ok(Reactor::new(os, Store::default(), limits).run()?)
}
