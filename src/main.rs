//! The `roomd` program; everything it does is in the library, see [`roomd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    roomd::cli::run()
}
