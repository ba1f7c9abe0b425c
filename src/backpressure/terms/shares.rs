//! The shares of the classes in one queue.

use crate::{backpressure::arrival::Share, class::Class, settings::InvalidSetting};

/// The share of the queue of each class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares([Share; 3]);

impl Shares {
    /// The whole queue, a half, and a quarter.
    pub(super) const DEFAULT: Self = Self([Share(1.0), Share(0.5), Share(0.25)]);

    /// Returns the error of a share that is not above 0 and at most that of the class before.
    pub(super) fn new(critical: f64, normal: f64, sheddable: f64) -> Result<Self, InvalidSetting> {
        let shares = [
            ("the share of critical requests", critical, 1.0, "1"),
            ("the share of normal requests", normal, critical, "that of critical ones"),
            ("the share of sheddable requests", sheddable, normal, "that of normal ones"),
        ];
        for (setting, share, most, described) in shares {
            if !(share > 0.0 && share <= most) {
                let expected = format!("above 0, and at most {described}");
                return Err(InvalidSetting::new(setting, share, expected));
            }
        }
        Ok(Self([critical, normal, sheddable].map(Share)))
    }

    /// Returns the share of a class. A request without one may fill the queue.
    pub(super) fn of(&self, class: Option<Class>) -> Share {
        class.map_or(Share::WHOLE, |class| self.0[class.index()])
    }
}
