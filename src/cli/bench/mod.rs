//! `roomd bench`: a load test that verifies.
//!
//! One thread and one poll drive thousands of clients, of roomd or of another server. Every message
//! says who sent it, as the how-manieth and when it was due, and a ledger knows what every member
//! must get, so that a server that is fast because it loses messages does not look good. An error is a
//! sentence that says why there is no result.
//!
//! | look into | for |
//! |---|---|
//! | `plan.rs` | the flags and their limits |
//! | `dialect.rs`, `websocket.rs` | what clients of each kind of server say and hear |
//! | `others.rs` | whom the load would disturb |
//! | `payload.rs` | what a message carries |
//! | `ledger.rs` | lost, doubled, reordered: who must have got what |
//! | `client.rs`, `driver.rs` | sockets and the loop |
//! | `phases.rs` | connect, settle, enter more rooms, load, drain; when messages are due |
//! | `measure.rs` | one run, and what is measured around its phases |
//! | `process.rs` | CPU time and memory of the server |
//! | `report.rs` | the result |
//! | `suite.rs`, `contender.rs` | the workloads of the README, and the servers compared in them |

use std::process::ExitCode;

mod client;
mod contender;
mod dialect;
mod driver;
mod ledger;
mod measure;
mod others;
mod payload;
mod phases;
mod plan;
mod process;
mod progress;
mod report;
mod suite;
mod websocket;

pub(super) use plan::Args;

/// Runs one workload, or the suite, and prints the result.
///
/// The exit status is 1 if a message was lost, doubled, reordered or damaged, or a connection closed
/// that should not have been, and 2 if it would have disturbed somebody.
pub(super) fn run(args: &Args) -> Result<ExitCode, String> {
    if args.suite {
        return suite::run(args);
    }
    let plan = plan::Plan::new(args)?;
    if !args.yes && !others::may_be_loaded(&plan) {
        return Ok(ExitCode::from(2));
    }
    let report = measure::run(plan)?;
    if args.json {
        println!("{}", to_json(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(value).map_err(|error| format!("cannot write JSON: {error}"))
}
