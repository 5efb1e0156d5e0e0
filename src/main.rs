//! The `roomd` program; everything it does is in the library, see [`roomd::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    roomd::run()
}
