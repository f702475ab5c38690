//! Headquarters during a run, as the emulator sees it.

use std::time::Duration;

use service_kit::clock::Clock;
use tillsync_proto::pb::emulator::{
    GetFiguresRequest, GetFiguresResponse, emulator_service_client::EmulatorServiceClient,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{Live, Window};
use crate::{error::Error, result::Hq};

/// Pause between two looks at the queue.
const LOOK: Duration = Duration::from_millis(100);
/// Most looks of a run; a longer run is looked at less often.
const MAX_LOOKS: u32 = 1_000;

/// Resets the figures at the start of the window, looks at the queue until its end, and sums up. Nothing without
/// an emulator.
pub async fn watch(
    emulator: Option<EmulatorServiceClient<Channel>>,
    clock: &dyn Clock,
    window: Window,
    stop: &CancellationToken,
    live: &Live,
) -> Result<Option<Hq>, Error> {
    let Some(emulator) = emulator else { return Ok(None) };
    let figures = async |reset| {
        let said = emulator.clone().get_figures(GetFiguresRequest { reset }).await;
        said.map(tonic::Response::into_inner).map_err(|status| Error::service("the emulator", status))
    };
    until(window.start, stop).await;
    figures(true).await?;
    let pause = LOOK.max(window.end.saturating_duration_since(window.start) / MAX_LOOKS);
    let (mut queue, mut next) = (Vec::new(), window.start);
    while next < window.end && !stop.is_cancelled() {
        until(next, stop).await;
        let seen = figures(false).await?;
        let at = clock.now().saturating_duration_since(window.start);
        queue.push((at.as_secs_f64(), seen.queue_now));
        live.queue(seen.queue_now);
        next += pause;
    }
    until(window.end, stop).await;
    Ok(Some(summary(&figures(false).await?, queue)))
}

async fn until(instant: Instant, stop: &CancellationToken) {
    tokio::select! {
        () = sleep_until(instant) => {}
        () = stop.cancelled() => {}
    }
}

fn summary(figures: &GetFiguresResponse, queue: Vec<(f64, u32)>) -> Hq {
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
    }
}
