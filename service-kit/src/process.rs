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
/// What it has handed to the disk.
pub const WRITTEN_BYTES: &str = "process_written_bytes_total";

/// What a process has used until now.
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
    /// What it has handed to the disk.
    pub written_bytes: Option<u64>,
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
    /// Of this process, until now.
    #[must_use]
    pub fn now() -> Self {
        Self::of("self")
    }

    /// Of a process and its children, until now: CPU time, also of children that have ended, and what those that are there
    /// have written. Memory that they share is left out of account, so none is given.
    #[must_use]
    pub fn family(process: u32) -> Self {
        let parent = process.to_string();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
        let children = names.filter(|name| {
            let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
            fields(&stat).get(1).is_some_and(|of| **of == *parent)
        });
        let head = fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
        let ended =
            seconds(&fields(&head), 16).zip(seconds(&fields(&head), 17)).map(|(user, system)| user + system);
        let start = Self { cpu_s: ended, written_bytes: Some(0), ..Self::default() };
        children.chain([parent.clone()]).map(|name| Self::of(&name)).fold(start, |all, one| Self {
            cpu_s: all.cpu_s.zip(one.cpu_s).map(|(all, one)| all + one),
            written_bytes: all.written_bytes.zip(one.written_bytes).map(|(all, one)| all + one),
            ..all
        })
    }

    fn of(process: &str) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
        Self::parse(&read("stat"), &read("status"), &read("io"))
    }

    fn parse(stat: &str, status: &str, io: &str) -> Self {
        let fields = fields(stat);
        let seconds = |field: usize| seconds(&fields, field);
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
            written_bytes: io.lines().find_map(|line| line.strip_prefix("write_bytes:")?.trim().parse().ok()),
        }
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn exposed(&self) -> String {
        let figures = [
            (CPU_SECONDS, "counter", self.cpu_s),
            (RESIDENT_BYTES, "gauge", self.resident_bytes.map(|bytes| bytes as f64)),
            (STARTED, "gauge", self.started_s),
            (WRITTEN_BYTES, "counter", self.written_bytes.map(|bytes| bytes as f64)),
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

/// The fields of `/proc/…/stat` from the third on: the second may hold spaces, and ends with a parenthesis.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect())
}

/// A field that counts ticks; they are numbered from 1.
fn seconds(fields: &[&str], field: usize) -> Option<f64> {
    Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_and_nonsense_is_not() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 700 1 1";
        let status = "VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        let usage = Usage::parse(stat, status, "rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n");
        assert_eq!((usage.cpu_s, usage.started_s), (Some(3.0), Some(7.0)));
        assert_eq!(usage.written_bytes, Some(4_096));
        assert_eq!((usage.peak_bytes, usage.resident_bytes), (Some(2_097_152), Some(1_048_576)));
        for nonsense in ["", "cpu", "1 (x", "1 (x) many", "VmHWM: many kB"] {
            assert_eq!(Usage::parse(nonsense, nonsense, nonsense), Usage::default(), "{nonsense}");
        }
        let exposed = usage.exposed();
        assert!(exposed.contains("\nprocess_cpu_seconds_total 3\n"), "{exposed}");
        assert!(exposed.contains("\nprocess_resident_memory_bytes 1048576\n"), "{exposed}");
    }

    #[test]
    fn a_family_has_used_what_its_members_have() {
        let child = process::Command::new("sh").args(["-c", "cat"]).stdin(process::Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let (own, all) = (Usage::now(), Usage::family(process::id()));
        assert!(all.cpu_s >= own.cpu_s && all.written_bytes >= own.written_bytes, "{own:?} {all:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(Usage::family(u32::MAX).cpu_s, None, "nobody");
    }
}
