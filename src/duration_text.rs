//! Durations as text: `1h30m`, `250ms`. Pure.
//!
//! The format is that of the crate `humantime`, with which it is tested: numbers with units, added
//! up. A parser of its own, because quotas need the place of a fault in the whole text, and a quota
//! is parsed without a feature of the crate, so without a dependency.

use std::{fmt, ops::Range, time::Duration};

/// Units with their names and their lengths in nanoseconds, the canonical ones first.
///
/// A month and a year are those of `humantime`: 30.44 and 365.25 days.
const UNITS: &[(&[&str], u64)] = &[
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["ms", "msec", "millis"], 1_000_000),
    (&["us", "µs", "usec"], 1_000),
    (&["ns", "nsec", "nanos"], 1),
    (&["w", "wk", "wks", "week", "weeks"], 604_800_000_000_000),
    (&["M", "month", "months"], 2_630_016_000_000_000),
    (&["y", "yr", "yrs", "year", "years"], 31_557_600_000_000_000),
];

/// The words among the names of two letters. The others are symbols, whose case counts.
const SHORT_WORDS: [&str; 3] = ["hr", "wk", "yr"];

/// The number of units by which durations are written.
const CANONICAL: usize = 7;

const UNIT: &str = "a unit of time, such as ms, s, m, h or d";

/// A place in a text that is wrong, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// In bytes. Empty at the end of the text.
    pub(crate) place: Range<usize>,
    /// To be put behind "expected".
    pub(crate) expected: String,
}

impl Fault {
    /// Returns the description of the fault in `text`.
    pub(crate) fn of(&self, text: &str) -> String {
        let Self { place, expected } = self;
        match &text[place.clone()] {
            "" => format!("expected {expected}, and the text ends"),
            found => {
                format!("expected {expected}, found {} at byte {}", Excerpt(found), place.start)
            }
        }
    }
}

/// The beginning of a text, in quotes.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl Excerpt<'_> {
    /// The number of characters that are written.
    pub(crate) const MOST: usize = 60;
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(Self::MOST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}

/// Reads a text from its beginning to its end.
#[derive(Clone, Copy)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the characters that `accepts`.
    fn take(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !accepts(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    pub(crate) fn skip_space(&mut self) {
        self.take(char::is_whitespace);
    }

    pub(crate) fn digits(&mut self) -> &'a str {
        self.take(|c| c.is_ascii_digit())
    }

    pub(crate) fn word(&mut self) -> &'a str {
        self.take(char::is_alphabetic)
    }

    /// Takes `c` if it comes next.
    pub(crate) fn eat(&mut self, c: char) -> bool {
        let comes = self.peek() == Some(c);
        if comes {
            self.at += c.len_utf8();
        }
        comes
    }

    /// Returns a fault at the word, the number or the character that comes next.
    pub(crate) fn fault(&self, expected: impl Into<String>) -> Fault {
        let mut next = *self;
        if next.take(char::is_alphanumeric).is_empty() {
            if let Some(c) = next.peek() {
                next.at += c.len_utf8();
            }
        }
        Fault { place: self.at..next.at, expected: expected.into() }
    }

    /// Returns a fault of the text since `start`.
    pub(crate) fn fault_since(&self, start: usize, expected: impl Into<String>) -> Fault {
        Fault { place: start..self.at, expected: expected.into() }
    }

    /// Returns a fault unless the text is at its end.
    pub(crate) fn end(&self, expected: &str) -> Result<(), Fault> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.fault(expected)) }
    }

    /// Reads a duration, and the space behind it.
    ///
    /// `expected` tells of the duration if there is none. With `bare_unit`, a unit alone is one of
    /// it, as in `10 per minute`.
    pub(crate) fn duration(&mut self, expected: &str, bare_unit: bool) -> Result<Duration, Fault> {
        self.skip_space();
        let start = self.at;
        let mut nanos: u128 = 0;
        loop {
            let next = self.at;
            match self.peek() {
                // Without a delimiter in between, a quota has begun: the duration ends.
                Some('0'..='9') if bare_unit && next != start && self.is_at_quota() => break,
                Some('0'..='9') => {
                    let number = self.number()?;
                    self.skip_space();
                    let unit = self.unit()?;
                    let part = number.times(unit).ok_or_else(|| {
                        let expected = "a duration of whole nanoseconds that is not too long";
                        self.fault_since(next, expected)
                    })?;
                    nanos = nanos.saturating_add(part);
                }
                Some(c) if bare_unit && next == start && c.is_alphabetic() => {
                    nanos = self.unit()?.into();
                    self.skip_space();
                    break;
                }
                _ if next == start => return Err(self.fault(expected)),
                _ => break,
            }
            self.skip_space();
        }
        const NANOS: u128 = 1_000_000_000;
        let secs = u64::try_from(nanos / NANOS);
        match (secs, u32::try_from(nanos % NANOS)) {
            (Ok(secs), Ok(nanos)) => Ok(Duration::new(secs, nanos)),
            _ => Err(self.fault_since(start, "a shorter duration")),
        }
    }

    /// Returns true if a number comes next, and then `/` or `per`.
    fn is_at_quota(mut self) -> bool {
        self.digits();
        self.skip_space();
        self.peek() == Some('/') || self.word().eq_ignore_ascii_case("per")
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        let mut digits = self.digits().to_owned();
        let mut decimals = 0;
        if self.eat('.') {
            let fraction = self.digits();
            if fraction.is_empty() {
                return Err(self.fault("a digit"));
            }
            // So that `1.50` needs no more than `1.5`.
            let fraction = fraction.trim_end_matches('0');
            decimals = fraction.len();
            digits.push_str(fraction);
        }
        let expected = "a number of fewer digits";
        let digits = digits.parse().map_err(|_| self.fault_since(start, expected))?;
        Ok(Number { digits, decimals })
    }

    fn unit(&mut self) -> Result<u64, Fault> {
        let fault = self.fault(UNIT);
        let name = self.word();
        let lower = name.to_lowercase();
        // The case tells `m` from `M`, and words do not need it.
        let is_word = name.chars().count() > 2 || SHORT_WORDS.contains(&lower.as_str());
        let word = if is_word { &lower } else { name };
        let unit = UNITS.iter().find(|(names, _)| names.contains(&word));
        unit.map(|(_, nanos)| *nanos).ok_or(fault)
    }
}

/// A decimal number: the digits without the point, and the number of those behind it.
struct Number {
    digits: u64,
    decimals: usize,
}

impl Number {
    /// Multiplies by `unit`. `None` if the product is no whole number.
    fn times(&self, unit: u64) -> Option<u128> {
        let product = u128::from(self.digits) * u128::from(unit);
        let divisor = 10_u128.checked_pow(u32::try_from(self.decimals).ok()?)?;
        (product % divisor == 0).then(|| product / divisor)
    }
}

/// Parses a duration.
#[cfg(feature = "serde")]
pub(crate) fn parse(text: &str) -> Result<Duration, Fault> {
    let mut scanner = Scanner::new(text);
    let duration = scanner.duration("a number with a unit, such as 30s or 250ms", false)?;
    scanner.end("a number with a unit")?;
    Ok(duration)
}

/// Writes a duration so that it is parsed as the same: the largest units first, without spaces.
pub(crate) struct AsText(pub(crate) Duration);

impl fmt::Display for AsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (names, unit) in &UNITS[..CANONICAL] {
            let count = nanos / u128::from(*unit);
            nanos %= u128::from(*unit);
            if count > 0 {
                write!(f, "{count}{}", names[0])?;
            }
        }
        Ok(())
    }
}
