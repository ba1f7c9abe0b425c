//! HAProxy with a stick table: 429 and a `Retry-After` above a rate of requests per client.
//!
//! # The rate that it must allow
//!
//! HAProxy estimates the rate of the last second: the requests of the present period, and of the
//! period before the share that a second reaches back into it. A window of `RATE` can have issued
//! all of them at the begin of the period before, and all of the next at the begin of the present
//! one, a second later. The estimate is then twice `RATE`. And it counts *arrivals*: at most
//! `CALLERS` requests that were issued before the period before arrive in it, and at most `CALLERS`
//! are dated too early at its other end. So `2 * RATE + 2 * CALLERS` is enough at any speed of the
//! machine.

use std::{fs, net::SocketAddr, process::Command};

use crate::{CALLERS, RATE, install::find_or_install, program::Running};

/// # Errors
///
/// If there is no HAProxy, or it doesn't start. The text tells the remedy.
pub(crate) async fn start() -> Result<Running, String> {
    let obeying = 2 * RATE + 2 * CALLERS;
    // Two front ends, because requests are counted per table, and rejected ones, too.
    start_with(|address| {
        format!(
            "frontend limits
    bind {address}
    acl is_obeying path /obeying
    stick-table type ip size 1k expire 30s store http_req_rate(1s)
    http-request track-sc0 src table of_obeying if is_obeying
    http-request track-sc1 src unless is_obeying
    http-request return status 429 content-type text/plain string slower hdr Retry-After 1 \
    if is_obeying {{ sc_http_req_rate(0,of_obeying) gt {obeying} }}
    http-request return status 429 content-type text/plain string slower hdr Retry-After 1 \
    if !is_obeying {{ sc_http_req_rate(1) gt {RATE} }}
    http-request return status 200 content-type text/plain string hello
backend of_obeying
    stick-table type ip size 1k expire 30s store http_req_rate(1s)
"
        )
    })
    .await
}

/// Starts a HAProxy with the sections that `sections` returns for its address.
///
/// # Errors
///
/// If there is no HAProxy, or it doesn't start. The text tells the remedy.
pub(crate) async fn start_with(sections: impl Fn(SocketAddr) -> String) -> Result<Running, String> {
    let program = find_or_install("haproxy", "haproxy")?;
    Running::start("haproxy", |folder, address| {
        let path = folder.join("haproxy.cfg");
        let configuration = format!(
            "global
    maxconn 2048
defaults
    mode http
    timeout connect 30s
    timeout client 30s
    timeout server 30s
{}",
            sections(address)
        );
        fs::write(&path, configuration).unwrap();
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(path);
        command
    })
    .await
}

/// Returns the version of HAProxy: its first two numbers.
///
/// # Errors
///
/// If there is no HAProxy, or it tells none.
pub(crate) fn version() -> Result<(u32, u32), String> {
    let program = find_or_install("haproxy", "haproxy")?;
    let output = Command::new(program).arg("-v").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split(' ').find(|word| word.starts_with(|char: char| char.is_ascii_digit()));
    let mut numbers = version.into_iter().flat_map(|it| it.split(['.', '-'])).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(format!("HAProxy tells no version: {text}")),
    }
}
