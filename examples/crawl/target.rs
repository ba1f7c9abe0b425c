//! What is crawled: a site of our own, or a given one.

use std::{fmt, io};

use reqwest::{Method, Request, Url};

use crate::{
    args::Args,
    clock::Clock,
    site::{Arrival, Site},
};

pub(crate) enum Target {
    Ours(Site),
    Theirs(Url),
}

impl Target {
    pub(crate) async fn of(args: &Args, clock: Clock) -> io::Result<Self> {
        Ok(match &args.url {
            Some(url) => Self::Theirs(url.clone()),
            None => Self::Ours(Site::open(clock, args.delay, args.failures, args.seed).await?),
        })
    }

    /// The request that a task makes.
    pub(crate) fn request(&self, task: usize) -> Request {
        let url = match self {
            Self::Ours(site) => site.page(task),
            Self::Theirs(url) => url.clone(),
        };
        Request::new(Method::GET, url)
    }

    /// When requests came in, if the server can be asked.
    pub(crate) fn arrivals(&self) -> Option<Vec<Arrival>> {
        match self {
            Self::Ours(site) => Some(site.arrivals()),
            Self::Theirs(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(site) => write!(f, "http://{}/pages", site.address()),
            Self::Theirs(url) => url.fmt(f),
        }
    }
}
