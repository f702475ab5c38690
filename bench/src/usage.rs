//! CPU and memory of each service, from the metrics that it serves (rule B3). A server that is not ours may have none.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use service_kit::process;
use tokio::time::timeout;
use tonic::{
    body::Body,
    codegen::{Service as _, http::Request},
};

use crate::{result::ServiceUsage, way::Way};

/// How long a service may take to say it, and how much.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_BYTES: usize = 4 << 20;

/// What headquarters and the emulator are called; a store is called by its id.
pub const HEADQUARTERS: &str = "headquarters";
/// See [`HEADQUARTERS`].
pub const EMULATOR: &str = "emulator";

/// A service whose use of the machine is read.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it is called.
    pub name: String,
    /// The way to it.
    pub channel: Way,
}

/// What a process has used until some instant.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// Its number, and when it was started.
    process: (f64, f64),
    names: Vec<String>,
    cpu_s: f64,
    rss_bytes: f64,
    written_bytes: Option<f64>,
}

/// What services have used until some instant, each process once.
#[derive(Debug, Clone, Default)]
pub struct Usages(Vec<Seen>);

impl Usages {
    /// Asks all of them, one after the other.
    pub async fn now(watched: &[Watched]) -> Self {
        let mut all = Self::default();
        for Watched { name, channel } in watched {
            let asked = timeout(PATIENCE, metrics(channel.clone())).await;
            all.add(name, asked.ok().flatten().as_deref().unwrap_or_default());
        }
        all
    }

    fn add(&mut self, name: &str, metrics: &str) {
        let figure = |name: &str| {
            metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok())
        };
        let process = figure(process::PID).zip(figure(process::STARTED));
        let used = figure(process::CPU_SECONDS).zip(figure(process::RESIDENT_BYTES));
        let Some((process, (cpu_s, rss_bytes))) = process.zip(used) else { return };
        let written_bytes = figure(process::WRITTEN_BYTES);
        match self.0.iter_mut().find(|seen| seen.process == process) {
            Some(seen) => seen.names.push(name.to_owned()),
            None => {
                self.0.push(Seen { process, names: vec![name.to_owned()], cpu_s, rss_bytes, written_bytes })
            }
        }
    }

    /// What was used since each was started.
    #[must_use]
    pub fn since_start(&self) -> Vec<ServiceUsage> {
        let used = self.0.iter().map(|now| ServiceUsage {
            name: now.names.join(" + "),
            cpu_s: now.cpu_s,
            rss_bytes: now.rss_bytes,
            written_bytes: now.written_bytes,
        });
        used.collect()
    }

    /// What was used since then; a process that was started in between is left out.
    #[must_use]
    pub fn since(&self, then: &Self) -> Vec<ServiceUsage> {
        let used = self.0.iter().filter_map(|now| {
            let then = then.0.iter().find(|then| then.process == now.process)?;
            Some(ServiceUsage {
                name: now.names.join(" + "),
                cpu_s: (now.cpu_s - then.cpu_s).max(0.0),
                rss_bytes: now.rss_bytes.max(then.rss_bytes),
                written_bytes: now.written_bytes.zip(then.written_bytes).map(|(now, then)| now - then),
            })
        });
        used.collect()
    }
}

/// What it says at `/metrics`.
async fn metrics(mut channel: Way) -> Option<String> {
    let request = Request::get("/metrics").body(Body::empty()).ok()?;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.ok()?;
    let answer = channel.call(request).await.ok().filter(|answer| answer.status().is_success())?;
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.ok()?;
    String::from_utf8(body.to_bytes().into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pid: u32, cpu_s: f64, rss_bytes: u64) -> String {
        format!(
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {cpu_s}\nprocess_pid {pid}\n\
             process_resident_memory_bytes {rss_bytes}\nprocess_start_uptime_seconds 7.5\n\
             process_written_bytes_total {rss_bytes}\nother 1\n"
        )
    }

    #[test]
    fn b3_each_process_is_shown_once_with_what_it_used() {
        let (mut then, mut now) = (Usages::default(), Usages::default());
        then.add("headquarters", &said(1, 1.0, 500));
        then.add("store-1", &said(2, 3.0, 400));
        then.add("store-2", &said(2, 3.0, 400));
        now.add("headquarters", &said(1, 1.5, 300));
        now.add("store-1", &said(2, 4.0, 600));
        now.add("store-2", &said(2, 4.0, 600));
        // Started in between; and one that says nothing, or nonsense.
        now.add("store-3", &said(3, 9.0, 600));
        now.add("store-4", "");
        now.add("store-5", "process_cpu_seconds_total many\nprocess_pid 1\n");
        let usage = |name: &str, cpu_s, rss_bytes, written| {
            let written_bytes = Some(written);
            ServiceUsage { name: name.to_owned(), cpu_s, rss_bytes, written_bytes }
        };
        assert_eq!(
            now.since(&then),
            [usage("headquarters", 0.5, 500.0, -200.0), usage("store-1 + store-2", 1.0, 600.0, 200.0)]
        );
    }
}
