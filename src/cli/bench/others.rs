//! Who else is there: asked before a server is loaded.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::plan::Plan;
use crate::wire::json::{EventDocument, RequestDocument};

/// What has not answered by then is no roomd.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Whether nobody would be disturbed, or somebody at the terminal agrees. That nothing is done is said.
pub(super) fn may_be_loaded(plan: &Plan) -> bool {
    let people = match members(plan).unwrap_or_default() {
        0 => return true,
        1 => "1 person is here".into(),
        count => format!("{count} people are here"),
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        eprintln!(
            "roomd: {people}, so nothing was done; --yes (or -y) loads {} all the same",
            plan.args.addr
        );
        return false;
    }
    eprint!("{people}. Load it all the same? [y/N] ");
    let mut answer = String::new();
    // Who cannot answer does not agree.
    let _ = io::stdin().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// How many members a roomd has; `None` if it does not say so. Who asks is in the room that will be loaded.
fn members(plan: &Plan) -> Option<usize> {
    if !plan.args.dialect.is_of_roomd() {
        return None;
    }
    let mut stream = TcpStream::connect_timeout(&plan.target, ANSWER_WAIT).ok()?;
    stream.set_read_timeout(Some(ANSWER_WAIT)).ok()?;
    let hello = RequestDocument::Hello {
        name: plan.name(u32::MAX),
        room: Some(plan.room_name(0)),
        rooms: None,
        session: None,
    };
    let requests =
        [hello, RequestDocument::Rooms, RequestDocument::Quit].map(|request| request.to_line(None));
    stream.write_all(requests.concat().as_bytes()).ok()?;
    let mut members = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        match serde_json::from_str::<EventDocument<String>>(&line) {
            Ok(EventDocument::Rooms { rooms, .. }) => {
                members = rooms.iter().map(|room| room.members).sum::<usize>().checked_sub(1);
            }
            Ok(EventDocument::Bye { .. }) | Err(_) => break,
            Ok(_) => {}
        }
    }
    members
}
