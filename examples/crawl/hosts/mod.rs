//! Crawls several hosts at once, each within limits of its own, and all of them within one more.
//!
//! ```text
//!   producer    producer   a stream of tasks for each host
//!      │           │
//!   entrance    entrance   ConcurrencyBackpressure: a bound for each host, so that a slow host
//!      │           │       holds back only its own producer
//!    retry       retry     ExponentialRetry: attempts of a task, and a budget for each host
//!      └─────┬─────┘
//!       keyed limit        KeyedLimit: the requests of each host in any second and in flight, and
//!      ┌─────┴─────┐       those of all hosts, decided together; requests wait
//!    pause       pause     PauseKeyOnHint: a hint of a server pauses the key of its host
//!      │           │
//!    client      client    reqwest
//! ```
//!
//! What hosts share stands below what they have alone:
//!
//! - An entrance for all hosts would fill up with the tasks of the slowest, and then hold back all
//!   producers.
//! - A budget for all hosts would be spent by the one that dies.
//! - The *keyed limit* has one state for all services that its layer makes. A request waits there
//!   without a permit of any rule, so the queue of a host takes nothing from the others. At the
//!   limit of all hosts, the hosts take turns.
//! - The limit is inside the retry, so every attempt counts. A task in a backoff has no request in
//!   flight, and leaves its permit to others.
//! - A pause is that of a key. So the 429 of a host holds back all of its tasks, and no other's.

mod limits;
mod profile;

use std::{error::Error, process::ExitCode};

use futures::{Stream, StreamExt, stream};
use humantime::format_duration;
use reqwest::{Client, Method, Request};
use tower::{ServiceBuilder, ServiceExt, layer::layer_fn};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer,
    keyed::{KeyedQueueLayer, Rules, SettleRules},
    reject::RejectPolicyFor,
    retry::RetryBudget,
};

use self::limits::{HOST, MAX_WAIT};
pub(crate) use self::profile::{HOSTS, Host, global};
use crate::{
    args::Args,
    client::client,
    clock::Clock,
    log::Log,
    page::{self, Answer, Page},
    print,
    progress::{Progress, Retried},
    recorder::Recorder,
    report::{HostsReport, OfHost},
    site::Site,
    stall,
    turn::in_turn,
};

/// Retries of a host for each of its tasks.
pub(crate) const RETRY_RATIO: f64 = 0.5;

/// A host that is crawled.
struct Crawled {
    host: Host,
    site: Site,
    log: Log,
    /// The most tasks that may be admitted and not yet ended.
    max_admitted: u32,
}

pub(crate) async fn crawl(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let hosts = profile::hosts(args);
    let (plans, of_all) = limits::quotas(args, &hosts).unwrap_or_else(|error| error.exit());
    let (retry, backoff) = args.retry().unwrap_or_else(|error| error.exit());

    let client = client(args)?;
    let clock = Clock::start();
    let mut crawled = Vec::new();
    for host in hosts {
        let site = Site::open(clock, host.manner(args.seed)).await?;
        let max_admitted = host.in_flight.saturating_add(args.queue);
        crawled.push(Crawled { host, site, log: Log::new(clock), max_admitted });
    }
    let authorities = crawled.iter().map(|it| it.site.address().to_string()).collect();
    let longest = crawled.iter().map(|it| it.max_admitted).max().unwrap_or(0);
    let limits =
        limits::layer(plans, of_all, authorities, longest).unwrap_or_else(|error| error.exit());

    let retried = Retried::default();
    let logs: Vec<_> = crawled.iter().map(|it| it.log.clone()).collect();
    let counts = move || {
        let counts = logs.iter().map(Log::counts);
        counts.fold((0, 0), |sum, of_host| (sum.0 + of_host.0, sum.1 + of_host.1))
    };
    let tasks = args.tasks.saturating_mul(crawled.len());
    let progress = Progress::start(&heading(args, &crawled), tasks, counts, retried.clone());

    let crawls = crawled.iter().map(|host| {
        let budget = RetryBudget::builder(RETRY_RATIO).floor_per_second(0).build();
        let retry = retry.clone().budget(budget);
        Box::pin(host.crawl(args.tasks, retry, retried.clone(), &limits, &client))
    });
    let mut ended = stream::select_all(crawls);
    let all_ended = async {
        while let Some((Crawled { host, log, .. }, task)) = ended.next().await {
            progress.ended(&format!("{}, task {task}", host.name), &log.task(task));
        }
    };
    let ((), stall) = stall::longest_beside(clock, all_ended).await;
    progress.finish();

    let outcomes = crawled.iter().map(Crawled::outcome).collect();
    let report = HostsReport::of(args, &backoff, outcomes, of_all, stall);
    print(&report)?;
    Ok(report.exit_code())
}

impl Crawled {
    /// Crawls the host. The stream has the number of each task that has ended.
    fn crawl<R, P>(
        &self,
        tasks: usize,
        retry: ExponentialRetry,
        retried: Retried,
        limits: &KeyedQueueLayer<R, P>,
        client: &Client,
    ) -> impl Stream<Item = (&Self, usize)>
    where
        R: Rules<Page> + SettleRules<Answer, reqwest::Error>,
        P: RejectPolicyFor<Answer, reqwest::Error, Error = reqwest::Error>,
    {
        let Self { site, log, max_admitted, .. } = self;
        let entrance = ConcurrencyBackpressureLayer::new(*max_admitted);
        let retry = retry
            .classify(page::verdict)
            .clone_with(Page::try_clone)
            .on_decision(move |decision| retried.note(decision));
        let asked = log.clone();
        let crawler = ServiceBuilder::new()
            .layer(entrance)
            .layer(layer_fn(|inner| in_turn(inner, || (), log.clone())))
            .layer(ExponentialRetryLayer::new(retry))
            .map_request(move |page: Page| {
                asked.asked(page.task);
                page
            })
            .layer(limits.clone())
            .layer(limits.pause_on_hint(HOST, page::hint).max_pause(MAX_WAIT))
            .layer(layer_fn(|inner| Recorder::new(inner, log.clone())))
            .map_request(Page::into_request)
            .and_then(page::read)
            .service(client.clone());

        let producer = stream::iter(0..tasks).map(move |_| {
            let task = log.made();
            Page { task, request: Request::new(Method::GET, site.page(task)) }
        });
        let ended = crawler.call_all(producer).unordered();
        ended.filter_map(async |task| task.ok()).map(move |task| (self, task))
    }

    fn outcome(&self) -> OfHost {
        let Self { host, site, log, max_admitted } = self;
        OfHost {
            host: host.clone(),
            max_admitted: *max_admitted,
            entries: log.entries(),
            arrivals: site.arrivals(),
            died: site.died(),
        }
    }
}

fn heading(args: &Args, crawled: &[Crawled]) -> String {
    let Args { tasks, queue, attempts, .. } = args;
    let window = format_duration(args.window);
    let mut heading = format!("Crawling {} hosts\n", crawled.len());
    for Crawled { host, site, .. } in crawled {
        let Host { name, rate, in_flight, delay, .. } = host;
        let (url, delay) = (url(site), format_duration(*delay));
        heading += &format!(
            "  {name:<7} {url}  {rate} in any {window}, {in_flight} in flight, answers in {delay}\n"
        );
    }
    heading + &format!("with --tasks {tasks} --queue {queue} --attempts {attempts}\n")
}

fn url(site: &Site) -> String {
    format!("http://{}/pages", site.address())
}
