//! Number sequences (rule X6): continuous, one number at a time and without gaps, or reserved in blocks. A number is
//! spent only on what is really inserted.

use std::ops::Range;

/// The format of a number sequence (rule X6): a prefix and a fixed number of digits. The sequence is
/// exhausted when its digits are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberFormat {
    prefix: std::borrow::Cow<'static, str>,
    digits: usize,
}

/// Why a format is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a number format is a prefix of at most 20 letters, digits and hyphens, then # for each digit: 1 to 18, as in C-########"
)]
pub struct NotANumberFormat;

impl NumberFormat {
    /// Account numbers: C-00000001.
    pub const ACCOUNTS: Self = Self { prefix: std::borrow::Cow::Borrowed("C-"), digits: 8 };
    /// Loyalty cards: L-00000001.
    pub const CARDS: Self = Self { prefix: std::borrow::Cow::Borrowed("L-"), digits: 8 };

    /// The largest number that it can write.
    #[must_use]
    pub fn last(&self) -> i64 {
        let digits = u32::try_from(self.digits).unwrap_or(18);
        10_i64.checked_pow(digits).map_or(i64::MAX, |end| end - 1)
    }

    /// The number that is written so; `None` if it is none of this format.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<i64> {
        let digits = text.strip_prefix(&*self.prefix)?;
        let known = digits.len() == self.digits && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| known)
    }

    /// The number written out; `None` if it has more digits than the format.
    #[must_use]
    pub fn number(&self, number: i64) -> Option<String> {
        let text = format!("{number:0digits$}", digits = self.digits);
        (text.len() == self.digits).then(|| format!("{}{text}", self.prefix))
    }
}

impl std::fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.prefix, "#".repeat(self.digits))
    }
}

impl std::str::FromStr for NumberFormat {
    type Err = NotANumberFormat;

    fn from_str(text: &str) -> Result<Self, NotANumberFormat> {
        let prefix = text.trim_end_matches('#');
        let digits = text.len() - prefix.len();
        let known = prefix.len() <= 20 && prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if known && (1..=18).contains(&digits) {
            Ok(Self { prefix: prefix.to_owned().into(), digits })
        } else {
            Err(NotANumberFormat)
        }
    }
}

/// What a sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceKind {
    /// Account numbers.
    Accounts,
    /// Loyalty cards.
    Cards,
}

impl SequenceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Accounts, Self::Cards];

    /// Its name in storage.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Cards => "cards",
        }
    }
}

/// A number sequence. How far it is stands in the row of `hq_head`; here is what has been reserved from there and
/// not given out, which is lost when headquarters stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberSequence {
    /// How numbers are written.
    pub format: NumberFormat,
    /// 0: continuous. Otherwise how many numbers are reserved at a time.
    pub block_size: u32,
    /// Reserved and not given out.
    pub reserved: Range<i64>,
}

impl NumberSequence {
    /// Largest block.
    pub const MAX_BLOCK: u32 = 100_000;

    /// A sequence with nothing reserved.
    #[must_use]
    pub fn new(format: NumberFormat, block_size: u32) -> Self {
        Self { format, block_size, reserved: 0..0 }
    }

    /// Takes the next number. `next` is how far the sequence is; it moves on. `None`: the sequence is exhausted.
    pub fn take(&mut self, next: &mut i64) -> Option<String> {
        if self.reserved.is_empty() {
            let block = i64::from(self.block_size.max(1));
            let end = next.saturating_add(block).min(self.format.last().saturating_add(1));
            self.reserved = *next..end.max(*next);
            *next = self.reserved.end;
        }
        let number = self.reserved.next()?;
        self.format.number(number)
    }

    /// How many numbers there still are.
    #[must_use]
    pub fn left(&self, next: i64) -> i64 {
        (self.format.last() - next + 1).max(0) + (self.reserved.end - self.reserved.start).max(0)
    }
}

/// Both sequences of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberSequences {
    /// Account numbers.
    pub accounts: NumberSequence,
    /// Loyalty cards.
    pub cards: NumberSequence,
}

impl NumberSequences {
    /// One of them.
    pub fn of(&mut self, kind: SequenceKind) -> &mut NumberSequence {
        match kind {
            SequenceKind::Accounts => &mut self.accounts,
            SequenceKind::Cards => &mut self.cards,
        }
    }

    /// Takes over what somebody else has changed; what was reserved under the old rules is not given out.
    pub fn refresh(&mut self, stored: Self) {
        for (known, stored) in [(&mut self.accounts, stored.accounts), (&mut self.cards, stored.cards)] {
            if (&known.format, known.block_size) != (&stored.format, stored.block_size) {
                *known = stored;
            }
        }
    }

    /// Forgets what is reserved: whether it was given out is not known.
    pub fn forget(&mut self) {
        self.accounts.reserved = 0..0;
        self.cards.reserved = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x6_numbers_have_a_format_and_an_end() {
        let format: NumberFormat = "C-########".parse().unwrap();
        assert_eq!(format, NumberFormat::ACCOUNTS);
        assert_eq!(format.number(42).as_deref(), Some("C-00000042"));
        assert_eq!(format.read("C-00000042"), Some(42));
        assert_eq!(["C-42", "L-00000042", "C-0000004x", ""].map(|text| format.read(text)), [None; 4]);
        assert_eq!(format.number(99_999_999).as_deref(), Some("C-99999999"));
        assert_eq!(format.number(100_000_000), None);
        for bad in ["", "C-", "C_#", "###################", "é#"] {
            assert_eq!(bad.parse::<NumberFormat>(), Err(NotANumberFormat), "{bad}");
        }
    }

    #[test]
    fn x6_a_block_is_reserved_at_once_and_a_continuous_sequence_has_no_gaps() {
        let format: NumberFormat = "C-#".parse().unwrap();
        assert_eq!(format.to_string(), "C-#");
        let mut next = 1;
        let mut continuous = NumberSequence::new(format.clone(), 0);
        assert_eq!((continuous.take(&mut next).as_deref(), next), (Some("C-1"), 2));
        let mut blocks = NumberSequence::new(format, 5);
        assert_eq!((blocks.take(&mut next).as_deref(), next), (Some("C-2"), 7));
        assert_eq!((blocks.take(&mut next).as_deref(), next), (Some("C-3"), 7));
        assert_eq!(blocks.left(next), 3 + 3);
        let rest: Vec<String> = std::iter::from_fn(|| blocks.take(&mut next)).collect();
        assert_eq!(rest, ["C-4", "C-5", "C-6", "C-7", "C-8", "C-9"], "the last block ends with the format");
        assert_eq!((next, blocks.left(next), continuous.take(&mut next)), (10, 0, None));
    }
}
