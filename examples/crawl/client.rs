//! The client: one request for each call, and no more.

use reqwest::{Client, Result, redirect, retry};

use crate::args::Args;

/// What the client sent by itself, the rate limit would not see: so it follows no redirects, and leaves
/// all retries to the layer that is there for them.
pub(crate) fn client(args: &Args) -> Result<Client> {
    let client = Client::builder()
        .timeout(args.timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never());
    // No proxy leads to a port of this machine.
    let client = if args.url.is_none() { client.no_proxy() } else { client };
    client.build()
}
