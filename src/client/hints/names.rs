//! The dialects: which header has which meaning, by its name.
//!
//! Names follow a grammar more than they repeat: `x-ratelimit-remaining`, `x-rate-limit-remaining`,
//! `x-ratelimit-remaining-tokens`, `anthropic-ratelimit-tokens-remaining`. A table of full names
//! would miss the next server. The page of the [parent](super) lists the grammar and its sources.

use super::values::Unit;

/// The meaning of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The wait before another request.
    Wait(Unit),
    /// The rest of a quota.
    Remaining(Quota<'a>),
    /// The time at which a quota is reset.
    Reset(Quota<'a>, Unit),
    /// `RateLimit`: structured.
    RateLimit,
    /// A list of waits, each with its scope behind a colon.
    ScopedWaits,
    /// Whether the request may be repeated.
    MayRetry,
}

/// A quota: the parts of a header's name before and behind the word for its rest or its reset.
///
/// `x-ratelimit-remaining-tokens` and `x-ratelimit-reset-tokens` state the same quota, and so do
/// `anthropic-ratelimit-tokens-remaining` and `anthropic-ratelimit-tokens-reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quota<'a> {
    pub(super) before: &'a str,
    pub(super) behind: &'a str,
}

impl<'a> Quota<'a> {
    /// Returns true if one of both names is the other, or a shorter form of it.
    ///
    /// `x-ratelimit-reset` may stand beside `x-ratelimit-remaining-second` alone, and the other way
    /// round. `x-`, the dash in `rate-limit` and the place of the other words make no difference.
    pub(super) fn is_related_to(&self, other: &Self) -> bool {
        self.words().zip(other.words()).all(|(one, other)| one == other)
    }

    fn words(&self) -> impl Iterator<Item = &'a str> {
        let words = self.before.split(SEPARATORS).chain(self.behind.split(SEPARATORS));
        let without_rate = words.map(|word| word.strip_prefix("rate").unwrap_or(word));
        without_rate.filter(|word| !matches!(*word, "" | "x"))
    }
}

/// Names that the grammar would read otherwise: Bybit's rest of a quota has no word for it, and
/// KuCoin's reset and AWS's wait are in milliseconds without saying so.
fn exception(name: &str) -> Option<Meaning<'_>> {
    const fn quota(before: &str) -> Quota<'_> {
        Quota { before, behind: "" }
    }
    Some(match name {
        "x-bapi-limit-status" => Meaning::Remaining(quota("x-bapi-limit-")),
        "gw-ratelimit-reset" => Meaning::Reset(quota("gw-ratelimit-"), Unit::Millis),
        "x-amz-retry-after" => Meaning::Wait(Unit::Millis),
        "x-sentry-rate-limits" => Meaning::ScopedWaits,
        _ => return None,
    })
}

/// Returns the meaning of a header, or `None` if it says nothing about another request.
pub(super) fn meaning(name: &str) -> Option<Meaning<'_>> {
    let mut found = word(name, 0)?;
    if let Some(meaning) = exception(name) {
        return Some(meaning);
    }
    // A word without a role may stand before another one: `retry-limit-reset`.
    loop {
        let (word, behind) = found;
        let meaning = match word {
            Word::Retry => retry(name, behind - "retry".len()),
            Word::Limit => limit(name, behind),
        };
        if meaning.is_some() {
            return meaning;
        }
        found = self::word(name, behind)?;
    }
}

fn limit(name: &str, behind: usize) -> Option<Meaning<'_>> {
    // The word for the role comes behind: `x-preset-limit` is no reset.
    let role = Role { name, behind };
    if let Some((before, _)) = role.split("retry") {
        return retry(name, before.len());
    }
    role.reset().or_else(|| role.remaining()).or_else(|| wait(&name[behind..])).or_else(|| {
        let is_structured = name.ends_with("ratelimit") || name.starts_with("zendesk-ratelimit-");
        is_structured.then_some(Meaning::RateLimit)
    })
}

/// `-retry-after`, with units; Traefik's `-retry-in`; `should-retry`.
fn retry(name: &str, at: usize) -> Option<Meaning<'_>> {
    let (before, behind) = (&name[..at], &name[at + "retry".len()..]);
    match behind {
        "" => before.ends_with("should-").then_some(Meaning::MayRetry),
        "-in" => Some(Meaning::Wait(Unit::Seconds)),
        _ => wait(behind),
    }
}

/// `-after`, with units. Directly behind the word for a limit, it is that of tower_governor.
fn wait(behind: &str) -> Option<Meaning<'_>> {
    let (unit, rest) = units(behind.strip_prefix(SEPARATORS)?.strip_prefix("after")?);
    rest.is_empty().then_some(Meaning::Wait(unit.unwrap_or(Unit::Seconds)))
}

/// A word that the name of each hint has.
enum Word {
    /// `limit` or `quota`.
    Limit,
    Retry,
}

/// Finds the first of the words `limit`, `quota` and `retry` in `name[from..]`, and returns its
/// end.
///
/// All names of a response are searched, and few have one. The words are equally long, so one pass
/// finds any of them, by Horspool's method: the last byte of a window that matches no word says how
/// far the next window is.
fn word(name: &str, from: usize) -> Option<(Word, usize)> {
    let name = name.as_bytes();
    let mut last = from + 4;
    loop {
        last += match *name.get(last)? {
            byte @ (b't' | b'a' | b'y') => match &name[last - 4..=last] {
                b"limit" | b"quota" => return Some((Word::Limit, last + 1)),
                b"retry" => return Some((Word::Retry, last + 1)),
                _ if byte == b't' => 1,
                _ => 5,
            },
            b'i' | b'r' => 1,
            b'm' | b'o' => 2,
            b'e' | b'u' => 3,
            b'l' | b'q' => 4,
            _ => 5,
        };
    }
}

/// A name with a word for a limit, and the end of that word.
struct Role<'a> {
    name: &'a str,
    behind: usize,
}

impl<'a> Role<'a> {
    /// Splits the name around a word. `str::rfind` prepares more than such short names are worth.
    fn split(&self, word: &str) -> Option<(&'a str, &'a str)> {
        let mut windows = self.name.as_bytes()[self.behind..].windows(word.len());
        let at = self.behind + windows.rposition(|window| window == word.as_bytes())?;
        Some((self.name.get(..at)?, self.name.get(at + word.len()..)?))
    }

    /// `-reset`, with units (`-reset-after`, `-resets-in-ms`, `-resettime`); Akamai's `-next`.
    fn reset(&self) -> Option<Meaning<'a>> {
        let next = || self.split("next").filter(|(_, behind)| behind.is_empty());
        let (before, behind) = self.split("reset").or_else(next)?;
        let behind = match behind.strip_prefix('s') {
            Some(rest) if rest.is_empty() || rest.starts_with(SEPARATORS) => rest,
            _ => behind,
        };
        let (unit, behind) = units(behind);
        // BigCommerce: `x-rate-limit-time-reset-ms`.
        let before = before.strip_suffix("time-").unwrap_or(before);
        Some(Meaning::Reset(Quota { before, behind }, unit.unwrap_or_default()))
    }

    /// `-remaining`, `-remain` (EVE, Gate), `-left` (BigCommerce).
    fn remaining(&self) -> Option<Meaning<'a>> {
        let left = || self.split("left").filter(|(_, behind)| behind.is_empty());
        let (before, behind) = self.split("remain").or_else(left)?;
        let behind = behind.strip_prefix("ing").unwrap_or(behind);
        Some(Meaning::Remaining(Quota { before, behind }))
    }
}

/// Some servers put an underscore in the place of the dash.
const SEPARATORS: [char; 2] = ['-', '_'];

/// Reads the words for units at either end of `text`, and returns the rest of it.
///
/// `None` is a name without one. A word for a window (`-minute`) belongs to the quota.
fn units(text: &str) -> (Option<Unit>, &str) {
    let (mut unit, mut rest) = (None, text);
    loop {
        let trimmed = rest.trim_start_matches(SEPARATORS);
        let (first, behind) = trimmed.split_at(trimmed.find(SEPARATORS).unwrap_or(trimmed.len()));
        if let Some(found) = unit_of(first) {
            (unit, rest) = (finer(unit, found), behind);
            continue;
        }
        let start = rest.rfind(SEPARATORS).unwrap_or(0);
        match unit_of(rest[start..].trim_start_matches(SEPARATORS)) {
            Some(found) => (unit, rest) = (finer(unit, found), &rest[..start]),
            None => return (unit, rest),
        }
    }
}

/// The unit of a name with several words for it: `-after-ms`.
fn finer(unit: Option<Unit>, found: Unit) -> Option<Unit> {
    match (unit, found) {
        (
            None | Some(Unit::BySize | Unit::Seconds),
            Unit::Micros | Unit::Millis | Unit::Minutes | Unit::Hours,
        )
        | (None | Some(Unit::BySize), _) => Some(found),
        _ => unit,
    }
}

fn unit_of(word: &str) -> Option<Unit> {
    Some(match word {
        "after" | "in" | "s" | "sec" | "secs" | "seconds" => Unit::Seconds,
        "us" | "usec" | "micros" | "microseconds" => Unit::Micros,
        "ms" | "msec" | "millis" | "milliseconds" => Unit::Millis,
        "mins" | "minutes" => Unit::Minutes,
        "hours" => Unit::Hours,
        "at" | "time" | "date" | "utc" | "epoch" | "unix" | "timestamp" => Unit::BySize,
        _ => return None,
    })
}
