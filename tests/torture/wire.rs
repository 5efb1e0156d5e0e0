//! How the clients of the torture speak. A connection may break at any moment: that is no failure here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::common::PATIENCE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// JSON, one document a line.
    Lines,
    /// JSON in frames with their length in front.
    Frames,
    /// JSON in WebSocket messages.
    WebSocket,
    /// Lines of text.
    Text,
}

/// The connection broke.
#[derive(Debug)]
pub(crate) struct Broken;

pub(crate) enum Wire {
    Lines { stream: TcpStream, heard: Vec<u8> },
    Frames { stream: TcpStream, heard: Vec<u8> },
    WebSocket(Box<WebSocket<TcpStream>>),
}

impl Wire {
    pub(crate) fn connect(addr: SocketAddr, dialect: Dialect) -> Result<Self, Broken> {
        let stream = TcpStream::connect(addr).map_err(|error| broken(&error))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        // A message is more than one write, at times.
        stream.set_nodelay(true).unwrap();
        let heard = Vec::new();
        Ok(match dialect {
            Dialect::Lines | Dialect::Text => Self::Lines { stream, heard },
            Dialect::Frames => Self::Frames { stream, heard },
            Dialect::WebSocket => Self::shake_hands(addr, stream)?,
        })
    }

    fn shake_hands(addr: SocketAddr, stream: TcpStream) -> Result<Self, Broken> {
        let mut request = format!("ws://{addr}/ws").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("roomd.json"));
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self::WebSocket(Box::new(socket))),
            Err(HandshakeError::Failure(Error::Http(response))) => panic!("{response:?}"),
            Err(HandshakeError::Failure(error)) => Err(broken_page(&error)),
            Err(HandshakeError::Interrupted(_)) => panic!("nothing was heard for too long"),
        }
    }

    pub(crate) fn send(&mut self, text: &str) -> Result<(), Broken> {
        match self {
            Self::Lines { stream, .. } => {
                stream.write_all(format!("{text}\n").as_bytes()).map_err(|e| broken(&e))
            }
            Self::Frames { stream, .. } => {
                let length = u32::try_from(text.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, text.as_bytes()].concat()).map_err(|error| broken(&error))
            }
            Self::WebSocket(socket) => socket.send(Message::text(text)).map_err(|error| broken_page(&error)),
        }
    }

    /// What is said next.
    pub(crate) fn hear(&mut self) -> Result<String, Broken> {
        loop {
            match self {
                Self::Lines { stream, heard } => {
                    if let Some(end) = heard.iter().position(|&byte| byte == b'\n') {
                        let line: Vec<u8> = heard.drain(..=end).collect();
                        return Ok(String::from_utf8(line[..end].to_vec()).expect("UTF-8"));
                    }
                    read(stream, heard)?;
                }
                Self::Frames { stream, heard } => {
                    if let Some((head, rest)) = heard.split_first_chunk()
                        && let Some(frame) = rest.get(..u32::from_be_bytes(*head) as usize)
                    {
                        let text = String::from_utf8(frame.to_vec()).expect("UTF-8");
                        heard.drain(..4 + text.len());
                        return Ok(text);
                    }
                    read(stream, heard)?;
                }
                Self::WebSocket(socket) => match socket.read().map_err(|error| broken_page(&error))? {
                    Message::Text(text) => return Ok(text.to_string()),
                    Message::Ping(_) => {}
                    Message::Close(_) => return Err(Broken),
                    other => panic!("not text: {other:?}"),
                },
            }
        }
    }
}

fn read(stream: &mut TcpStream, heard: &mut Vec<u8>) -> Result<(), Broken> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => return Err(Broken),
        Ok(count) => heard.extend_from_slice(&buffer[..count]),
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) => return Err(broken(&error)),
    }
    Ok(())
}

/// Silence is not a break.
fn broken(error: &io::Error) -> Broken {
    assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "nothing happens: {error}");
    Broken
}

fn broken_page(error: &Error) -> Broken {
    match error {
        Error::Io(error) => broken(error),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete)
        | Error::ConnectionClosed => Broken,
        other => panic!("{other}"),
    }
}
