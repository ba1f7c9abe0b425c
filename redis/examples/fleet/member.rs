//! A process of the fleet: a client of the API behind the shared quota.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::{Client, Method, Request, Response, StatusCode, Url, redirect, retry};
use tokio::{io::AsyncReadExt, select, sync::mpsc, time::sleep};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ExponentialRetry, ExponentialRetryLayer, Rejected, WindowRateLimitLayer,
    retry::{Backoff, Verdict},
    shared::SharedRateLimitHandle,
};
use tower_floodgate_redis::{
    RedisStore,
    redis::{self, aio::ConnectionManagerConfig},
};

use crate::{
    args::{Appetite, Args},
    clock,
    process::Record,
};

/// A request, and the time at which its present attempt arrived at the limit.
struct Call {
    request: Request,
    arrived: Duration,
}

/// Makes requests until the standard input ends. Each record is a line of the standard output.
pub(crate) async fn run(args: &Args, appetite: Appetite) -> Result<(), Box<dyn Error>> {
    let url = args.redis.as_deref().ok_or("--redis is missing")?;
    let api: Url = args.api.as_deref().ok_or("--api is missing")?.parse()?;
    // By default, the pauses between its attempts grow up to some seconds.
    let config = ConnectionManagerConfig::new().set_max_delay(Duration::from_millis(500));
    let redis = redis::Client::open(url)?.get_connection_manager_with_config(config).await?;
    let mut quota = args.quota(RedisStore::new(redis))?;
    if appetite == Appetite::Saturating {
        // The rest is there for the others at any time.
        quota = quota.try_max_share((args.rate / 2).max(1))?;
    }
    let rate_limit = WindowRateLimitLayer::shared(quota);
    let handle = rate_limit.handle();
    // The layers make all retries, and a proxy cannot reach a local port.
    let reqwest = Client::builder()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .build()?;
    let retry = ExponentialRetry::new(5)
        .backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(1)))
        .classify(verdict)
        .clone_with(|call: &Call| {
            Some(Call { request: call.request.try_clone()?, arrived: call.arrived })
        });
    // Written by another task: an issue waits for no reader of its record.
    let (records, mut written) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(record) = written.recv().await {
            match record {
                Some(record) => println!("{record}"),
                // The standard input blocks a thread, which the runtime would wait for.
                None => std::process::exit(0),
            }
        }
    });
    let issues = records.clone();
    // Each attempt counts against the quota, so the limit is inside the retry.
    let client = ServiceBuilder::new()
        .layer(ExponentialRetryLayer::new(retry))
        .map_request(|call: Call| Call { arrived: clock::now(), ..call })
        .layer(rate_limit)
        .map_request(move |Call { request, arrived }| {
            let at = clock::now();
            let _ = issues.send(Some(Record::Issue { at, waited: at.saturating_sub(arrived) }));
            request
        })
        .service(reqwest);

    let make =
        move || Call { request: Request::new(Method::GET, api.clone()), arrived: Duration::ZERO };
    let (client, succeeded) = (counting(client), Arc::new(AtomicU64::new(0)));
    let work = demand(args, appetite, client, make, Arc::clone(&succeeded));
    let counts = || counts(&handle, succeeded.load(Relaxed));
    let reports = async {
        loop {
            let _ = records.send(Some(counts()));
            sleep(Duration::from_millis(100)).await;
        }
    };
    let (mut input, mut nothing) = (tokio::io::stdin(), Vec::new());
    select! {
        () = work => {}
        () = reports => {}
        _ = input.read_to_end(&mut nothing) => {}
    }
    let _ = records.send(Some(counts()));
    let _ = records.send(None);
    std::future::pending().await
}

/// Tells whether a request succeeded.
fn counting<S>(
    client: S,
) -> impl Service<Call, Response = bool, Error = BoxError, Future: Send> + Clone + Send + 'static
where
    S: Service<Call, Response = Response, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    client.map_response(|response: Response| response.status().is_success())
}

/// Makes the requests of a process, without an end.
async fn demand<S>(
    args: &Args,
    appetite: Appetite,
    client: S,
    make: impl Fn() -> Call + Clone + Send + 'static,
    succeeded: Arc<AtomicU64>,
) where
    S: Service<Call, Response = bool, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let request = move || {
        let (client, call, succeeded) = (client.clone(), make(), Arc::clone(&succeeded));
        async move {
            let result = client.oneshot(call).await;
            succeeded.fetch_add(u64::from(matches!(result, Ok(true))), Relaxed);
        }
    };
    let window = args.window;
    match appetite {
        Appetite::Saturating | Appetite::Mortal => {
            for _ in 0..32 {
                let request = request.clone();
                tokio::spawn(async move {
                    loop {
                        request().await;
                    }
                });
            }
            std::future::pending().await
        }
        Appetite::Bursty => loop {
            for _ in 0..args.rate.div_ceil(8) {
                tokio::spawn(request());
            }
            sleep(window * 3 / 4).await;
        },
        Appetite::Steady => loop {
            tokio::spawn(request());
            sleep(window * 8 / args.rate).await;
        },
    }
}

/// Retries failures that may be temporary: a broken connection, a failing server, an exhausted
/// quota. A request that this process has rejected has waited for long already.
fn verdict(_: &Call, result: &Result<Response, BoxError>) -> Verdict {
    match result {
        Ok(response) => match response.status() {
            StatusCode::TOO_MANY_REQUESTS => Verdict::Retry,
            status if status.is_server_error() => Verdict::Retry,
            _ => Verdict::Done,
        },
        Err(error) if Rejected::find(&**error).is_some() => Verdict::Done,
        Err(_) => Verdict::Retry,
    }
}

fn counts(handle: &SharedRateLimitHandle, succeeded: u64) -> Record {
    let fleet = handle.snapshot().store;
    Record::Counts {
        requests: fleet.store_requests,
        failures: fleet.store_failures,
        losses: fleet.epoch_changes,
        late: fleet.issued_late,
        succeeded,
    }
}
