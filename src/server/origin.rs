//! Whose pages may connect.

use std::fmt;
use std::str::FromStr;

use super::Host;

/// What `--allow-origin` allows: an origin (RFC 6454, section 6.2), or one of two words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `any`: whatever page the visitor of a browser looks at.
    Any,
    /// `null`: what a browser says of a page that has no origin, such as a file, or a frame that somebody has put into
    /// a sandbox; so in effect any page.
    Null,
    /// A scheme and a host, as browsers write them: in small letters, and without the port that the scheme has anyway.
    Of(String),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let right = "it takes a scheme and a host, as https://chat.example, or any, or null";
        let Some((scheme, host)) = text.split_once("://") else { return Err(right.into()) };
        if host.contains('*') {
            return Err("it takes no patterns: name each origin, or any".into());
        }
        if let Some((host, _)) = host.split_once('/').filter(|(host, _)| !host.is_empty()) {
            return Err(format!("an origin ends behind its host: {scheme}://{host}"));
        }
        host.parse::<Host>().map_err(|_| right)?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err(right.into());
        }
        let text = text.to_ascii_lowercase();
        let own_port = match scheme.to_ascii_lowercase().as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        Ok(Self::Of(text.strip_suffix(own_port).unwrap_or(&text).to_owned()))
    }
}

impl Origin {
    /// Whether this allows what a browser has said.
    pub(super) fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Null => origin == "null",
            Self::Of(own) => own.eq_ignore_ascii_case(origin),
        }
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> Option<Host> {
        let Self::Of(origin) = self else { return None };
        origin.split_once("://")?.1.parse().ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Null => "null",
            Self::Of(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_says() {
        for (text, expected) in [
            ("https://chat.example", "https://chat.example"),
            ("HTTPS://Chat.Example:443", "https://chat.example"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("any", "any"),
            ("null", "null"),
        ] {
            assert_eq!(
                text.parse::<Origin>().map(|origin| origin.to_string()),
                Ok(expected.into()),
                "{text}"
            );
        }
        for (text, why) in [
            ("chat.example", "it takes a scheme and a host"),
            ("https://", "it takes a scheme and a host"),
            ("https:///", "it takes a scheme and a host"),
            ("https://a b", "it takes a scheme and a host"),
            ("://chat.example", "it takes a scheme and a host"),
            ("http://*.example", "it takes no patterns"),
            ("https://chat.example/", "an origin ends behind its host: https://chat.example"),
            ("https://chat.example/page", "an origin ends behind its host: https://chat.example"),
        ] {
            let told = text.parse::<Origin>().unwrap_err();
            assert!(told.starts_with(why), "{text}: {told}");
        }
    }

    #[test]
    fn any_allows_all_and_null_only_null() {
        let origin = |text: &str| text.parse::<Origin>().unwrap();
        assert!(origin("any").allows("https://evil.example") && origin("any").allows("null"));
        assert!(origin("null").allows("null") && !origin("null").allows("https://evil.example"));
        assert!(origin("https://a.example").allows("https://a.example"));
        assert!(!origin("https://a.example").allows("http://a.example"));
    }
}
