//! The contract of `src/reactor/platform.rs`, case by case.
//!
//! Nothing here assumes that a thing that happened is reported by now: what must be reported is waited for,
//! and that nothing is reported is asked of [`Stage::news`].

use std::io::{ErrorKind, Write};

use roomd::reactor::{Platform, Socket};

use crate::rig::{
    BROKEN, ENDED, NOTHING, READABLE, Rig, Server, SocketOf, Stage, WRITABLE, error_of, is_drained, read,
};

// ---- edges

pub(crate) fn an_edge_is_reported_once<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    assert_eq!(stage.news(&server), NOTHING, "nothing has happened yet");
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(stage.news(&server), NOTHING, "unread input is no news");
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
    assert!(is_drained(&mut server));
    assert_eq!(stage.news(&server), NOTHING, "nor is it that it was read");
}

pub(crate) fn new_data_after_draining_is_a_new_edge<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    for text in [b"one", b"two"] {
        stage.rig.send(&mut client, text);
        assert_eq!(stage.wait_for(&server, READABLE), READABLE);
        assert_eq!(read(&mut server, 100).unwrap(), text);
    }
    assert!(is_drained(&mut server));
    assert_eq!(stage.news(&server), NOTHING);
}

pub(crate) fn new_data_behind_unread_data_is_a_new_edge<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"one");
    stage.wait_for(&server, READABLE);
    assert_eq!(read(&mut server, 1).unwrap(), b"o");
    assert_eq!(stage.news(&server), NOTHING, "what is left gives no edge by itself");
    stage.rig.send(&mut client, b"two");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(stage.news(&server), NOTHING);
    assert_eq!(read(&mut server, 100).unwrap(), b"netwo", "a short read has drained the socket");
    assert!(is_drained(&mut server));
}

/// An edge is looked at when it is fetched, not when it happens.
pub(crate) fn what_was_read_before_the_wait_is_not_reported<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.without_waiting(|_| read(&mut server, 100).ok()), b"hello");
    assert_eq!(stage.news(&server), NOTHING);
}

pub(crate) fn each_connection_has_its_own_edges<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, server) = stage.connect();
    let (mut other_client, other) = stage.connect();
    stage.rig.send(&mut client, b"x");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(stage.news(&other), NOTHING);
    stage.rig.send(&mut other_client, b"x");
    assert_eq!(stage.wait_for(&other, READABLE), READABLE);
    assert_eq!(stage.news(&server), NOTHING);
}

// ---- registration

pub(crate) fn registering_reports_what_waits_already<R: Rig>(stage: &mut Stage<R>) {
    let mut client = stage.rig.connect();
    stage.rig.send(&mut client, b"early");
    let socket = stage.accept();
    let mut server = stage.take_in(socket);
    assert_eq!(stage.news(&server), NOTHING, "nobody watches it");
    stage.register(&mut server);
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"early");
}

pub(crate) fn registering_reports_an_end_that_came_before<R: Rig>(stage: &mut Stage<R>) {
    let mut client = stage.rig.connect();
    stage.rig.send(&mut client, b"hello and good-bye");
    stage.rig.end(&mut client);
    let socket = stage.accept();
    let mut server = stage.take_in(socket);
    stage.register(&mut server);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED);
    assert_eq!(read(&mut server, 100).unwrap(), b"hello and good-bye");
    assert_eq!(read(&mut server, 100).unwrap(), b"");
}

pub(crate) fn changing_interest_reports_what_is_still_readable<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"hello");
    stage.wait_for(&server, READABLE);
    stage.watch_writable(&mut server, true);
    assert_eq!(stage.wait_for(&server, READABLE | WRITABLE), READABLE | WRITABLE);
    stage.watch_writable(&mut server, false);
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(stage.news(&server), NOTHING);
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
}

pub(crate) fn a_socket_that_is_not_watched_reports_nothing<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.watch_writable(&mut server, true);
    // An event that waits to be fetched is forgotten too.
    stage.rig.send(&mut client, b"hello");
    stage.deregister(&mut server);
    assert_eq!(stage.news(&server), NOTHING);
    stage.rig.end(&mut client);
    assert_eq!(stage.news(&server), NOTHING);
    // Watched again, it is watched for input only, and says what it would have said.
    stage.register(&mut server);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED);
    assert_eq!(stage.news(&server), NOTHING);
    stage.deregister(&mut server);
    stage.register(&mut server);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED, "and says it again");
}

// ---- room

pub(crate) fn nothing_is_said_about_room_unless_it_is_watched<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    let count = stage.fill(&mut server);
    stage.receive(&mut client, count);
    assert_eq!(stage.news(&server), NOTHING, "unread input and room again, and neither is news");
}

pub(crate) fn watching_reports_room_at_once<R: Rig>(stage: &mut Stage<R>) {
    let (_client, mut server) = stage.connect();
    stage.watch_writable(&mut server, true);
    assert_eq!(stage.wait_for(&server, WRITABLE), WRITABLE);
    assert_eq!(stage.news(&server), NOTHING);
    stage.watch_writable(&mut server, false);
    assert_eq!(stage.news(&server), NOTHING);
}

/// Whoever watches only after a write was refused cannot miss what happened in between.
pub(crate) fn watching_reports_room_that_came_unwatched<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    let count = stage.fill(&mut server);
    stage.receive(&mut client, count);
    assert_eq!(stage.news(&server), NOTHING);
    stage.watch_writable(&mut server, true);
    assert_eq!(stage.wait_for(&server, WRITABLE), WRITABLE);
}

pub(crate) fn a_full_socket_reports_room_once_the_peer_has_read<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    for is_watched_already in [false, true] {
        let count = stage.fill(&mut server);
        if !is_watched_already {
            stage.watch_writable(&mut server, true);
        }
        stage.receive(&mut client, count);
        assert_eq!(stage.wait_for(&server, WRITABLE), WRITABLE);
        assert_eq!(stage.news(&server), NOTHING, "once");
        assert!(server.socket.write(b"x").is_ok());
        stage.receive(&mut client, 1);
        stage.news(&server);
    }
}

/// No write was refused, and yet it is full: being told so by the selector counts as much.
pub(crate) fn a_socket_that_is_full_when_it_is_watched_reports_room_later<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    let count = stage.fill(&mut server);
    stage.receive(&mut client, count);
    stage.news(&server);
    // As much as fitted before, and not a byte more.
    let mut written = 0;
    while written < count
        && let Ok(more) = server.socket.write(&vec![b'x'; 1000.min(count - written)])
    {
        written += more;
    }
    stage.watch_writable(&mut server, true);
    // A real client's buffer may have grown meanwhile, so that there is room.
    let has_room = stage.news(&server) == WRITABLE;
    stage.receive(&mut client, written);
    if !has_room {
        assert_eq!(stage.wait_for(&server, WRITABLE), WRITABLE);
    }
}

/// Room is reported when a good part of the buffer is free: Linux says so from a third on (TCP) or from
/// three quarters (Unix). A peer that takes byte by byte does not wake the loop for each.
pub(crate) fn a_little_room_is_not_reported<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.watch_writable(&mut server, true);
    // What is under way may make room without the client's help: it is filled until it stays full.
    let is_quiet = (0..100).any(|_| {
        stage.fill(&mut server);
        stage.news(&server);
        stage.receive(&mut client, 1);
        stage.news(&server) == NOTHING
    });
    assert!(is_quiet, "each byte is reported");
}

/// TCP only: a Unix socket reports room whenever the peer has read something.
pub(crate) fn room_is_no_news_unless_a_write_was_refused<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.watch_writable(&mut server, true);
    let count = stage.fill(&mut server);
    stage.receive(&mut client, count);
    stage.wait_for(&server, WRITABLE);
    assert_eq!(server.socket.write(&[b'x'; 1000]).unwrap(), 1000);
    stage.receive(&mut client, 1000);
    assert_eq!(stage.news(&server), NOTHING);
}

/// An event says all that is so when it is fetched, also what it has said before.
pub(crate) fn news_of_one_direction_come_with_the_state_of_the_other<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.watch_writable(&mut server, true);
    assert_eq!(stage.wait_for(&server, WRITABLE), WRITABLE);
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE | WRITABLE);
    let count = stage.fill(&mut server);
    stage.receive(&mut client, count);
    assert_eq!(stage.wait_for(&server, WRITABLE), READABLE | WRITABLE, "unread input");
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
    assert_eq!(stage.news(&server), NOTHING);
}

// ---- ends

pub(crate) fn an_end_is_reported_and_what_came_before_it_can_be_read<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"last words");
    stage.rig.end(&mut client);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED);
    assert_eq!(read(&mut server, 4).unwrap(), b"last");
    assert_eq!(stage.news(&server), NOTHING);
    assert_eq!(read(&mut server, 100).unwrap(), b" words");
    assert_eq!(read(&mut server, 100).unwrap(), b"");
    assert_eq!(read(&mut server, 100).unwrap(), b"", "again and again");
    assert_eq!(stage.news(&server), NOTHING);
}

/// The end is an edge of its own: who has drained the socket before hears of it.
pub(crate) fn an_end_behind_drained_input_is_an_edge<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"hello");
    stage.wait_for(&server, READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
    assert!(is_drained(&mut server));
    stage.rig.end(&mut client);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED);
    assert_eq!(read(&mut server, 100).unwrap(), b"");
}

pub(crate) fn who_has_closed_its_side_can_still_be_written_to<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.end(&mut client);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED, "and it is not broken");
    let count = stage.fill(&mut server);
    stage.watch_writable(&mut server, true);
    assert_eq!(stage.receive(&mut client, count).len(), count);
    assert_eq!(stage.wait_for(&server, WRITABLE), ENDED | WRITABLE);
    assert_eq!(server.socket.write(b"good-bye").unwrap(), 8);
    assert_eq!(stage.receive(&mut client, 8), b"good-bye");
}

pub(crate) fn our_end_reaches_the_peer_and_we_still_hear_it<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    assert_eq!(server.socket.write(b"good-bye").unwrap(), 8);
    server.socket.shutdown_write().unwrap();
    assert_eq!(stage.receive(&mut client, 8), b"good-bye");
    stage.receive_end(&mut client);
    stage.rig.send(&mut client, b"wait");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"wait");
}

pub(crate) fn a_connection_whose_sides_are_both_closed_is_broken<R: Rig>(stage: &mut Stage<R>) {
    for we_are_first in [true, false] {
        let (mut client, mut server) = stage.connect();
        stage.rig.send(&mut client, b"last words");
        stage.wait_for(&server, READABLE);
        if we_are_first {
            server.socket.shutdown_write().unwrap();
            assert!(!stage.news(&server).broken);
            stage.rig.end(&mut client);
        } else {
            stage.rig.end(&mut client);
            assert_eq!(stage.wait_for(&server, ENDED), ENDED);
            server.socket.shutdown_write().unwrap();
        }
        assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
        assert_eq!(read(&mut server, 100).unwrap(), b"last words", "what had arrived is still there");
        assert_eq!(read(&mut server, 100).unwrap(), b"");
        stage.receive_end(&mut client);
    }
}

pub(crate) fn a_socket_that_is_dropped_is_an_end_to_the_peer<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    assert_eq!(server.socket.write(b"good-bye").unwrap(), 8);
    stage.deregister(&mut server);
    let crate::rig::Server { socket, id } = server;
    drop(socket);
    assert_eq!(stage.receive(&mut client, 8), b"good-bye");
    stage.receive_end(&mut client);
    // Its slot, its descriptor and its events are somebody else's.
    let (mut client, mut server) = stage.connect();
    assert_ne!(server.id, id);
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
}

// ---- breaks

pub(crate) fn who_has_closed_its_socket_cannot_be_written_to_in_the_end<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"last words");
    stage.rig.close(client);
    stage.wait_for(&server, ENDED);
    assert_eq!(stage.write_until_error(&mut server), ErrorKind::BrokenPipe);
    assert_eq!(read(&mut server, 100).unwrap(), b"last words", "what had arrived is still there");
    assert_eq!(read(&mut server, 100).unwrap(), b"");
}

/// TCP only: a Unix socket knows a close from a half-close, and says at once that the peer is gone.
pub(crate) fn who_has_closed_its_socket_is_broken_once_it_was_written_to<R: Rig>(stage: &mut Stage<R>) {
    let (client, mut server) = stage.connect();
    stage.rig.close(client);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED, "it might still read");
    assert_eq!(stage.news(&server), NOTHING);
    assert_eq!(server.socket.write(b"anybody there?").unwrap(), 14);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(error_of(server.socket.write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(read(&mut server, 100).unwrap(), b"");
    assert_eq!(stage.news(&server), NOTHING, "once");
}

pub(crate) fn who_closes_its_socket_with_unread_input_resets_it<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    assert_eq!(server.socket.write(b"unread").unwrap(), 6);
    // The first byte proves that the rest has arrived.
    stage.receive(&mut client, 1);
    stage.rig.send(&mut client, b"last words");
    stage.rig.close(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(read(&mut server, 100).unwrap(), b"last words", "what had arrived is still there");
    assert_eq!(error_of(read(&mut server, 100)), ErrorKind::ConnectionReset);
    assert_eq!(read(&mut server, 100).unwrap(), b"", "an error is told once");
    assert_eq!(error_of(server.socket.write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(stage.news(&server), NOTHING);
}

/// TCP only, as all that follow in this section.
pub(crate) fn a_reset_is_reported_and_reading_fails<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.send(&mut client, b"last words");
    stage.wait_for(&server, READABLE);
    stage.rig.reset(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(read(&mut server, 100).unwrap(), b"last words", "what had arrived is still there");
    assert_eq!(error_of(read(&mut server, 100)), ErrorKind::ConnectionReset);
    assert_eq!(read(&mut server, 100).unwrap(), b"", "an error is told once");
    assert_eq!(stage.news(&server), NOTHING, "once");
    assert!(server.socket.shutdown_write().is_err());
}

/// Whoever writes first after a reset takes the error away from the read: only `broken` tells both.
pub(crate) fn a_reset_may_be_told_to_a_write_and_then_reading_ends<R: Rig>(stage: &mut Stage<R>) {
    let (client, mut server) = stage.connect();
    stage.rig.reset(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(error_of(server.socket.write(b"x")), ErrorKind::ConnectionReset);
    assert_eq!(error_of(server.socket.write(b"x")), ErrorKind::BrokenPipe);
    assert_eq!(read(&mut server, 100).unwrap(), b"");
}

/// The end that came before is all that reading says: only `broken` tells of the reset.
pub(crate) fn a_reset_behind_an_end_is_reported_and_reading_does_not_say_it<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, mut server) = stage.connect();
    stage.rig.end(&mut client);
    assert_eq!(stage.wait_for(&server, ENDED), ENDED);
    stage.rig.reset(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(read(&mut server, 100).unwrap(), b"");
    assert_eq!(error_of(server.socket.write(b"x")), ErrorKind::BrokenPipe);
}

pub(crate) fn a_reset_of_a_full_socket_is_reported<R: Rig>(stage: &mut Stage<R>) {
    let (client, mut server) = stage.connect();
    stage.fill(&mut server);
    stage.watch_writable(&mut server, true);
    stage.rig.reset(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(error_of(read(&mut server, 100)), ErrorKind::ConnectionReset);
}

pub(crate) fn a_reset_before_registration_is_reported_by_it<R: Rig>(stage: &mut Stage<R>) {
    let client = stage.rig.connect();
    let socket = stage.accept();
    let mut server = stage.take_in(socket);
    stage.rig.reset(client);
    assert_eq!(stage.news(&server), NOTHING);
    stage.register(&mut server);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(error_of(read(&mut server, 100)), ErrorKind::ConnectionReset);
}

/// Linux hands out the connection all the same; only using it tells.
pub(crate) fn a_connection_that_is_reset_in_the_backlog_harms_nothing<R: Rig>(stage: &mut Stage<R>) {
    let victim = stage.rig.connect();
    let mut client = stage.rig.connect();
    stage.rig.reset(victim);
    assert!(stage.listener_news(), "they have both arrived");
    let mut sockets: Vec<_> = std::iter::from_fn(|| stage.rig.platform().accept(0).ok()).collect();
    let (socket, _) = sockets.pop().expect("the second one is there in any case");
    let mut server = stage.take_in(socket);
    stage.register(&mut server);
    if let Some((socket, _)) = sockets.pop() {
        let mut broken = stage.take_in(socket);
        stage.register(&mut broken);
        assert_eq!(stage.wait_for(&broken, BROKEN), BROKEN);
        assert_eq!(error_of(read(&mut broken, 100)), ErrorKind::ConnectionReset);
    }
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
}

// ---- listeners

pub(crate) fn a_listener_reports_arrivals_and_not_those_who_wait<R: Rig>(stage: &mut Stage<R>) {
    assert!(!stage.listener_news());
    let mut clients: Vec<_> = (0..3).map(|_| stage.rig.connect()).collect();
    assert!(stage.listener_news(), "they have all arrived");
    assert!(stage.rig.platform().accept(0).is_ok());
    assert!(!stage.listener_news(), "who is left in the backlog is no news");
    clients.push(stage.rig.connect());
    stage.wait_for_listener();
    for _ in 0..3 {
        assert!(stage.rig.platform().accept(0).is_ok());
    }
    let drained = stage.rig.platform().accept(0).map(|_| ());
    assert_eq!(error_of(drained), ErrorKind::WouldBlock);
    assert!(!stage.listener_news());
    clients.push(stage.rig.connect());
    stage.wait_for_listener();
    assert!(stage.rig.platform().accept(0).is_ok());
}

pub(crate) fn an_arrival_that_was_accepted_before_the_wait_is_not_reported<R: Rig>(stage: &mut Stage<R>) {
    let _client = stage.rig.connect();
    let _accepted = stage.without_waiting(|stage| stage.rig.platform().accept(0).ok());
    assert!(!stage.listener_news());
}

pub(crate) fn a_connection_that_ends_in_the_backlog_harms_nothing<R: Rig>(stage: &mut Stage<R>) {
    let mut early = stage.rig.connect();
    stage.rig.send(&mut early, b"quick");
    stage.rig.close(early);
    let mut client = stage.rig.connect();
    let socket = stage.accept();
    let mut ended = stage.take_in(socket);
    stage.register(&mut ended);
    stage.wait_for(&ended, ENDED);
    assert_eq!(read(&mut ended, 100).unwrap(), b"quick");
    assert_eq!(read(&mut ended, 100).unwrap(), b"");
    let socket = stage.accept();
    let mut server = stage.take_in(socket);
    stage.register(&mut server);
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"hello");
}

pub(crate) fn a_listener_that_was_closed_reports_nobody<R: Rig>(stage: &mut Stage<R>) {
    let (mut client, server) = stage.connect();
    let _waiting = stage.rig.connect();
    stage.rig.platform().close_listeners();
    assert!(!stage.listener_news());
    let closed = stage.rig.platform().accept(0).map(|_| ());
    assert_eq!(error_of(closed), ErrorKind::WouldBlock);
    // Who was accepted stays.
    stage.rig.send(&mut client, b"hello");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
}

// ---- outgoing connections

/// A call that is watched, as the loop does it.
fn watch<R: Rig>(stage: &mut Stage<R>, socket: SocketOf<R>) -> Server<R> {
    let mut server = stage.take_in(socket);
    stage.register(&mut server);
    stage.watch_writable(&mut server, true);
    server
}

pub(crate) fn who_answers_is_connected_and_both_can_speak<R: Rig>(stage: &mut Stage<R>) {
    let (socket, mut client) = stage.rig.call();
    let mut server = watch(stage, socket);
    assert_eq!(stage.wait_for(&server, WRITABLE), WRITABLE);
    assert!(server.socket.is_connected().unwrap());
    assert_eq!(stage.news(&server), NOTHING, "once");
    assert_eq!(server.socket.write(b"hello").unwrap(), 5);
    assert_eq!(stage.receive(&mut client, 5), b"hello");
    stage.watch_writable(&mut server, false);
    stage.rig.send(&mut client, b"welcome");
    assert_eq!(stage.wait_for(&server, READABLE), READABLE);
    assert_eq!(read(&mut server, 100).unwrap(), b"welcome");
    stage.rig.reset(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(error_of(read(&mut server, 100)), ErrorKind::ConnectionReset);
}

pub(crate) fn a_call_that_is_refused_is_broken<R: Rig>(stage: &mut Stage<R>) {
    match stage.rig.call_nobody() {
        Ok(socket) => {
            let mut server = watch(stage, socket);
            assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
            assert_eq!(error_of(server.socket.is_connected()), ErrorKind::ConnectionRefused);
            assert!(!server.socket.is_connected().unwrap(), "an error is told once");
            assert_eq!(stage.news(&server), NOTHING);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
    }
}

pub(crate) fn a_call_that_nobody_answers_says_nothing<R: Rig>(stage: &mut Stage<R>) {
    let socket = stage.rig.call_the_silent();
    let mut server = watch(stage, socket);
    assert_eq!(stage.news(&server), NOTHING);
    assert!(!server.socket.is_connected().unwrap());
    stage.deregister(&mut server);
    drop(server);
    let (_client, server) = stage.connect();
    assert_eq!(stage.news(&server), NOTHING);
}

pub(crate) fn who_answers_and_breaks_off_at_once_was_never_connected<R: Rig>(stage: &mut Stage<R>) {
    let (socket, client) = stage.rig.call();
    let mut server = watch(stage, socket);
    stage.rig.reset(client);
    assert_eq!(stage.wait_for(&server, BROKEN), BROKEN);
    assert_eq!(error_of(server.socket.is_connected()), ErrorKind::ConnectionReset);
}

pub(crate) fn who_answers_and_ends_at_once_was_connected<R: Rig>(stage: &mut Stage<R>) {
    let (socket, mut client) = stage.rig.call();
    stage.rig.send(&mut client, b"welcome");
    stage.rig.end(&mut client);
    let mut server = watch(stage, socket);
    assert_eq!(stage.wait_for(&server, ENDED | WRITABLE), ENDED | WRITABLE);
    assert!(server.socket.is_connected().unwrap());
    assert_eq!(read(&mut server, 100).unwrap(), b"welcome");
    assert_eq!(read(&mut server, 100).unwrap(), b"");
}

// ---- other threads

pub(crate) fn a_call_before_the_wait_is_not_lost<R: Rig>(stage: &mut Stage<R>) {
    assert!(!stage.was_notified());
    let waker = stage.rig.platform().waker().unwrap();
    assert!(!stage.was_notified(), "nobody has called");
    std::thread::spawn(move || waker.wake()).join().unwrap();
    stage.wait_for_notice();
    assert!(!stage.was_notified(), "once");
}

pub(crate) fn many_calls_are_told_at_least_once_after_the_last<R: Rig>(stage: &mut Stage<R>) {
    let wakers = [(); 2].map(|()| stage.rig.platform().waker().unwrap());
    for _ in 0..3 {
        (0..1000).for_each(|i| wakers[i % 2].wake_by_ref());
        stage.wait_for_notice();
        assert!(!stage.was_notified(), "and not once more");
    }
}

/// It comes together with what connections have to say, and takes nothing from them.
pub(crate) fn a_call_while_there_is_other_news_is_told<R: Rig>(stage: &mut Stage<R>) {
    let waker = stage.rig.platform().waker().unwrap();
    let (mut client, mut server) = stage.connect();
    for _ in 0..10 {
        stage.rig.send(&mut client, b"hello");
        waker.wake_by_ref();
        stage.wait_for_notice();
        stage.wait_for(&server, READABLE);
        assert_eq!(read(&mut server, 100).unwrap(), b"hello");
    }
}
