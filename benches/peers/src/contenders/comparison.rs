//! A list of contenders for one job.

use crate::batch::Batch;

/// The part of a contender in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its time is subtracted from that of the others; it is in no table.
    Empty,
    Ours,
    /// Does the same job: ratios are to the best of these.
    Same,
    /// Does another job, or less of it.
    Other,
    /// Does less than the job needs.
    Floor,
}

#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) name: String,
    /// The job in a few words.
    pub(crate) does: &'static str,
    pub(crate) role: Role,
}

impl Label {
    fn new(name: impl Into<String>, does: &'static str, role: Role) -> Self {
        Self { name: name.into(), does, role }
    }
}

pub(crate) fn ours(name: impl Into<String>, does: &'static str) -> Label {
    Label::new(name, does, Role::Ours)
}

pub(crate) fn same(name: impl Into<String>, does: &'static str) -> Label {
    Label::new(name, does, Role::Same)
}

pub(crate) fn other(name: impl Into<String>, does: &'static str) -> Label {
    Label::new(name, does, Role::Other)
}

pub(crate) fn floor(name: impl Into<String>) -> Label {
    Label::new(name, "floor", Role::Floor)
}

/// Contenders for one job, each built when it is about to be measured.
pub(crate) struct Comparison<M = Batch> {
    pub(crate) title: String,
    pub(crate) contenders: Vec<Contender<M>>,
}

pub(crate) struct Contender<M> {
    pub(crate) label: Label,
    pub(crate) make: Box<dyn Fn() -> M>,
    /// The calls of the others for one call of this one, which takes so much longer.
    pub(crate) share: u32,
}

impl<M> Comparison<M> {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), contenders: Vec::new() }
    }

    /// Creates a comparison in which the time of `empty` is subtracted.
    pub(crate) fn above(title: impl Into<String>, empty: impl Fn() -> M + 'static) -> Self {
        Self::new(title).with(Label::new("", "", Role::Empty), empty)
    }

    pub(crate) fn with(self, label: Label, make: impl Fn() -> M + 'static) -> Self {
        self.with_slow(label, 1, make)
    }

    pub(crate) fn with_slow(
        mut self,
        label: Label,
        share: u32,
        make: impl Fn() -> M + 'static,
    ) -> Self {
        self.contenders.push(Contender { label, make: Box::new(make), share });
        self
    }
}
