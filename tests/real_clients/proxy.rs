//! Behind a real nginx, with the lines of the README.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tungstenite::client::IntoClientRequest;

use crate::common::{Daemon, PATIENCE};

const README: &str = include_str!("../../README.md");

/// A running nginx in front of a daemon. Dropping it ends the process.
struct Nginx {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    fn before(daemon: &Daemon) -> Self {
        // nginx cannot choose a port itself; nobody else is given this one so soon.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let folder = std::env::temp_dir().join(format!("roomd-nginx-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (_, snippet) = README.split_once("```nginx\n").expect("lines for nginx");
        let (location, _) = snippet.split_once("```").expect("their end");
        let location = location.replace("127.0.0.1:8080", &daemon.addr().to_string());
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = kinds.map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display())).join(" ");
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr; events {{}} http {{ access_log off; \
             {paths} server {{ listen 127.0.0.1:{port}; server_name chat.example; {location} }} }}",
            folder.display(),
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, config).expect("a place for files");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&path).arg("-p").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("nginx starts: is Debian's nginx-light installed?");
        let nginx = Self { child, folder, port };
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::yield_now();
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[ignore = "needs nginx"]
fn the_lines_of_the_readme_bring_browsers_through_nginx() {
    let daemon = Daemon::with(&["--allow-origin", "https://chat.example", "--metrics-from", "none"]);
    let mut alice = daemon.enter("alice");
    let nginx = Nginx::before(&daemon);
    let connect = |origin: &str| {
        let mut request = "ws://chat.example/ws?name=bob".into_client_request().expect("a URL");
        request.headers_mut().insert("Origin", origin.parse().expect("an origin"));
        let stream = std::net::TcpStream::connect(("127.0.0.1", nginx.port)).expect("nginx");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        tungstenite::client(request, stream).ok().map(|(browser, _)| browser)
    };
    let mut bob = connect("https://chat.example").expect("an upgrade");
    alice.hears(&["* bob joined"]);
    assert_eq!(
        bob.read().expect("a welcome").to_text().expect("text"),
        "* welcome bob - #lobby, 2 here: alice, bob"
    );
    alice.say("hi");
    assert_eq!(bob.read().expect("a message").to_text().expect("text"), "alice: hi");
    assert!(connect("https://evil.example").is_none());
}
