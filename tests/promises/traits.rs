//! The public types that are `Send`, `Sync`, `Unpin` and `Clone`, and those that are not.

use std::{
    fmt::Debug,
    hash::Hash,
    marker::PhantomPinned,
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
};

use futures::future::FusedFuture;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower::Service;
use tower_floodgate::{
    ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    ExponentialRetry, ExponentialRetryLayer, InvalidSetting, PerService, Rejected, WindowRateLimit,
    WindowRateLimitHandle, WindowRateLimitLayer,
    backpressure::{
        self, AcquireManyError, Adaptive, AdaptiveSnapshot, CloseError, Closed, ConcurrencyPermit,
        Drained, Judged, Outcome, RejectedByClass, ServedIfOk,
    },
    keyed::{
        self, Everyone, KeyedLimit, KeyedLimitLayer, KeyedQueue, KeyedQueueLayer, QueueFuture,
        Rule, RuleHandle, RuleSnapshot, TopKey,
    },
    rate_limit::{self, WindowPermit},
    reject::{NeverReject, RejectWithBoxError, RejectWithError},
    retry::{
        AnyError, Backoff, ByClone, Decision, DecisionHook, RetryBudget, RetryStatistics,
        SharedHook, Waits,
    },
};

use crate::support::Probe;

struct NotClone;
type Inner = std::future::Ready<()>;
type Rules = (Rule<Everyone>,);
type Echo<T> = tower::util::ServiceFn<fn(T) -> std::future::Ready<Result<(), ()>>>;

assert_impl_all!(ConcurrencyBackpressureLayer: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(WindowRateLimitLayer<RejectWithError<Rc<()>>>: Clone, Send, Sync, Unpin);
assert_impl_all!(ExponentialRetryLayer: Clone, Send, Sync, Unpin);
assert_impl_all!(PerService<WindowRateLimitLayer<RejectWithBoxError>>: Clone, Send, Sync);
assert_impl_all!(ConcurrencyBackpressure<()>: Clone, Send, Sync, Unpin);
assert_impl_all!(WindowRateLimit<()>: Clone, Send, Sync, Unpin);
assert_not_impl_any!(ConcurrencyBackpressure<NotClone>: Clone);
assert_impl_all!(ConcurrencyBackpressure<NotClone>: Send, Sync);
assert_not_impl_any!(WindowRateLimit<Rc<()>>: Send, Sync);
assert_impl_all!(ConcurrencyBackpressureHandle: Clone, Send, Sync, Unpin);
assert_impl_all!(ConcurrencyBackpressureHandle: Clone, Send, Sync);
assert_impl_all!(WindowRateLimitHandle: Clone, Send, Sync, Unpin);
assert_impl_all!(RuleHandle: Clone, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(RuleSnapshot: Clone, Send, Sync, Unpin, PartialEq);
assert_impl_all!(TopKey: Clone, Send, Sync, Unpin, Eq);
assert_impl_all!(Drained: Send, Sync, Unpin);
assert_impl_all!(Closed: Send, Sync, Unpin);
assert_impl_all!(backpressure::Acquire: FusedFuture, Send, Sync, Unpin, Debug);
assert_impl_all!(backpressure::AcquireMany: FusedFuture, Send, Sync, Unpin, Debug);
assert_impl_all!(ConcurrencyPermit: Send, Sync, Unpin, Debug);
assert_not_impl_any!(ConcurrencyPermit: Clone);
assert_impl_all!(rate_limit::Acquire: FusedFuture, Send, Sync, Unpin, Debug);
assert_impl_all!(rate_limit::AcquireMany: FusedFuture, Send, Sync, Unpin, Debug);
assert_impl_all!(WindowPermit: Send, Sync, Unpin, Debug);
assert_not_impl_any!(WindowPermit: Clone);
assert_impl_all!(AcquireManyError: Clone, PartialEq, Send, Sync, std::error::Error);
assert_impl_all!(CloseError: Clone, Send, Sync, std::error::Error);
assert_impl_all!(KeyedLimitLayer<(Rule<Everyone>,)>: Clone, Send, Sync, Unpin, Debug);
assert_not_impl_any!(KeyedLimitLayer<(Rule<Rc<()>>,)>: Send, Sync);
assert_impl_all!(KeyedLimit<NotClone, Rules, RejectWithBoxError>: Send, Sync, Unpin);
assert_not_impl_any!(KeyedLimit<NotClone, Rules, RejectWithBoxError>: Clone);
assert_impl_all!(KeyedLimit<(), Rules, RejectWithBoxError>: Clone, std::fmt::Debug);
assert_not_impl_any!(KeyedLimit<Rc<()>, Rules, RejectWithBoxError>: Send, Sync);
assert_impl_all!(KeyedQueueLayer<Rules, RejectWithBoxError>: Clone, Send, Sync, Unpin);
assert_impl_all!(KeyedQueue<(), Rules, RejectWithBoxError>: Clone, Send, Sync, Unpin);
assert_impl_all!(keyed::ResponseFuture<Inner, Rules, NeverReject>: Send, Sync, Unpin);
assert_not_impl_any!(keyed::ResponseFuture<Rc<()>, Rules, NeverReject>: Send);
assert_not_impl_any!(keyed::ResponseFuture<PhantomPinned, Rules, NeverReject>: Unpin);
assert_impl_all!(QueueFuture<Echo<()>, (), Rules, RejectWithBoxError>: Send, std::fmt::Debug);
assert_not_impl_any!(QueueFuture<Echo<Rc<()>>, Rc<()>, Rules, RejectWithBoxError>: Send);
assert_impl_all!(backpressure::ResponseFuture<Inner, NeverReject>: Send, Sync, Unpin);
assert_impl_all!(rate_limit::ResponseFuture<Inner, NeverReject>: Send, Sync, Unpin);
assert_not_impl_any!(backpressure::ResponseFuture<Rc<()>, NeverReject>: Send);
assert_not_impl_any!(rate_limit::ResponseFuture<PhantomPinned, NeverReject>: Unpin);
assert_impl_all!(ExponentialRetry: Clone, Send, Sync);
assert_impl_all!(ExponentialRetry<AnyError, ByClone, DecisionHook>: Clone, Send, Sync);
assert_impl_all!(ExponentialRetry<AnyError, ByClone, SharedHook<NotClone>>: Clone, Send, Sync);
assert_impl_all!(Adaptive: Copy, Default, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
assert_not_impl_any!(Adaptive<NotClone>: Clone);
assert_impl_all!(Adaptive<NotClone>: Send, Sync, Unpin, Debug);
assert_not_impl_any!(Adaptive<Rc<()>>: Send, Sync);
assert_impl_all!(ServedIfOk: Copy, Default, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
assert_impl_all!(Outcome: Copy, Eq, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
assert_impl_all!(AdaptiveSnapshot: Clone, PartialEq, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(RejectedByClass: Copy, Default, Eq, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
type AdaptivePolicy<J = ServedIfOk> = Judged<RejectWithBoxError, J>;
assert_impl_all!(AdaptivePolicy: Copy, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
assert_impl_all!(ConcurrencyBackpressureLayer<AdaptivePolicy>: Clone, Send, Sync, Unpin, Debug);
assert_not_impl_any!(ConcurrencyBackpressureLayer<AdaptivePolicy<NotClone>>: Clone);
assert_not_impl_any!(ConcurrencyBackpressureLayer<AdaptivePolicy<Rc<()>>>: Send, Sync);
assert_impl_all!(PerService<ConcurrencyBackpressureLayer<AdaptivePolicy>>: Clone, Send, Sync);
assert_impl_all!(ConcurrencyBackpressure<(), AdaptivePolicy>: Clone, Send, Sync, Unpin);
assert_not_impl_any!(ConcurrencyBackpressure<NotClone, AdaptivePolicy>: Clone);
assert_not_impl_any!(ConcurrencyBackpressure<Rc<()>, AdaptivePolicy>: Send, Sync);
assert_impl_all!(backpressure::ResponseFuture<Inner, AdaptivePolicy>: Send, Sync, Unpin, Debug);
assert_not_impl_any!(backpressure::ResponseFuture<Rc<()>, AdaptivePolicy>: Send);
assert_not_impl_any!(backpressure::ResponseFuture<PhantomPinned, AdaptivePolicy>: Unpin);
assert_impl_all!(backpressure::TermsLayer: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(backpressure::TermsLayer<AdaptivePolicy>: Clone, Send, Sync, Unpin, Debug);
assert_impl_all!(backpressure::TermsBackpressure<()>: Clone, Send, Sync, Unpin);
assert_impl_all!(backpressure::TermsBackpressure<(), AdaptivePolicy>: Clone, Send, Sync, Unpin);
assert_not_impl_any!(backpressure::TermsBackpressure<NotClone>: Clone);
assert_not_impl_any!(backpressure::TermsBackpressure<Rc<()>>: Send, Sync);
assert_impl_all!(<backpressure::TermsBackpressure<Probe> as Service<u32>>::Future: Send);
assert_impl_all!(backpressure::ByRequestLayer<fn()>: Clone, Send, Sync, Unpin, Debug);
assert_not_impl_any!(backpressure::ByRequestLayer<NotClone>: Clone);
assert_not_impl_any!(backpressure::ByRequestLayer<Rc<()>>: Send, Sync);
assert_impl_all!(backpressure::ByRequest<(), fn(), RejectWithBoxError>: Clone, Send, Sync, Unpin);
assert_impl_all!(backpressure::ByRequest<(), fn(), AdaptivePolicy>: Clone, Send, Sync, Unpin);
assert_not_impl_any!(backpressure::ByRequest<Rc<()>, fn(), RejectWithBoxError>: Send, Sync);
type ByRequestFuture<R, P> = backpressure::ByRequestFuture<Probe, R, P>;
assert_impl_all!(ByRequestFuture<u32, RejectWithBoxError>: Send, Debug);
assert_impl_all!(ByRequestFuture<u32, AdaptivePolicy>: Send, Debug);
assert_impl_all!(backpressure::Terms: Copy, Send, Sync, Unpin, Default, Debug);
assert_impl_all!(backpressure::Terms: UnwindSafe, RefUnwindSafe);
assert_impl_all!(backpressure::Class: Copy, Eq, Hash, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(RetryBudget: Clone, Send, Sync);
assert_impl_all!(Backoff: Copy, Send, Sync, PartialEq);
assert_impl_all!(Waits: Clone, Send, Sync, UnwindSafe, RefUnwindSafe);
assert_impl_all!(ExponentialRetry: UnwindSafe, RefUnwindSafe);
assert_impl_all!(RetryStatistics: Copy, Send, Sync, PartialEq);
assert_impl_all!(Decision: Copy, Send, Sync, PartialEq);
assert_impl_all!(Rejected: Clone, Send, Sync, std::error::Error);
assert_impl_all!(InvalidSetting: Clone, Send, Sync, std::error::Error);

#[cfg(any(feature = "client", feature = "server"))]
assert_impl_all!(
    tower_floodgate::deadline::HeaderTimeout:
    Clone, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug
);
#[cfg(feature = "client")]
assert_impl_all!(
    tower_floodgate::client::HttpClassifier: Clone, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe,
    Debug, backpressure::Judge<http::Response<()>, NotClone>
);
#[cfg(feature = "grpc")]
assert_impl_all!(
    tower_floodgate::client::GrpcClassifier: Clone, Send, Sync, Unpin, UnwindSafe, RefUnwindSafe,
    Debug
);
