//! A headless Chromium, driven by the DevTools protocol over a pipe.
//!
//! Each message is JSON that ends with a zero byte. A command has a number, and its response has
//! the same; events have none. The browser reads descriptor 3 and writes descriptor 4, so neither a
//! port nor a driver is needed.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
};

use crate::install::{find, find_or_install};

const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Of a command that the browser does not respond to.
const STUCK: Duration = Duration::from_secs(30);

/// Moves the pipes of standard input and output to the descriptors of the protocol.
const START: &str = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>&2"#;

const OPTIONS: &[&str] = &[
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    // Without requests of its own, and without the means for them.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
    "--lang=en-US",
];

#[derive(Debug)]
pub(crate) struct Browser {
    process: Child,
    connection: Arc<Connection>,
    profile: PathBuf,
}

impl Browser {
    /// Starts the browser.
    ///
    /// # Errors
    ///
    /// If there is none, with the remedy.
    pub(crate) async fn start() -> Result<Self, String> {
        let installed = NAMES.iter().find_map(|name| find(name));
        let program = match installed {
            Some(program) => program,
            None => find_or_install("chromium", "chromium")?,
        };
        let profile =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{}", std::process::id()));
        fs::create_dir_all(&profile).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", START]).arg(program).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.display()));
        if is_root() {
            // The sandbox does not work for root. The pages are those of this test.
            command.arg("--no-sandbox");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command.stderr(fs::File::create(profile.join("messages")).unwrap());
        let mut process = command.spawn().map_err(|error| format!("sh does not start: {error}"))?;
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let connection = Arc::new(Connection::new(input));
        tokio::spawn(connection.clone().read(output));
        let version = connection.ask(None, "Browser.getVersion", json!({})).await;
        match version {
            Ok(version) => println!("{}", version["product"].as_str().unwrap_or_default()),
            Err(error) => {
                let messages = fs::read_to_string(profile.join("messages")).unwrap_or_default();
                return Err(format!("Chromium does not start: {error}\n{messages}"));
            }
        }
        Ok(Self { process, connection, profile })
    }

    /// Opens a tab of 1000 by 800 pixels.
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let connection = self.connection.clone();
        let made = connection.ask(None, "Target.createTarget", json!({ "url": "about:blank" }));
        let target = made.await.unwrap()["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = connection.ask(None, "Target.attachToTarget", attach).await.unwrap();
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let tab = Tab { connection, session, target };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            tab.ask(&format!("{domain}.enable"), json!({})).await;
        }
        tab.resize(1000, 800).await;
        tab.ask("Page.navigate", json!({ "url": url })).await;
        tab
    }

    /// Ends the browser, and waits until it has.
    pub(crate) async fn close(mut self) {
        // It may end before it responds.
        let _ = self.connection.ask(None, "Browser.close", json!({})).await;
        if tokio::time::timeout(STUCK, self.process.wait()).await.is_err() {
            self.process.kill().await.unwrap();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already, and files that remain are in the folder of the build.
        let _ = self.process.start_kill();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

fn is_root() -> bool {
    let output = std::process::Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[derive(Debug)]
pub(crate) struct Tab {
    connection: Arc<Connection>,
    session: String,
    target: Value,
}

impl Tab {
    async fn ask(&self, method: &str, params: Value) -> Value {
        let result = self.connection.ask(Some(&self.session), method, params).await;
        result.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Returns the value of an expression.
    pub(crate) async fn read(&self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut result = self.ask("Runtime.evaluate", params).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result:#}");
        result["result"]["value"].take()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Prefers `light` or `dark`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
    }

    /// Returns the visible part as a PNG.
    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png" })).await;
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// Returns the addresses of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        let url = |params: Value| params["request"]["url"].as_str().unwrap().to_owned();
        self.events("Network.requestWillBeSent").into_iter().map(url).collect()
    }

    /// Returns exceptions, calls of `console.error`, and errors that the browser notes: of the
    /// content security policy, of the network, and others.
    pub(crate) fn errors(&self) -> Vec<Value> {
        let mut errors = self.events("Runtime.exceptionThrown");
        let called = self.events("Runtime.consoleAPICalled");
        errors.extend(called.into_iter().filter(|params| params["type"] == "error"));
        let logged = self.events("Log.entryAdded");
        errors.extend(logged.into_iter().filter(|params| params["entry"]["level"] == "error"));
        errors
    }

    fn events(&self, method: &str) -> Vec<Value> {
        let events = self.connection.events.lock().unwrap();
        let own = events.iter().filter(|event| event["sessionId"] == self.session.as_str());
        own.filter(|event| event["method"] == method).map(|event| event["params"].clone()).collect()
    }

    pub(crate) async fn close(self) {
        let target = json!({ "targetId": self.target });
        self.connection.ask(None, "Target.closeTarget", target).await.unwrap();
    }
}

type Answer = Result<Value, String>;

#[derive(Debug)]
struct Connection {
    input: tokio::sync::Mutex<ChildStdin>,
    number: AtomicU64,
    /// The commands without a response; `None` once the browser has ended.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    events: Mutex<Vec<Value>>,
}

impl Connection {
    fn new(input: ChildStdin) -> Self {
        Self {
            input: tokio::sync::Mutex::new(input),
            number: AtomicU64::new(1),
            pending: Mutex::new(Some(HashMap::new())),
            events: Mutex::default(),
        }
    }

    async fn ask(&self, session: Option<&str>, method: &str, params: Value) -> Answer {
        let id = self.number.fetch_add(1, Relaxed);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let mut message = command.to_string().into_bytes();
        message.push(0);
        let (sender, answer) = oneshot::channel();
        match &mut *self.pending.lock().unwrap() {
            Some(pending) => drop(pending.insert(id, sender)),
            None => return Err("the browser has ended".to_owned()),
        }
        self.input.lock().await.write_all(&message).await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(STUCK, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the browser has ended".to_owned()),
            Err(_) => Err("the browser is stuck".to_owned()),
        }
    }

    async fn read(self: Arc<Self>, output: ChildStdout) {
        let mut output = BufReader::new(output);
        let mut message = Vec::new();
        while output.read_until(0, &mut message).await.is_ok_and(|length| length > 0) {
            message.pop();
            let mut value: Value = serde_json::from_slice(&message).unwrap_or_default();
            message.clear();
            if let Some(id) = value["id"].as_u64() {
                let answer = match value.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(value["result"].take()),
                };
                let mut pending = self.pending.lock().unwrap();
                if let Some(sender) = pending.as_mut().and_then(|pending| pending.remove(&id)) {
                    // The command may have been given up.
                    let _ = sender.send(answer);
                }
            } else {
                self.events.lock().unwrap().push(value);
            }
        }
        *self.pending.lock().unwrap() = None;
    }
}
