//! Makes a generator's share of the calls of a run, each when it is due.

use std::{io, sync::Arc, time::Duration};

use service_kit::clock::Clock;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::calls::{CALL_DEADLINE, Calls};
use crate::{
    arrivals::{Arrival, constant},
    generator::Generator,
    load::{Dues, Load},
    pacer::pace,
};

/// Every how manieth create is a generator's, and from which on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its number, from 0.
    pub number: u64,
    /// How many there are.
    pub of: u64,
}

/// What falls due.
#[derive(Debug, Clone, Copy)]
enum Due {
    Create(u64, Arrival),
    Probe,
    Yardstick,
}

/// What falls due besides creates, in calls per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Beside {
    /// Reads at headquarters.
    pub probe_per_s: f64,
    /// Empty calls to a store.
    pub yardstick_per_s: f64,
}

/// Calls under way.
pub struct Driven {
    paced: oneshot::Receiver<()>,
    tasks: TaskTracker,
}

impl Driven {
    /// Starts.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn start(
        calls: &Arc<Calls>,
        generator: &Generator,
        load: &Load,
        share: Share,
        beside: Beside,
        stop: &CancellationToken,
    ) -> io::Result<Self> {
        let creates = load.arrivals().zip(0..).filter(move |(_, index)| index % share.of == share.number);
        let creates = creates.map(|(arrival, index)| (arrival.due, Due::Create(index, arrival)));
        let length = load.warmup + load.measured;
        let steady = |per_s: f64, due: Due| {
            let length = if per_s > 0.0 { length } else { Duration::ZERO };
            constant(per_s.max(f64::MIN_POSITIVE), length, 1).map(move |call| (call.due, due))
        };
        let (probe, yardstick) =
            (steady(beside.probe_per_s, Due::Probe), steady(beside.yardstick_per_s, Due::Yardstick));
        let dues = merged(creates, merged(probe, yardstick));
        let tasks = TaskTracker::new();
        let (clock, start): (Arc<dyn Clock>, Instant) = (Arc::clone(&calls.clock), calls.start);
        let calling = Arc::clone(calls);
        let (handle, calls, spawning) = (generator.handle(), Arc::clone(calls), tasks.clone());
        let send = move |due: Due, at: Instant| match due {
            Due::Create(index, arrival) => {
                spawning.spawn_on(Arc::clone(&calls).create(index, arrival.channel, at), &handle);
            }
            Due::Probe => {
                spawning.spawn_on(Arc::clone(&calls).probe(at), &handle);
            }
            Due::Yardstick => {
                spawning.spawn_on(Arc::clone(&calls).yardstick(at), &handle);
            }
        };
        if let Dues::Closed(callers) = load.dues {
            let end = start + length;
            for caller in (0..u64::from(callers)).filter(|caller| caller % share.of == share.number) {
                let calling = close(Arc::clone(&calling), caller, callers, end, stop.clone());
                tasks.spawn_on(calling, &generator.handle());
            }
        }
        let paced = pace(clock, start, dues, stop.clone(), send)?;
        Ok(Self { paced, tasks })
    }

    /// Waits until the last call that has an instant of its own was made, or it was stopped.
    pub async fn made(&mut self) {
        // The pacer ends by itself with the last arrival, or by the token.
        let _ = (&mut self.paced).await;
    }

    /// Waits until the last call has ended; longer than its deadline none takes.
    pub async fn ended(self) {
        self.tasks.close();
        let _ = timeout(CALL_DEADLINE + Duration::from_secs(1), self.tasks.wait()).await;
    }
}

/// A caller of a closed loop: its creates are due when it is ready for them.
async fn close(calls: Arc<Calls>, caller: u64, callers: u16, end: Instant, stop: CancellationToken) {
    sleep_until(calls.start).await;
    let mut index = caller;
    while calls.clock.now() < end && !stop.is_cancelled() {
        let channel = usize::try_from(index).unwrap_or_default() % calls.fleet.stores.len().max(1);
        Arc::clone(&calls).create(index, channel, calls.clock.now()).await;
        index += u64::from(callers);
    }
}

/// Two schedules as one.
fn merged<T>(
    one: impl Iterator<Item = (Duration, T)>,
    other: impl Iterator<Item = (Duration, T)>,
) -> impl Iterator<Item = (Duration, T)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((due, _)), Some((others, _))) if due <= others => one.next(),
        (_, Some(_)) => other.next(),
        (_, None) => one.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_what_is_due_first_comes_first() {
        let of = |millis: &[u64]| millis.iter().map(|n| (Duration::from_millis(*n), *n)).collect::<Vec<_>>();
        let dues = |one: &[u64], other: &[u64]| -> Vec<u64> {
            merged(of(one).into_iter(), of(other).into_iter()).map(|(_, n)| n).collect()
        };
        assert_eq!(dues(&[1, 4, 4, 9], &[2, 4, 10, 11]), [1, 2, 4, 4, 4, 9, 10, 11]);
        assert_eq!(dues(&[], &[3]), [3]);
        assert_eq!(dues(&[3], &[]), [3]);
    }
}
