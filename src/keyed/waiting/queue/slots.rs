//! Values by number, in memory that is reused.

use std::ops::{Index, IndexMut};

/// A vector with holes, which new values fill.
pub(super) struct Slots<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.values[id as usize] = Some(value);
            return id;
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).expect("the queue is bounded")
    }

    pub(super) fn remove(&mut self, id: u32) -> T {
        let value = self.values[id as usize].take().expect("a value");
        self.free.push(id);
        if self.free.len() == self.values.len() {
            *self = Self::default();
        }
        value
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        self.values.get(id as usize)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        self.values[id as usize].as_ref().expect("a value")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        self.values[id as usize].as_mut().expect("a value")
    }
}
