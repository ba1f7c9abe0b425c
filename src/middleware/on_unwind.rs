//! A step that is made if a panic unwinds, and at no cost otherwise.

use std::mem;

/// Calls `step` with `value` when it is dropped, unless it is [defused](OnUnwind::defuse) before.
pub(super) struct OnUnwind<'a, T, F: Fn(&mut T)> {
    pub(super) value: &'a mut T,
    step: F,
}

impl<'a, T, F: Fn(&mut T)> OnUnwind<'a, T, F> {
    #[inline(always)]
    pub(super) const fn new(value: &'a mut T, step: F) -> Self {
        Self { value, step }
    }

    #[inline(always)]
    pub(super) fn defuse(self) {
        mem::forget(self);
    }
}

impl<T, F: Fn(&mut T)> Drop for OnUnwind<'_, T, F> {
    #[inline(always)]
    fn drop(&mut self) {
        (self.step)(self.value);
    }
}
