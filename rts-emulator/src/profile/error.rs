//! What can be wrong with a profile.

use std::fmt;

use toml::de::{DeTable, DeValue};

use super::{MAX_PROFILE_BYTES, PRESET_NAMES};

/// What is wrong with a profile. The text is one line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// Longer than [`MAX_PROFILE_BYTES`].
    #[error("the profile has {0} bytes; at most {MAX_PROFILE_BYTES} are read")]
    TooLong(usize),
    /// Its file cannot be read.
    #[error("{0}; presets are {PRESET_NAMES}")]
    Read(String),
    /// Not TOML, a field that is unknown or missing, or a value of the wrong type.
    #[error("line {line} ({text}): {message}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// The same, when no line is to blame: a field of the outermost table is missing.
    #[error("{0}")]
    Whole(String),
    /// A value that makes no sense.
    #[error("{}{field} {wrong}", At(*line))]
    Field {
        /// Path of the field, such as `service.mean_ms`.
        field: String,
        /// The line, from 1; unknown for a profile that was not read from text.
        line: Option<usize>,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// No preset of this name.
    #[error("there is no preset {0}: use one of {PRESET_NAMES}")]
    UnknownPreset(String),
    /// The profile cannot be written as TOML.
    #[error("the profile cannot be written as TOML: {0}")]
    Write(String),
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Wrong {
    /// NaN or infinite.
    #[error("is not a finite number")]
    NotFinite,
    /// Too small.
    #[error("is {value}, less than {least}")]
    TooSmall {
        /// What it is.
        value: f64,
        /// What it may be.
        least: f64,
    },
    /// Zero, or less.
    #[error("is {0}, not more than 0")]
    NotPositive(f64),
    /// Too large.
    #[error("is {value}, more than {most}")]
    TooLarge {
        /// What it is.
        value: f64,
        /// What it may be.
        most: f64,
    },
    /// Not there, though the distribution needs it.
    #[error("is missing: the distribution needs it")]
    Missing,
    /// There, though the distribution has no use for it.
    #[error("has no meaning for this distribution")]
    Meaningless,
    /// A repeat that begins before its window has ended.
    #[error("is {repeat_ms}, not more than duration_ms ({duration_ms})")]
    Overlaps {
        /// From start to start.
        repeat_ms: f64,
        /// From start to end.
        duration_ms: f64,
    },
    /// A bound that is not above the one before.
    #[error("is {0}, not more than the bound before it")]
    NotAscending(f64),
    /// A list that is too long.
    #[error("has {number} entries, more than {most}")]
    TooMany {
        /// What it has.
        number: usize,
        /// What it may have.
        most: u32,
    },
    /// Shares of a whole that are more than it.
    #[error("add up to {0}, more than 1")]
    SumTooLarge(f64),
    /// A histogram in which nothing was counted.
    #[error("has no counts")]
    NoCounts,
    /// A table that says nothing.
    #[error("says nothing: it needs at least one of {0}")]
    Empty(&'static str),
    /// The same class twice.
    #[error("names a class that is named before")]
    Twice,
    /// A name that no channel can have.
    #[error("is not the name of a channel")]
    NotAChannel,
    /// A file that only a profile that is a file itself can name.
    #[error("names {0:?}, but this profile is not a file itself: write the histogram into it")]
    File(String),
    /// A histogram file that cannot be read.
    #[error("names {0:?}, which cannot be read: {1}")]
    Unreadable(String, String),
    /// A histogram file that is not one.
    #[error("names {0:?}: {1}")]
    Histogram(String, String),
}

/// The beginning of a message about a line.
struct At(Option<usize>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

impl ProfileError {
    /// A value that makes no sense, in a profile whose text is not at hand.
    pub(crate) fn field(field: String, wrong: Wrong) -> Self {
        Self::Field { field, line: None, wrong }
    }

    /// A parser's error on one line: it names the line and shows it.
    pub(super) fn toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', ", ");
        // What is missing in the outermost table is reported at the very start.
        let place = error.span().filter(|span| span.start > 0);
        let Some(line) = place.and_then(|span| line_at(text, span.start)) else {
            return Self::Whole(message);
        };
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim().chars().take(80).collect();
        Self::Line { line, text: shown, message }
    }

    /// The same error, with the line on which the field stands; if the field is missing, that of its table.
    pub(super) fn at_line(self, text: &str) -> Self {
        match self {
            Self::Field { field, wrong, .. } => {
                let line = line_of(text, &field);
                Self::Field { field, line, wrong }
            }
            other => other,
        }
    }
}

/// The line, from 1, of a place in a text.
fn line_at(text: &str, place: usize) -> Option<usize> {
    Some(text.get(..place)?.matches('\n').count() + 1)
}

/// The line of a field, such as `outages[1].start_ms`, or of the innermost part of its path that is there.
fn line_of(text: &str, field: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut fields = field.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    let (key, value) = table.get_ref().get_key_value(fields.next()?)?;
    // The value of a table is its header; that of an array of tables is all of them, so its name is better.
    let (mut place, mut here) = (key.span().start, value);
    for part in fields {
        let found = match here.get_ref() {
            DeValue::Table(table) => table.get_key_value(part).map(|(key, value)| (key.span().start, value)),
            DeValue::Array(array) => {
                let value = part.parse::<usize>().ok().and_then(|index| array.get(index));
                value.map(|value| (value.span().start, value))
            }
            _ => None,
        };
        let Some(found) = found else { break };
        (place, here) = found;
    }
    line_at(text, place)
}
