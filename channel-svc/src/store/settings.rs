//! Statements whose text is the same for both databases, and how their rows are read.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json as json;
use tillsync_proto::{AttributeDefinitions, Features, Job, JobRun, Micros, Schedule, SessionState};

use super::{Setting, Settings, StoreError, TableProgress, signed, unsigned};

pub(super) const ID_OF_ACCOUNT: &str =
    "select customer_id from customer_terms where kind = 4 and term = $1 order by customer_id limit 1";
pub(super) const PAGE: &str = "select body from customers where id > $1 order by id limit $2";
pub(super) const ADVANCE: &str = "update progress set customers = customers + $1, pending = pending + $2, \
     applied_through = case when $3 > applied_through then $3 else applied_through end, \
     feed_epoch = coalesce($4, nullif(feed_epoch, ''), $9, ''), \
     feed_version = coalesce($5, feed_version), feed_head = coalesce($6, feed_head), \
     level_at = coalesce($7, level_at), contact_at = coalesce($8, contact_at)";
pub(super) const PROGRESS: &str = "select applied_through, customers, pending, \
     (select created_at from customers where pending = 1 order by created_at limit 1), \
     feed_epoch, feed_version, feed_head, level_at, contact_at from progress";
pub(super) const SETTINGS: &str = "select name, version, value from settings";
pub(super) const SAVE_SETTING: &str = "insert into settings (name, version, value) values ($1, $2, $3) \
     on conflict (name) do update set version = excluded.version, value = excluded.value";
pub(super) const IDENTIFY: &str = "insert into settings (name, version, value) values ('identity', 0, $1) \
     on conflict (name) do nothing";
pub(super) const IDENTIFY_ANEW: &str = "insert into settings (name, version, value) values ('identity', 0, $1) \
     on conflict (name) do update set value = excluded.value";
pub(super) const RUNS: &str =
    "select job, run_request, started_at, elapsed_micros, moved, error, state, bytes from job_runs";
pub(super) const SAVE_RUN: &str = "insert into job_runs \
     (job, run_request, started_at, elapsed_micros, moved, error, state, bytes) \
     values ($1, $2, $3, $4, $5, $6, $7, $8) \
     on conflict (job) do update set run_request = case excluded.run_request when 0 \
     then job_runs.run_request else excluded.run_request end, started_at = excluded.started_at, \
     elapsed_micros = excluded.elapsed_micros, moved = excluded.moved, error = excluded.error, \
     state = excluded.state, bytes = excluded.bytes";

pub(super) type ProgressColumns = (i64, i64, i64, Option<i64>, String, i64, i64, i64, i64);

pub(super) fn progress(row: ProgressColumns) -> TableProgress {
    let (applied, customers, pending, oldest, feed_epoch, version, head, level_at, contact_at) = row;
    TableProgress {
        applied_through: unsigned(applied),
        customers: unsigned(customers),
        pending: unsigned(pending),
        oldest_pending: oldest.map(Micros),
        feed_epoch,
        feed_version: unsigned(version),
        feed_head: unsigned(head),
        level_at: Micros(level_at),
        contact_at: Micros(contact_at),
    }
}

pub(super) type SettingRow = (String, i64, String);

/// What 1110 has brought, as it is stored.
#[derive(Serialize, Deserialize)]
struct Global {
    bits: i64,
    attributes: AttributeDefinitions,
}

const PROFILE: &str = "profile";
const FEATURES: &str = "features";
const IDENTITY: &str = "identity";

fn inconsistent(name: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(format!("the setting {name}: {error}"))
}

pub(super) fn read(rows: Vec<SettingRow>) -> Result<Settings, StoreError> {
    let mut settings = Settings::default();
    for (name, version, value) in rows {
        match name.as_str() {
            PROFILE => {
                settings.profile = json::from_str(&value).map_err(|error| inconsistent(&name, error))?;
                settings.profile_version = unsigned(version);
            }
            FEATURES => {
                let global: Global = json::from_str(&value).map_err(|error| inconsistent(&name, error))?;
                settings.features = Features::from_bits(global.bits);
                settings.attributes = global.attributes;
                settings.features_version = unsigned(version);
            }
            IDENTITY => {
                settings.identity = Some(value.parse().map_err(|error| inconsistent(&name, error))?);
            }
            _ => {
                let schedule: Schedule =
                    json::from_str(&value).map_err(|error| inconsistent(&name, error))?;
                settings.schedules.push(schedule);
            }
        }
    }
    Ok(settings)
}

pub(super) fn write(setting: Setting) -> Result<SettingRow, StoreError> {
    Ok(match setting {
        Setting::Profile(profile, version) => {
            let value = json::to_string(&profile).map_err(|error| inconsistent(PROFILE, error))?;
            (PROFILE.to_owned(), signed(version), value)
        }
        Setting::Features(features, attributes, version) => {
            let global = Global { bits: features.bits(), attributes };
            let value = json::to_string(&global).map_err(|error| inconsistent(FEATURES, error))?;
            (FEATURES.to_owned(), signed(version), value)
        }
        Setting::Schedule(schedule) => {
            let name = format!("schedule of {}", schedule.job.name());
            let value = json::to_string(&schedule).map_err(|error| inconsistent(&name, error))?;
            (name, 0, value)
        }
    })
}

pub(super) type RunRow = (String, i64, i64, i64, i64, String, i64, i64);

pub(super) fn run(row: RunRow) -> Result<JobRun, StoreError> {
    let (job, request, started, elapsed, rows, error, state, bytes) = row;
    let state = i32::try_from(state).ok().and_then(|state| SessionState::try_from(state).ok());
    let known = Job::from_name(&job);
    Ok(JobRun {
        job: known.ok_or_else(|| StoreError::Inconsistent(format!("the job {job}")))?,
        run_request: unsigned(request),
        started_at: Micros(started),
        elapsed: Duration::from_micros(unsigned(elapsed)),
        state: state.unwrap_or_default(),
        rows: unsigned(rows),
        bytes: unsigned(bytes),
        error,
    })
}

pub(super) fn run_row(run: &JobRun) -> RunRow {
    let elapsed = i64::try_from(run.elapsed.as_micros()).unwrap_or(i64::MAX);
    let name = run.job.name().to_owned();
    let (state, bytes) = (i64::from(i32::from(run.state)), signed(run.bytes));
    let (request, rows) = (signed(run.run_request), signed(run.rows));
    (name, request, run.started_at.0, elapsed, rows, run.error.clone(), state, bytes)
}
