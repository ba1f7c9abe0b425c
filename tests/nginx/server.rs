//! An nginx of one process, with its files in a folder of the build, stopped by dropping its
//! handle.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use crate::RATE;

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

#[derive(Debug)]
pub(crate) struct Nginx {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// Starts nginx on a free port of 127.0.0.1, limiting each of `zones` to `RATE`.
    ///
    /// # Errors
    ///
    /// If there is no nginx, or it doesn't start. The text tells the remedy.
    pub(crate) async fn start(zones: &[Zone]) -> Result<Self, String> {
        let program = find_or_install()?;
        // Another process may bind the port before nginx does.
        for _ in 0..3 {
            if let Some(nginx) = Self::try_start(&program, zones).await {
                return Ok(nginx);
            }
        }
        Err("nginx doesn't start: what it says is above".to_owned())
    }

    async fn try_start(program: &Path, zones: &[Zone]) -> Option<Self> {
        let name = format!("nginx-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        for zone in zones {
            fs::write(folder.join(zone.name), "hello").unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        fs::write(folder.join("nginx.conf"), configuration(&folder, address, zones)).unwrap();

        let process = Command::new(program)
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf"])
            .spawn()
            .expect("it is there");
        let mut nginx = Self { process, folder, address };
        for _ in 0..1000 {
            // nginx writes this file once it listens.
            if nginx.folder.join("pid").exists() {
                return Some(nginx);
            }
            if nginx.process.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    pub(crate) fn url(&self, zone: Zone) -> String {
        format!("http://{}/{}", self.address, zone.name)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The process may have ended already, and files that remain are in the folder of the build.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes the configuration of one foreground process with all its files in `folder`.
fn configuration(folder: &Path, address: SocketAddr, zones: &[Zone]) -> String {
    let folder = folder.display();
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
        "daemon off;
master_process off;
pid \"{folder}/pid\";
error_log stderr crit;
events {{ worker_connections 2048; }}
http {{
access_log off;
client_body_temp_path \"{folder}/body\";
proxy_temp_path \"{folder}/proxy\";
fastcgi_temp_path \"{folder}/fastcgi\";
uwsgi_temp_path \"{folder}/uwsgi\";
scgi_temp_path \"{folder}/scgi\";
{limits}server {{
listen {address};
server_name floodgate;
root \"{folder}\";
{locations}}}
}}
"
    )
}

/// Returns the path of nginx, after installing it where one command can.
fn find_or_install() -> Result<PathBuf, String> {
    if let Some(program) = find() {
        return Ok(program);
    }
    println!("nginx is not here: trying to install it");
    // The package starts a service unless a policy forbids it.
    let script = "set -e
        [ \"$(id -u)\" = 0 ] && command -v apt-get >/dev/null
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends nginx >/dev/null
        invoke-rc.d nginx stop >/dev/null 2>&1 || true";
    let installed = Command::new("sh").args(["-c", script]).status();
    match find() {
        Some(program) if installed.is_ok_and(|status| status.success()) => Ok(program),
        _ => Err("nginx is needed and not here. Install it (on Debian and Ubuntu: \
                  `apt-get install nginx`, as root) and run this again."
            .to_owned()),
    }
}

fn find() -> Option<PathBuf> {
    // Its folder may not be in `PATH`.
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join("nginx")).find(|program| program.is_file())
}
