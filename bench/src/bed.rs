//! What the measurements of one store stand on: headquarters and a store, started for them, in async mode; and how it is
//! waited for.

use std::{sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use service_kit::{
    clock::{Clock, SystemClock},
    database::DatabaseUrl,
    throwaway::Throwaway,
};
use tempfile::TempDir;
use tillsync_proto::pb::{
    common::{ChannelStatus, Job, Schedule},
    hq::{ListSchedulesRequest, UpdateScheduleRequest},
};
use tokio::time::{sleep, timeout};

use crate::{
    callers::Callers,
    cli::within,
    database::Database,
    embedded::{Embedded, Place, Wanted},
    error::Error,
    generator::Generator,
    machine,
    relay::Relays,
    result::Mode,
    say,
    services::{Fleet, LOOK_PAUSE, Store, at_hq},
};

/// What a commit promises in a PostgreSQL database that is up already.
const POSTGRESQL: &str = "PostgreSQL, synchronous_commit=on: as its server and standbys are set up";
/// How long a channel waits for headquarters; no create asks it.
const RTS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the tables may take to hold what is in the log.
const LEVEL_LIMIT: Duration = Duration::from_secs(120);
/// How long nothing may change before customers are given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at how far they are: seldom, because looking takes from what is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Options of all of them.
#[derive(Debug, Clone, Args)]
pub struct BedArgs {
    /// The store's database; servers of PostgreSQL are the machine's own, started for this.
    #[arg(long, value_enum, default_value_t)]
    pub database: Database,
    /// A database that is up already in its place, such as postgres://…, which has to be empty.
    #[arg(long, value_parser = database, value_name = "URL", conflicts_with = "database")]
    pub database_url: Option<String>,
    /// Run the services in this process, in place of one for each.
    #[arg(long)]
    pub one_process: bool,
    /// Seed of the customers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl BedArgs {
    /// What an acknowledgement of the store promises.
    #[must_use]
    pub fn durability(&self) -> &'static str {
        match &self.database_url {
            Some(url) if url.starts_with("postgres") => POSTGRESQL,
            _ => self.database.durability(),
        }
    }

    /// Prints what was found.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON.
    pub fn print<T: Serialize>(&self, found: &T, render: impl FnOnce(&T) -> String) -> Result<(), Error> {
        say(&if self.json {
            serde_json::to_string_pretty(found).map_err(std::io::Error::from)? + "\n"
        } else {
            render(found)
        });
        Ok(())
    }
}

/// The URL of a database.
pub(crate) fn database(url: &str) -> Result<String, String> {
    url.parse::<DatabaseUrl>().map(|_| url.to_owned())
}

/// Seconds of a spell, 0.25 to 3600.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.25..=3_600.0)
}

/// Creates per second, 1 to 100000.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0..=100_000.0)
}

/// Milliseconds as they are printed.
pub(crate) fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// A number of customers, 1000 to 100 million.
pub(crate) fn customers(text: &str) -> Result<u64, String> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds")]
    within(text, 1_000.0..=1e8).map(|customers| customers as u64)
}

/// Headquarters and one store, and what calls them.
pub struct Bed {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where data is.
    pub folder: TempDir,
    /// The services.
    pub embedded: Embedded,
    /// Who calls.
    pub generator: Generator,
    /// Connections to them.
    pub fleet: Fleet,
    /// The servers of the store's database, if they were started for it.
    pub servers: Option<Throwaway>,
}

impl Bed {
    /// Starts them; headquarters on a database of its own, if it is given one.
    ///
    /// # Errors
    ///
    /// As [`Embedded::start`] and [`Fleet::connect`].
    pub async fn start(args: &BedArgs, hq: Option<String>) -> Result<Self, Error> {
        Self::start_behind(args, hq, None).await
    }

    /// The same, with ways between store and headquarters that can be cut.
    ///
    /// # Errors
    ///
    /// As [`Bed::start`].
    pub async fn start_behind(
        args: &BedArgs,
        hq: Option<String>,
        relays: Option<&Relays>,
    ) -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = tempfile::Builder::new().prefix("tillsync-").tempdir()?;
        let place = if args.one_process { Place::Here } else { Place::Apart };
        let servers = if args.database_url.is_some() { None } else { args.database.start()? };
        let started = servers.as_ref().map(|servers| servers.url.clone());
        let (seed, store) = (args.seed, args.database_url.clone().or(started));
        let wanted = Wanted { seed, store, hq, relays, ..Wanted::new(place, folder.path()) };
        let embedded = Embedded::start(wanted, &clock).await?;
        let generator = Generator::start(machine::machine().cpus)?;
        let addresses = embedded.addresses.clone();
        let fleet = generator.spawn(async move { Fleet::connect(&addresses).await });
        let fleet = fleet.await.map_err(std::io::Error::from)??;
        fleet.set_mode(Mode::Async, RTS_TIMEOUT).await?;
        Ok(Self { clock, folder, embedded, generator, fleet, servers })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.fleet.stores[0]
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.embedded.addresses.channels[0]
    }

    /// Callers of the store.
    ///
    /// # Errors
    ///
    /// As [`Callers::connect`].
    pub async fn callers(&self, callers: u16, connections: u16, seed: u64) -> Result<Arc<Callers>, Error> {
        let connected =
            Callers::connect(&self.generator, self.address(), callers, connections, seed, &self.clock);
        Ok(Arc::new(connected.await?))
    }

    /// Holds what would carry creates on, or lets it go.
    ///
    /// # Errors
    ///
    /// What headquarters answers.
    pub async fn hold_jobs(&self, held: bool) -> Result<(), Error> {
        let mut admin = self.fleet.hq()?.admin.clone();
        let schedules =
            admin.list_schedules(ListSchedulesRequest {}).await.map_err(at_hq)?.into_inner().schedules;
        for schedule in schedules {
            if matches!(schedule.job(), Job::Upload | Job::CustomerSync | Job::Customers1010) {
                let schedule = Some(Schedule { held, ..schedule });
                admin.update_schedule(UpdateScheduleRequest { schedule }).await.map_err(at_hq)?;
            }
        }
        Ok(())
    }

    /// Ends everything.
    ///
    /// # Errors
    ///
    /// The folder cannot be removed.
    pub async fn end(self) -> Result<(), Error> {
        let Self { folder, embedded, generator, fleet, servers, .. } = self;
        drop((fleet, generator));
        embedded.stop().await;
        drop(servers);
        Ok(folder.close()?)
    }
}

/// Waits until a store's tables hold everything that is in its log.
///
/// # Errors
///
/// [`Error::LevelTimeout`], or what the store answers.
pub async fn level(store: &Store) -> Result<(), Error> {
    let level = async {
        loop {
            let status = store.status().await?;
            if status.indexed_counter >= status.logged_counter {
                return Ok(());
            }
            sleep(LOOK_PAUSE).await;
        }
    };
    timeout(LEVEL_LIMIT, level).await.map_err(|_| Error::LevelTimeout(store.id.clone()))?
}

/// Looks at a store until it is done.
///
/// # Errors
///
/// [`Error::Stands`] when nothing moves any more, or what the store answers.
pub async fn follow(
    store: &Store,
    clock: &dyn Clock,
    mut done: impl AsyncFnMut(&ChannelStatus) -> bool,
) -> Result<(), Error> {
    let (mut last, mut since) = (None, clock.now());
    loop {
        let status = store.status().await?;
        if done(&status).await {
            return Ok(());
        }
        let progress = (status.uploaded_counter, status.pending_customers, status.customers);
        if last != Some(progress) {
            (last, since) = (Some(progress), clock.now());
        } else if clock.now().saturating_duration_since(since) > PATIENCE {
            return Err(Error::Stands(store.id.clone()));
        }
        sleep(LOOK).await;
    }
}
