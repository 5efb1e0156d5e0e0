//! Which `Host`s are ours.
//!
//! A page of `evil.example` may give its own name our address (DNS rebinding); the browser then takes us for its
//! server, and our `Origin` for its own. Only `Host` tells: it has the name that the browser was given. So it has to be
//! a name that nobody else can give us: one of this machine, or one that the operator allows. An address is not looked
//! up, so it cannot be rebound.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host, as in the field `Host` or in a URL (RFC 3986, section 3.2.2): a name or an address, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// In lower case, without a dot at its end, and without brackets.
    name: String,
    port: Option<u16>,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| "it takes a host, as chat.example or chat.example:8080".into())
    }
}

fn parse(text: &str) -> Option<Host> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (ip.parse::<Ipv6Addr>().ok()?.to_string(), port)
        }
        None => match text.parse::<Ipv6Addr>() {
            Ok(ip) => (ip.to_string(), ""),
            Err(_) => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(), port)
            }
        },
    };
    let is_part_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_part_of_name) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse().ok()?),
        None => port.is_empty().then_some(None)?,
    };
    Some(Host { name, port })
}

impl Host {
    /// The names by which a machine is found that calls itself `nodename`: that, its first label, and that in the local
    /// network (RFC 6762).
    #[must_use]
    pub fn names_of(nodename: &str) -> Vec<Self> {
        let label = nodename.split('.').next().unwrap_or_default();
        let names = [nodename, label, &format!("{label}.local")];
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The host at any port.
    #[must_use]
    pub fn at_any_port(self) -> Self {
        Self { port: None, ..self }
    }

    /// Whether `other` is allowed if this one is.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.name == other.name && self.port.is_none_or(|port| other.port == Some(port))
    }

    /// Whether it is this machine wherever it is looked up, for a listener at the address `bound`, or at any.
    pub(super) fn is_own(&self, bound: Option<IpAddr>) -> bool {
        match self.name.parse::<IpAddr>() {
            Ok(ip) => bound.is_none_or(|bound| ip.to_canonical().is_loopback() || ip == bound),
            // These are never looked up (RFC 6761, section 6.3).
            Err(_) => self.name == "localhost" || self.name.ends_with(".localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn hosts_of_this_machine() {
        let loopback = Some("127.0.0.1".parse().unwrap());
        let lan = Some("192.168.1.5".parse().unwrap());
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "::1",
            "a.localhost.",
        ] {
            for bound in [loopback, lan, None] {
                assert!(host(own).is_own(bound), "{own}");
            }
        }
        for other in ["evil.example", "localhost.evil.example:80", "127.0.0.1.nip.io", "evillocalhost"] {
            for bound in [loopback, lan, None] {
                assert!(!host(other).is_own(bound), "{other}");
            }
        }
        for (address, bound, expected) in [
            ("192.168.1.5:8080", loopback, false),
            ("192.168.1.5:8080", lan, true),
            ("192.168.1.6:8080", lan, false),
            ("192.168.1.6:8080", None, true),
            ("[::2]:1", loopback, false),
            ("[::2]:1", None, true),
        ] {
            assert_eq!(host(address).is_own(bound), expected, "{address} at {bound:?}");
        }
    }

    #[test]
    fn an_allowed_host_is_one_whatever_its_case_and_without_a_port_at_any() {
        for (allowed, seen, expected) in [
            ("chat.example", "Chat.Example.:8080", true),
            ("chat.example", "chat.example", true),
            ("Chat.Example.", "chat.example", true),
            ("chat.example:8080", "chat.example:8080", true),
            ("chat.example:8080", "chat.example:8081", false),
            ("chat.example:8080", "chat.example", false),
            ("chat.example", "evil.chat.example", false),
            ("[::2]:1", "[::2]:1", true),
            ("::2", "[::2]:1", true),
        ] {
            assert_eq!(host(allowed).covers(&host(seen)), expected, "{allowed} and {seen}");
        }
        let names = Host::names_of("Box.lan.example");
        for name in ["box", "box.local", "BOX.lan.example:8080"] {
            assert!(names.iter().any(|own| own.covers(&host(name))), "{name}");
        }
        assert_eq!(Host::names_of(""), []);
    }

    #[test]
    fn what_is_no_host() {
        for wrong in [
            "",
            ".",
            ":80",
            "[::1",
            "[::1]80",
            "[localhost]",
            "a b",
            "a@b",
            "http://a",
            "a:x",
            "a:99999",
            "é",
        ] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }
}
