//! Headquarters, emulator and channels as real servers in this process: loopback TCP, SQLite files in a folder.
//! The one place that knows how the services are started.

use std::{fmt::Display, io, path::Path, sync::Arc};

use rts_emulator::Profile;
use service_kit::{
    clock::{Clock, Ids},
    database::DatabaseUrl,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{error::Error, relay::Relays, services::Addresses};

/// What the channels' and headquarters' commits promise.
pub const DURABILITY: &str = "SQLite, synchronous=FULL: an acknowledged create survives a power cut";

/// Services that run in this process. Dropping it ends them as a crash would.
pub struct Services {
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    services: JoinSet<()>,
}

impl Services {
    /// None yet.
    #[must_use]
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), stop: CancellationToken::new(), services: JoinSet::new() }
    }

    /// Starts headquarters.
    ///
    /// # Errors
    ///
    /// [`Error::Start`].
    pub async fn hq(&mut self, listener: TcpListener, config: hq_svc::Config, ids: Ids) -> Result<(), Error> {
        let hq = hq_svc::open(&config, Arc::clone(&self.clock), ids).await.map_err(start("headquarters"))?;
        let token = self.stop.clone();
        self.services.spawn(async move { ended("headquarters", hq_svc::serve(listener, token, hq).await) });
        Ok(())
    }

    /// Starts the emulator before a headquarters.
    pub fn emulator(&mut self, listener: TcpListener, profile: Profile, hq_url: &str, seed: u64) {
        let deps = rts_emulator::Deps::forwarding(profile, hq_url, Arc::clone(&self.clock));
        let deps = rts_emulator::Deps { seed, ..deps };
        let token = self.stop.clone();
        self.services
            .spawn(async move { ended("the emulator", rts_emulator::serve(listener, token, deps).await) });
    }

    /// Starts a channel, or a terminal of one.
    ///
    /// # Errors
    ///
    /// [`Error::Start`].
    pub async fn channel(
        &mut self,
        listener: TcpListener,
        config: channel_svc::Config,
        ids: Ids,
    ) -> Result<(), Error> {
        let opened = channel_svc::open(&config, Arc::clone(&self.clock), ids).await;
        let channel = opened.map_err(start("a channel"))?;
        let token = self.stop.clone();
        self.services
            .spawn(async move { ended("a channel", channel_svc::serve(listener, token, channel).await) });
        Ok(())
    }

    /// Waits until one of them has ended, which none does by itself.
    pub async fn failed(&mut self) {
        if self.services.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Ends them; each drains within its own bound.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.services.join_next().await.is_some() {}
    }
}

/// A chain for a measurement: all data below a folder, ports that were free.
pub struct Embedded {
    /// Where they listen.
    pub addresses: Addresses,
    services: Services,
}

impl Embedded {
    /// Starts them, with this many channels, all data below `folder`; channels reach headquarters by the relays, if there
    /// are any.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], or no port.
    pub async fn start(
        folder: &Path,
        clock: &Arc<dyn Clock>,
        seed: u64,
        profile: Profile,
        channels: usize,
        relays: Option<&Relays>,
    ) -> Result<Self, Error> {
        let mut services = Services::new(clock);
        let file = |name: &str| DatabaseUrl::Sqlite(folder.join(format!("{name}.db")));
        let ids = |number: u64| Ids::seeded(Arc::clone(clock), seed.wrapping_add(number));

        let (listener, hq_url) = listen().await?;
        services.hq(listener, hq_svc::Config::new(file("hq")), ids(1)).await?;
        let (listener, rts_url) = listen().await?;
        services.emulator(listener, profile, &hq_url, seed);
        let mut urls = Vec::new();
        for number in 1..=channels {
            let (listener, url) = listen().await?;
            let name = format!("store-{number}");
            let id = name.parse().map_err(start("a channel"))?;
            let (rts, hq) = (way(relays, &rts_url).await?, way(relays, &hq_url).await?);
            let config = channel_svc::Config::new(id, file(&name), &rts, &hq);
            services.channel(listener, config, ids(1 + number as u64)).await?;
            urls.push(url);
        }
        let addresses = Addresses { hq: Some(hq_url), emulator: Some(rts_url), channels: urls };
        Ok(Self { addresses, services })
    }

    /// Ends them; each drains within its own bound.
    pub async fn stop(self) {
        self.services.stop().await;
    }
}

/// A URL, or the way to it that can be cut.
async fn way(relays: Option<&Relays>, url: &str) -> io::Result<String> {
    match (relays, url.strip_prefix("http://")) {
        (Some(relays), Some(address)) => Ok(format!("http://{}", relays.to(address).await?)),
        _ => Ok(url.to_owned()),
    }
}

pub(crate) fn start<E: Display>(service: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Start { service, message: error.to_string() }
}

/// Callers find out by their calls; this says why.
fn ended<E: Display>(service: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(service, %error, "a service failed");
    }
}

async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}
