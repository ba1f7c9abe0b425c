use std::{error::Error, fmt, ops::Range};

use crate::duration_text::{Excerpt, Fault};

/// The error of a text that is no [`Quota`](crate::Quota), with the place of the fault.
///
/// `{}` writes one line, `{:#}` the text too, with the fault underlined, unless the text is empty,
/// long, or of several lines.
///
/// ```
/// use tower_floodgate::Quota;
///
/// let error = "100/fortnight".parse::<Quota>().unwrap_err();
/// assert_eq!((error.position(), error.found()), (4..13, "fortnight"));
/// assert_eq!(error.expected(), "a unit of time, such as ms, s, m, h or d");
/// assert_eq!(
///     format!("{error:#}"),
///     r#"invalid quota "100/fortnight": expected a unit of time, such as ms, s, m, h or d, found "fortnight" at byte 4
///   100/fortnight
///       ^^^^^^^^^"#
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseQuotaError {
    text: String,
    fault: Fault,
}

impl ParseQuotaError {
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        Self { text: text.into(), fault }
    }

    /// Returns the place of the fault in the text, in bytes. It is empty at the end of the text.
    #[must_use]
    pub fn position(&self) -> Range<usize> {
        self.fault.place.clone()
    }

    /// Returns the part of the text that is wrong. It is empty at the end of the text.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.text[self.fault.place.clone()]
    }

    /// Returns the description of a valid part in that place.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.fault.expected
    }
}

impl fmt::Display for ParseQuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, fault } = self;
        write!(f, "invalid quota {}: {}", Excerpt(text), fault.of(text))?;
        let is_line = text.chars().count() <= Excerpt::MOST && !text.contains(char::is_control);
        if f.alternate() && is_line && !text.trim().is_empty() {
            let indent = text[..fault.place.start].chars().count();
            let width = self.found().chars().count().max(1);
            write!(f, "\n  {text}\n  {:indent$}{}", "", "^".repeat(width))?;
        }
        Ok(())
    }
}

impl Error for ParseQuotaError {}
