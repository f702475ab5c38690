//! CPU and memory, read from `/proc`; absent where there is none.

use std::{env, fs, process::Command, thread, time::Duration};

use service_kit::process;

use crate::result::{Machine, Process};

/// CPU time so far, of this process and of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    process: process::Usage,
    machine: Option<Ticks>,
    starved: Option<Duration>,
}

/// Ticks of all processors since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    all: u64,
    busy: u64,
    stolen: u64,
}

impl Usage {
    /// What has been used until now.
    #[must_use]
    pub fn now() -> Self {
        let machine = fs::read_to_string("/proc/stat").ok();
        let pressure = fs::read_to_string("/proc/pressure/cpu").ok();
        Self {
            process: process::Usage::now(),
            machine: machine.as_deref().and_then(machine_ticks),
            starved: pressure.as_deref().and_then(starved),
        }
    }

    /// What has been used since then, `elapsed` ago.
    #[must_use]
    pub fn since(self, elapsed: Duration) -> Process {
        let now = Self::now();
        let share = |part: fn(Ticks) -> u64| {
            let (now, then) = now.machine.zip(self.machine)?;
            let all = now.all.checked_sub(then.all).filter(|ticks| *ticks > 0)?;
            Some(part(now).saturating_sub(part(then)) as f64 / all as f64)
        };
        let starved = now.starved.zip(self.starved).map(|(now, then)| now.saturating_sub(then));
        Process {
            cpu_s: now.process.cpu_s.zip(self.process.cpu_s).map(|(now, then)| now - then),
            max_rss_bytes: now.process.peak_bytes,
            machine_busy: share(|ticks| ticks.busy),
            starved: starved.map(|starved| (starved.as_secs_f64() / elapsed.as_secs_f64()).min(1.0)),
            stolen: share(|ticks| ticks.stolen),
        }
    }
}

/// In use is what is neither idle nor waiting for a disk.
fn machine_ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // User, nice, system, idle, iowait, irq, softirq, steal; guest times are part of the first two.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let all = ticks.iter().sum();
    let idle: u64 = ticks.get(3)? + ticks.get(4)?;
    Some(Ticks { all, busy: all - idle, stolen: ticks.get(7).copied().unwrap_or_default() })
}

/// How long somebody has waited for a processor, of the kernel's pressure stall information.
fn starved(pressure: &str) -> Option<Duration> {
    let total = pressure.lines().next()?.strip_prefix("some ")?.rsplit_once("total=")?.1;
    total.trim().parse().ok().map(Duration::from_micros)
}

/// This machine.
#[must_use]
pub fn machine() -> Machine {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    Machine { cpus, os: format!("{} {}", env::consts::OS, env::consts::ARCH) }
}

/// The commit: set when it was built (`TILLSYNC_COMMIT`), or asked of git when `cargo run` started it.
#[must_use]
pub fn commit() -> Option<String> {
    if let Some(commit) = option_env!("TILLSYNC_COMMIT") {
        return Some(commit.to_owned());
    }
    let folder = env::var_os("CARGO_MANIFEST_DIR")?;
    let git = ["describe", "--always", "--dirty", "--abbrev=12"];
    let said = Command::new("git").arg("-C").arg(folder).args(git).output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| said.status.success() && !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_and_nonsense_is_not() {
        let ticks = Ticks { all: 100, busy: 20, stolen: 4 };
        assert_eq!(machine_ticks("cpu  10 0 6 70 10 0 0 4 5 0\ncpu0 1"), Some(ticks));
        let pressure = "some avg10=0.00 avg60=0.00 avg300=0.82 total=1500000\nfull avg10=0.00 total=0";
        assert_eq!(starved(pressure), Some(Duration::from_millis(1_500)));
        for nonsense in ["", "cpu", "1 (x"] {
            assert_eq!(machine_ticks(nonsense), None);
            assert_eq!(starved(nonsense), None);
        }
    }

    #[test]
    fn usage_is_a_share() {
        let used = Usage::now().since(Duration::from_secs(1));
        assert!(used.machine_busy.is_none_or(|busy| (0.0..=1.0).contains(&busy)));
        assert!(machine().cpus >= 1);
    }
}
