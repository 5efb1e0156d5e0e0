//! Completion: `/commands` at the beginning of a line, rooms behind those that take one, names of people who are here
//! anywhere else.

use std::collections::BTreeSet;

use super::command::COMMANDS;

/// The commands that take a room.
const ROOM_COMMANDS: [&str; 5] = ["/join", "/leave", "/part", "/who", "/names"];

/// What the Tab key finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// The word before the cursor becomes this.
    Word(String),
    /// It could become any of these.
    Choices(Vec<String>),
    /// There is nothing.
    Nothing,
}

/// Completes the word that ends at the end of `line` (which is what stands before the cursor).
pub(super) fn complete(line: &str, names: &BTreeSet<String>, rooms: &BTreeSet<String>) -> Completion {
    let start = word_start(line);
    let word = &line[start..];
    if word.is_empty() {
        return Completion::Nothing;
    }
    if start == 0 && word.starts_with('/') {
        let commands = COMMANDS.iter().map(|(name, ..)| (*name).to_owned());
        return choose(word, "", commands.filter(|name| name.starts_with(word)).collect(), " ");
    }
    if ROOM_COMMANDS.contains(&line[..start].trim()) {
        let (hash, begun) = word.strip_prefix('#').map_or(("", word), |begun| ("#", begun));
        let begun = begun.to_lowercase();
        return choose(
            word,
            hash,
            rooms.iter().filter(|room| room.starts_with(&begun)).cloned().collect(),
            " ",
        );
    }
    let (at, begun) = word.strip_prefix('@').map_or(("", word), |begun| ("@", begun));
    let lower = begun.to_lowercase();
    let found = names.iter().filter(|name| name.to_lowercase().starts_with(&lower));
    let addressed = if start == 0 && at.is_empty() { ": " } else { " " };
    choose(word, at, found.cloned().collect(), addressed)
}

/// Where the word that ends at the end of `line` begins.
pub(super) fn word_start(line: &str) -> usize {
    let space = line.char_indices().rfind(|(_, c)| c.is_whitespace());
    space.map_or(0, |(at, c)| at + c.len_utf8())
}

/// The only one of `found`, or as much as they have in common, or the list of them.
fn choose(word: &str, at: &str, found: Vec<String>, then: &str) -> Completion {
    match found.as_slice() {
        [] => Completion::Nothing,
        [only] => Completion::Word(format!("{at}{only}{then}")),
        several => {
            let common = format!("{at}{}", common_start(several));
            if common.chars().count() > word.chars().count() {
                Completion::Word(common)
            } else {
                Completion::Choices(found)
            }
        }
    }
}

/// What all words begin with, in whatever case.
fn common_start(words: &[String]) -> String {
    let first = &words[0];
    let common = |length: usize| {
        let start: String = first.chars().take(length).collect::<String>().to_lowercase();
        words.iter().all(|word| word.to_lowercase().starts_with(&start))
    };
    let longest = (0..=first.chars().count()).rev().find(|&length| common(length));
    first.chars().take(longest.unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> Completion {
        let names = ["alice", "Albert", "bob", "ユキ"];
        let rooms = ["ops", "lobby", "dev"];
        complete(line, &names.map(str::to_owned).into(), &rooms.map(str::to_owned).into())
    }

    fn word(text: &str) -> Completion {
        Completion::Word(text.into())
    }

    #[test]
    fn commands_at_the_beginning() {
        assert_eq!(completed("/wh"), word("/who "));
        assert_eq!(completed("hm /wh"), Completion::Nothing);
        assert_eq!(completed("/xyz"), Completion::Nothing);
    }

    #[test]
    fn names_in_whatever_case() {
        assert_eq!(completed("BO"), word("bob: "));
        assert_eq!(completed("/msg b"), word("bob "));
        assert_eq!(completed("hi @ユ"), word("@ユキ "));
    }

    #[test]
    fn rooms_behind_what_takes_one() {
        assert_eq!(completed("/join d"), word("dev "));
        assert_eq!(completed("/part #LO"), word("#lobby "));
        assert_eq!(completed("/join a"), Completion::Nothing);
        assert_eq!(completed("/msg d"), Completion::Nothing);
    }

    #[test]
    fn as_much_as_is_certain_then_the_choices() {
        assert_eq!(completed("a"), word("Al"));
        assert_eq!(completed("al"), Completion::Choices(vec!["Albert".into(), "alice".into()]));
        assert_eq!(completed("hi "), Completion::Nothing);
    }
}
