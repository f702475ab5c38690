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

use crate::{error::Error, services::Addresses};

/// What the channels' and headquarters' commits promise.
pub const DURABILITY: &str = "SQLite, synchronous=FULL: an acknowledged create survives a power cut";

/// Services that run in this process.
pub struct Embedded {
    /// Where they listen.
    pub addresses: Addresses,
    stop: CancellationToken,
    services: JoinSet<()>,
}

impl Embedded {
    /// Starts them, with this many channels, all data below `folder`.
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
    ) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let mut services = JoinSet::new();
        let file = |name: &str| DatabaseUrl::Sqlite(folder.join(format!("{name}.db")));
        let ids = |number: u64| Ids::seeded(Arc::clone(clock), seed.wrapping_add(number));

        let (listener, hq_url) = listen().await?;
        let config = hq_svc::Config { database: file("hq"), ..hq_svc::Config::default() };
        let hq = hq_svc::open(&config, Arc::clone(clock), ids(1)).await.map_err(start("headquarters"))?;
        let token = stop.clone();
        services.spawn(async move { ended("headquarters", hq_svc::serve(listener, token, hq).await) });

        let (listener, rts_url) = listen().await?;
        let deps = rts_emulator::Deps::forwarding(profile, &hq_url, Arc::clone(clock));
        let deps = rts_emulator::Deps { seed, ..deps };
        let token = stop.clone();
        services
            .spawn(async move { ended("the emulator", rts_emulator::serve(listener, token, deps).await) });

        let mut urls = Vec::new();
        for number in 1..=channels {
            let (listener, url) = listen().await?;
            let name = format!("store-{number}");
            let id = name.parse().map_err(start("a channel"))?;
            let config = channel_svc::Config::new(id, file(&name), &rts_url, &hq_url);
            let ids = ids(1 + number as u64);
            let channel =
                channel_svc::open(&config, Arc::clone(clock), ids).await.map_err(start("a channel"))?;
            let token = stop.clone();
            services
                .spawn(async move { ended("a channel", channel_svc::serve(listener, token, channel).await) });
            urls.push(url);
        }
        let addresses = Addresses { hq: hq_url, emulator: Some(rts_url), channels: urls };
        Ok(Self { addresses, stop, services })
    }

    /// Ends them; each drains within its own bound.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.services.join_next().await.is_some() {}
    }
}

fn start<E: Display>(service: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Start { service, message: error.to_string() }
}

/// Callers find out by their calls; this says why.
fn ended<E: Display>(service: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(service, %error, "an embedded service failed");
    }
}

async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}
