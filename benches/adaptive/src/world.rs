//! Worlds: a server, the load on it, and the phases in which both change.

/// A run of phases before one server.
#[derive(Clone, Debug)]
pub struct World {
    /// The name, for tables.
    pub name: String,
    /// The kind of the server.
    pub server: Server,
    /// The number of equal limiters that share the server.
    pub limiters: u32,
    /// The length of the queue before each limit; a request that finds it full is rejected.
    pub max_queue: usize,
    /// The phases, one after the other.
    pub phases: Vec<Phase>,
}

/// The discipline of a server of `capacity` permits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Server {
    /// Serves as many requests at a time as it has permits, the others in order of arrival.
    Fifo,
    /// Serves all requests at a time, at the speed of as many processors as it has permits.
    Shared,
    /// As `Shared`, with a throughput that falls by this share for each `capacity` requests beyond
    /// its capacity.
    Retrograde(f64),
    /// Has as many replicas as permits, each of which serves one request at a time. A request
    /// chooses one at random.
    Replicas,
}

/// A span of time with one server and one load.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The name, for tables; empty for one that only leads to the next.
    pub name: String,
    /// The length, in seconds.
    pub seconds: f64,
    /// The number of requests that the server can serve at a time without slowing down.
    pub capacity: u32,
    /// The mean time of a request alone, in seconds.
    pub service: f64,
    /// How the time varies from request to request.
    pub times: Times,
    /// How the time varies with the hour.
    pub course: Course,
    /// Arrivals, as a multiple of the capacity.
    pub load: f64,
    /// The share of requests that fail in 0.2 ms, without reaching the server.
    pub failing: f64,
    /// The caller drops the response future after this time, in seconds.
    pub timeout: Option<f64>,
    /// The same, counted from the arrival: the time in the queue is a part of it.
    pub patience: Option<f64>,
    /// The server answers with an overload status, in 0.2 ms, to requests beyond this number in it.
    pub sheds_above: Option<u32>,
}

/// The distribution of service times, with a mean of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Times {
    /// All equal.
    Constant,
    /// Exponential.
    Exponential,
    /// Lognormal with this σ.
    Lognormal(f64),
    /// Two lognormal modes, one a hundred times the other, the slow one with this share. The mean
    /// is that of a share of 10 %, so that a shift of the mix changes it.
    Bimodal(f64),
}

/// The change of service times over a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// None.
    Steady,
    /// Grows evenly to this multiple.
    Drift(f64),
    /// Varies by ± 50 % within a second.
    Breathing,
    /// The server stands still for 200 ms every 5 s.
    Pauses,
}

impl Phase {
    /// A phase of 40 permits, 20 ms lognormal, at 1.5 times the capacity.
    pub fn new(name: &str, seconds: f64) -> Self {
        Self {
            name: name.to_owned(),
            seconds,
            capacity: 40,
            service: 0.020,
            times: Times::Lognormal(0.7),
            course: Course::Steady,
            load: 1.5,
            failing: 0.0,
            timeout: None,
            patience: None,
            sheds_above: None,
        }
    }

    /// Returns the arrivals per second.
    pub fn arrivals(&self) -> f64 {
        self.load * f64::from(self.capacity) / (self.service * self.times.mean())
    }

    /// Returns the best fixed limit, by the knowledge of the server.
    pub fn best(&self, server: Server) -> u32 {
        match server {
            Server::Replicas => 2 * self.capacity,
            Server::Fifo | Server::Shared | Server::Retrograde(_) => self.capacity,
        }
    }
}

impl Times {
    /// The mean of a sample, as a multiple of the time of a request.
    pub fn mean(self) -> f64 {
        match self {
            Self::Bimodal(slow) => (1.0 + 99.0 * slow) / 10.9,
            _ => 1.0,
        }
    }

    /// Returns the sample of three uniform numbers of [0, 1).
    pub fn sample(self, [one, two, three]: [f64; 3]) -> f64 {
        let radius = (-2.0 * (1.0 - one).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * two).cos();
        let lognormal = |sigma: f64| (sigma * normal - sigma * sigma / 2.0).exp();
        match self {
            Self::Constant => 1.0,
            Self::Exponential => -(1.0 - one).ln(),
            Self::Lognormal(sigma) => lognormal(sigma),
            Self::Bimodal(slow) => {
                lognormal(0.3) * if three < slow { 100.0 / 10.9 } else { 1.0 / 10.9 }
            }
        }
    }
}
