//! A real Prometheus that scrapes the example each second, and its HTTP API.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use reqwest::{Client, Url};
use serde_json::Value;

use crate::program::{Running, of_prometheus, temporary};

/// Long enough for any machine.
const STUCK: Duration = Duration::from_secs(60);

pub(crate) struct Prometheus {
    process: Running,
    folder: PathBuf,
    url: String,
    client: Client,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes `target`, a host and a port.
    pub(crate) async fn start(target: &str) -> Result<Self, String> {
        let program = of_prometheus("prometheus")?;
        let folder = temporary(&format!("prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let configuration = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n\
             scrape_configs:\n- job_name: observe\n  static_configs:\n  - targets: ['{target}']\n"
        );
        fs::write(&configuration, text).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        let process = Running::start(&mut command);
        let client = Client::builder().no_proxy().build().unwrap();
        let mut this = Self { process, folder, url: format!("http://{address}"), client };
        let ready = format!("{}/-/ready", this.url);
        let is_ready = async {
            while !this.client.get(&ready).send().await.is_ok_and(|it| it.status().is_success()) {
                if this.process.has_ended() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            true
        };
        match tokio::time::timeout(STUCK, is_ready).await {
            Ok(true) => Ok(this),
            _ => Err("Prometheus does not start: its messages are above".to_owned()),
        }
    }

    /// Waits for a scrape that began after this call.
    pub(crate) async fn scraped(&self) {
        let scraped = format!("min(timestamp(floodgate_limit)) > {}", now());
        let wait = async {
            while self.query(&scraped).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(STUCK, wait).await.expect("Prometheus scrapes");
    }

    /// Returns the values of an instant vector of now.
    pub(crate) async fn query(&self, query: &str) -> Vec<f64> {
        let result = self.ask("query", &[("query", query)]).await;
        result.iter().map(|sample| number(&sample["value"][1])).collect()
    }

    /// Returns all values of a range vector, in steps of a second.
    pub(crate) async fn range(&self, query: &str, begin: f64, end: f64) -> Vec<f64> {
        let (begin, end) = (begin.to_string(), end.to_string());
        let range = [("query", query), ("start", &begin), ("end", &end), ("step", "1")];
        let series = self.ask("query_range", &range).await;
        let values = |series: &Value| series["values"].as_array().cloned().unwrap_or_default();
        series.iter().flat_map(values).map(|value| number(&value[1])).collect()
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Vec<Value> {
        let url = format!("{}/api/v1/{what}", self.url);
        let url = Url::parse_with_params(&url, parameters).unwrap();
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {text}");
        answer["data"]["result"].as_array().expect("a vector or a matrix").clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Files that remain are in the folder of the build.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn number(value: &Value) -> f64 {
    value.as_str().expect("numbers are texts").parse().expect("is a number")
}

/// Returns the time in seconds since the epoch, as Prometheus has it.
#[allow(clippy::disallowed_methods, reason = "Prometheus has the time of the machine")]
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}
