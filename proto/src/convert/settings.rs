//! Profiles, schedules, jobs, tables and search criteria, both ways.

use std::time::Duration;

use crate::{
    ChannelId, Criterion, FunctionalityProfile, Job, OperationTable, Schedule, Violations, pb, pb::common,
};

/// Reads a profile.
///
/// # Errors
///
/// The fields that break a rule.
pub fn profile(profile: &common::FunctionalityProfile) -> Result<FunctionalityProfile, Violations> {
    let range = Duration::from_millis(10)..=Duration::from_secs(600);
    let timeout = profile.rts_timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    let Some(rts_timeout) = timeout.filter(|timeout| range.contains(timeout)) else {
        return Err(Violations::one("profile.rts_timeout", "is not between 10 ms and 10 min"));
    };
    Ok(FunctionalityProfile {
        create_customer_async: profile.create_customer_async,
        async_fallback: profile.async_fallback,
        rts_timeout,
        circuit_breaker: profile.circuit_breaker,
        filter_shared_customer_data: profile.filter_shared_customer_data,
    })
}

/// Reads a schedule.
///
/// # Errors
///
/// The fields that break a rule.
pub fn schedule(schedule: &common::Schedule) -> Result<Schedule, Violations> {
    let mut v = Violations::default();
    let job = Job::try_from(schedule.job()).map_err(|()| Violations::one("schedule.job", "is not known"))?;
    let range = Duration::from_millis(50)..=Duration::from_secs(24 * 3600);
    let interval = schedule.interval.and_then(|interval| Duration::try_from(interval).ok());
    let interval = interval.filter(|interval| range.contains(interval)).unwrap_or_else(|| {
        v.add("schedule.interval", "is not between 50 ms and 24 h");
        Duration::ZERO
    });
    if !(0.0..=1.0).contains(&schedule.jitter) {
        v.add("schedule.jitter", "is not between 0 and 1");
    }
    v.or(Schedule { job, interval, jitter: schedule.jitter, held: schedule.held })
}

/// Reads a channel's name.
///
/// # Errors
///
/// The field `channel_id`.
pub fn channel_id(text: &str) -> Result<ChannelId, Violations> {
    text.parse().map_err(|error| Violations::one("channel_id", error))
}

impl From<FunctionalityProfile> for common::FunctionalityProfile {
    fn from(profile: FunctionalityProfile) -> Self {
        Self {
            create_customer_async: profile.create_customer_async,
            async_fallback: profile.async_fallback,
            rts_timeout: prost_types::Duration::try_from(profile.rts_timeout).ok(),
            circuit_breaker: profile.circuit_breaker,
            filter_shared_customer_data: profile.filter_shared_customer_data,
        }
    }
}

impl From<Schedule> for common::Schedule {
    fn from(schedule: Schedule) -> Self {
        Self {
            job: common::Job::from(schedule.job).into(),
            interval: prost_types::Duration::try_from(schedule.interval).ok(),
            jitter: schedule.jitter,
            held: schedule.held,
        }
    }
}

impl From<Job> for common::Job {
    fn from(job: Job) -> Self {
        match job {
            Job::Upload => Self::Upload,
            Job::CustomerSync => Self::CustomerSync,
            Job::Customers1010 => Self::Customers1010,
            Job::ChannelConfiguration1070 => Self::ChannelConfiguration1070,
            Job::GlobalConfiguration1110 => Self::GlobalConfiguration1110,
        }
    }
}

impl TryFrom<common::Job> for Job {
    type Error = ();

    fn try_from(job: common::Job) -> Result<Self, ()> {
        match job {
            common::Job::Unspecified => Err(()),
            common::Job::Upload => Ok(Self::Upload),
            common::Job::CustomerSync => Ok(Self::CustomerSync),
            common::Job::Customers1010 => Ok(Self::Customers1010),
            common::Job::ChannelConfiguration1070 => Ok(Self::ChannelConfiguration1070),
            common::Job::GlobalConfiguration1110 => Ok(Self::GlobalConfiguration1110),
        }
    }
}

impl OperationTable {
    /// The table a caller asked for; `None` is all of them.
    #[must_use]
    pub fn from_pb(table: common::OperationTable) -> Option<Self> {
        match table {
            common::OperationTable::Unspecified => None,
            common::OperationTable::Customer => Some(Self::Customer),
            common::OperationTable::Address => Some(Self::Address),
            common::OperationTable::Contact => Some(Self::Contact),
            common::OperationTable::Affiliation => Some(Self::Affiliation),
            common::OperationTable::Attribute => Some(Self::Attribute),
        }
    }
}

macro_rules! criterion {
    ($($module:ident),*) => {$(
        impl TryFrom<Option<pb::$module::search_customers_request::Criterion>> for Criterion {
            type Error = Violations;

            fn try_from(
                criterion: Option<pb::$module::search_customers_request::Criterion>,
            ) -> Result<Self, Violations> {
                use pb::$module::search_customers_request::Criterion as Wire;
                match criterion {
                    Some(Wire::Name(text)) => Self::name(&text),
                    Some(Wire::Email(text)) => Self::email(&text),
                    Some(Wire::Phone(text)) => Self::phone(&text),
                    Some(Wire::AccountNumber(text)) => Self::account(&text),
                    Some(Wire::LoyaltyCard(text)) => Self::card(&text),
                    None => Err(Violations::one("criterion", "is missing")),
                }
            }
        }
    )*};
}

criterion!(channel, hq);
