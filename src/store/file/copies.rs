//! `roomd backup` and `roomd check`: they look at a file, whether a daemon works with it or not.

use std::path::Path;

/// What a file holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rooms.
    pub rooms: u64,
}

/// x
pub fn backup(_from: &Path, _to: &Path) -> Result<(), String> {
    Ok(())
}
/// x
pub fn check(_path: &Path) -> Result<Report, String> {
    Ok(Report::default())
}
