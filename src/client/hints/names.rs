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

impl Quota<'_> {
    /// Returns true if the name of this quota is a shorter form of the other's name.
    ///
    /// `x-ratelimit-reset` may stand beside `x-ratelimit-remaining-second` alone, and the other way
    /// round.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.behind.is_empty() && other.before.starts_with(self.before)
    }
}

/// Names that the grammar would read otherwise: Bybit's rest of a quota has no word for it, and
/// KuCoin's reset is in milliseconds without saying so.
fn exception(name: &str) -> Option<Meaning<'_>> {
    const fn quota(before: &str) -> Quota<'_> {
        Quota { before, behind: "" }
    }
    Some(match name {
        "x-bapi-limit-status" => Meaning::Remaining(quota("x-bapi-limit-")),
        "gw-ratelimit-reset" => Meaning::Reset(quota("gw-ratelimit-"), Unit::Millis),
        "x-sentry-rate-limits" => Meaning::ScopedWaits,
        _ => return None,
    })
}

/// Returns the meaning of a header, or `None` if it says nothing about another request.
pub(super) fn meaning(name: &str) -> Option<Meaning<'_>> {
    if let Some(at) = name.find("retry") {
        let (before, behind) = (&name[..at], &name[at + "retry".len()..]);
        return match behind.strip_prefix("-after") {
            Some(unit) => {
                let (unit, rest) = units(unit);
                rest.is_empty().then_some(Meaning::Wait(unit.unwrap_or(Unit::Seconds)))
            }
            None => (behind.is_empty() && before.ends_with("should-")).then_some(Meaning::MayRetry),
        };
    }
    if !name.contains("limit") && !name.contains("quota") {
        return None;
    }
    exception(name).or_else(|| reset(name)).or_else(|| remaining(name)).or_else(|| {
        let is_structured = name.ends_with("ratelimit") || name.starts_with("zendesk-ratelimit-");
        is_structured.then_some(Meaning::RateLimit)
    })
}

/// `-reset`, with units (`-reset-after`, `-resets-in-ms`, `-resettime`); Akamai's `-next`.
fn reset(name: &str) -> Option<Meaning<'_>> {
    let (before, behind) = match name.rfind("reset") {
        Some(at) => (&name[..at], &name[at + "reset".len()..]),
        None => (name.strip_suffix("next")?, ""),
    };
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
fn remaining(name: &str) -> Option<Meaning<'_>> {
    if let Some(before) = name.strip_suffix("-left") {
        return Some(Meaning::Remaining(Quota { before, behind: "" }));
    }
    let at = name.rfind("remain")?;
    let behind = &name[at + "remain".len()..];
    let behind = behind.strip_prefix("ing").unwrap_or(behind);
    Some(Meaning::Remaining(Quota { before: &name[..at], behind }))
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
        (None | Some(Unit::BySize | Unit::Seconds), Unit::Millis | Unit::Minutes)
        | (None | Some(Unit::BySize), _) => Some(found),
        _ => unit,
    }
}

fn unit_of(word: &str) -> Option<Unit> {
    Some(match word {
        "after" | "in" | "s" | "sec" | "secs" | "seconds" => Unit::Seconds,
        "ms" | "msec" | "millis" | "milliseconds" => Unit::Millis,
        "mins" | "minutes" => Unit::Minutes,
        "at" | "time" | "date" | "utc" | "epoch" | "unix" | "timestamp" => Unit::BySize,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn quota(before: &'static str, behind: &'static str) -> Quota<'static> {
        Quota { before, behind }
    }

    #[test]
    fn names_have_the_meaning_of_their_dialect() {
        use Meaning::{MayRetry, RateLimit, Remaining, Reset, ScopedWaits, Wait};
        let x = |behind| quota("x-ratelimit-", behind);
        for (name, expected) in [
            ("retry-after", Some(Wait(Unit::Seconds))),
            ("retry-after-ms", Some(Wait(Unit::Millis))),
            ("x-ms-retry-after-ms", Some(Wait(Unit::Millis))),
            ("x-retry-after", Some(Wait(Unit::Seconds))),
            ("x-ratelimit-retry-after-seconds", Some(Wait(Unit::Seconds))),
            ("retry-after-policy", None),
            ("x-retry-count", None),
            ("x-should-retry", Some(MayRetry)),
            ("stripe-should-retry", Some(MayRetry)),
            ("ratelimit", Some(RateLimit)),
            ("beta-ratelimit", Some(RateLimit)),
            ("zendesk-ratelimit-tickets-index", Some(RateLimit)),
            ("ratelimit-policy", None),
            ("x-ratelimit-limit", None),
            ("x-ratelimit-remaining", Some(Remaining(x("")))),
            ("x-ratelimit-remaining-tokens", Some(Remaining(x("-tokens")))),
            ("x-ratelimit-reset-tokens", Some(Reset(x("-tokens"), Unit::BySize))),
            ("x-ratelimit-reset-tokens-ms", Some(Reset(x("-tokens"), Unit::Millis))),
            ("x-ratelimit-reset-after", Some(Reset(x(""), Unit::Seconds))),
            ("x-ratelimit-reset-after-ms", Some(Reset(x(""), Unit::Millis))),
            ("x-ratelimit-reset-minute", Some(Reset(x("-minute"), Unit::BySize))),
            ("x-ratelimit-reset-at", Some(Reset(x(""), Unit::BySize))),
            ("ratelimit-resettime", Some(Reset(quota("ratelimit-", ""), Unit::BySize))),
            ("x-ratelimit-next", Some(Reset(x(""), Unit::BySize))),
            ("x-ratelimit-userremaining", Some(Remaining(quota("x-ratelimit-user", "")))),
            ("x-ratelimit-userreset", Some(Reset(quota("x-ratelimit-user", ""), Unit::BySize))),
            (
                "x-ms-user-quota-resets-after",
                Some(Reset(quota("x-ms-user-quota-", ""), Unit::Seconds)),
            ),
            ("x-rate-limit-time-reset-ms", Some(Reset(quota("x-rate-limit-", ""), Unit::Millis))),
            ("x-rate-limit-requests-left", Some(Remaining(quota("x-rate-limit-requests", "")))),
            ("x-esi-error-limit-remain", Some(Remaining(quota("x-esi-error-limit-", "")))),
            ("http_x_ratelimit_reset", Some(Reset(quota("http_x_ratelimit_", ""), Unit::BySize))),
            ("x-sentry-rate-limits", Some(ScopedWaits)),
            ("x-password-reset", None),
            ("content-length", None),
            ("", None),
        ] {
            assert_eq!(meaning(name), expected, "{name}");
        }
    }
}
