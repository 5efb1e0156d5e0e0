//! The whole server, epoll aside, under random clients, hostile sockets and a fake clock.
//!
//! | what | where |
//! |---|---|
//! | random clients in up to six rooms: everybody hears everything once and in order | here and [`random`], what is drawn: [`setting`] |
//! | what must be so: what was published in which order | [`chronicle`]; what a client must be told of it | [`shadow`]; all else | [`checks`] |
//! | a room waits for whoever takes the minimum, and for nobody else | [`readers`] |
//! | the same across rooms: who hears a room beside another one, and who tells one something from elsewhere | [`several`] |
//! | conspirators cannot slow a room down below a bound | [`conspirators`] |
//! | turns keep to their budget, and do their work when they are full | [`busy`] |
//! | a store that answers late | [`scripted`] |
//! | who ends while its input is deferred | [`ends`] |
//! | a chat client | [`client`] |
//! | the server on its machine | [`scene`], `roomd::reactor::simulated` |
//!
//! `ROOMD_SEED=7 cargo test --test simulation` runs one seed; `ROOMD_SEEDS` and `ROOMD_STEPS` change how
//! many, and how long. A failure prints its seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unreachable_pub, reason = "the files are parts of one test")]

mod busy;
mod checks;
mod chronicle;
mod client;
mod conspirators;
mod ends;
mod random;
mod readers;
mod scene;
mod scripted;
mod setting;
mod several;
mod shadow;

use random::Run;
use shadow::{SEEN, Tally};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn everybody_hears_everything_once_and_in_order() {
    let seeds = match number("ROOMD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ROOMD_SEEDS").unwrap_or(200),
    };
    let steps = number("ROOMD_STEPS").unwrap_or(400) as usize;
    let run_of = |seed| {
        let mut run = Run::random(seed);
        if number("ROOMD_SEED").is_some() {
            println!("{:?}", run.setting);
        }
        run.run(steps);
        run.outlast_the_silent();
        let tally = run.check();
        run.finish();
        tally
    };
    let (mut failed, mut seen, count) = (Vec::new(), Tally::default(), seeds.end - seeds.start);
    for seed in seeds {
        match std::panic::catch_unwind(|| run_of(seed)) {
            Ok(tally) => tally.0.into_iter().for_each(|(what, count)| seen.count(what, count)),
            Err(_) => failed.push(seed),
        }
    }
    println!("{seen:?}");
    assert!(failed.is_empty(), "failed: ROOMD_STEPS={steps} ROOMD_SEED={failed:?}, one of them at a time");
    let never: Vec<_> =
        SEEN.into_iter().filter(|what| seen.0.get(what).is_none_or(|count| *count == 0)).collect();
    assert!(never.is_empty() || count < 100, "what never happens is not tested: {never:?}");
}
