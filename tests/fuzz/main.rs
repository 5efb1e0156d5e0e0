//! What anybody may send: mutated bytes for every parser, and mutated conversations for the whole server.
//!
//! | what | where |
//! |---|---|
//! | mutation, feedback, making a failure small | [`engine`] |
//! | framing by lines, telnet, who is calling, foreign protocols | [`lines`] |
//! | HTTP and `Host` | [`http`] |
//! | WebSocket frames | [`websocket`] |
//! | JSON requests and events | [`json`] |
//! | commands, messages, names, rooms, limits | [`chat`] |
//! | conversations with the whole server | [`server`] |
//! | where inputs begin, and all that were found | `tests/corpus` |
//!
//! A run is short and always the same. `ROOMD_FUZZ_SECONDS=600 cargo test --release --test fuzz` takes so long for
//! each of the tests, `ROOMD_STEPS` as many inputs, and `ROOMD_SEED` others; with `-- --nocapture` the short ones of
//! the inputs that did something new are shown. A failure shows its input, made small, as a line for the corpus: what
//! was found once is tried in each run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "the files are parts of one test")]

mod chat;
mod engine;
mod http;
mod json;
mod lines;
mod server;
mod websocket;

/// Whether a text could do something else to a terminal than be shown, or be more than one line.
fn is_harmless(text: &str) -> bool {
    let is_bad = |c: char| {
        !"\t\n".contains(c) && c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.contains(is_bad)
}
