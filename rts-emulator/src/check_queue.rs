//! The live server against queueing theory (rule R5): Poisson arrivals over gRPC, open loop, exponential service
//! times, one worker and several.

use std::{fmt, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, Exp1};
use service_kit::{
    clock::Clock,
    config::{ListenError, listen},
    door::DoorConfig,
};
use tillsync_proto::pb::{
    emulator::{GetFiguresRequest, GetFiguresResponse, emulator_service_client::EmulatorServiceClient},
    hq::{GetCustomerRequest, real_time_service_client::RealTimeServiceClient},
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Endpoint};

use crate::{
    check_model::interval,
    model::{
        Nanos, Served,
        theory::{mean_s, mmc_mean_wait_s, waits},
    },
    profile::{Distribution, Profile, ProfileError, ServiceTime},
    server::{Deps, EmulatorError, serve},
};

/// Loads that are checked, as shares of the capacity, at each number of workers.
pub const LOADS: [f64; 3] = [0.5, 0.8, 0.9];
/// Workers.
pub const WORKERS: [u32; 3] = [1, 4, 16];
/// Mean service time, in milliseconds.
const SERVICE_MS: f64 = 10.0;
/// How far the server's mean wait may be off the recursion: with many workers there is little of it.
const TOLERANCES: (f64, f64) = (0.03, 0.05);
/// Runs of the same length, by the recursion alone and each with other chances, whose spread is the uncertainty of a
/// run: its own stretches are too few, and remember each other.
const REPLICATIONS: u64 = 64;
/// The head of the table that [`Row`]s make; times are means in milliseconds.
pub const HEADER: &str = "\
workers load  calls   wait: server  recursion   off   99 % interval  formula          caller  sent, answered late by";

/// Why a check could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No address of the port.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The preset cannot be read.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The server failed.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The server could not be called.
    #[error("the server could not be called")]
    Connect(#[from] tonic::transport::Error),
    /// The server did not give its figures.
    #[error("the server did not give its figures: {0}")]
    Figures(#[from] Status),
    /// Some calls were not served.
    #[error("{served} of {sent} calls were served")]
    Unserved {
        /// Calls sent.
        sent: usize,
        /// Calls served.
        served: usize,
    },
}

/// What was found at one load. Means, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Workers.
    pub workers: u32,
    /// Share of the capacity.
    pub load: f64,
    /// Calls sent.
    pub calls: usize,
    /// Wait by the server's figures.
    pub server_s: f64,
    /// Exact wait, by the recursion of Kiefer and Wolfowitz (Lindley's for one worker) over the instants at which the
    /// calls arrived and the drawn service times.
    pub recursion_s: f64,
    /// Half the width of the confidence interval of the server's mean wait, by the spread of runs of the same length.
    pub half_width_s: f64,
    /// Wait by Erlang's C formula.
    pub formula_s: f64,
    /// Response time from the instant a call was sent, less its service time.
    pub caller_s: f64,
    /// How late calls were sent.
    pub sent_late_s: f64,
    /// How late timers delivered answers.
    pub answered_late_s: f64,
}

impl Row {
    /// How far the server's mean wait is off the recursion, as a share.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.server_s / self.recursion_s - 1.0
    }

    /// Whether the formula's wait is in the run's interval.
    #[must_use]
    pub fn formula_is_inside(&self) -> bool {
        (self.formula_s - self.server_s).abs() <= self.half_width_s
    }

    /// Whether the server's mean wait is near enough to the recursion, and the formula's is in the interval.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let tolerance = if self.workers < 16 { TOLERANCES.0 } else { TOLERANCES.1 };
        self.deviation().abs() <= tolerance && self.formula_is_inside()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |seconds: f64| seconds * 1e3;
        write!(
            f,
            "{:>7} {:>3.0}% {:>6} {:>14.3} {:>10.3} {:>4.1}% {:>14.3} {:>8.3}, {:<8} {:>6.3} {:>11.3} {:>6.3} ms{}",
            self.workers,
            self.load * 100.0,
            self.calls,
            ms(self.server_s),
            ms(self.recursion_s),
            self.deviation() * 100.0,
            ms(self.half_width_s),
            ms(self.formula_s),
            if self.formula_is_inside() { "inside" } else { "outside" },
            ms(self.caller_s),
            ms(self.sent_late_s),
            ms(self.answered_late_s),
            if self.is_good() { "" } else { "  <- off" },
        )
    }
}

/// Checks one load for so long.
///
/// # Errors
///
/// [`CheckError`].
pub async fn check(
    clock: Arc<dyn Clock>,
    workers: u32,
    load: f64,
    time: Duration,
    seed: u64,
) -> Result<Row, CheckError> {
    let service = ServiceTime::new(Distribution::Exponential, SERVICE_MS);
    let profile = Profile { workers, service, ..Profile::preset("mm1")? };
    let mean_service_s = SERVICE_MS / 1e3;
    let per_s = load * f64::from(workers) / mean_service_s;
    let dues = poisson(per_s, time, seed);
    let Run { calls, served, figures } = run(clock, profile, &dues, seed).await?;
    let (sent, responses): (Vec<Nanos>, Vec<Nanos>) = calls.into_iter().unzip();
    let late: Vec<Nanos> = sent.iter().zip(&dues).map(|(sent, due)| sent.saturating_sub(*due)).collect();
    let arrivals: Vec<Nanos> = served.iter().map(|served| served.arrived).collect();
    let services: Vec<Nanos> = served.iter().map(|served| served.service).collect();
    let others: Vec<f64> =
        (1..=REPLICATIONS).map(|n| replicated_s(workers, per_s, time, seed.wrapping_add(n))).collect();
    // That of one run, where `interval` gives that of the mean of all.
    let half_width_s = interval(&others).half_width * (REPLICATIONS as f64).sqrt();
    let seconds = |time: Option<prost_types::Duration>| {
        time.map_or(0.0, |time| time.seconds as f64 + f64::from(time.nanos) / 1e9)
    };
    Ok(Row {
        workers,
        load,
        calls: dues.len(),
        server_s: seconds(figures.mean_wait),
        recursion_s: mean_s(&waits(&arrivals, &services, workers as usize)),
        half_width_s,
        formula_s: mmc_mean_wait_s(per_s, mean_service_s, workers),
        caller_s: mean_s(&responses) - mean_s(&services),
        sent_late_s: mean_s(&late),
        answered_late_s: seconds(figures.mean_timer_lateness),
    })
}

/// The mean wait of another run, in seconds: Poisson arrivals, exponential service times, and the recursion.
fn replicated_s(workers: u32, per_s: f64, time: Duration, seed: u64) -> f64 {
    let arrivals = poisson(per_s, time, seed);
    let mut rng = StdRng::seed_from_u64(!seed);
    let service = || {
        let drawn: f64 = Exp1.sample(&mut rng);
        nanos(Duration::from_secs_f64(drawn * SERVICE_MS / 1e3))
    };
    let services: Vec<Nanos> = std::iter::repeat_with(service).take(arrivals.len()).collect();
    mean_s(&waits(&arrivals, &services, workers as usize))
}

/// What was seen.
struct Run {
    /// When each call was sent, counted from the start, and its response time; in the order of sending.
    calls: Vec<(Nanos, Nanos)>,
    /// What the server says of each, in the order of arrival.
    served: Vec<Served>,
    figures: GetFiguresResponse,
}

/// Serves a profile, and sends calls when they are due.
async fn run(clock: Arc<dyn Clock>, profile: Profile, dues: &[Nanos], seed: u64) -> Result<Run, CheckError> {
    let listener = listen(([127, 0, 0, 1], 0).into(), &DoorConfig::default(), false).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (observer, mut observed) = mpsc::channel(dues.len().max(1));
    let deps = Deps { seed, observer: Some(observer), ..Deps::alone(profile, Arc::clone(&clock)) };
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, stop.clone(), deps));
    let (mut calls, figures) = send(&clock, url, dues).await?;
    stop.cancel();
    if let Ok(ended) = server.await {
        ended?;
    }
    let mut served: Vec<Served> = Vec::with_capacity(dues.len());
    while observed.recv_many(&mut served, dues.len().max(1)).await > 0 {}
    if served.len() != dues.len() {
        return Err(CheckError::Unserved { sent: dues.len(), served: served.len() });
    }
    calls.sort_unstable();
    served.sort_unstable_by_key(|served| served.arrived);
    Ok(Run { calls, served, figures })
}

/// When calls are due: Poisson arrivals, counted from the start.
fn poisson(per_s: f64, time: Duration, seed: u64) -> Vec<Nanos> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at_s = 0.0;
    let next = std::iter::repeat_with(|| {
        let gap: f64 = Exp1.sample(&mut rng);
        at_s += gap / per_s;
        Duration::from_secs_f64(at_s)
    });
    next.take_while(|at| *at < time).map(nanos).collect()
}

/// Sends every call when it is due, whatever became of those before. Gives when each was sent, counted from the
/// start, with its response time; and the server's figures.
async fn send(
    clock: &Arc<dyn Clock>,
    url: String,
    dues: &[Nanos],
) -> Result<(Vec<(Nanos, Nanos)>, GetFiguresResponse), CheckError> {
    let channel = Endpoint::try_from(url)?.tcp_nodelay(true).connect().await?;
    let mut calls = JoinSet::new();
    let start = clock.now();
    for (number, due) in dues.iter().enumerate() {
        sleep_until(start + Duration::from_nanos(*due)).await;
        let (clock, mut client) = (Arc::clone(clock), RealTimeServiceClient::new(channel.clone()));
        calls.spawn(async move {
            let sent = clock.now();
            // Nobody has this name: being told so is an answer like any other, and each call is a new one.
            let _ = client.get_customer(GetCustomerRequest { customer: number.to_string() }).await;
            (nanos(sent - start), nanos(clock.now() - sent))
        });
    }
    let calls = calls.join_all().await;
    let mut control = EmulatorServiceClient::new(channel);
    let figures = control.get_figures(GetFiguresRequest { reset: false }).await?.into_inner();
    Ok((calls, figures))
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use service_kit::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn r5_the_live_server_keeps_to_the_recursion() {
        let dues = poisson(45.0, Duration::from_secs(2), 1);
        let mm1 = Profile::preset("mm1").unwrap();
        let Run { calls, served, figures } = run(Arc::new(SystemClock), mm1, &dues, 1).await.unwrap();
        assert!(dues.len() > 50);
        // Exactly, whatever this machine does meanwhile: late timers delay answers, never other calls.
        let arrivals: Vec<Nanos> = served.iter().map(|served| served.arrived).collect();
        let services: Vec<Nanos> = served.iter().map(|served| served.service).collect();
        let expected = waits(&arrivals, &services, 1);
        assert_eq!(served.iter().map(Served::wait).collect::<Vec<_>>(), expected);
        let told = Duration::try_from(figures.mean_wait.unwrap()).unwrap().as_secs_f64();
        assert!((told - mean_s(&expected)).abs() < 1e-6, "{told}");
        // And the callers have waited for it.
        let responses: Vec<Nanos> = calls.iter().map(|(_, response)| *response).collect();
        assert!(mean_s(&responses) >= mean_s(&expected) + mean_s(&services));
    }

    #[tokio::test]
    async fn a_row_compares_server_recursion_formula_and_caller() {
        let row = check(Arc::new(SystemClock), 4, 0.5, Duration::from_millis(500), 1).await.unwrap();
        assert!((row.formula_s - 0.00087).abs() < 1e-5, "{row}");
        assert!(row.deviation().abs() < 1e-3 && row.caller_s > row.server_s, "{row}");
        let good = Row { server_s: 0.0102, recursion_s: 0.010, formula_s: 0.012, half_width_s: 0.002, ..row };
        assert!(good.is_good() && !Row { server_s: 0.0104, ..good }.is_good());
        assert!(
            !Row { formula_s: 0.013, ..good }.is_good()
                && Row { server_s: 0.0104, workers: 16, ..good }.is_good()
        );
        assert_eq!(HEADER.lines().count(), 1);
        assert!(good.to_string().contains("2.0%") && good.to_string().contains("inside"), "{good}");
    }
}
