//! CPU and memory of a process, read from `/proc`; absent where there is none.

use std::{fmt::Write as _, fs, process};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Clock ticks per second in `/proc`: 100 on every Linux that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

/// What this process has used, under the names that Prometheus clients give it (Prometheus, "Process metrics").
pub const CPU_SECONDS: &str = "process_cpu_seconds_total";
/// See [`CPU_SECONDS`]: memory in use now.
pub const RESIDENT_BYTES: &str = "process_resident_memory_bytes";
/// Its number, and when it was started: services that have both in common are one process.
pub const PID: &str = "process_pid";
/// See [`PID`]; seconds since the machine started.
pub const STARTED: &str = "process_start_uptime_seconds";

/// What this process has used until now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU time, in seconds.
    pub cpu_s: Option<f64>,
    /// Memory in use.
    pub resident_bytes: Option<u64>,
    /// Most memory that was in use.
    pub peak_bytes: Option<u64>,
    /// When it was started, in seconds since the machine was.
    pub started_s: Option<f64>,
}

/// Lets this process have as many files and connections open as the system allows it, which is more than it begins with: a
/// limit of 1024 is common, and a chain may have more stores.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it is refused, the limit is as it was.
        let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
    }
}

impl Usage {
    /// Until now.
    #[must_use]
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::parse(&stat, &status)
    }

    fn parse(stat: &str, status: &str) -> Self {
        // The second field may hold spaces and ends with a parenthesis: what follows begins with the third.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
        let seconds = |field: usize| Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_S);
        let bytes = |name: &str| {
            let kib: u64 = status
                .lines()
                .find_map(|line| line.strip_prefix(name))?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse()
                .ok()?;
            Some(kib * 1024)
        };
        Self {
            // User and system time.
            cpu_s: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
            resident_bytes: bytes("VmRSS:"),
            peak_bytes: bytes("VmHWM:"),
            started_s: seconds(22),
        }
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn exposed(&self) -> String {
        let figures = [
            (CPU_SECONDS, "counter", self.cpu_s),
            (RESIDENT_BYTES, "gauge", self.resident_bytes.map(|bytes| bytes as f64)),
            (STARTED, "gauge", self.started_s),
            (PID, "gauge", Some(process::id().into())),
        ];
        let mut text = String::new();
        for (name, kind, figure) in figures {
            if let Some(figure) = figure {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {figure}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_and_nonsense_is_not() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 700 1 1";
        let status = "VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        let usage = Usage::parse(stat, status);
        assert_eq!((usage.cpu_s, usage.started_s), (Some(3.0), Some(7.0)));
        assert_eq!((usage.peak_bytes, usage.resident_bytes), (Some(2_097_152), Some(1_048_576)));
        for nonsense in ["", "cpu", "1 (x", "1 (x) many", "VmHWM: many kB"] {
            assert_eq!(Usage::parse(nonsense, nonsense), Usage::default(), "{nonsense}");
        }
        let exposed = usage.exposed();
        assert!(exposed.contains("\nprocess_cpu_seconds_total 3\n"), "{exposed}");
        assert!(exposed.contains("\nprocess_resident_memory_bytes 1048576\n"), "{exposed}");
    }
}
