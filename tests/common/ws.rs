//! A WebSocket client with deadlines, by `tungstenite`.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::{Daemon, PATIENCE, timeless};

/// Somebody with a WebSocket.
pub(crate) struct Browser(pub(crate) WebSocket<Patient>);

/// A socket whose reads go on when they are interrupted.
pub(crate) struct Patient(TcpStream);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How a handshake ended that did not succeed: the status.
pub(crate) type Status = u16;

impl Daemon {
    /// Opens `ws://HOST/ws?QUERY` with these fields.
    pub(crate) fn handshake(&self, query: &str, fields: &[(&str, &str)]) -> Result<Browser, Status> {
        let url = format!("ws://{}/ws{query}", self.host());
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        let stream = TcpStream::connect(self.addr()).expect("the daemon's port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        match tungstenite::client(request, Patient(stream)) {
            Ok((socket, _)) => Ok(Browser(socket)),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake: {error}"),
        }
    }

    /// A client that offers no subprotocol.
    pub(crate) fn guest(&self, query: &str) -> Browser {
        self.handshake(query, &[]).expect("an upgrade")
    }

    /// A client that offers this one.
    pub(crate) fn with_subprotocol(&self, name: &str, query: &str) -> Browser {
        self.handshake(query, &[("Sec-WebSocket-Protocol", name)]).expect("an upgrade")
    }
}

impl Browser {
    pub(crate) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("the connection stands");
    }

    /// Sends bytes as they are, behind what was sent before.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the connection stands");
    }

    pub(crate) fn message(&mut self) -> Message {
        self.0.read().expect("a message")
    }

    /// The text of the next message that is no ping.
    pub(crate) fn text(&mut self) -> String {
        loop {
            match self.message() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("not text: {other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn hears(&mut self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.text(), *text);
        }
    }

    /// The next message is this document, times and the epoch aside. A frame holds exactly one.
    #[track_caller]
    pub(crate) fn is_told(&mut self, document: Value) {
        let text = self.text();
        let said = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(timeless(said), document);
    }

    #[track_caller]
    pub(crate) fn answers(&mut self, request: Value, answer: Value) {
        self.say(&request.to_string());
        self.is_told(answer);
    }

    /// The close code that comes next, and then the end.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> u16 {
        let code = loop {
            match self.message() {
                Message::Close(frame) => break frame.map_or(CloseCode::Status, |frame| frame.code),
                Message::Ping(_) => {}
                other => panic!("no close frame but {other:?}"),
            }
        };
        let end = self.0.read();
        assert!(matches!(end, Err(Error::ConnectionClosed)), "{end:?}");
        code.into()
    }
}

/// A frame as a client sends it: masked, with these first bits and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5a, 0x01, 0xc3, 0x7e];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}
