//! How fast pending customers become real: so many are created with every job on hold; then the jobs are let go, and it is
//! measured until the store knows the last account number. Then a new store joins, and has everybody brought to it. The
//! measure of both is how fast plain rows go into the same database in the same run.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use service_kit::{
    clock::{Clock, SystemClock},
    database::DatabaseUrl,
};
use tillsync_proto::pb::{common::ChannelStatus, hq::GetStatusRequest};
use tokio::time::{Instant, sleep};

use crate::{
    callers::{Callers, Kind},
    ceiling::{RTS_TIMEOUT, database, hold_jobs, level},
    cli::within,
    embedded::{Embedded, Place, Wanted},
    error::Error,
    generator::Generator,
    inserts, machine,
    result::{Mode, ServiceUsage},
    say,
    services::{Fleet, Store},
    usage::{Usages, Watched},
    way::Credentials,
};

/// Callers that create, their connections, and how long they do between looks at how many there are.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
const SPELL: Duration = Duration::from_secs(1);
/// How long nothing may change before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at how far they are: seldom, because looking takes from what is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Plain rows of a measurement, at most: no more than customers.
const ROWS: u32 = 200_000;

/// Options of the drain.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Customers that wait, 1000 to 100 million.
    #[arg(long, default_value = "100000", value_parser = customers, allow_negative_numbers = true)]
    pub customers: u64,
    /// The store's database, such as postgres://…, which has to be empty [default: a SQLite file].
    #[arg(long, value_parser = database, value_name = "URL")]
    pub database_url: Option<String>,
    /// Headquarters' database, which has to be empty [default: a SQLite file].
    #[arg(long, value_parser = database, value_name = "URL")]
    pub hq_database_url: Option<String>,
    /// Leave out the store that joins.
    #[arg(long)]
    pub no_join: bool,
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

fn customers(text: &str) -> Result<u64, String> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds")]
    within(text, 1_000.0..=1e8).map(|customers| customers as u64)
}

/// A part of the way that customers went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// How many.
    pub customers: u64,
    /// How long it took.
    pub seconds: f64,
    /// Customers per second.
    pub per_s: f64,
    /// What each service used.
    pub services: Vec<ServiceUsage>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drained {
    /// Processors.
    pub cpus: usize,
    /// Plain rows per second into headquarters' database: before, and after.
    pub inserts_per_s: [f64; 2],
    /// Created async.
    pub created: Part,
    /// From the first job to the last account number in the store.
    pub drained: Part,
    /// Until the last was uploaded, in seconds.
    pub uploaded_after_s: f64,
    /// Until the last was real at headquarters, in seconds.
    pub real_after_s: f64,
    /// Brought to a store that joined.
    pub joined: Option<Part>,
}

impl Drained {
    /// A part's share of the rate of plain rows.
    fn share(&self, part: &Part) -> f64 {
        let inserts = f64::midpoint(self.inserts_per_s[0], self.inserts_per_s[1]);
        part.per_s / inserts.max(1.0)
    }
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn drain(args: DrainArgs) -> Result<ExitCode, Error> {
    let drained = measure(&args).await?;
    if args.json {
        say(&(serde_json::to_string_pretty(&drained).map_err(std::io::Error::from)? + "\n"));
    } else {
        say(&render(&drained));
    }
    Ok(ExitCode::SUCCESS)
}

/// Time and what was used, from here on.
struct Stretch {
    clock: Arc<dyn Clock>,
    begun: Instant,
    before: Usages,
}

impl Stretch {
    async fn begin(clock: &Arc<dyn Clock>, watched: &[Watched]) -> Self {
        let before = Usages::now(watched).await;
        Self { clock: Arc::clone(clock), begun: clock.now(), before }
    }

    fn seconds(&self) -> f64 {
        self.clock.now().saturating_duration_since(self.begun).as_secs_f64()
    }

    async fn end(self, watched: &[Watched], customers: u64) -> Part {
        let seconds = self.seconds();
        let services = Usages::now(watched).await.since(&self.before);
        Part { customers, seconds, per_s: customers as f64 / seconds.max(f64::EPSILON), services }
    }
}

/// Starts headquarters and a store, and lets the customers go.
///
/// # Errors
///
/// As [`drain`].
pub async fn measure(args: &DrainArgs) -> Result<Drained, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = tempfile::Builder::new().prefix("tillsync-").tempdir()?;
    let wanted = Wanted {
        seed: args.seed,
        store: args.database_url.clone(),
        hq: args.hq_database_url.clone(),
        ..Wanted::new(if args.one_process { Place::Here } else { Place::Apart }, folder.path())
    };
    let mut embedded = Embedded::start(wanted, &clock).await?;
    let plain = match &args.hq_database_url {
        Some(url) => url.parse::<DatabaseUrl>().map_err(Error::Usage)?,
        None => DatabaseUrl::Sqlite(folder.path().join("plain.db")),
    };
    let rows = u32::try_from(args.customers).unwrap_or(ROWS).min(ROWS);
    let cpus = machine::machine().cpus;
    let generator = Generator::start(cpus)?;
    let addresses = embedded.addresses.clone();
    let address = addresses.channels[0].clone();
    let connecting = addresses.clone();
    let fleet = generator.spawn(async move { Fleet::connect(&connecting).await });
    let fleet = fleet.await.map_err(std::io::Error::from)??;
    let store = &fleet.stores[0];
    fleet.set_mode(Mode::Async, RTS_TIMEOUT).await?;
    hold_jobs(&fleet, true).await?;

    let stretch = Stretch::begin(&clock, &fleet.watched).await;
    let callers = Callers::connect(&generator, &address, CALLERS, CONNECTIONS, args.seed, &clock).await?;
    let callers = Arc::new(callers);
    let mut there = 0;
    while there < args.customers {
        Callers::run(&callers, &generator, Kind::Create, SPELL).await;
        there = store.status().await?.logged_counter;
    }
    level(store).await?;
    let created = stretch.end(&fleet.watched, there).await;
    let before = inserts::per_s(&plain, rows, clock.as_ref()).await?;

    let stretch = Stretch::begin(&clock, &fleet.watched).await;
    hold_jobs(&fleet, false).await?;
    let (mut uploaded_after_s, mut real_after_s) = (0.0, 0.0);
    let mut hq = fleet.hq()?.admin.clone();
    follow(store, &clock, async |status| {
        let now = stretch.seconds();
        if status.uploaded_counter < there {
            uploaded_after_s = now;
        }
        if hq.get_status(GetStatusRequest {}).await.is_ok_and(|said| said.into_inner().customers < there) {
            real_after_s = now;
        }
        status.pending_customers == 0
    })
    .await?;
    let drained = stretch.end(&fleet.watched, there).await;
    let joined = if args.no_join {
        None
    } else {
        let database = format!("sqlite:{}", folder.path().join("joined.db").display());
        let stretch = Stretch::begin(&clock, &fleet.watched).await;
        let joined = embedded.join("store-2", database).await?;
        let joined = generator.spawn(async move { Store::connect(&joined, &Credentials::default()).await });
        let joined = joined.await.map_err(std::io::Error::from)??;
        follow(&joined, &clock, async |status| status.customers >= there).await?;
        Some(stretch.end(&fleet.watched, there).await)
    };
    let after = inserts::per_s(&plain, rows, clock.as_ref()).await?;
    drop((callers, fleet, generator));
    embedded.stop().await;
    folder.close()?;
    let inserts_per_s = [before, after];
    Ok(Drained { cpus, inserts_per_s, created, drained, uploaded_after_s, real_after_s, joined })
}

/// Looks at a store until it is done; gives up when nothing moves any more.
pub(crate) async fn follow(
    store: &Store,
    clock: &Arc<dyn Clock>,
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

fn render(drained: &Drained) -> String {
    let Drained { created, joined, uploaded_after_s, real_after_s, .. } = drained;
    let [before, after] = drained.inserts_per_s;
    let mut text = format!(
        "{} customers; {} processors shared by everything.\n\n{:<36} {before:>9.0} and {after:.0} per s\n",
        created.customers, drained.cpus, "plain rows, before and after"
    );
    let mut line = |what: &str, part: &Part| {
        let share = drained.share(part);
        let used = part.services.iter().map(|usage| {
            let micros = usage.cpu_s * 1e6 / part.customers as f64;
            format!("{} {micros:.0} us, {:.0} MB", usage.name, usage.rss_bytes / 1e6)
        });
        let used: Vec<String> = used.collect();
        text += &format!(
            "{what:<36} {:>9.0} per s {:>8.1} s   {share:.2} of plain   {}\n",
            part.per_s,
            part.seconds,
            used.join("; ")
        );
    };
    line("created async", created);
    line("to the account number in the store", &drained.drained);
    if let Some(joined) = joined {
        line("to a store that joins", joined);
    }
    text += &format!(
        "\nOf the way to the account number: all uploaded after {uploaded_after_s:.1} s, all real at headquarters after \
         {real_after_s:.1} s.\nplain: rows of twelve columns into headquarters' database, 256 in a statement, each a commit that a power \
         cut cannot undo. Beside each service its CPU time for each customer and its memory.\n"
    );
    text
}
