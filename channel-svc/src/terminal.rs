//! A till's own service (rules O1 to O4): the same engine as a store's, with its store in the place of
//! headquarters. While the store answers, calls are passed on to it; while it does not, they are served here, and
//! what was created goes up to the store afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use service_kit::{config::Chain, way::Way};
use tillsync_proto::pb::channel::{PingRequest, status_service_client::StatusServiceClient};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use crate::{
    status::is_lost,
    store::{Store, StoreError},
};

/// How often it is looked whether the store has everything, once it answers again.
const LOOK: Duration = Duration::from_millis(50);

/// How long that may take before the terminal asks again whether the store answers.
const LEVEL: Duration = Duration::from_secs(60);

/// What makes a terminal of a channel.
#[derive(Debug, Clone)]
pub struct TerminalConfig {
    /// The store, `http://host:port` or `https://host:port`.
    pub store: String,
    /// How long a call to the store may take before the terminal goes offline (rule O1).
    pub timeout: Duration,
    /// How long it stays offline at least before it asks the store again (rule O1).
    pub reconnect: Duration,
}

/// What became of a call that was to be passed on.
pub(crate) enum Passed<A> {
    /// The store has answered, with a refusal perhaps.
    Answered(Result<Response<A>, Status>),
    /// The terminal is offline: the call is to be served here.
    Offline,
}

/// The connection to the store. Looked at before each call and never during one: a call is a transaction, and the
/// terminal comes back between two of them only.
pub(crate) struct Link {
    store: Way,
    timeout: Duration,
    reconnect: Duration,
    online: AtomicBool,
    lost: Notify,
}

impl Link {
    /// A link that is taken to work, unless something waits to be uploaded.
    pub fn new(store: Way, config: &TerminalConfig, online: bool) -> Arc<Self> {
        let lost = Notify::new();
        if !online {
            lost.notify_one();
        }
        let (timeout, reconnect) = (config.timeout, config.reconnect);
        Arc::new(Self { store, timeout, reconnect, online: AtomicBool::new(online), lost })
    }

    /// Whether calls are passed on.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Passes a call on, and goes offline if the store does not answer it (rule O1). A refusal of the store is an
    /// answer.
    pub async fn pass<M, A>(
        &self,
        request: Request<M>,
        call: impl AsyncFnOnce(Way, Request<M>) -> Result<Response<A>, Status>,
    ) -> Passed<A> {
        if !self.is_online() {
            return Passed::Offline;
        }
        match timeout(self.timeout, call(self.store.clone(), request)).await {
            Ok(Err(status)) if is_lost(&status) => {}
            Ok(answer) => return Passed::Answered(answer),
            Err(_) => {}
        }
        if self.online.swap(false, Ordering::AcqRel) {
            info!("the store does not answer; this terminal is offline");
            self.lost.notify_one();
        }
        Passed::Offline
    }

    /// Brings the terminal back online: after the reconnect interval, once the store answers and has what
    /// was created here before. Until the token is cancelled.
    pub async fn run<S: Store>(self: Arc<Self>, store: S, stop: CancellationToken) {
        let restored = async {
            loop {
                self.lost.notified().await;
                loop {
                    sleep(self.reconnect).await;
                    if self.answers().await && self.level(&store).await {
                        break;
                    }
                }
                info!("the store answers and has what was created here; this terminal is online");
                self.online.store(true, Ordering::Release);
            }
        };
        stop.run_until_cancelled(restored).await;
    }

    async fn answers(&self) -> bool {
        let mut status = StatusServiceClient::new(self.store.clone());
        matches!(timeout(self.timeout, status.ping(PingRequest {})).await, Ok(Ok(_)))
    }

    /// Waits until the P-job has brought what is in the log now, bounded. Creates go on meanwhile, and what they log
    /// goes up soon after.
    async fn level<S: Store>(&self, store: &S) -> bool {
        let level = async {
            let goal = store.log_progress().await?.newest_operation;
            while store.log_progress().await?.uploaded_through < goal {
                sleep(LOOK).await;
            }
            Ok::<(), StoreError>(())
        };
        match timeout(LEVEL, level).await {
            Ok(Ok(())) => true,
            Ok(Err(failure)) => {
                error!(error = %Chain(&failure), "the log cannot be read");
                false
            }
            Err(_) => false,
        }
    }
}
