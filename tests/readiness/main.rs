//! One suite of the contract of readiness (`src/reactor/platform.rs`) for everything that implements it:
//! epoll with TCP and with Unix sockets, and the scripted machine of the simulations. What those prove of
//! the loop holds for the daemon as far as this suite holds for both.
//!
//! A case is written once, in `cases`; `rig` holds the machines. `ROOMD_SEED` and `ROOMD_SEEDS` choose the
//! random runs of `traffic`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod rig;
mod traffic;

/// Runs the cases on a machine, one test each.
macro_rules! conforms {
    ($machine:ident: $rig:ty, $($case:ident)*) => {
        mod $machine {
            $(
                #[test]
                fn $case() {
                    crate::cases::$case(&mut crate::rig::Stage::<$rig>::new());
                }
            )*
        }
    };
}

/// What holds for whatever can be read and written to.
macro_rules! conforms_as_any_stream {
    ($machine:ident: $rig:ty, $($more:ident)*) => {
        conforms! { $machine: $rig,
            $($more)*
            an_edge_is_reported_once
            new_data_after_draining_is_a_new_edge
            new_data_behind_unread_data_is_a_new_edge
            what_was_read_before_the_wait_is_not_reported
            each_connection_has_its_own_edges
            registering_reports_what_waits_already
            registering_reports_an_end_that_came_before
            changing_interest_reports_what_is_still_readable
            a_socket_that_is_not_watched_reports_nothing
            nothing_is_said_about_room_unless_it_is_watched
            watching_reports_room_at_once
            watching_reports_room_that_came_unwatched
            a_full_socket_reports_room_once_the_peer_has_read
            a_socket_that_is_full_when_it_is_watched_reports_room_later
            a_little_room_is_not_reported
            news_of_one_direction_come_with_the_state_of_the_other
            an_end_is_reported_and_what_came_before_it_can_be_read
            an_end_behind_drained_input_is_an_edge
            who_has_closed_its_side_can_still_be_written_to
            our_end_reaches_the_peer_and_we_still_hear_it
            a_connection_whose_sides_are_both_closed_is_broken
            a_socket_that_is_dropped_is_an_end_to_the_peer
            who_has_closed_its_socket_cannot_be_written_to_in_the_end
            who_closes_its_socket_with_unread_input_resets_it
            a_listener_reports_arrivals_and_not_those_who_wait
            an_arrival_that_was_accepted_before_the_wait_is_not_reported
            a_connection_that_ends_in_the_backlog_harms_nothing
            a_listener_that_was_closed_reports_nobody
            a_call_before_the_wait_is_not_lost
            many_calls_are_told_at_least_once_after_the_last
            a_call_while_there_is_other_news_is_told
        }
    };
}

/// What holds for TCP, which the simulation plays.
macro_rules! conforms_as_tcp {
    ($machine:ident: $rig:ty) => {
        conforms_as_any_stream! { $machine: $rig,
            room_is_no_news_unless_a_write_was_refused
            who_has_closed_its_socket_is_broken_once_it_was_written_to
            a_reset_is_reported_and_reading_fails
            a_reset_may_be_told_to_a_write_and_then_reading_ends
            a_reset_behind_an_end_is_reported_and_reading_does_not_say_it
            a_reset_of_a_full_socket_is_reported
            a_reset_before_registration_is_reported_by_it
            a_connection_that_is_reset_in_the_backlog_harms_nothing
            who_answers_is_connected_and_both_can_speak
            a_call_that_is_refused_is_broken
            a_call_that_nobody_answers_says_nothing
            who_answers_and_breaks_off_at_once_was_never_connected
            who_answers_and_ends_at_once_was_connected
        }
    };
}

conforms_as_tcp! { epoll_tcp: crate::rig::Tcp }
conforms_as_tcp! { simulation: crate::rig::Sim }
conforms_as_any_stream! { epoll_unix: crate::rig::Unix, }

/// Whoever waits is woken each time, however the calls and the waits meet; and who outlives the loop calls in vain.
#[test]
fn each_call_of_another_thread_ends_a_wait_of_epoll() {
    use roomd::reactor::{Event, Platform};
    const ROUNDS: usize = 10_000;
    let mut os = roomd::reactor::epoll::Epoll::new().unwrap();
    let waker = os.waker().unwrap();
    let (ask, asked) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        asked.iter().for_each(|()| waker.wake_by_ref());
        waker
    });
    for round in 0..ROUNDS {
        ask.send(()).unwrap();
        let mut events = Vec::new();
        while events.is_empty() {
            let timeout = std::time::Duration::from_secs(20);
            os.wait(Some(timeout), &mut events).unwrap();
            assert!(!events.is_empty(), "round {round}: nobody was woken");
        }
        assert_eq!(events, [Event::Notified]);
    }
    drop((os, ask));
    thread.join().unwrap().wake();
}
