//! Formats the headers from the standings of a request.

use std::{
    cmp::Reverse,
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use http::HeaderMap;

use crate::{
    duration_text::AsText,
    headers::rate_limit::{
        List, NAME, Parameters, PolicyName, RATELIMIT, RATELIMIT_POLICY, add_x_ratelimit,
    },
    keyed::{RuleList, RuleState, Standing, report_standings},
    settings::InvalidSetting,
};

/// The configuration of a layer, shared with its services.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    states: Arc<[RuleState]>,
    /// Of each window of each rule.
    names: Box<[Box<[PolicyName]>]>,
    /// Hashes the hash of a key once more. The first one decides the place of a key in the table,
    /// so it must not leave the process: a client that knew it could search for keys of one set,
    /// and fill it.
    pub(super) partitions: Option<RandomState>,
    pub(super) x_ratelimit: bool,
}

impl Headers {
    pub(super) fn new(states: &Arc<[RuleState]>) -> Result<Self, InvalidSetting> {
        let mut known = HashSet::new();
        let mut policy = |name: String| match PolicyName::new(&name) {
            None => Err(InvalidSetting::new("name of a rule", name, NAME)),
            Some(_) if known.contains(&name) => {
                let expected = "another one than that of each other window: give other names to \
                                the rules, and other lengths to the windows of a rule";
                Err(InvalidSetting::new("name of a policy", name, expected))
            }
            Some(policy) => {
                known.insert(name);
                Ok(policy)
            }
        };
        let mut names = Vec::with_capacity(states.len());
        for state in &**states {
            let rule = state.name();
            // The windows of all plans have the same lengths.
            let windows = state.plan(0).windows().iter().enumerate();
            let policies = windows.map(|(window, quota)| match window {
                0 => policy(rule.to_string()),
                _ => policy(format!("{rule}/{}", AsText(quota.window()))),
            });
            names.push(policies.collect::<Result<_, _>>()?);
        }
        let states = Arc::clone(states);
        Ok(Self { states, names: names.into(), partitions: None, x_ratelimit: false })
    }

    /// Adds the headers that a full map has room for.
    pub(super) fn add_to<R: RuleList>(&self, headers: &mut HeaderMap, subjects: &R::Subjects) {
        let (mut policies, mut limits) = (List::default(), List::default());
        let mut strictest: Option<Standing> = None;
        report_standings(&self.states, subjects.as_ref(), |standing| {
            let Standing { rule, window, quota, key, remaining, reset } = standing;
            let name = &self.names[rule][window];
            let partition =
                self.partitions.as_ref().zip(key).map(|(hasher, key)| hasher.hash_one(key));
            policies.push(name, &Parameters::of_policy(quota.limit(), quota.window()), partition);
            limits.push(name, &Parameters::of_state(remaining, Some(reset)), partition);
            let strictness = |it: &Standing| (it.remaining, Reverse(it.reset));
            if strictest.as_ref().is_none_or(|it| strictness(&standing) < strictness(it)) {
                strictest = Some(standing);
            }
        });
        if let Some((policies, limits)) = policies.into_value().zip(limits.into_value()) {
            let _ = headers.try_append(&RATELIMIT_POLICY, policies);
            let _ = headers.try_append(&RATELIMIT, limits);
        }
        if let Some(Standing { quota, remaining, reset, .. }) =
            strictest.filter(|_| self.x_ratelimit)
        {
            add_x_ratelimit(headers, quota.limit(), remaining, Some(reset));
        }
    }
}
