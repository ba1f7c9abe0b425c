//! CORE: the numbers of a request to a store, and of its reply.
//!
//! Their meaning is in the documentation of [`Store`](super::Store).

use super::StoreError;

/// The version of the request.
const VERSION: i64 = 1;

/// Microseconds: the unit of times on the wire.
pub(super) type Micros = i64;

/// The history of a state, as a process has seen it: 0, 0 at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) epoch: Micros,
    pub(super) total: i64,
}

/// Unused permits of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refund {
    pub(super) mark: Micros,
    pub(super) count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) limit: u32,
    pub(super) window: Micros,
    pub(super) length: Micros,
    pub(super) max_length: Micros,
    pub(super) want: u32,
    pub(super) horizon: Micros,
    pub(super) seen: History,
    pub(super) mine: u64,
    pub(super) late: u64,
    pub(super) is_strict: bool,
    pub(super) refunds: Vec<Refund>,
}

impl Request {
    pub(super) fn encode(&self) -> Vec<i64> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut numbers = vec![
            VERSION,
            self.limit.into(),
            self.window,
            self.length,
            self.max_length,
            self.want.into(),
            self.horizon,
            self.seen.epoch,
            self.seen.total,
            count(self.mine),
            count(self.late),
            self.is_strict.into(),
        ];
        numbers.extend(self.refunds.iter().flat_map(|refund| [refund.mark, refund.count.into()]));
        numbers
    }
}

/// A lease of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leased {
    pub(super) delay: Micros,
    pub(super) count: u32,
    pub(super) mark: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) now: Micros,
    pub(super) seen: History,
    pub(super) free: u32,
    /// The time until the next permit, if nothing was leased.
    pub(super) when: Micros,
    /// The latest write was with another limit or window.
    pub(super) is_other: bool,
    /// By their delays.
    pub(super) leases: Vec<Leased>,
}

/// The length of a reply without leases.
const HEAD: usize = 6;

impl Reply {
    /// Reads the reply to `request`. One that no store sends for it is an error.
    pub(super) fn decode(numbers: &[i64], request: &Request) -> Result<Self, StoreError> {
        Self::read(numbers, request).ok_or_else(|| {
            let text = format!("{numbers:?} is no reply to {:?}", request.encode());
            StoreError::new("invalid_reply").with_source(text)
        })
    }

    fn read(numbers: &[i64], request: &Request) -> Option<Self> {
        let (head, leases) = numbers.split_at_checked(HEAD)?;
        let &[now, epoch, total, free, when, is_other] = head else { return None };
        let is_valid = now > 0 && epoch > 0 && total >= 0 && when >= 0;
        let free = u32::try_from(free).ok().filter(|free| *free <= request.limit)?;
        let is_other = u8::try_from(is_other).ok().filter(|flag| *flag <= 1)? == 1;
        if !is_valid || leases.len() % 3 != 0 {
            return None;
        }
        let mut read = Vec::with_capacity(leases.len() / 3);
        let (mut earliest, mut left) = (0, request.want);
        for lease in leases.chunks_exact(3) {
            let &[delay, count, mark] = lease else { return None };
            let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
            left = left.checked_sub(count)?;
            // The bound of the window rests on the mark.
            let end = now.checked_add(delay)?.checked_add(request.length + request.window)?;
            if delay < earliest || delay > request.horizon || mark < end {
                return None;
            }
            earliest = delay;
            read.push(Leased { delay, count, mark });
        }
        Some(Self { now, seen: History { epoch, total }, free, when, is_other, leases: read })
    }
}
