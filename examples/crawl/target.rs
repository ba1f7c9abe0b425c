//! The target of the crawl: the built-in site, or a given URL.

use std::{fmt, io};

use reqwest::{Method, Request, Url};

use crate::{
    args::Args,
    clock::Clock,
    site::{Arrival, Manner, Site},
};

pub(crate) enum Target {
    BuiltIn(Site),
    Given(Url),
}

impl Target {
    pub(crate) async fn of(args: &Args, clock: Clock) -> io::Result<Self> {
        Ok(match &args.url {
            Some(url) => Self::Given(url.clone()),
            None => {
                let Args { delay, failures, seed, .. } = *args;
                let manner = Manner { delay, failures, seed, incident: None };
                Self::BuiltIn(Site::open(clock, manner).await?)
            }
        })
    }

    /// Returns the request of a task.
    pub(crate) fn request(&self, task: usize) -> Request {
        let url = match self {
            Self::BuiltIn(site) => site.page(task),
            Self::Given(url) => url.clone(),
        };
        Request::new(Method::GET, url)
    }

    /// Returns the arrivals of requests, which only the built-in site records.
    pub(crate) fn arrivals(&self) -> Option<Vec<Arrival>> {
        match self {
            Self::BuiltIn(site) => Some(site.arrivals()),
            Self::Given(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(site) => write!(f, "http://{}/pages", site.address()),
            Self::Given(url) => url.fmt(f),
        }
    }
}
