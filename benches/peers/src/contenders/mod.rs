//! The contenders: how each limit is built, and how one waits for it.

mod comparison;
pub(crate) mod floor;
pub(crate) mod keys;
pub(crate) mod peers;
pub(crate) mod policies;
pub(crate) mod slab;
pub(crate) mod stacks;
pub(crate) mod waiters;

pub(crate) use self::comparison::{Comparison, Contender, Label, Role, floor, other, ours, same};
