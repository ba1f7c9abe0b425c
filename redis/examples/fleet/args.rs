//! The options.

use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use tower_floodgate::{
    InvalidSetting,
    shared::{Away, SharedWindow, Store, StoreError},
};

/// Lets four processes share the quota of an API through Redis, and checks that they keep it.
///
/// One of them is killed and started again, and so is Redis. At the end it prints when requests
/// were issued, by all processes, and checks the promises of the quota.
#[derive(Clone, Debug, Parser)]
#[command(name = "fleet", after_help = EXIT_CODES, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Requests in any --window, of all processes
    #[arg(long, value_name = "REQUESTS", default_value_t = 200)]
    pub(crate) rate: u32,

    /// Length of the span of time that --rate limits
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,

    /// Length of the run
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = length)]
    pub(crate) length: Duration,

    /// Take a lost state of Redis for full, so that --rate holds through the loss
    #[arg(long)]
    pub(crate) strict: bool,

    /// Let Redis keep its data: it loses nothing when it is killed
    #[arg(long, conflicts_with = "redis")]
    pub(crate) persist: bool,

    /// A Redis to use, which is not killed, instead of one that is started
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,

    /// Makes this process one of the fleet
    #[arg(long, hide = true, requires = "api")]
    pub(crate) member: Option<Appetite>,

    #[arg(long, hide = true)]
    pub(crate) api: Option<String>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every promise was kept
  1  a failure, as with a Redis that can't be reached
  2  an option or its value is wrong
  3  a promise was broken";

/// The requests of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Appetite {
    Saturating,
    Bursty,
    Steady,
    Mortal,
}

impl Appetite {
    /// The mortal one is the last.
    pub(crate) const ALL: [Self; 4] = [Self::Saturating, Self::Bursty, Self::Steady, Self::Mortal];

    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("none is skipped").get_name().to_owned()
    }
}

impl Args {
    /// Checks the values.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        self.quota(Unasked).map(|_| ()).map_err(|invalid| {
            let option = if invalid.setting() == "window" { "--window" } else { "--rate" };
            let message = format!("invalid value for '{option}': {invalid}");
            Self::command().error(ErrorKind::ValueValidation, message)
        })
    }

    /// Returns the quota, in a store.
    pub(crate) fn quota(&self, store: impl Store) -> Result<SharedWindow, InvalidSetting> {
        let name = format!("fleet-example-{}-{}", self.rate, self.window.as_millis());
        let quota = SharedWindow::try_new(store, name, self.rate, self.window, Away::Closed)?;
        Ok(if self.strict { quota.strict() } else { quota })
    }
}

/// The store of a quota whose settings are checked.
struct Unasked;

impl Store for Unasked {
    async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
        Err(StoreError::new("unasked"))
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_secs(2)..=Duration::from_secs(3600);
    if range.contains(&length) { Ok(length) } else { Err("expected 2s to 1h".to_owned()) }
}
