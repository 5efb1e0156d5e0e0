//! Who is calling? Told from the first bytes of a connection.

/// What the first bytes of a connection say about who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniffed {
    /// They could still be the beginning of an HTTP request.
    TooLittle,
    /// An HTTP request. It never becomes lines: a web page must not be able to chat for its visitor.
    Http,
    /// A TLS client, which will not understand anything we say.
    Tls,
    /// JSON, one object per frame with its length in front.
    LengthJson,
    /// Text in frames with their length in front.
    LengthText,
    /// JSON, one object per line.
    Json,
    /// Text lines.
    Text,
}

/// Methods of HTTP (RFC 9110, section 9; PATCH: RFC 5789; PRI: RFC 9113, section 3.4).
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
];

/// Tells who is calling from the first bytes, at least one.
#[must_use]
pub fn sniff(input: &[u8]) -> Sniffed {
    let request = skip_empty_lines(input);
    match input {
        // Handshake record, version 3.x (RFC 8446, section 5.1).
        [0x16, 0x03, ..] => Sniffed::Tls,
        // A frame shorter than 16 MiB, which is more than anybody may send; no line begins so.
        [0, 0, 0, 0, ..] => Sniffed::LengthText,
        [0, _, _, _, b'{', ..] => Sniffed::LengthJson,
        [0, _, _, _, _, ..] => Sniffed::LengthText,
        [0, ..] => Sniffed::TooLittle,
        [] | [0x16] | [b'\r'] => Sniffed::TooLittle,
        [b'{', ..] => Sniffed::Json,
        _ if METHODS.iter().any(|method| request.starts_with(method)) => Sniffed::Http,
        // Somebody who has only pressed Enter waits for an answer.
        _ if request.is_empty() => Sniffed::Text,
        _ if METHODS.iter().any(|method| method.starts_with(request)) => Sniffed::TooLittle,
        _ => Sniffed::Text,
    }
}

/// Empty lines in front of an HTTP request are no part of it (RFC 9112, section 2.2).
fn skip_empty_lines(mut input: &[u8]) -> &[u8] {
    while let Some(rest) = input.strip_prefix(b"\r\n").or_else(|| input.strip_prefix(b"\n")) {
        input = rest;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_who_is_calling() {
        for (input, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Sniffed::Http),
            (b"GET ", Sniffed::Http),
            (b"GE", Sniffed::TooLittle),
            (b"GET", Sniffed::TooLittle),
            (b"GET\n", Sniffed::Text),
            (b"get / http/1.1", Sniffed::Text),
            (b"POST / HTTP/1.1", Sniffed::Http),
            (b"PRI * HTTP/2.0", Sniffed::Http),
            (b"Gustav\n", Sniffed::Text),
            (b"{\"type\"", Sniffed::Json),
            (b"\x16\x03\x01\x02", Sniffed::Tls),
            (b"\x16", Sniffed::TooLittle),
            (b"\0\0\0\x03", Sniffed::TooLittle),
            (b"\0\0\0\x03b", Sniffed::LengthText),
            (b"\0\0\0\x03{", Sniffed::LengthJson),
            (b"\0\0\0\0", Sniffed::LengthText),
            (b"\xff\xfb\x1f", Sniffed::Text),
            (b"alice\n", Sniffed::Text),
            (b"\n", Sniffed::Text),
            (b"\r", Sniffed::TooLittle),
            (b"\r\n", Sniffed::Text),
            (b"\r\nGET / HTTP/1.1\r\n", Sniffed::Http),
            (b"\r\nGE", Sniffed::TooLittle),
            (b"\r\n\nalice\n", Sniffed::Text),
        ] {
            assert_eq!(sniff(input), expected, "{input:?}");
        }
    }
}
