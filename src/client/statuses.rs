//! A set of statuses.

use std::fmt;

use http::StatusCode;

use crate::settings::InvalidSetting;

const FIRST: u16 = 400;
const LAST: u16 = 599;

/// A set of statuses from 400 to 599, as bits because it is copied for each request.
#[derive(Clone, Copy)]
pub(super) struct Statuses([u8; 25]);

impl Statuses {
    /// The set of these statuses, less those outside the range.
    ///
    /// By number, because `http` makes statuses of numbers in constants since 1.4 only.
    pub(super) const fn of(statuses: &[u16]) -> Self {
        let mut set = Self([0; 25]);
        let mut next = 0;
        while next < statuses.len() {
            if let Some((byte, bit)) = Self::position(statuses[next]) {
                set.0[byte] |= bit;
            }
            next += 1;
        }
        set
    }

    pub(super) fn try_from_iter(
        setting: &'static str,
        statuses: impl IntoIterator<Item = StatusCode>,
    ) -> Result<Self, InvalidSetting> {
        let mut set = Self([0; 25]);
        for status in statuses {
            let Some((byte, bit)) = Self::position(status.as_u16()) else {
                let expected = format!("between {FIRST} and {LAST}");
                return Err(InvalidSetting::new(setting, status.as_u16(), expected));
            };
            set.0[byte] |= bit;
        }
        Ok(set)
    }

    pub(super) fn contains(&self, status: StatusCode) -> bool {
        Self::position(status.as_u16()).is_some_and(|(byte, bit)| self.0[byte] & bit != 0)
    }

    const fn position(status: u16) -> Option<(usize, u8)> {
        match status {
            status @ FIRST..=LAST => {
                let index = (status - FIRST) as usize;
                Some((index / 8, 1 << (index % 8)))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (FIRST..=LAST).filter_map(|status| StatusCode::from_u16(status).ok());
        f.debug_set().entries(all.filter(|&status| self.contains(status))).finish()
    }
}
