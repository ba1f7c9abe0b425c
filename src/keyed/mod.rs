//! Limits that know the request: a quota for each key.

mod future;
mod handle;
mod key;
mod lanes;
mod layer;
mod plan;
mod rule;
pub(crate) mod rule_name;
mod rule_state;
mod rules;
mod service;
mod settle;
mod shared;
mod table;
#[cfg(test)]
mod table_tests;
mod terms;

pub use self::{
    future::ResponseFuture,
    handle::RuleHandle,
    key::{Everyone, Key},
    layer::KeyedLimitLayer,
    plan::Plan,
    rule::{Rule, WithoutKey},
    rules::{IntoRules, RuleList, Rules, SettleRules},
    service::KeyedLimit,
    settle::{AtCall, ByResponse, FailuresOnly, Settle},
    terms::{OnePermit, ReadTerms, Terms, WithCost, WithExemption, WithPlan},
};
