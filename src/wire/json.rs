//! The JSON dialect: one object per line on TCP, one object per text frame on WebSocket
//! (subprotocol `roomd.json`).
//!
//! Fields a request does not know are ignored; an unknown `type` is an `error`. Times (`ts`) are
//! Unix milliseconds. Room names are written without `#`. The server sets `from`, always.
//!
//! # Requests
//!
//! Every request may carry `"ref"`, a string of at most 64 bytes. The answer to that request
//! carries the same `ref`: its `ack`, its reply, or its `error`.
//!
//! | `type` | fields (optional ones in brackets) | answered by |
//! |---|---|---|
//! | `hello` | `name`, `[room]` | `hello` |
//! | `public` | `body` | the event to everybody in the room, the sender too; `ack` if `ref` was given |
//! | `action` | `body` | as `public`; what `/me` says in the text dialect |
//! | `private` | `to`, `body` | the event to `to` and a copy to the sender; `ack` if `ref` was given |
//! | `users` | | `users` |
//! | `rooms` | | `rooms` |
//! | `history` | `[limit]` (1 to 1000, else 100), `[before]`, `[after]` (ids, exclusive) | `history` |
//! | `nick` | `name` | the `nick` event; `ack` if `ref` was given |
//! | `join` | `room` | `hello` for the new room |
//! | `ping` | | `pong` |
//! | `quit` | | `bye`, then the connection is closed |
//!
//! A connection whose first request is not `hello` is named by that request's `from`, as in the
//! seed protocol `{"type":"private","from":"alice","to":"bob","body":"…"}`, or, without one,
//! `guest-N`; it gets its `hello` first and the answer to its request after it. Later `from`s are
//! ignored.
//!
//! # Events
//!
//! | `type` | fields (optional ones in brackets) | meaning |
//! |---|---|---|
//! | `hello` | `name`, `room`, `id`, `users`, `total`, `epoch`, `server`, `[ref]` | you are `name` in `room`; `id` is that of the room's newest message (0: none yet); `users` are the first 1000 names of `total`; `epoch` is when this daemon started: ids of another epoch are not comparable |
//! | `public` | `id`, `ts`, `room`, `from`, `body` | somebody said `body`; ids count 1, 2, 3 … per room over `public` and `action` together |
//! | `action` | `id`, `ts`, `room`, `from`, `body` | somebody did `body` |
//! | `private` | `ts`, `from`, `to`, `body` | only the two of you see it |
//! | `join` | `ts`, `room`, `name`, `total` | `name` came in |
//! | `leave` | `ts`, `room`, `name`, `total`, `[why]` | `name` is gone; `why` is `timeout`, `slow`, `reset` or `room NAME`, absent for a plain good-bye |
//! | `nick` | `ts`, `room`, `from`, `name` | `from` is now called `name`; also sent to the one who asked |
//! | `presence` | `ts`, `room`, `joined`, `left`, `total` | the sum of one second's joins and leaves in a crowded room |
//! | `users` | `room`, `users`, `total`, `[ref]` | who is here |
//! | `rooms` | `rooms`: list of `{"name","members"}`, `[ref]` | which rooms there are |
//! | `history` | `room`, `events`: `public` and `action` events by rising id, `more`, `[ref]` | `more`: the room keeps further ones in the direction asked (older, or with `after` newer) |
//! | `ack` | `ref`, `ts`, `[id]` | your request was carried out; `id` if it made a message |
//! | `pong` | `ts`, `[ref]` | |
//! | `error` | `code`, `text`, `[ref]` | your request was refused, nothing else was lost |
//! | `bye` | `why` | the last line before the server closes the connection |
//!
//! The `code`s are those of [`ErrorCode`](crate::room::ErrorCode).
