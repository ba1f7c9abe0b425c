//! The limits of each host and of all hosts, decided together.

use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use reqwest::Error;
use tower_floodgate::{
    InvalidSetting, Quota,
    keyed::{Key, KeyedLimitLayer, KeyedQueueLayer, Plan, Rule, Rules, SettleRules},
    reject::RejectPolicyFor,
};

use super::{Host, global};
use crate::{
    args::{Args, option_of, wrong},
    page::{Answer, Page},
};

/// The rule of each host.
pub(crate) const HOST: &str = "host";

/// The longest wait of a request, and the longest pause: longer than any of this program.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The key of a request: its host, with the port.
///
/// `keyed::Host` is this key for requests of the `http` crate and, with the feature `reqwest`, of
/// reqwest.
#[derive(Clone, Copy)]
struct ByHost;

impl Key<Page> for ByHost {
    fn hash_key<H: Hasher>(&self, page: &Page, state: &mut H) -> bool {
        page.authority().hash(state);
        true
    }
}

/// Makes the plan of hosts without limits of their own, followed by those of `hosts`, and the quota
/// of all hosts. Returns an error about a value.
pub(crate) fn quotas(args: &Args, hosts: &[Host]) -> Result<(Vec<Plan>, Quota), clap::Error> {
    let plan = |rate, in_flight| {
        Plan::new().quota(Quota::try_new(rate, args.window)?).try_max_in_flight(in_flight)
    };
    let others = plan(args.rate, args.in_flight);
    let of_hosts = hosts.iter().map(|host| plan(host.rate, host.in_flight));
    let plans = [others].into_iter().chain(of_hosts).collect::<Result<_, _>>();
    let wrong = |invalid: InvalidSetting| wrong(option_of(&invalid), &invalid);
    Ok((plans.map_err(wrong)?, global(args).map_err(wrong)?))
}

/// Makes the layer. The plans are those of any other host, and of the hosts at `authorities`.
pub(crate) fn layer(
    plans: Vec<Plan>,
    of_all: Quota,
    authorities: Vec<String>,
    max_queue_per_key: u32,
) -> Result<
    KeyedQueueLayer<
        impl Rules<Page> + SettleRules<Answer, Error>,
        impl RejectPolicyFor<Answer, Error, Error = Error>,
    >,
    clap::Error,
> {
    let plan = move |page: &Page| {
        let known = authorities.iter().position(|it| it == page.authority());
        known.map_or(0, |host| host + 1)
    };
    let of_each = Rule::new(HOST, ByHost).plans(plans, plan);
    let limits = KeyedLimitLayer::try_new((of_each, Rule::global("all hosts").quota(of_all)))
        .map_err(|invalid| wrong("--rate", &invalid))?;
    // Without a rejection, as the entrances bound the queues. One would be retried as that of a
    // server.
    let limits = limits.wait(MAX_WAIT).max_queue_per_key(max_queue_per_key);
    Ok(limits.reject_with(|rejected| Answer::too_many(rejected.retry_after())))
}
