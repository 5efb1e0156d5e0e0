//! The servers the suite compares: how each is started, pinned to a processor, found and ended.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;

use super::dialect::Dialect;

/// A server that has not begun to listen by then will not.
const START_MAX: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(20);
/// What a server that chooses its port says before it.
const ANNOUNCEMENT: &str = "listening on ";

/// A server to measure: `NAME DIALECT ADDR COMMAND ARGUMENTS…`, or with flags for the generator
/// `NAME DIALECT ADDR --FLAG… -- COMMAND ARGUMENTS…`.
///
/// With port 0 in ADDR the server chooses its port and announces it on standard error, in a line
/// with `listening on 127.0.0.1:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Against {
    pub(super) name: String,
    pub(super) dialect: Dialect,
    /// Flags of `roomd bench` for this server.
    pub(super) flags: Vec<String>,
    address: SocketAddr,
    command: Vec<String>,
}

impl FromStr for Against {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let mut word = |what: &str| {
            let word = words.next();
            word.ok_or_else(|| format!("{what} is missing in: NAME DIALECT ADDR COMMAND ARGUMENTS"))
        };
        let name = word("NAME")?.to_owned();
        let dialect = word("DIALECT")?;
        let dialect =
            Dialect::from_str(dialect, true).map_err(|_| format!("there is no dialect {dialect}"))?;
        let address = word("ADDR")?;
        let address = address
            .parse()
            .map_err(|_| format!("{address} is no address with a port, such as 127.0.0.1:6379"))?;
        let mut flags = Vec::new();
        let mut first = word("COMMAND")?;
        if first.starts_with("--") {
            while first != "--" {
                flags.push(first.to_owned());
                first = word("-- after the flags")?;
            }
            first = word("COMMAND")?;
        }
        let command = std::iter::once(first).chain(words);
        let command = command.map(str::to_owned).collect();
        Ok(Self { name, dialect, flags, address, command })
    }
}

impl Against {
    /// A server that announces its address: the words of its command as they are, blanks included.
    pub(super) fn announced(name: &str, dialect: Dialect, program: &Path, arguments: &[&str]) -> Self {
        let program = program.display().to_string();
        let words = arguments.iter().map(|&word| word.to_owned());
        Self {
            name: name.into(),
            dialect,
            flags: Vec::new(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            command: std::iter::once(program).chain(words).collect(),
        }
    }

    /// Starts the server, pinned if `processor` is given, and waits until it listens.
    pub(super) fn start(&self, processor: Option<u32>) -> Result<Running, String> {
        let (program, arguments) = self.command.split_first().ok_or("there is no command")?;
        let child = pinned(processor, program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {} ({program}): {error}", self.name))?;
        let mut running = Running { child, address: self.address };
        self.wait_until_listening(&mut running)?;
        Ok(running)
    }

    fn wait_until_listening(&self, running: &mut Running) -> Result<(), String> {
        let lines = running.error_lines();
        let deadline = Instant::now() + START_MAX;
        let mut last_line = String::new();
        while Instant::now() < deadline {
            while let Ok(line) = lines.try_recv() {
                if let (0, Some(address)) = (self.address.port(), announced_address(&line)) {
                    running.address = address;
                    return Ok(());
                }
                last_line = line;
            }
            if self.address.port() != 0 && TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{} ended at once ({status}): {last_line}", self.name));
            }
            std::thread::sleep(RETRY);
        }
        Err(format!("{} does not listen after {} s: {last_line}", self.name, START_MAX.as_secs()))
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Running {
    /// What it writes to standard error; read to the end, so that it never waits for a reader.
    fn error_lines(&mut self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        if let Some(stderr) = self.child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    // Nobody listens any more once the server is up.
                    drop(sender.send(line));
                }
            });
        }
        receiver
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `program`, to be run on `processor` only. `taskset` replaces itself by it: same process number.
pub(super) fn pinned(processor: Option<u32>, program: impl AsRef<std::ffi::OsStr>) -> Command {
    match processor {
        None => Command::new(program),
        Some(processor) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(processor.to_string()).arg(program);
            command
        }
    }
}

/// One processor for the server and one for the generator, if there are two and `taskset` works.
pub(super) fn two_processors() -> Option<(u32, u32)> {
    let allowed = procfs::process::Process::myself().ok()?.status().ok()?.cpus_allowed_list?;
    let (first, last) = (allowed.first()?.0, allowed.last()?.1);
    let works = pinned(Some(last), "true").status().is_ok_and(|status| status.success());
    (first != last && works).then_some((first, last))
}

/// The address in a line such as `roomd: listening on 127.0.0.1:40123`.
fn announced_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(ANNOUNCEMENT)?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit() && !".:[]abcdef".contains(letter))
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_is_described_in_one_line() {
        let redis: Against = "redis redis 127.0.0.1:16379 redis-server --port 16379".parse().unwrap();
        assert_eq!(redis.name, "redis");
        assert_eq!(redis.dialect, Dialect::Redis);
        assert_eq!(redis.command, ["redis-server", "--port", "16379"]);
        let irc: Against = "ngircd irc 127.0.0.1:6667 --connecting 8 -- ngircd -n".parse().unwrap();
        assert_eq!(irc.flags, ["--connecting", "8"]);
        assert_eq!(irc.command, ["ngircd", "-n"]);
        for (text, sentence) in [
            ("", "NAME is missing"),
            ("a irc 127.0.0.1:1 --connecting 8", "-- after the flags is missing"),
            ("a smtp", "there is no dialect smtp"),
            ("a irc here", "here is no address"),
            ("a irc 127.0.0.1:1", "COMMAND is missing"),
        ] {
            let error = text.parse::<Against>().unwrap_err();
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn the_announced_address_is_read() {
        let address = "127.0.0.1:40123".parse().ok();
        for line in [
            "floor: listening on 127.0.0.1:40123",
            "2026-01-01T00:00:00Z INFO [roomd] listening on 127.0.0.1:40123 (8 rooms)",
        ] {
            assert_eq!(announced_address(line), address, "{line}");
        }
        assert_eq!(announced_address("listening on a socket"), None);
    }

    #[test]
    fn a_server_that_ends_at_once_is_said_so() {
        let against: Against = "gone text 127.0.0.1:0 false".parse().unwrap();
        let error = against.start(None).unwrap_err();
        assert!(error.starts_with("gone ended at once"), "{error}");
    }
}
