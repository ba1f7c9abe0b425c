//! CORE: the counter word of a key (pure).
//!
//! It holds a number of *held* and one of *unlogged* permits for each window, the number of
//! requests in flight if that is limited, and three flags. One compare-exchange of the word decides
//! all windows of a rule together.
//!
//! ```text
//!  63       62       61       ...                                                            0
//! +-------+--------+--------+-----------+---------------+-----------+---------------+-----------+
//! | TAKEN | QUEUED | PAUSED | in flight | unlogged of 1 | held of 1 | unlogged of 0 | held of 0 |
//! +-------+--------+--------+-----------+---------------+-----------+---------------+-----------+
//! ```
//!
//! The fields are as wide as the largest number that a rule needs, so most pairs of windows fit.

/// The bits of a word that are left to the fields.
const BITS: u32 = 61;

/// The word is in the hands of one task: a slot is being claimed, or a key of this home set is
/// being inserted.
pub(crate) const TAKEN: u64 = 1 << 63;

/// Requests wait at this state. An acquisition out of turn is refused, and a step that releases
/// permits tells the queue. The state is live, and an overflow is not copied.
pub(crate) const QUEUED: u64 = 1 << 62;

/// The key is paused until a time: see [`pause`](super::pause). The state is live. No overflow has
/// it.
pub(crate) const PAUSED: u64 = 1 << 61;

/// The position of a number in a counter word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    shift: u32,
    mask: u64,
}

impl Field {
    #[inline]
    pub(crate) const fn get(self, word: u64) -> u64 {
        (word >> self.shift) & self.mask
    }

    /// Returns `n` in the position of this field, to be added to a word or subtracted from it.
    #[inline]
    pub(crate) const fn of(self, n: u64) -> u64 {
        n << self.shift
    }

    pub(crate) const fn max(self) -> u64 {
        self.mask
    }
}

/// The fields of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowFields {
    /// Permits that are acquired and not expired.
    pub(crate) held: Field,
    /// Those of them that are committed, and not in the log.
    pub(crate) unlogged: Field,
}

/// The fields of the words of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    windows: Box<[WindowFields]>,
    in_flight: Option<Field>,
    /// One permit of each window.
    permit: u64,
}

impl Layout {
    /// The largest number of a layout of one window, which has two fields.
    pub(crate) const MAX_OF_ONE: u64 = (1 << (BITS / 2)) - 1;

    /// Lays out fields for numbers up to those of each window, and up to `in_flight`.
    ///
    /// Returns the number of bits that are missing if they do not fit.
    pub(crate) fn new(windows: &[u64], in_flight: Option<u64>) -> Result<Self, u32> {
        let mut used = 0;
        let mut field = |max: u64| {
            let bits = u64::BITS - max.leading_zeros();
            let field = Field { shift: used, mask: u64::MAX.checked_shr(64 - bits).unwrap_or(0) };
            used += bits;
            field
        };
        let fields = |max: &u64| WindowFields { held: field(*max), unlogged: field(*max) };
        let windows: Box<[_]> = windows.iter().map(fields).collect();
        let in_flight = in_flight.map(field);
        if used > BITS {
            return Err(used - BITS);
        }
        let permit = windows.iter().map(|window| window.held.of(1)).sum();
        Ok(Self { windows, in_flight, permit })
    }

    #[inline]
    pub(crate) fn windows(&self) -> &[WindowFields] {
        &self.windows
    }

    #[inline]
    pub(crate) const fn in_flight(&self) -> Option<Field> {
        self.in_flight
    }

    /// Returns `n` permits of each window.
    #[inline]
    pub(crate) const fn permits(&self, n: u32) -> u64 {
        self.permit * n as u64
    }

    /// Returns one request in flight, or 0 if that is not limited.
    #[inline]
    pub(crate) fn request(&self) -> u64 {
        self.in_flight.map_or(0, |field| field.of(1))
    }

    /// Returns the number of permits that can be counted beyond those of `word`.
    pub(crate) fn room(&self, word: u64) -> u64 {
        let room = |window: &WindowFields| window.held.max() - window.held.get(word);
        self.windows.iter().map(room).min().unwrap_or(u64::MAX)
    }

    /// Returns true if a permit of any window is held.
    pub(crate) fn is_held(&self, word: u64) -> bool {
        self.windows.iter().any(|window| window.held.get(word) > 0)
    }
}
