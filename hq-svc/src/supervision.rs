//! The watchdog of the customer sync job (rule X10).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use service_kit::watchdog::{Look, Watchdog};
use tillsync_proto::{Job, Micros};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    board::HEADQUARTERS,
    hq::Headquarters,
    metrics,
    store::Store,
    sync_job::{Past, SyncJob},
};

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_secs(1);

/// What the watchdog has seen (rule X10). Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Supervision(Arc<Mutex<Supervised>>);

/// What the watchdog has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Supervised {
    /// Why nothing moves although something waits, and since when.
    pub stall: Option<(String, Micros)>,
    /// How often the job was started anew.
    pub restarts: u32,
}

impl Supervision {
    /// What it has seen.
    pub fn get(&self) -> Supervised {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stall: Option<(String, Micros)>, restart: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        metrics::stalled(stall.is_some());
        seen.restarts += u32::from(restart);
        seen.stall = stall;
    }
}

/// Runs the job until `shutdown`, and starts it anew when arrivals wait and none has been processed for `limit`.
pub(crate) async fn supervise<S: Store>(hq: Headquarters<S>, limit: Duration, shutdown: CancellationToken) {
    // Nobody waits any more for what was asked before the start.
    let asked = hq.board.order(Job::CustomerSync, HEADQUARTERS).run.request;
    let past = Arc::new(Past::new(asked, hq.clock.now()));
    let lease = hq.store.lease().clone();
    let work = |turn: CancellationToken| watch_over(hq.clone(), limit, turn, Arc::clone(&past));
    lease.while_held(&shutdown, work).await;
}

/// The same, while this process is the one that runs it.
async fn watch_over<S: Store>(
    hq: Headquarters<S>,
    limit: Duration,
    shutdown: CancellationToken,
    past: Arc<Past>,
) {
    let mut watchdog = Watchdog::new(limit, hq.clock.now(), hq.clock.wall_micros());
    while !shutdown.is_cancelled() {
        let stop = shutdown.child_token();
        let (job, past, token) = (SyncJob::new(&hq), Arc::clone(&past), stop.clone());
        let task = tokio::spawn(async move { job.drive(token, &past).await });
        let watched = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if look(&hq, &mut watchdog).await {
                    return;
                }
            }
        };
        if shutdown.run_until_cancelled(watched).await.is_some() {
            // What is under way is rolled back.
            task.abort();
        }
        stop.cancel();
        let _ = task.await;
    }
}

/// Reads the progress from the tables; true: the job is to be started anew.
async fn look<S: Store>(hq: &Headquarters<S>, watchdog: &mut Watchdog<(u64, u64)>) -> bool {
    let (Ok(head), Ok(counts)) = (hq.store.head().await, hq.store.arrival_counts().await) else {
        return false;
    };
    let progress = (head.arrivals_completed, counts.set_aside);
    match watchdog.look(progress, counts.waiting > 0, hq.clock.now(), hq.clock.wall_micros()) {
        Look::Well => {
            hq.supervision.set(None, false);
            false
        }
        Look::Stalled { since, again } => {
            let held = hq.board.order(Job::CustomerSync, HEADQUARTERS).schedule.held;
            let left =
                hq.store.sequences().await.ok().and_then(|all| all.first().map(|accounts| accounts.left));
            let reason = match (held, left) {
                _ if head.awaited > 0 => {
                    "channels have not brought yet what was lost in a restore; tillsync hq recovery tells which"
                }
                (true, _) => "the customer sync job is held (rule X8)",
                (false, Some(0)) => "the account numbers are exhausted (rule X6)",
                (false, _) => "arrivals wait and none has been processed (rule X10)",
            };
            if again {
                error!(reason, "the customer sync job stands still; it is started anew");
            }
            hq.supervision.set(Some((reason.to_owned(), Micros(since))), again);
            again
        }
    }
}
