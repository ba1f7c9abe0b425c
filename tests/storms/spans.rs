//! The check of a window, by the times at which the inner service was called.

use std::{ops::Range, time::Duration};

use tower_floodgate::WindowRateLimitLayer;

use crate::support::{Line, nanos};

/// The settings of a window. Times are in nanoseconds.
#[derive(Clone)]
pub(crate) struct Span {
    limit: u32,
    length: u64,
    fixed: bool,
    /// The span in which its layer was made. The grid of a fixed window begins in it.
    made: Range<u64>,
}

impl Span {
    pub(crate) fn new(fixed: bool, limit: u32, length: Duration) -> (WindowRateLimitLayer, Self) {
        let make = if fixed { WindowRateLimitLayer::fixed } else { WindowRateLimitLayer::new };
        let before = nanos();
        let layer = make(limit, length);
        let made = before..nanos();
        (layer, Self { limit, length: length.as_nanos() as u64, fixed, made })
    }

    /// Asserts that there were never too many requests at `times`.
    ///
    /// **Sliding**: at most N are in any half-open span of W. That is exact, although the window
    /// reads the clock by itself. Of two successive requests with the same permit,
    ///
    /// 1. the inner service records the first at `t1`, in the call;
    /// 2. the window records it at `n1`, when that call has returned: `t1 <= n1`;
    /// 3. the permit expires at a time `m`, read before that: `n1 + W <= m`;
    /// 4. its next holder calls the inner service, which records `t2`: `m <= t2`.
    ///
    /// Each step happens before the next and the clock never goes backwards, so `t1 + W <= t2`: the
    /// span holds at most one request of each permit.
    ///
    /// **Fixed**: at most N are in a window of the grid, since in step 3 there is a boundary of it
    /// after `n1` and up to `m`. The requests from `made.end + k W` up to `made.start + (k + 1) W`
    /// are certainly in window k; those in between are left out. Any span touches only two windows,
    /// so at most 2 N are in it.
    pub(crate) fn judge(&self, mut times: Vec<u64>, line: &mut Line) {
        times.sort(); // the stable sort, which is fast for a few ascending runs
        let (limit, most) = (self.limit as usize, self.most_in_any_span(&times));
        line.count("most_in_a_span", most);
        assert!(most <= if self.fixed { 2 * limit } else { limit }, "{most} in a span");
        if self.fixed {
            let window = |time: &u64| {
                let k = (time - self.made.start) / self.length;
                (*time >= self.made.end + k * self.length).then_some(k)
            };
            let windows: Vec<_> = times.iter().filter_map(window).collect();
            let most = windows.chunk_by(u64::eq).map(<[_]>::len).max().unwrap_or(0);
            line.count("most_in_a_window", most);
            assert!(most <= limit, "{most} in a window of the grid");
        }

        let time = times[times.len() - 1] - times[0] + self.length;
        let windows = time as f64 / self.length as f64;
        let share = times.len() as f64 / (windows * limit as f64); // not judged
        line.count("least_share_permille", (share * 1000.0) as usize);
    }

    /// The largest number of `times`, in ascending order, in a span. Such a span can end at one of
    /// them.
    fn most_in_any_span(&self, times: &[u64]) -> usize {
        let (mut first, mut most) = (0, 0);
        for (last, time) in times.iter().enumerate() {
            while time - times[first] >= self.length {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }
}
