//! What can be wrong with a profile.

use super::MAX_PROFILE_BYTES;

/// What is wrong with a profile. The text is one line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// Longer than [`MAX_PROFILE_BYTES`].
    #[error("the profile has {0} bytes; at most {MAX_PROFILE_BYTES} are read")]
    TooLong(usize),
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
    #[error("{field} {wrong}")]
    Field {
        /// Path of the field, such as `service.mean_ms`.
        field: String,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// No preset of this name.
    #[error("there is no preset {0}: use default, idle, mm1, outage or throttled")]
    UnknownPreset(String),
    /// The profile cannot be written as TOML.
    #[error("the profile cannot be written as TOML: {0}")]
    Write(String),
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
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
    /// A repeat that begins before the outage has ended.
    #[error("is {repeat_ms}, not more than duration_ms ({duration_ms})")]
    Overlaps {
        /// From start to start.
        repeat_ms: f64,
        /// From start to end.
        duration_ms: f64,
    },
}

impl ProfileError {
    /// A parser's error on one line: it names the line and shows it.
    pub(super) fn toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().replace('\n', ", ");
        // What is missing in the outermost table is reported at the very start.
        let place = error.span().filter(|span| span.start > 0);
        let Some(before) = place.and_then(|span| text.get(..span.start)) else { return Self::Whole(message) };
        let line = before.matches('\n').count() + 1;
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim().chars().take(80).collect();
        Self::Line { line, text: shown, message }
    }
}
