//! A process of the fleet, seen by its leader.

use std::{env, error::Error, fmt, io, process::Stdio, str::FromStr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::args::{Appetite, Args};

/// A line that a process writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    /// A request was issued, after it had waited for its permit.
    Issue { at: Duration, waited: Duration },
    /// The numbers of events so far.
    Counts { requests: u64, failures: u64, losses: u64, late: u64, succeeded: u64 },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issue { at, waited } => {
                write!(f, "issue {} {}", at.as_nanos(), waited.as_nanos())
            }
            Self::Counts { requests, failures, losses, late, succeeded } => {
                write!(f, "counts {requests} {failures} {losses} {late} {succeeded}")
            }
        }
    }
}

impl FromStr for Record {
    type Err = Box<dyn Error>;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = line.split_once(' ').unwrap_or_default();
        let numbers: Vec<u64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        match (kind, &numbers[..]) {
            ("issue", &[at, waited]) => {
                let [at, waited] = [at, waited].map(Duration::from_nanos);
                Ok(Self::Issue { at, waited })
            }
            ("counts", &[requests, failures, losses, late, succeeded]) => {
                Ok(Self::Counts { requests, failures, losses, late, succeeded })
            }
            _ => Err(format!("no record: {line}").into()),
        }
    }
}

/// The records of a process.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) appetite: Appetite,
    /// Times of issues, and how long each request had waited for its permit.
    pub(crate) issues: Vec<(Duration, Duration)>,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) losses: u64,
    pub(crate) late: u64,
    pub(crate) succeeded: u64,
}

impl Log {
    fn new(appetite: Appetite) -> Self {
        let issues = Vec::new();
        Self { appetite, issues, requests: 0, failures: 0, losses: 0, late: 0, succeeded: 0 }
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Issue { at, waited } => self.issues.push((at, waited)),
            Record::Counts { requests, failures, losses, late, succeeded } => {
                (self.requests, self.failures) = (requests, failures);
                (self.losses, self.late, self.succeeded) = (losses, late, succeeded);
            }
        }
    }

    /// Adds the records of a predecessor.
    pub(crate) fn join(&mut self, before: Self) {
        self.issues.splice(..0, before.issues);
        self.requests += before.requests;
        self.failures += before.failures;
        self.losses += before.losses;
        self.late += before.late;
        self.succeeded += before.succeeded;
    }
}

/// A process that was started. It ends with its leader.
pub(crate) struct Process {
    child: Child,
    log: JoinHandle<io::Result<Log>>,
}

impl Process {
    pub(crate) fn start(args: &Args, appetite: Appetite) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["--member", &appetite.name()])
            .args(["--redis", args.redis.as_deref().unwrap_or_default()])
            .args(["--api", args.api.as_deref().unwrap_or_default()])
            .args(["--rate", &args.rate.to_string()])
            .args(["--window", &format!("{}us", args.window.as_micros())])
            .args(args.strict.then_some("--strict"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take().expect("is a pipe");
        let log = tokio::spawn(async move {
            let mut log = Log::new(appetite);
            let mut lines = BufReader::new(output).lines();
            while let Some(line) = lines.next_line().await? {
                // The last line of one that was killed may lack its end.
                if let Ok(record) = line.parse() {
                    log.add(record);
                }
            }
            Ok(log)
        });
        Ok(Self { child, log })
    }

    /// Kills the process, and returns its records.
    pub(crate) async fn kill(mut self) -> Result<Log, Box<dyn Error>> {
        self.child.kill().await?;
        Ok(self.log.await??)
    }

    /// Lets the process end, and returns its records.
    pub(crate) async fn end(mut self) -> Result<Log, Box<dyn Error>> {
        drop(self.child.stdin.take());
        let status = self.child.wait().await?;
        let log = self.log.await??;
        if !status.success() {
            return Err(format!("the process {} failed: {status}", log.appetite.name()).into());
        }
        Ok(log)
    }
}
