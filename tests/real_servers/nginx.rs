//! An nginx of one process, with all its files in a folder of the build.
//!
//! # The burst that nginx must allow
//!
//! nginx limits by a leaky bucket, `limit_req`. `RATE` requests leak out of it in each second,
//! counted in milliseconds and in thousandths of a request. A request that finds more than `burst`
//! in the bucket is rejected and not counted. So the bucket holds the excess of arrivals over
//! leakage in the worst span that ends now.
//!
//! Our window issues up to 100 in any second, possibly together: `100 * (k + 1)` in a span of `k`
//! seconds, both ends included, of which `100 * k` leak out. That leaves **100**, for any span.
//!
//! But nginx counts *arrivals*. Requests delayed by the network or the machine arrive beside those
//! issued meanwhile. A caller sends its next request only after the response to the last one, so at
//! any moment at most one request per caller is under way: of those that arrive within a span, at
//! most **`CALLERS`** were issued before it. At the other end, nginx takes the time of its last
//! wake-up for the time of an arrival, so it may date requests that arrived since too early, at
//! most **`CALLERS`** of them. And it reads a clock that may be some milliseconds behind: **1**
//! request.
//!
//! So `burst = 100 + 2 * CALLERS + 1` is enough at any speed of the machine. And it is tight: with
//! a client that issues 103 together in each second, two or three more remain each time, and half
//! of the 30 seconds exceeds it.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use crate::{CALLERS, RATE, install::find_or_install, program::Running};

/// A location that nginx limits: `/NAME`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    /// The number of requests that nginx accepts above its rate.
    pub(crate) burst: u32,
    /// The status of its rejections.
    pub(crate) status: u16,
    /// True if they have a `Retry-After` of a second, which is not the default.
    pub(crate) retry_after: bool,
}

pub(crate) const OBEYING: Zone =
    Zone { name: "obeying", burst: RATE + 2 * CALLERS + 1, status: 503, retry_after: false };

/// nginx sends a `Retry-After`, which takes an `add_header ... always`.
pub(crate) const HINTING: Zone =
    Zone { name: "hinting", burst: RATE / 2, status: 503, retry_after: true };

/// nginx sends no `Retry-After`, so the client relies on its backoff.
pub(crate) const SILENT: Zone =
    Zone { name: "silent", burst: RATE / 2, status: 429, retry_after: false };

/// Starts nginx, limiting each of `zones` to `RATE`.
///
/// # Errors
///
/// If there is no nginx, or it doesn't start. The text tells the remedy.
pub(crate) async fn start(zones: &[Zone]) -> Result<Running, String> {
    start_with(|folder, address| {
        for zone in zones {
            fs::write(folder.join(zone.name), "hello").unwrap();
        }
        limited(folder, address, zones)
    })
    .await
}

/// Makes a server that serves the files in `folder`, with the limit of its zone each.
fn limited(folder: &Path, address: SocketAddr, zones: &[Zone]) -> String {
    let limits: String = zones
        .iter()
        .map(|Zone { name, .. }| {
            format!("limit_req_zone $server_name zone={name}:1m rate={RATE}r/s;\n")
        })
        .collect();
    // Files are served because a `return` is executed before the limit.
    let locations: String = zones
        .iter()
        .map(|&Zone { name, burst, status, retry_after }| {
            let hint = if retry_after {
                format!(
                    "location @{name} {{ add_header Retry-After 1 always; return {status}; }}\n\
                     location = /{name} {{ error_page {status} @{name};\n"
                )
            } else {
                format!("location = /{name} {{\n")
            };
            format!(
                "{hint}limit_req zone={name} burst={burst} nodelay; limit_req_status {status}; }}\n"
            )
        })
        .collect();
    format!(
        "{limits}access_log off;
server {{
listen {address};
server_name floodgate;
root \"{folder}\";
{locations}}}
",
        folder = folder.display()
    )
}

/// Makes the configuration of one foreground process with these `servers`, and all its files in
/// `folder`.
fn configuration(folder: &Path, servers: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
pid \"{folder}/pid\";
error_log stderr crit;
events {{ worker_connections 2048; }}
http {{
client_body_temp_path \"{folder}/body\";
proxy_temp_path \"{folder}/proxy\";
fastcgi_temp_path \"{folder}/fastcgi\";
uwsgi_temp_path \"{folder}/uwsgi\";
scgi_temp_path \"{folder}/scgi\";
{servers}}}
"
    )
}

/// Starts an nginx with the `http` section that `servers` returns for its folder and address.
///
/// # Errors
///
/// If there is no nginx, or it doesn't start. The text tells the remedy.
pub(crate) async fn start_with(
    servers: impl Fn(&Path, SocketAddr) -> String,
) -> Result<Running, String> {
    let program = find_or_install("nginx", "nginx")?;
    Running::start("nginx", |folder, address| {
        fs::write(folder.join("nginx.conf"), configuration(folder, &servers(folder, address)))
            .unwrap();
        let mut command = Command::new(&program);
        command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
        command
    })
    .await
}
