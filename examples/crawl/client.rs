//! The client, which sends one request for each call.

use reqwest::{Client, Result, redirect, retry};

use crate::args::Args;

/// Makes a client that follows no redirects and makes no retries.
///
/// The rate limit would not count such requests. The retry layer makes all retries.
pub(crate) fn client(args: &Args) -> Result<Client> {
    let client = Client::builder()
        .timeout(args.timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never());
    // A proxy cannot reach a local port.
    let client = if args.url.is_none() { client.no_proxy() } else { client };
    client.build()
}
