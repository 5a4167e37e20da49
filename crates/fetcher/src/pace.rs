//! How fast a body must come: a deadline for the whole of it, and a minimum rate over a sliding window.

use std::collections::VecDeque;
use std::time::Duration;

/// How many samples a window is kept in.
const SAMPLES: u32 = 10;

/// Counts bytes against the time that was spent waiting for them, so that a slow disk of ours is not held against the host.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Duration,
    least: u64,
    waited: Duration,
    received: u64,
    /// (waited, received) at the start of each part of the window, oldest first.
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// At least `bytes_per_second` over every `window`.
    pub(crate) fn new(bytes_per_second: u64, window: Duration) -> Self {
        let least = u128::from(bytes_per_second) * window.as_millis() / 1000;
        let samples = VecDeque::from([(Duration::ZERO, 0)]);
        Self { window, least: u64::try_from(least).unwrap_or(u64::MAX), waited: Duration::ZERO, received: 0, samples }
    }

    /// How long to wait at most before the next call of [`Pace::add`].
    pub(crate) fn tick(&self) -> Duration {
        self.window / SAMPLES
    }

    /// Adds what arrived during a wait; false when the window has passed with too few bytes.
    pub(crate) fn add(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.received = self.received.saturating_add(bytes);
        while self.samples.len() > 1 && self.waited.saturating_sub(self.samples[1].0) >= self.window {
            self.samples.pop_front();
        }
        let (since, before) = self.samples[0];
        let enough = self.waited.saturating_sub(since) < self.window || self.received - before >= self.least;
        if self.samples.back().is_none_or(|(at, _)| self.waited.saturating_sub(*at) >= self.tick()) {
            self.samples.push_back((self.waited, self.received));
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn feed(bytes_a_second: u64, seconds: u64) -> bool {
        let mut pace = Pace::new(1024, 30 * SECOND);
        (0..seconds).all(|_| pace.add(SECOND, bytes_a_second))
    }

    #[test]
    fn the_rate_is_a_limit() {
        assert!(!feed(1023, 100));
        assert!(feed(1024, 100));
        assert!(feed(1025, 100));
    }

    #[test]
    fn nothing_is_judged_before_the_window_is_full() {
        assert!(feed(0, 29));
        assert!(!feed(0, 30));
    }

    #[test]
    fn a_fast_start_buys_no_slow_rest() {
        let mut pace = Pace::new(1024, 30 * SECOND);
        assert!(pace.add(SECOND, 1 << 30));
        let held = (0..120).take_while(|_| pace.add(SECOND, 1)).count();
        assert!((29..=34).contains(&held), "{held}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut pace = Pace::new(0, 30 * SECOND);
        for _ in 0..100_000 {
            assert!(pace.add(Duration::from_millis(10), 1));
        }
        assert!(pace.samples.len() <= SAMPLES as usize + 2, "{}", pace.samples.len());
    }
}
