//! `rts-emulator top`: how a running emulator is doing, looked at again and again.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use service_kit::way::{Credentials, WayError};
use tillsync_proto::pb::emulator::{
    GetFiguresRequest, GetFiguresResponse, emulator_service_client::EmulatorServiceClient,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Width of the bar of workers, in characters.
const BAR: usize = 40;
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Not an address, or what is to be shown there cannot be used.
    #[error(transparent)]
    Way(WayError),
    /// Nobody answers.
    #[error("no emulator answers at {0}")]
    Away(String),
    /// It answers with a refusal.
    #[error("the emulator refused: {0}")]
    Refused(Status),
    /// Nothing can be shown.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Shows the figures of each interval until it is stopped, or `times` times. On a terminal they replace each other;
/// elsewhere each is a line.
///
/// # Errors
///
/// [`TopError`].
pub async fn top(
    url: &str,
    credentials: &Credentials,
    interval: Duration,
    times: Option<u32>,
    stop: CancellationToken,
) -> Result<(), TopError> {
    let channel = credentials.connect(url).await.map_err(|error| match error {
        WayError::Connect { .. } => TopError::Away(url.to_owned()),
        error => TopError::Way(error),
    })?;
    let mut emulator = EmulatorServiceClient::new(channel);
    let mut before: Option<GetFiguresResponse> = None;
    let mut shown = 0;
    let mut out = io::stdout();
    let is_terminal = out.is_terminal();
    while times.is_none_or(|times| shown < times) {
        let figures = emulator.get_figures(GetFiguresRequest { reset: false }).await;
        let figures = figures.map_err(TopError::Refused)?.into_inner();
        if let Some(before) = &before {
            let change = Change::of(before, &figures);
            let text = if is_terminal {
                format!("{CLEAR}{}", screen(url, &figures, &change))
            } else {
                line(&figures, &change)
            };
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                // Whoever reads has gone, as `head` does.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
            shown += 1;
        }
        before = Some(figures);
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => break,
        }
    }
    Ok(())
}

/// One of the counters.
type Count = fn(&GetFiguresResponse) -> u64;

/// What has happened between two looks, per second; means of the time between.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    arrived: f64,
    completed: f64,
    /// By reason, those that there were.
    others: Vec<(&'static str, f64)>,
    utilization: f64,
    wait_ms: f64,
    service_ms: f64,
}

impl Change {
    fn of(before: &GetFiguresResponse, now: &GetFiguresResponse) -> Self {
        let seconds = |time: Option<prost_types::Duration>| {
            time.map_or(0.0, |time| time.seconds as f64 + f64::from(time.nanos) / 1e9)
        };
        // Somebody else may have reset the counters; then they count from there.
        let reset = seconds(now.elapsed) < seconds(before.elapsed);
        let zero = GetFiguresResponse::default();
        let before = if reset { &zero } else { before };
        let elapsed = seconds(now.elapsed) - seconds(before.elapsed);
        let rate =
            |count: Count| count(now).saturating_sub(count(before)) as f64 / elapsed.max(f64::MIN_POSITIVE);
        let mean = |value: &dyn Fn(&GetFiguresResponse) -> f64,
                    weight: &dyn Fn(&GetFiguresResponse) -> f64| {
            let weights = weight(now) - weight(before);
            if weights > 0.0 {
                (value(now) * weight(now) - value(before) * weight(before)) / weights
            } else {
                0.0
            }
        };
        let served = |figures: &GetFiguresResponse| (figures.completed + figures.failed_injected) as f64;
        let others: [(&str, Count); 8] = [
            ("queue full", |f| f.refused_queue_full),
            ("longest wait", |f| f.refused_longest_wait),
            ("rate limit", |f| f.refused_rate_limit),
            ("throttled", |f| f.refused_throttle),
            ("outage", |f| f.refused_outage),
            ("failed as asked", |f| f.failed_injected),
            ("caller gone", |f| f.abandoned),
            ("hq slower", |f| f.overruns),
        ];
        Self {
            arrived: rate(|f| f.arrived),
            completed: rate(|f| f.completed),
            others: others
                .map(|(name, count)| (name, rate(count)))
                .into_iter()
                .filter(|(_, r)| *r > 0.0)
                .collect(),
            utilization: mean(&|f| f.utilization, &|f| seconds(f.elapsed)).clamp(0.0, 1.0),
            wait_ms: mean(&|f| seconds(f.mean_wait), &served).max(0.0) * 1e3,
            service_ms: mean(&|f| seconds(f.mean_service), &served).max(0.0) * 1e3,
        }
    }
}

/// A whole screen.
fn screen(url: &str, figures: &GetFiguresResponse, change: &Change) -> String {
    let state = match (figures.outage, figures.slowness > 1.0) {
        (true, _) => "OUT".to_owned(),
        (false, true) => format!("{:.2} times as slow as alone", figures.slowness),
        (false, false) => "up".to_owned(),
    };
    let share = |part: u32| BAR * part.min(figures.workers) as usize / figures.workers.max(1) as usize;
    let (busy, batch) = (
        share(figures.busy_now),
        share(figures.batch_now.min(figures.workers - figures.busy_now.min(figures.workers))),
    );
    let bar =
        format!("{}{}{}", "█".repeat(busy), "▒".repeat(batch), "·".repeat(BAR.saturating_sub(busy + batch)));
    let mut text = format!("headquarters at {url}: {state}\n\n");
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "workers  {bar} {} of {} busy, {} with batch work",
        figures.busy_now, figures.workers, figures.batch_now
    );
    let _ = writeln!(text, "busy     {:.0} % of the time", change.utilization * 100.0);
    let _ = writeln!(text, "queue    {} now, {} at most\n", figures.queue_now, figures.queue_max);
    let _ = writeln!(text, "calls    {:>9.1}/s arrive", change.arrived);
    let _ = writeln!(
        text,
        "         {:>9.1}/s served   wait {:.2} ms, service {:.2} ms (means)",
        change.completed, change.wait_ms, change.service_ms
    );
    for (name, rate) in &change.others {
        let _ = writeln!(text, "         {rate:>9.1}/s {name}");
    }
    text + "\nCtrl-C ends\n"
}

/// One line.
fn line(figures: &GetFiguresResponse, change: &Change) -> String {
    let others: String = change.others.iter().map(|(name, rate)| format!("  {name} {rate:.1}/s")).collect();
    format!(
        "arrive {:.1}/s  served {:.1}/s  busy {:.0} %  queue {}  wait {:.2} ms{}{others}\n",
        change.arrived,
        change.completed,
        change.utilization * 100.0,
        figures.queue_now,
        change.wait_ms,
        if figures.outage { "  OUT" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(seconds: i64, arrived: u64, completed: u64) -> GetFiguresResponse {
        let ms = |ms: i32| Some(prost_types::Duration { seconds: 0, nanos: ms * 1_000_000 });
        GetFiguresResponse {
            elapsed: Some(prost_types::Duration { seconds, nanos: 0 }),
            arrived,
            completed,
            workers: 4,
            busy_now: 2,
            batch_now: 1,
            utilization: 0.5,
            mean_wait: ms(10),
            mean_service: ms(40),
            slowness: 1.0,
            ..GetFiguresResponse::default()
        }
    }

    #[test]
    fn r6_the_figures_are_those_of_the_interval() {
        let before = figures(10, 1_000, 900);
        let now = GetFiguresResponse {
            refused_throttle: 30,
            utilization: 0.55,
            mean_wait: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
            ..figures(12, 1_200, 1_000)
        };
        let change = Change::of(&before, &now);
        assert!((change.arrived - 100.0).abs() < 1e-9 && (change.completed - 50.0).abs() < 1e-9);
        assert_eq!(change.others, [("throttled", 15.0)]);
        // 12 s at 55 % less 10 s at 50 % are 1.6 s of 2; 1,000 waits of 20 ms less 900 of 10 are 110 ms each.
        assert!((change.utilization - 0.8).abs() < 1e-9 && (change.wait_ms - 110.0).abs() < 1e-6);
        let screen = screen("http://x", &now, &change);
        assert!(
            screen.contains("████████████████████▒▒▒▒▒▒▒▒▒▒··········")
                && screen.contains("15.0/s throttled"),
            "{screen}"
        );
        assert_eq!(
            line(&now, &change),
            "arrive 100.0/s  served 50.0/s  busy 80 %  queue 0  wait 110.00 ms  throttled 15.0/s\n"
        );
        let reset = Change::of(&now, &figures(1, 7, 3));
        assert!((reset.arrived - 7.0).abs() < 1e-9 && (reset.wait_ms - 10.0).abs() < 1e-9);
        let out = GetFiguresResponse { outage: true, workers: 0, ..now };
        assert!(super::screen("x", &out, &change).contains(": OUT") && line(&out, &change).contains("  OUT"));
    }

    #[tokio::test]
    async fn z1_an_emulator_that_is_not_there_is_told() {
        let told = async |url: &str| {
            let (shown, second) = (Credentials::default(), Duration::from_secs(1));
            top(url, &shown, second, Some(1), CancellationToken::new()).await.unwrap_err().to_string()
        };
        assert_eq!(told("ftp://x").await, "ftp://x is not an address such as http://127.0.0.1:7100");
        assert_eq!(told("http://127.0.0.1:1").await, "no emulator answers at http://127.0.0.1:1");
    }
}
