//! The stores during a run: who waits for an account number.

use std::time::Duration;

use service_kit::clock::Clock;
use tokio_util::sync::CancellationToken;

use super::{Recorder, Timeline, until};
use crate::{result::Pending, services::Fleet};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Most looks of a run; a longer run is looked at less often.
const MAX_LOOKS: u32 = 500;

/// Looks until the end of what is measured. A store that does not answer is left out of a look.
pub async fn watch(
    fleet: &Fleet,
    clock: &dyn Clock,
    time: Timeline,
    stop: &CancellationToken,
    recorder: &Recorder,
) -> Vec<Pending> {
    let pause = LOOK.max(time.end.saturating_duration_since(time.zero) / MAX_LOOKS);
    let (mut seen, mut next) = (Vec::new(), time.zero);
    while next < time.end && !stop.is_cancelled() {
        until(next, stop).await;
        let (mut pending, mut oldest) = (0, None);
        for store in &fleet.stores {
            if let Ok(status) = store.status().await {
                pending += status.pending_customers;
                let age = status.oldest_pending_age.and_then(|age| Duration::try_from(age).ok());
                oldest = oldest.max(age);
            }
        }
        recorder.stores(pending, oldest);
        let now = clock.now();
        if time.start <= now {
            let at_s = now.saturating_duration_since(time.start).as_secs_f64();
            seen.push(Pending { at_s, pending, oldest_s: oldest.map_or(0.0, |oldest| oldest.as_secs_f64()) });
        }
        next += pause;
    }
    seen
}
