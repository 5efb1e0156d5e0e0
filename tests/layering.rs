//! The layers: imports point one way only, and no file grows beyond what one can read.
//!
//! `main, cli → server → {reactor, wire}`, `wire → {chat, framing}`; the reactor knows no chat, and the chat
//! knows nothing but time and limits. Only code counts, not comments.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and all that it may know besides itself.
const LAYERS: [(&str, &[&str]); 12] = [
    ("clock", &[]),
    ("limits", &[]),
    ("buffer", &[]),
    ("allowance", &["clock"]),
    ("chat", &["allowance", "clock", "limits"]),
    ("store", &["chat", "clock", "limits"]),
    ("framing", &["buffer"]),
    ("wire", &["chat", "framing", "clock", "limits"]),
    ("reactor", &["allowance", "buffer", "clock", "limits"]),
    ("server", &["store", "allowance", "framing", "reactor", "wire", "chat", "clock", "limits"]),
    ("cli", &["server", "store", "framing", "reactor", "wire", "chat", "clock", "limits"]),
    ("main", &["cli"]),
];

/// What is none of a layer's business, of the world outside.
const FOREIGN: [(&str, &[&str]); 5] = [
    ("chat", &["std::net", "std::io", "mio", "std::time::Instant", "SystemTime", "log::", "serde"]),
    ("framing", &["std::net", "mio", "std::time::Instant", "SystemTime", "log::", "serde"]),
    ("wire", &["std::net", "mio", "std::time::Instant", "SystemTime", "log::"]),
    ("reactor", &["serde", "httparse", "tungstenite"]),
    ("server", &["mio", "std::time::Instant", "SystemTime"]),
];

const FILE_BYTES_MAX: u64 = 32 * 1024;

/// All `.rs` files of `src`, with the layer each belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&src, &mut found);
    let layer_of = |path: &PathBuf| {
        let first = path.strip_prefix(&src).expect("within src").iter().next().expect("a name");
        first.to_string_lossy().trim_end_matches(".rs").to_owned()
    };
    found.into_iter().map(|path| (layer_of(&path), path)).collect()
}

/// The lines of a file that are code, without what follows `//`.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("UTF-8");
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules of the crate that a file names, as `crate::X`, `roomd::X` or within `crate::{X, Y::Z}`.
fn modules_named(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "roomd::"] {
        for (at, _) in code.match_indices(root) {
            let rest = &code[at + root.len()..];
            let word = |text: &str| -> String {
                text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            };
            match rest.strip_prefix('{') {
                None => found.push(word(rest)),
                Some(list) => {
                    let mut depth = 0;
                    let mut is_start = true;
                    for (i, c) in list.char_indices() {
                        if is_start && !c.is_whitespace() {
                            found.push(word(&list[i..]));
                            is_start = false;
                        }
                        match c {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => is_start = true,
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    found
}

#[test]
fn no_layer_knows_one_above_it() {
    for (layer, path) in sources() {
        if layer == "lib" {
            continue; // it only lists them
        }
        let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            panic!("{} belongs to no layer; add it to the list here", path.display());
        };
        let code = code(&path);
        for module in modules_named(&code) {
            let is_layer = LAYERS.iter().any(|(name, _)| *name == module);
            assert!(
                !is_layer || module == layer || below.contains(&module.as_str()),
                "{} names crate::{module}, which is above it",
                path.display()
            );
        }
        let foreign = FOREIGN.iter().find(|(name, _)| *name == layer).map_or(&[][..], |(_, words)| words);
        for word in foreign {
            // At the start of a word: `roomd::` is not `omd::`.
            let is_named = code
                .match_indices(word)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(!is_named, "{} names {word}, which is none of its business", path.display());
        }
    }
}

#[test]
fn layers_can_not_be_left_by_counting_upwards() {
    for (layer, path) in sources() {
        // `super::super::…` from src/LAYER/FILE.rs leaves the layer.
        let in_tests = code(&path).split("mod tests").next().unwrap_or_default().to_owned();
        assert!(!in_tests.contains("super::super"), "{} ({layer})", path.display());
    }
}

#[test]
fn no_source_file_is_too_long_to_read() {
    for (_, path) in sources() {
        let bytes = fs::metadata(&path).expect("a file").len();
        assert!(bytes <= FILE_BYTES_MAX, "{} has {bytes} bytes", path.display());
    }
}

#[test]
fn the_search_for_modules_finds_them() {
    let code =
        "use crate::clock::Now; use crate::{chat::{self, Body}, wire};\nlet x = crate::server::Server;";
    let mut found = modules_named(code);
    found.sort();
    assert_eq!(found, ["chat", "clock", "server", "wire"]);
}
