//! CPU and memory, read from `/proc`; absent where there is none.

use std::{env, fs, process::Command, thread};

use crate::result::{Machine, Process};

/// Clock ticks per second in `/proc`: 100 on every Linux that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

/// CPU time so far, of this process and of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    process_s: Option<f64>,
    machine: Option<(u64, u64)>,
}

impl Usage {
    /// What has been used until now.
    #[must_use]
    pub fn now() -> Self {
        let process = fs::read_to_string("/proc/self/stat").ok();
        let machine = fs::read_to_string("/proc/stat").ok();
        Self {
            process_s: process.as_deref().and_then(process_seconds),
            machine: machine.as_deref().and_then(machine_ticks),
        }
    }

    /// What has been used since then.
    #[must_use]
    pub fn since(self) -> Process {
        let now = Self::now();
        let share = |((busy, all), (busy_before, all_before)): ((u64, u64), (u64, u64))| {
            let all = all.checked_sub(all_before).filter(|ticks| *ticks > 0)?;
            Some(busy.saturating_sub(busy_before) as f64 / all as f64)
        };
        Process {
            cpu_s: now.process_s.zip(self.process_s).map(|(now, then)| now - then),
            max_rss_bytes: fs::read_to_string("/proc/self/status").ok().as_deref().and_then(peak_memory),
            machine_busy: now.machine.zip(self.machine).and_then(share),
        }
    }
}

/// User and system time: fields 14 and 15; the second field may hold spaces and ends with a parenthesis.
fn process_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// Ticks of all processors: those in use, and all.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // User, nice, system, idle, iowait, irq, softirq, steal; guest times are part of the first two.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let all = ticks.iter().sum();
    let idle: u64 = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

fn peak_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
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
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(process_seconds(stat), Some(3.0));
        assert_eq!(machine_ticks("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1"), Some((20, 100)));
        assert_eq!(peak_memory("VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\n"), Some(2_097_152));
        for nonsense in ["", "cpu", "1 (x", "VmHWM: many kB"] {
            assert_eq!(process_seconds(nonsense), None);
            assert_eq!(machine_ticks(nonsense), None);
            assert_eq!(peak_memory(nonsense), None);
        }
    }

    #[test]
    fn usage_is_a_share() {
        let used = Usage::now().since();
        assert!(used.machine_busy.is_none_or(|busy| (0.0..=1.0).contains(&busy)));
        assert!(machine().cpus >= 1);
    }
}
