//! The names of rules, by number: a rejection has room for a number.

use std::{
    num::NonZeroU16,
    sync::{Arc, PoisonError, RwLock},
};

/// The names of all rules of the process. There are as many as a program has rules, so they stay.
static NAMES: RwLock<Vec<Arc<str>>> = RwLock::new(Vec::new());

/// The number of a name. Equal names have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleName(NonZeroU16);

impl RuleName {
    /// Returns the number of a name. `None` beyond 65,535 names: their rejections are without one.
    pub(crate) fn of(name: &Arc<str>) -> Option<Self> {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        let index = names.iter().position(|it| it == name).unwrap_or(names.len());
        let number = NonZeroU16::new(u16::try_from(index + 1).ok()?)?;
        if index == names.len() {
            names.push(Arc::clone(name));
        }
        Some(Self(number))
    }

    pub(crate) fn name(self) -> Arc<str> {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&names[usize::from(self.0.get()) - 1])
    }
}
