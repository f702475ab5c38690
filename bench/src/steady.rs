//! What a store keeps up: async creates at a steady rate for minutes, beside an empty call at the same rate. How far the
//! searchable tables are behind meanwhile, how many customers wait for their account number, and whether memory grows.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    bed::{Bed, BedArgs, level, ms, rate, seconds},
    callers::{Callers, Kind, Paced},
    ceiling::{Client, Driver},
    cli::within,
    error::Error,
    machine,
    result::TwoPercentiles,
    usage::Usages,
};

/// Callers that find out how many empty calls the store takes, closed-loop, and the connections of all.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
/// How long empty calls are made at most, of each kind.
const EMPTY: Duration = Duration::from_secs(10);
/// Between two looks at how far the tables are: `behind` is no more exact than that.
const LOOK: Duration = Duration::from_millis(100);
/// Memory is looked at after so many looks.
const MEMORY_EACH: u32 = 50;

/// Options.
#[derive(Debug, Clone, Args)]
pub struct SteadyArgs {
    /// Creates per second, 1 to 100000 [default: --share of the empty calls that the store takes].
    #[arg(long, value_parser = rate, allow_negative_numbers = true, conflicts_with = "share")]
    pub creates: Option<f64>,
    /// Creates for each empty call that the store takes, 0.001 to 1.
    #[arg(long, default_value = "0.1", value_parser = share, allow_negative_numbers = true)]
    pub share: f64,
    /// For how many seconds, 0.25 to 3600.
    #[arg(long, default_value = "60", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Leave the upload, the customer sync job and 1010 running. Without it they are held.
    #[arg(long)]
    pub jobs: bool,
    /// Where.
    #[command(flatten)]
    pub bed: BedArgs,
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.001..=1.0)
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steady {
    /// Processors.
    pub cpus: usize,
    /// Who made the empty calls that are the measure, closed-loop, and how many it got answered per second.
    pub empty_by: Client,
    /// See [`Steady::empty_by`].
    pub empty_per_s: f64,
    /// Creates per second that were due.
    pub due_per_s: f64,
    /// Acknowledged creates per second.
    pub create_per_s: f64,
    /// Those that failed, or were due while too many waited for their answers.
    pub failed: u64,
    /// For how long, in seconds.
    pub seconds: f64,
    /// Latency of an empty call at the same rate, from the instant at which it was due.
    pub empty_ms: TwoPercentiles,
    /// The same of a create.
    pub create_ms: TwoPercentiles,
    /// Whether upload, customer sync job and 1010 went on meanwhile.
    pub jobs_running: bool,
    /// How it went.
    pub course: Course,
}

/// What was seen while it went on.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Course {
    /// How far the searchable tables were behind at most, in seconds; too high by the time from one look to the next, a
    /// tenth of a second and as long as the store takes to say it.
    pub behind_s: f64,
    /// Customers that waited for their account number: half-way, and at the end.
    pub waiting: [u64; 2],
    /// Memory of the store: at the first look, half-way, and at the most, in bytes.
    pub rss_bytes: [f64; 3],
}

/// How far the tables are behind the log, in time.
#[derive(Debug, Default)]
struct Behind {
    /// How far the log was when, of what the tables do not hold yet.
    logged: VecDeque<(Instant, u64)>,
}

impl Behind {
    /// At most so long, after one more look. What a look finds in the log was written after the look before.
    fn look(&mut self, last: Instant, now: Instant, logged: u64, indexed: u64) -> Duration {
        if self.logged.back().is_none_or(|(_, newest)| *newest < logged) {
            self.logged.push_back((last, logged));
        }
        while self.logged.front().is_some_and(|(_, logged)| *logged <= indexed) {
            self.logged.pop_front();
        }
        self.logged.front().map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since))
    }
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn steady(args: SteadyArgs) -> Result<ExitCode, Error> {
    let found = measure(&args).await?;
    args.bed.print(&found, render)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts headquarters and a store, and creates for so long.
///
/// # Errors
///
/// As [`steady`].
pub async fn measure(args: &SteadyArgs) -> Result<Steady, Error> {
    let bed = Bed::start(&args.bed, None).await?;
    if !args.jobs {
        bed.hold_jobs(true).await?;
    }
    let callers = bed.callers(CALLERS, CONNECTIONS, args.bed.seed).await?;
    let length = Duration::from_secs_f64(args.seconds);
    let (empty_by, empty_per_s) = {
        let driver =
            |client| Driver { client, callers: callers.clone(), bed: &bed, connections: CONNECTIONS };
        match driver(Client::H2load).calls(Kind::Ping, length.min(EMPTY)).await? {
            Some(calls) => (Client::H2load, calls.per_s()),
            None => {
                let calls = driver(Client::Tonic).calls(Kind::Ping, length.min(EMPTY)).await?;
                (Client::Tonic, calls.map_or(0.0, |calls| calls.per_s()))
            }
        }
    };
    let due_per_s = args.creates.unwrap_or(args.share * empty_per_s).max(1.0);
    let paced = |kind, length| Callers::pace_for(&callers, &bed.generator, kind, due_per_s, length);
    let empty = paced(Kind::Ping, length.min(EMPTY)).await?;
    // Connections, caches and files are warm then.
    paced(Kind::Create, (length / 10).min(EMPTY)).await?;
    level(bed.store()).await?;

    let stop = CancellationToken::new();
    let creating = async {
        let created = paced(Kind::Create, length).await;
        stop.cancel();
        created
    };
    let (created, course): (Result<Paced, Error>, _) = tokio::join!(creating, course(&bed, length, &stop));
    let (created, course) = (created?, course?);
    drop(callers);
    bed.end().await?;
    Ok(Steady {
        cpus: machine::machine().cpus,
        empty_by,
        empty_per_s,
        due_per_s,
        create_per_s: created.per_s(),
        failed: created.failed,
        seconds: created.seconds,
        empty_ms: empty.answer.two(),
        create_ms: created.answer.two(),
        jobs_running: args.jobs,
        course,
    })
}

/// Looks at the store until it is stopped.
async fn course(bed: &Bed, length: Duration, stop: &CancellationToken) -> Result<Course, Error> {
    let (mut course, mut behind, begun) = (Course::default(), Behind::default(), bed.clock.now());
    let mut last = begun;
    for look in 0_u32.. {
        let asked = bed.clock.now();
        let status = bed.store().status().await?;
        let now = bed.clock.now();
        let late = behind.look(last, now, status.logged_counter, status.indexed_counter);
        course.behind_s = course.behind_s.max(late.as_secs_f64());
        last = asked;
        let first_half = now.saturating_duration_since(begun) < length / 2;
        course.waiting[1] = status.pending_customers;
        if first_half {
            course.waiting[0] = status.pending_customers;
        }
        if look % MEMORY_EACH == 0 {
            let all = Usages::now(&bed.fleet.watched).await.since_start();
            let store = all.iter().find(|usage| usage.name.contains(&bed.store().id));
            let rss = store.map_or(0.0, |usage| usage.rss_bytes);
            let [first, half, most] = &mut course.rss_bytes;
            *first = if look == 0 { rss } else { *first };
            *half = if first_half { rss } else { *half };
            *most = most.max(rss);
        }
        if stop.run_until_cancelled(sleep(LOOK)).await.is_none() {
            break;
        }
    }
    Ok(course)
}

fn render(found: &Steady) -> String {
    let Course { behind_s, waiting, rss_bytes } = &found.course;
    let mb = rss_bytes.map(|bytes| bytes / 1e6);
    let line =
        |what: &str, two: &TwoPercentiles| format!("{what:<16} {:>8} {:>8}\n", ms(two.p50), ms(two.p99));
    let mut text = format!(
        "Async creates at {:.0}/s, open-loop, {:.0} s; {} processors shared by everything; jobs {}.\n\n{:<16} {:>8} {:>8}\n",
        found.due_per_s,
        found.seconds,
        found.cpus,
        if found.jobs_running { "running" } else { "held" },
        "",
        "p50 ms",
        "p99 ms"
    );
    text += &line("empty call", &found.empty_ms);
    text += &line("async create", &found.create_ms);
    text += &format!(
        "\n{:.0} creates per second were acknowledged, {:.2} of the empty calls that {} gets answered, closed-loop \
         ({:.0}/s); {} failed.\nSearchable tables: at most {behind_s:.1} s behind. Waiting for an account number: {} half-way, \
         {} at the end.\nMemory of the store: {:.0} MB at the beginning, {:.0} MB half-way, {:.0} MB at most.\n",
        found.create_per_s,
        found.create_per_s / found.empty_per_s.max(1.0),
        found.empty_by,
        found.empty_per_s,
        found.failed,
        waiting[0],
        waiting[1],
        mb[0],
        mb[1],
        mb[2]
    );
    text
}

#[cfg(test)]
mod tests {
    use service_kit::clock::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn what_the_tables_lack_has_been_in_the_log_for_so_long() {
        let (start, mut behind) = (SystemClock.now(), Behind::default());
        let at = |s: u64| start + Duration::from_secs(s);
        let mut look = |last, now, logged, indexed| behind.look(at(last), at(now), logged, indexed).as_secs();
        assert_eq!(look(0, 1, 10, 10), 0, "level");
        assert_eq!(look(1, 2, 20, 10), 1, "written after the look before");
        assert_eq!(look(2, 3, 30, 15), 2, "some of the first are still missing");
        assert_eq!(look(3, 4, 30, 20), 2, "those of the second are the oldest now");
        assert_eq!(look(4, 9, 30, 20), 7, "nothing new, and nothing done");
        assert_eq!(look(9, 10, 30, 30), 0, "level");
    }
}
