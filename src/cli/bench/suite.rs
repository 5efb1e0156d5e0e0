//! The suite (to be written).
use std::process::ExitCode;

/// Another server to measure beside.
#[derive(Clone, Debug)]
pub struct Against;

impl std::str::FromStr for Against {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
}

pub(super) fn run(_: &super::Args) -> Result<ExitCode, String> {
    Err("not yet".into())
}
