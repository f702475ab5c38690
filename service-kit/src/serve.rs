//! One way to serve: gRPC with health, reflection, metrics and deadlines, on connections that somebody else
//! listens for, until a token is cancelled and the last call has ended or the drain has taken too long.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tracing::warn;

use crate::{
    burden,
    clock::Clock,
    connections, deadline,
    door::{self, Access, Door, DoorConfig},
    network::{Handed, Incoming},
    process,
    reload::FileError,
    telemetry,
    tls::Encrypted,
    together::Quick,
    web::{self, Origin},
};

/// A future that is compiled in the crate that makes it. Without it every binary and every test that awaits a
/// whole service would compile that service anew.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How long calls may go on after the token was cancelled.
pub const DRAIN: Duration = Duration::from_secs(10);

/// What to serve.
pub struct Server {
    /// The services.
    pub routes: Routes,
    /// Their full names, for the health service.
    pub names: &'static [&'static str],
    /// The encoded descriptors, for reflection.
    pub descriptors: &'static [u8],
    /// Origins whose pages may call too, by grpc-web.
    pub web: Vec<Origin>,
    /// Who may come in.
    pub door: DoorConfig,
    /// Who of them may call what.
    pub access: Access,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors cannot be read.
    #[error("the descriptors for reflection cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A certificate, a key or the tokens cannot be used.
    #[error(transparent)]
    Door(#[from] FileError),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[from] std::io::Error),
}

impl Server {
    /// Serves until `shutdown` is cancelled, then lets calls end for at most [`DRAIN`]. Streams have to end by
    /// themselves when the token is cancelled; what is still open after the drain is cut.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    #[must_use]
    pub fn serve(
        self,
        incoming: impl Into<Incoming>,
        shutdown: CancellationToken,
    ) -> Boxed<'static, Result<(), ServeError>> {
        self.boxed(incoming.into(), shutdown)
    }

    fn boxed(
        self,
        incoming: Incoming,
        shutdown: CancellationToken,
    ) -> Boxed<'static, Result<(), ServeError>> {
        Box::pin(self.run(incoming, shutdown))
    }

    async fn run(self, incoming: Incoming, shutdown: CancellationToken) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in self.names {
            health.set_service_status(*name, ServingStatus::Serving).await;
        }
        let reflect = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(self.descriptors)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = self
            .routes
            .add_service(health_service)
            .add_service(reflect().build_v1()?)
            .add_service(reflect().build_v1alpha()?);
        let tls = self.door.tls(&self.clock)?;
        let address = if let Incoming::Tcp(listener) = &incoming { listener.local_addr().ok() } else { None };
        let door = Door::open(&self.door, self.access, address, &self.clock)?.map(Arc::new);
        let prometheus = telemetry::prometheus();
        let mut metrics = get(move || async { prometheus.render() + &process::Usage::now().exposed() });
        let mut calls = routes
            .prepare()
            .into_axum_router()
            .layer(from_fn(burden::bound))
            .layer(from_fn_with_state(Arc::clone(&self.clock), deadline::enforce))
            .layer(from_fn_with_state(Arc::clone(&self.clock), telemetry::count));
        // An open door is none: no call passes it.
        if let Some(door) = &door {
            calls = calls.layer(from_fn_with_state(Arc::clone(door), door::guard));
            metrics = metrics.layer(from_fn_with_state(Arc::clone(door), door::guard));
        }
        let router: Router = web::callable(calls, &self.web).route("/metrics", metrics);
        let stop = shutdown.clone();
        let stopped = async move {
            stop.cancelled().await;
            for name in self.names {
                health.set_service_status(*name, ServingStatus::NotServing).await;
            }
        };
        let clock = self.clock;
        let serving: Boxed<'static, std::io::Result<()>> = match (incoming, tls) {
            (Incoming::Tcp(listener), None) => {
                Box::pin(connections::serve(Quick(listener), router, clock, stopped))
            }
            (Incoming::Tcp(listener), Some(tls)) => {
                let listener = Encrypted::new(listener, tls, Arc::clone(&clock));
                Box::pin(connections::serve(listener, router, clock, stopped))
            }
            (Incoming::Handed(handed), _) => {
                Box::pin(connections::serve(Handed(handed), router, clock, stopped))
            }
        };
        tokio::select! {
            result = serving => result.map_err(Into::into),
            never = telemetry::keep() => match never {},
            () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
                warn!("calls were still open at the end of the drain; they are cut");
                Ok(())
            }
        }
    }
}
