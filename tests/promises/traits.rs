//! The public types that are `Send`, `Sync`, `Unpin` and `Clone`, and those that are not.

use std::{
    marker::PhantomPinned,
    panic::{RefUnwindSafe, UnwindSafe},
    rc::Rc,
};

use futures::future::FusedFuture;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tower_floodgate::{
    ConcurrencyBackpressure, ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    ExponentialRetry, ExponentialRetryLayer, InvalidSetting, PerService, Rejected, WindowRateLimit,
    WindowRateLimitHandle, WindowRateLimitLayer,
    backpressure::{self, AcquireManyError, CloseError, Closed, ConcurrencyPermit, Drained},
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

struct NotClone;
type Inner = std::future::Ready<()>;
type Rules = (Rule<Everyone>,);
type Echo<T> = tower::util::ServiceFn<fn(T) -> std::future::Ready<Result<(), ()>>>;

assert_impl_all!(ConcurrencyBackpressureLayer: Clone, Send, Sync, Unpin, std::fmt::Debug);
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
assert_impl_all!(backpressure::Acquire: FusedFuture, Send, Sync, Unpin, std::fmt::Debug);
assert_impl_all!(backpressure::AcquireMany: FusedFuture, Send, Sync, Unpin, std::fmt::Debug);
assert_impl_all!(ConcurrencyPermit: Send, Sync, Unpin, std::fmt::Debug);
assert_not_impl_any!(ConcurrencyPermit: Clone);
assert_impl_all!(rate_limit::Acquire: FusedFuture, Send, Sync, Unpin, std::fmt::Debug);
assert_impl_all!(rate_limit::AcquireMany: FusedFuture, Send, Sync, Unpin, std::fmt::Debug);
assert_impl_all!(WindowPermit: Send, Sync, Unpin, std::fmt::Debug);
assert_not_impl_any!(WindowPermit: Clone);
assert_impl_all!(AcquireManyError: Clone, PartialEq, Send, Sync, std::error::Error);
assert_impl_all!(CloseError: Clone, Send, Sync, std::error::Error);
assert_impl_all!(KeyedLimitLayer<(Rule<Everyone>,)>: Clone, Send, Sync, Unpin, std::fmt::Debug);
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
assert_impl_all!(backpressure::TermsLayer: Clone, Send, Sync, Unpin, std::fmt::Debug);
assert_impl_all!(backpressure::TermsBackpressure<()>: Clone, Send, Sync, Unpin);
assert_impl_all!(backpressure::ByRequestLayer<fn()>: Clone, Send, Sync, Unpin, std::fmt::Debug);
assert_not_impl_any!(backpressure::ByRequestLayer<NotClone>: Clone);
assert_impl_all!(backpressure::ByRequest<(), fn(), RejectWithBoxError>: Clone, Send, Sync, Unpin);
assert_not_impl_any!(backpressure::ByRequest<Rc<()>, fn(), RejectWithBoxError>: Send, Sync);
assert_impl_all!(backpressure::Terms: Copy, Send, Sync, Unpin, Default, std::fmt::Debug);
assert_impl_all!(backpressure::Class: Copy, Send, Sync, Unpin, Eq, std::hash::Hash);
assert_impl_all!(RetryBudget: Clone, Send, Sync);
assert_impl_all!(Backoff: Copy, Send, Sync, PartialEq);
assert_impl_all!(Waits: Clone, Send, Sync, UnwindSafe, RefUnwindSafe);
assert_impl_all!(ExponentialRetry: UnwindSafe, RefUnwindSafe);
assert_impl_all!(RetryStatistics: Copy, Send, Sync, PartialEq);
assert_impl_all!(Decision: Copy, Send, Sync, PartialEq);
assert_impl_all!(Rejected: Clone, Send, Sync, std::error::Error);
assert_impl_all!(InvalidSetting: Clone, Send, Sync, std::error::Error);
