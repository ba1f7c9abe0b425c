use serde::{Serialize, de::DeserializeOwned};
use tower_floodgate::{
    Quota, Quotas,
    config::{
        BudgetConfig, ConcurrencyConfig, KeyedQueueConfig, PlanConfig, RetryConfig, RuleConfig,
        WindowConfig,
    },
    keyed::WithoutKey,
    observe::Snapshot,
    retry::{Backoff, Jitter},
};

fn is_written<T: Serialize>() {}

fn is_read_and_written<T: DeserializeOwned + Serialize>() {}

pub fn settings() {
    is_read_and_written::<Quota>();
    is_read_and_written::<Quotas>();
    is_read_and_written::<ConcurrencyConfig>();
    is_read_and_written::<WindowConfig>();
    is_read_and_written::<RetryConfig>();
    is_read_and_written::<BudgetConfig>();
    is_read_and_written::<RuleConfig>();
    is_read_and_written::<PlanConfig>();
    is_read_and_written::<KeyedQueueConfig>();
    is_read_and_written::<WithoutKey>();
    is_read_and_written::<Backoff>();
    is_read_and_written::<Jitter>();
    is_written::<Snapshot>();
}
