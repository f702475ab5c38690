//! The emulator as a server: the real-time service behind the gate, and its control, on one listener.

use std::{io, sync::Arc, thread};

use service_kit::{
    clock::{Clock, Ids},
    door::{Access, DoorConfig},
    serve::{Boxed, ServeError, Server},
    way::{Credentials, WayError},
};
use tillsync_proto::access;
use tillsync_proto::pb::{
    self, emulator::emulator_service_server::EmulatorServiceServer,
    hq::real_time_service_client::RealTimeServiceClient, hq::real_time_service_server::RealTimeServiceServer,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::info;

use crate::{
    alone::MemoryHq,
    control::Control,
    gate::Gate,
    model::Served,
    profile::{Profile, ProfileError},
    rts::{Headquarters, Rts},
};

#[cfg(test)]
mod tests;

/// What the emulator runs on.
pub struct Deps {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What headquarters is like at the start.
    pub profile: Profile,
    /// Seed of everything that chance decides (rule R3).
    pub seed: u64,
    /// Who does the real work.
    pub backend: Backend,
    /// Gets the instants of every call that was served. What does not fit is left out.
    pub observer: Option<mpsc::Sender<Served>>,
    /// Who may come in.
    pub door: DoorConfig,
    /// What headquarters is shown. Calls that carry a token pass on their own.
    pub credentials: Credentials,
}

impl Deps {
    /// Before a real headquarters, such as `http://127.0.0.1:7200`. Seed 1.
    #[must_use]
    pub fn forwarding(profile: Profile, hq: &str, clock: Arc<dyn Clock>) -> Self {
        Self { backend: Backend::Forward(hq.to_owned()), ..Self::alone(profile, clock) }
    }

    /// Without a real headquarters. Seed 1.
    #[must_use]
    pub fn alone(profile: Profile, clock: Arc<dyn Clock>) -> Self {
        let (door, credentials) = (DoorConfig::default(), Credentials::default());
        Self { clock, profile, seed: 1, backend: Backend::Alone, observer: None, door, credentials }
    }
}

/// Who does the real work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A real headquarters at `http://host:port` or `https://host:port`. It is connected to with the first call, and again when it
    /// has to be.
    Forward(String),
    /// Nobody: an in-memory headquarters of at most 100,000 customers answers, and forgets all at the end.
    Alone,
}

/// Why the emulator could not run.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The profile is not valid.
    #[error("the profile is not valid: {0}")]
    Profile(#[from] ProfileError),
    /// The address of headquarters is not one.
    #[error("headquarters: {0}")]
    Address(#[from] WayError),
    /// Callers' tokens would be sent on where others can read them.
    #[error("headquarters: the callers' tokens go on to https:// and loopback addresses only")]
    Readable,
    /// No thread for the timer.
    #[error("no thread for the timer: {0}")]
    Timer(io::Error),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

fn connect(url: &str, credentials: &Credentials, door: &DoorConfig) -> Result<Headquarters, EmulatorError> {
    let route = credentials.route(url)?;
    if door.tokens.is_some() && !route.is_private() {
        return Err(EmulatorError::Readable);
    }
    Ok(Headquarters::Remote(RealTimeServiceClient::new(route.connect_lazy())))
}

/// Serves `tillsync.hq.v1.RealTimeService` and `tillsync.emulator.v1.EmulatorService` (rules R1, R6), with
/// health, reflection and metrics, until `shutdown` is cancelled and the calls have ended.
///
/// # Errors
///
/// [`EmulatorError`].
#[must_use]
pub fn serve(
    listener: TcpListener,
    shutdown: CancellationToken,
    deps: Deps,
) -> Boxed<'static, Result<(), EmulatorError>> {
    Box::pin(run(listener, shutdown, deps))
}

async fn run(listener: TcpListener, shutdown: CancellationToken, deps: Deps) -> Result<(), EmulatorError> {
    let Deps { clock, profile, seed, backend, observer, door, credentials } = deps;
    let capacity_per_s = profile.capacity_per_s();
    let gate = Arc::new(Gate::new(Arc::clone(&clock), profile, seed, observer)?);
    // Calls that are still here when serving ends would wait for decisions that nobody delivers.
    let _closes = Closes(Arc::clone(&gate));
    let headquarters = match backend {
        Backend::Forward(url) => connect(&url, &credentials, &door)?,
        Backend::Alone => {
            Headquarters::Memory(Arc::new(MemoryHq::new(Ids::seeded(Arc::clone(&clock), seed).mint())))
        }
    };
    let rts = Rts::new(Arc::clone(&gate), Arc::clone(&clock), headquarters);
    let server = Server {
        routes: Routes::new(RealTimeServiceServer::new(rts))
            .add_service(EmulatorServiceServer::new(Control(Arc::clone(&gate)))),
        names: &["tillsync.hq.v1.RealTimeService", "tillsync.emulator.v1.EmulatorService"],
        descriptors: pb::DESCRIPTORS,
        web: Vec::new(),
        door,
        access: Access { roles: access::ROLES, table: access::EMULATOR, named: access::NAMED },
        clock,
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, capacity_per_s, "listening");
    }
    // It ends when the gate is closed.
    thread::Builder::new()
        .name("rts-timer".to_owned())
        .spawn(move || gate.drive())
        .map_err(EmulatorError::Timer)?;
    Ok(server.serve(listener, shutdown).await?)
}

struct Closes(Arc<Gate>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}
