//! Headquarters during a run, as the emulator sees it.

use std::time::Duration;

use service_kit::clock::Clock;
use tillsync_proto::pb::emulator::{GetFiguresRequest, GetFiguresResponse};
use tokio_util::sync::CancellationToken;

use super::{Recorder, Timeline, until};
use crate::{error::Error, result::Hq, services::Fleet};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Most looks of a run; a longer run is looked at less often.
const MAX_LOOKS: u32 = 1_000;
/// The share of busy workers is that of about this long.
const BUSY_OVER: Duration = Duration::from_secs(1);

/// Resets the figures at the start of what is measured, looks at the queue until its end, and sums up. Nothing
/// without an emulator.
pub async fn watch(
    fleet: &Fleet,
    clock: &dyn Clock,
    time: Timeline,
    stop: &CancellationToken,
    recorder: &Recorder,
) -> Result<Option<Hq>, Error> {
    let Some(emulator) = &fleet.emulator else { return Ok(None) };
    let figures = async |reset| {
        let said = emulator.clone().get_figures(GetFiguresRequest { reset }).await;
        said.map(tonic::Response::into_inner).map_err(|status| Error::service("the emulator", status))
    };
    until(time.start, stop).await;
    figures(true).await?;
    let pause = LOOK.max(time.end.saturating_duration_since(time.start) / MAX_LOOKS);
    let (mut queue, mut next) = (Vec::new(), time.start);
    let (mut busy, mut worked, mut share) = (Vec::new(), (0.0, 0.0), None);
    while next < time.end && !stop.is_cancelled() {
        until(next, stop).await;
        let seen = figures(false).await?;
        let at = clock.now().saturating_duration_since(time.start).as_secs_f64();
        queue.push((at, seen.queue_now));
        if at - worked.0 >= BUSY_OVER.max(pause).as_secs_f64() {
            let so_far = seen.utilization * at;
            let of_late = ((so_far - worked.1) / (at - worked.0)).clamp(0.0, 1.0);
            busy.push((at, of_late));
            (worked, share) = ((at, so_far), Some(of_late));
        }
        recorder.hq(seen.queue_now, share.or(Some(seen.utilization)));
        next += pause;
    }
    until(time.end, stop).await;
    Ok(Some(summary(&figures(false).await?, queue, busy)))
}

fn summary(figures: &GetFiguresResponse, queue: Vec<(f64, u32)>, busy: Vec<(f64, f64)>) -> Hq {
    let wait = figures.mean_wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default();
    Hq {
        utilization: figures.utilization,
        queue_max: figures.queue_max,
        arrived: figures.arrived,
        completed: figures.completed,
        refused: figures.refused_queue_full
            + figures.refused_longest_wait
            + figures.refused_rate_limit
            + figures.refused_throttle
            + figures.refused_outage,
        mean_wait_ms: wait.as_secs_f64() * 1_000.0,
        queue,
        busy,
    }
}
