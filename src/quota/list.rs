use std::{fmt, str::FromStr};

use super::{ParseQuotaError, Quota};
use crate::duration_text::Scanner;

/// What stands between the quotas of a text.
pub(super) const DELIMITERS: [char; 3] = [';', ',', '|'];

/// Several quotas that hold together, such as `10/1s; 100/1m`. There is at least one.
///
/// The text is that of Python's `limits`: [quotas](Quota#as-text) with `;`, `,` or `|` in between.
/// `Display` writes `; `. With the feature `serde`, the list is serialized as its text. It is
/// deserialized from its text, or from a sequence of quotas.
///
/// Each quota is a layer of its own. A request passes one after another:
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_floodgate::{Quotas, WindowRateLimitLayer};
///
/// let quotas: Quotas = "10/second; 100 per minute".parse().unwrap();
/// assert_eq!(quotas.to_string(), "10/1s; 100/1m");
/// let &[second, minute] = quotas.as_slice() else { panic!("two quotas are needed") };
/// let service = ServiceBuilder::new()
///     .layer(WindowRateLimitLayer::with_quota(minute))
///     .layer(WindowRateLimitLayer::with_quota(second))
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
/// # let _ = service;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quotas(pub(super) Vec<Quota>);

impl Quotas {
    /// Returns the quotas in their order. There is at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Quota] {
        &self.0
    }

    /// Returns an iterator over the quotas.
    pub fn iter(&self) -> std::slice::Iter<'_, Quota> {
        self.0.iter()
    }
}

impl From<Quota> for Quotas {
    fn from(quota: Quota) -> Self {
        Self(vec![quota])
    }
}

/// Adds quotas behind those that are there.
impl Extend<Quota> for Quotas {
    fn extend<I: IntoIterator<Item = Quota>>(&mut self, quotas: I) {
        self.0.extend(quotas);
    }
}

impl IntoIterator for Quotas {
    type Item = Quota;
    type IntoIter = std::vec::IntoIter<Quota>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Quotas {
    type Item = &'a Quota;
    type IntoIter = std::slice::Iter<'a, Quota>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromStr for Quotas {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, ParseQuotaError> {
        let mut scanner = Scanner::new(text);
        let mut quotas = Vec::new();
        loop {
            quotas.push(
                Quota::read(&mut scanner).map_err(|fault| ParseQuotaError::new(text, fault))?,
            );
            if !DELIMITERS.into_iter().any(|delimiter| scanner.eat(delimiter)) {
                break;
            }
        }
        let end = scanner.end("the end, or `;` and another quota");
        end.map_err(|fault| ParseQuotaError::new(text, fault))?;
        Ok(Self(quotas))
    }
}

impl fmt::Display for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut delimiter = "";
        for quota in self {
            write!(f, "{delimiter}{quota}")?;
            delimiter = "; ";
        }
        Ok(())
    }
}
