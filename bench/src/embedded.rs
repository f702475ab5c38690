//! Headquarters, emulator and channels as real servers: loopback TCP, SQLite files in a folder, each in a process of
//! its own or all in this one. The one place that knows how the services are started.

mod apart;

use std::{fmt::Display, io, path::Path, sync::Arc, time::Duration};

use rts_emulator::Profile;
use serde::{Deserialize, Serialize};
use service_kit::{
    clock::{Clock, Ids},
    database::DatabaseUrl,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    relay::Relays,
    services::{Addresses, toml_of},
    usage::{EMULATOR, HEADQUARTERS},
    way::Credentials,
};

use apart::Apart;
pub use apart::serve;

/// What the channels' and headquarters' commits promise on SQLite.
pub const DURABILITY: &str = "SQLite, synchronous=FULL: an acknowledged create survives a power cut";

/// A service to start; databases by their URLs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Service {
    Hq { database: String },
    Emulator { profile_toml: String, hq: String },
    Channel { id: String, database: String, rts: String, hq: String },
}

impl Service {
    fn name(&self) -> &'static str {
        match self {
            Self::Hq { .. } => "headquarters",
            Self::Emulator { .. } => "the emulator",
            Self::Channel { .. } => "a channel",
        }
    }
}

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

    /// Starts one on a port that is free, and gives its URL; what it draws by chance comes from the seed.
    async fn start(&mut self, service: Service, seed: u64) -> Result<String, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let ids = Ids::seeded(Arc::clone(&self.clock), seed);
        let at = |database: String| database.parse::<DatabaseUrl>().map_err(start("a service"));
        match service {
            Service::Hq { database } => {
                self.hq(listener, hq_svc::Config::new(at(database)?), ids).await?;
            }
            Service::Emulator { profile_toml, hq } => {
                let profile = Profile::parse(&profile_toml).map_err(start("the emulator"))?;
                self.emulator(listener, profile, &hq, seed);
            }
            Service::Channel { id, database, rts, hq } => {
                let id = id.parse().map_err(start("a channel"))?;
                let config = channel_svc::Config::new(id, at(database)?, &rts, &hq);
                self.channel(listener, config, ids).await?;
            }
        }
        Ok(url)
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

/// Where services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All in this process.
    Here,
    /// Each in a process of its own, so that it is known what each of them uses.
    Apart,
}

enum Home {
    Here(Services),
    Apart(Apart),
}

impl Home {
    async fn start(&mut self, service: Service, seed: u64) -> Result<String, Error> {
        match self {
            Self::Here(services) => services.start(service, seed).await,
            Self::Apart(apart) => apart.start(service, seed).await,
        }
    }
}

/// A chain for a measurement: all data below a folder, ports that were free.
pub struct Embedded {
    /// Where they listen.
    pub addresses: Addresses,
    /// How long each took to start, by what it is called.
    pub started: Vec<(String, Duration)>,
    home: Home,
}

/// What to start.
pub struct Wanted<'a> {
    /// In which processes.
    pub place: Place,
    /// Where data is.
    pub folder: &'a Path,
    /// What headquarters' chance and GUIDs begin with.
    pub seed: u64,
    /// What headquarters is like.
    pub profile: Profile,
    /// How many channels.
    pub channels: usize,
    /// By which they reach headquarters, if their ways can be cut.
    pub relays: Option<&'a Relays>,
    /// URL of the database of the only channel, in place of a file in the folder.
    pub store: Option<String>,
    /// The same of headquarters.
    pub hq: Option<String>,
}

impl<'a> Wanted<'a> {
    /// One channel on a file, and a headquarters as it is unless something else is asked for.
    #[must_use]
    pub fn new(place: Place, folder: &'a Path) -> Self {
        let profile = Profile::default();
        Self { place, folder, seed: 1, profile, channels: 1, relays: None, store: None, hq: None }
    }
}

impl Embedded {
    /// Starts headquarters, the emulator and the channels.
    ///
    /// # Errors
    ///
    /// [`Error::Start`], or no port.
    pub async fn start(wanted: Wanted<'_>, clock: &Arc<dyn Clock>) -> Result<Self, Error> {
        let Wanted { place, folder, seed, profile, channels, relays, store, hq } = wanted;
        let mut home = match place {
            Place::Here => Home::Here(Services::new(clock)),
            Place::Apart => Home::Apart(Apart::default()),
        };
        let mut started = Vec::new();
        let mut since = clock.now();
        let mut serves = |name: &str| {
            started.push((name.to_owned(), clock.now().saturating_duration_since(since)));
            since = clock.now();
        };
        let file = |name: &str| format!("sqlite:{}", folder.join(format!("{name}.db")).display());
        let hq_url = home
            .start(Service::Hq { database: hq.unwrap_or_else(|| file("hq")) }, seed.wrapping_add(1))
            .await?;
        serves(HEADQUARTERS);
        let emulator = Service::Emulator { profile_toml: toml_of(&profile)?, hq: hq_url.clone() };
        let rts_url = home.start(emulator, seed).await?;
        serves(EMULATOR);
        let mut urls = Vec::new();
        for number in 1..=channels {
            let id = format!("store-{number}");
            let database = store.clone().unwrap_or_else(|| file(&id));
            let (rts, hq) = (way(relays, &rts_url).await?, way(relays, &hq_url).await?);
            let channel = Service::Channel { id: id.clone(), database, rts, hq };
            urls.push(home.start(channel, seed.wrapping_add(1 + number as u64)).await?);
            serves(&id);
        }
        let addresses = Addresses {
            hq: Some(hq_url),
            emulator: Some(rts_url),
            channels: urls,
            credentials: Credentials::default(),
        };
        Ok(Self { addresses, started, home })
    }

    /// Starts one more channel, and gives its URL.
    ///
    /// # Errors
    ///
    /// [`Error::Start`].
    pub async fn join(&mut self, id: &str, database: String) -> Result<String, Error> {
        let way = |url: &Option<String>| url.clone().unwrap_or_default();
        let (rts, hq) = (way(&self.addresses.emulator), way(&self.addresses.hq));
        let channel = Service::Channel { id: id.to_owned(), database, rts, hq };
        self.home.start(channel, self.addresses.channels.len() as u64 + 100).await
    }

    /// Ends them; each drains within its own bound.
    pub async fn stop(self) {
        match self.home {
            Home::Here(services) => services.stop().await,
            Home::Apart(apart) => apart.stop().await,
        }
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
