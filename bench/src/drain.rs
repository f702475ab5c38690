//! How fast pending customers become real: so many are created with every job on hold; then the jobs are let go, and it is
//! measured until the store knows the last account number. Then a new store joins, and has everybody brought to it. The
//! measure of both is how fast plain rows go into the same database in the same run.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use service_kit::{clock::Clock, database::DatabaseUrl};
use tillsync_proto::pb::hq::GetStatusRequest;
use tokio::time::Instant;

use crate::{
    bed::{Bed, BedArgs, customers, database, follow, level},
    callers::{Callers, Kind},
    error::Error,
    inserts, machine,
    result::ServiceUsage,
    services::Store,
    usage::{Usages, Watched},
    way::Credentials,
};

/// Callers that create, their connections, and how long they do between looks at how many there are.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
const SPELL: Duration = Duration::from_secs(1);
/// Plain rows of a measurement, at most: no more than customers.
const ROWS: u32 = 200_000;

/// Options of the drain.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Customers that wait, 1000 to 100 million.
    #[arg(long, default_value = "100000", value_parser = customers, allow_negative_numbers = true)]
    pub customers: u64,
    /// Headquarters' database, which has to be empty [default: a SQLite file].
    #[arg(long, value_parser = database, value_name = "URL")]
    pub hq_database_url: Option<String>,
    /// Leave out the store that joins.
    #[arg(long)]
    pub no_join: bool,
    /// Where.
    #[command(flatten)]
    pub bed: BedArgs,
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
    args.bed.print(&drained, render)?;
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
    let mut bed = Bed::start(&args.bed, args.hq_database_url.clone()).await?;
    let plain = match &args.hq_database_url {
        Some(url) => url.parse::<DatabaseUrl>().map_err(Error::Usage)?,
        None => DatabaseUrl::Sqlite(bed.folder.path().join("plain.db")),
    };
    let rows = u32::try_from(args.customers).unwrap_or(ROWS).min(ROWS);
    let clock = Arc::clone(&bed.clock);
    bed.hold_jobs(true).await?;

    let stretch = Stretch::begin(&clock, &bed.fleet.watched).await;
    let callers = bed.callers(CALLERS, CONNECTIONS, args.bed.seed).await?;
    let mut there = 0;
    while there < args.customers {
        Callers::run(&callers, &bed.generator, Kind::Create, SPELL).await;
        there = bed.store().status().await?.logged_counter;
    }
    level(bed.store()).await?;
    let created = stretch.end(&bed.fleet.watched, there).await;
    let before = inserts::per_s(&plain, rows, clock.as_ref()).await?;

    let stretch = Stretch::begin(&clock, &bed.fleet.watched).await;
    bed.hold_jobs(false).await?;
    let (mut uploaded_after_s, mut real_after_s) = (0.0, 0.0);
    let mut hq = bed.fleet.hq()?.admin.clone();
    follow(bed.store(), clock.as_ref(), async |status| {
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
    let drained = stretch.end(&bed.fleet.watched, there).await;
    let joined = if args.no_join {
        None
    } else {
        let database = format!("sqlite:{}", bed.folder.path().join("joined.db").display());
        let stretch = Stretch::begin(&clock, &bed.fleet.watched).await;
        let joined = bed.embedded.join("store-2", database).await?;
        let joined =
            bed.generator.spawn(async move { Store::connect(&joined, &Credentials::default()).await });
        let joined = joined.await.map_err(std::io::Error::from)??;
        follow(&joined, clock.as_ref(), async |status| status.customers >= there).await?;
        Some(stretch.end(&bed.fleet.watched, there).await)
    };
    let after = inserts::per_s(&plain, rows, clock.as_ref()).await?;
    drop(callers);
    bed.end().await?;
    let inserts_per_s = [before, after];
    let cpus = machine::machine().cpus;
    Ok(Drained { cpus, inserts_per_s, created, drained, uploaded_after_s, real_after_s, joined })
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
