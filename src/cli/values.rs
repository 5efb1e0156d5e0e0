//! The kinds of values that flags take, with errors that say what would be right.

use std::net::ToSocketAddrs;
use std::str::FromStr;

use bytesize::ByteSize;
use ipnet::IpNet;

use crate::reactor::epoll::ListenAddr;

/// A number of things, at least 1.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let count = text.parse().ok().filter(|&count| count > 0);
    count.ok_or_else(|| "it takes a whole number from 1".into())
}

/// A number of bytes, at least 1: `4096`, `64KiB`, `1MiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let bytes = text.parse().ok().map(|size: ByteSize| size.as_u64()).filter(|&bytes| bytes > 0);
    bytes.ok_or_else(|| "it takes bytes, as 4096, 64KiB or 1MiB".into())
}

/// A time in milliseconds, at least 1: `60s`, `250ms`, `2min`.
pub(super) fn time_ms(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| time.as_millis() > 0);
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        .ok_or_else(|| "it takes a time, as 60s, 250ms or 2min".into())
}

/// The mode of a file, in octal digits: `0660`.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o777 && !text.starts_with('+'));
    mode.ok_or_else(|| "it takes octal digits, as 0660".into())
}

/// A list of addresses and networks, or `none`: `127.0.0.0/8,::1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Networks(pub(super) Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let network = |part: &str| {
            let part = part.trim();
            let network = part.parse().or_else(|_| part.parse().map(|ip: std::net::IpAddr| ip.into()));
            network.map_err(|_| format!("{part} is no address; it takes some, as 127.0.0.0/8,::1, or none"))
        };
        text.split(',').map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// Where to listen, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listen {
    /// All the addresses that one `--listen` means.
    pub(super) addrs: Vec<ListenAddr>,
    /// Text is spoken there and nothing else, so that it is known who calls: a person, to be greeted at once.
    pub(super) is_text_only: bool,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let only_text = text.strip_prefix("text:");
        let addr = only_text.unwrap_or(text);
        let addrs = match addr.strip_prefix("unix:") {
            Some("") => return Err("it takes a path behind unix:".into()),
            Some(path) => vec![ListenAddr::Unix(path.into())],
            None => {
                let right = "it takes an address and a port, as 127.0.0.1:8080, [::]:8080 or localhost:8080, \
                             or unix:PATH; text: in front of either means only text";
                let addrs = addr.to_socket_addrs().map_err(|error| format!("{right} ({error})"))?;
                addrs.map(ListenAddr::Tcp).collect()
            }
        };
        Ok(Self { addrs, is_text_only: only_text.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_may_be_for_text_only() {
        let listen = |text: &str| text.parse::<Listen>();
        let tcp = |port| vec![ListenAddr::Tcp(([127, 0, 0, 1], port).into())];
        let unix = vec![ListenAddr::Unix("/run/x".into())];
        assert_eq!(listen("127.0.0.1:1"), Ok(Listen { addrs: tcp(1), is_text_only: false }));
        assert_eq!(listen("text:127.0.0.1:2"), Ok(Listen { addrs: tcp(2), is_text_only: true }));
        assert_eq!(listen("text:unix:/run/x"), Ok(Listen { addrs: unix, is_text_only: true }));
        for wrong in ["text:", "unix:", "text:unix:", "text:text:127.0.0.1:1", "8080"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!((mode("0660"), mode("660"), mode("0")), (Ok(0o660), Ok(0o660), Ok(0)));
        for wrong in ["", "rw-rw----", "0o660", "888", "1777", "-1", "+660"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_and_single_addresses() {
        assert_eq!("127.0.0.0/8,::1".parse::<Networks>().unwrap().0.len(), 2);
        assert_eq!("none".parse(), Ok(Networks(Vec::new())));
        assert!("everybody".parse::<Networks>().is_err());
    }
}
