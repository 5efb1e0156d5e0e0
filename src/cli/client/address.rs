//! Where the server is: `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use socket2::Socket;

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 8080;
/// How long one attempt to connect may take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A host name or IP address, and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        let bare = |host: &str| host.trim_matches(['[', ']']).to_owned();
        let is_ipv6 = |host: &str| host.matches(':').count() > 1;
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !is_ipv6(text) => {
                let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
                (bare(host), port)
            }
            _ => (bare(text), DEFAULT_PORT),
        };
        if host.is_empty() {
            return Err("the address names no host".into());
        }
        Ok(Address::Tcp(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Connects.
    pub(super) fn connect(&self) -> Result<Socket, String> {
        match self {
            Address::Tcp(host, port) => self.connect_tcp(host, *port),
            Address::Unix(path) => {
                UnixStream::connect(path).map(Socket::from).map_err(|error| self.sentence(&error))
            }
        }
    }

    fn connect_tcp(&self, host: &str, port: u16) -> Result<Socket, String> {
        let found = (host, port).to_socket_addrs().map_err(|error| {
            format!("the address of {host} cannot be found ({error}); is it spelled right?")
        })?;
        let mut failure = format!("{host} has no address");
        for address in found {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
                Ok(stream) => {
                    // Lines are small and somebody waits for each; failing to say so is harmless.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream.into());
                }
                Err(error) => failure = self.sentence(&error),
            }
        }
        Err(failure)
    }

    fn sentence(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                format!("nothing is listening on {self}; is roomd running there?")
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                format!("{self} does not answer")
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                format!("there is no way to {self} ({error})")
            }
            _ => format!("cannot connect to {self}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("chat.example", "chat.example:8080"),
            ("[::1]:9", "[::1]:9"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("unix:/run/roomd", "unix:/run/roomd"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in ["", ":8080", "host:", "host:http", "host:65536"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
