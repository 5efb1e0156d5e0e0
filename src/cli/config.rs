//! The limits as flags: each row of [`limits::TABLE`] is a flag of `roomd serve`, and a variable.

use clap::{Arg, ArgMatches, Command, FromArgMatches, parser::ValueSource};

use super::values;
use crate::limits::{self, Limits, Row, Unit};

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub(super) struct LimitArgs {
    /// The limits.
    pub(super) limits: Limits,
    /// The names of those that a flag or a variable has set.
    given: Vec<&'static str>,
}

impl LimitArgs {
    /// Whether a flag or a variable has set the limit of this name.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }
}

impl clap::Args for LimitArgs {
    fn augment_args(command: Command) -> Command {
        let defaults = Limits::default();
        limits::TABLE.iter().fold(command, |command, row| {
            command.arg(
                Arg::new(row.name)
                    .long(row.flag())
                    .value_name(row.unit.to_string())
                    .env(format!("ROOMD_{}", row.name.to_uppercase()))
                    .default_value(row.show((row.get)(&defaults)))
                    .value_parser(move |text: &str| parse(row, text))
                    .help(row.help),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LimitArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for row in limits::TABLE {
            if let Some(&value) = matches.get_one::<Option<u64>>(row.name) {
                (row.set)(&mut self.limits, value);
                if matches.value_source(row.name) != Some(ValueSource::DefaultValue) {
                    self.given.push(row.name);
                }
            }
        }
        Ok(())
    }
}

/// Reads the value of a limit.
fn parse(row: &Row, text: &str) -> Result<Option<u64>, String> {
    if text == "none" && row.may_be_none {
        return Ok(None);
    }
    let value = match row.unit {
        Unit::Count => values::count(text),
        Unit::Bytes => values::bytes(text),
        Unit::Time => values::time_ms(text),
    };
    let or_none = if row.may_be_none { ", or none" } else { "" };
    let value = value.map_err(|right| format!("{right}{or_none}"))?;
    if !row.bounds.contains(&value) {
        return Err(format!("it takes {} to {}{or_none}", row.bounds.start(), row.bounds.end()));
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> &'static Row {
        limits::TABLE.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn none_turns_a_limit_off_and_zero_does_not() {
        assert_eq!(parse(row("max_rooms"), "none"), Ok(None));
        assert_eq!(parse(row("max_rooms"), "7"), Ok(Some(7)));
        for (name, zero) in
            [("max_rooms", "0"), ("rate", "-1"), ("rate", ""), ("stall", "0s"), ("feed_bytes", "0")]
        {
            assert!(parse(row(name), zero).unwrap_err().ends_with("or none"), "{name} {zero:?}");
        }
        assert!(parse(row("burst"), "none").is_err());
    }

    #[test]
    fn values_have_units_and_bounds() {
        assert_eq!(parse(row("feed_bytes"), "64KiB"), Ok(Some(65536)));
        assert_eq!(parse(row("stall"), "1500ms"), Ok(Some(1500)));
        assert_eq!(parse(row("max_line_bytes"), "65KiB"), Err("it takes 16 to 65536".into()));
        assert_eq!(parse(row("rate"), "100001"), Err("it takes 1 to 100000, or none".into()));
    }
}
