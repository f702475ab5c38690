//! Profiles, definitions of attributes, schedules, jobs and their runs, tables and search criteria, both ways.

use std::time::Duration;

use crate::{
    AttributeDefinition, AttributeRule, ChannelId, Criterion, DefaultCustomer, FunctionalityProfile, Job,
    JobRun, OperationTable, Schedule, SessionState, Violations,
    convert::{micros, read::receipt_option, write},
    pb,
    pb::common,
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
        default_customer: profile.default_customer.as_ref().map(default_customer).transpose()?,
    })
}

fn default_customer(default: &common::DefaultCustomer) -> Result<DefaultCustomer, Violations> {
    let mut v = Violations::default();
    let default = DefaultCustomer {
        customer_group: default.customer_group.clone(),
        currency: default.currency.clone(),
        language: default.language.clone(),
        receipt_option: receipt_option(default.receipt_option, &mut v),
        affiliations: default.affiliations.clone(),
    };
    // The same rules as for a customer that has these values.
    let named = crate::Party::Organization { name: "default".to_owned() };
    let checked = crate::Content { party: named, ..default.content() }.validate();
    let checked = checked.and_then(|()| v.or(default));
    checked.map_err(|violations| violations.under("profile.default_customer"))
}

impl From<DefaultCustomer> for common::DefaultCustomer {
    fn from(default: DefaultCustomer) -> Self {
        Self {
            receipt_option: write::receipt_option(default.receipt_option).into(),
            customer_group: default.customer_group,
            currency: default.currency,
            language: default.language,
            affiliations: default.affiliations,
        }
    }
}

/// Reads the definition of an attribute.
///
/// # Errors
///
/// The fields that break a rule.
pub fn attribute_definition(
    definition: &common::AttributeDefinition,
) -> Result<AttributeDefinition, Violations> {
    let (minimum, maximum) = (definition.minimum.as_str(), definition.maximum.as_str());
    let mut v = Violations::default();
    let rule = match definition.r#type() {
        common::AttributeType::Unspecified => {
            return Err(Violations::one("definition.type", "is missing or not known"));
        }
        common::AttributeType::Text => AttributeRule::Text(definition.options.clone()),
        common::AttributeType::Integer => {
            let mut bound = |field, text: &str| {
                let read = (!text.is_empty()).then(|| text.parse::<i64>());
                read.transpose().unwrap_or_else(|_| {
                    v.add(field, "is not a whole number");
                    None
                })
            };
            AttributeRule::Integer(bound("definition.minimum", minimum), bound("definition.maximum", maximum))
        }
        common::AttributeType::Decimal => {
            let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            AttributeRule::Decimal(bound(minimum), bound(maximum))
        }
        common::AttributeType::Boolean => AttributeRule::Boolean,
    };
    if !matches!(rule, AttributeRule::Text(_)) && !definition.options.is_empty() {
        v.add("definition.options", "is for texts only");
    }
    if matches!(rule, AttributeRule::Text(_) | AttributeRule::Boolean)
        && !(minimum.is_empty() && maximum.is_empty())
    {
        v.add("definition.minimum", "is for numbers only, as is maximum");
    }
    let definition = AttributeDefinition { name: definition.name.clone(), rule };
    v.or(()).and_then(|()| definition.validate()).map(|()| definition)
}

impl From<&AttributeDefinition> for common::AttributeDefinition {
    fn from(definition: &AttributeDefinition) -> Self {
        let name = definition.name.clone();
        let of = |kind: common::AttributeType| Self { name, r#type: kind.into(), ..Self::default() };
        match &definition.rule {
            AttributeRule::Text(options) => {
                Self { options: options.clone(), ..of(common::AttributeType::Text) }
            }
            AttributeRule::Integer(minimum, maximum) => {
                let text = |bound: &Option<i64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
                let (minimum, maximum) = (text(minimum), text(maximum));
                Self { minimum, maximum, ..of(common::AttributeType::Integer) }
            }
            AttributeRule::Decimal(minimum, maximum) => {
                let (minimum, maximum) =
                    (minimum.clone().unwrap_or_default(), maximum.clone().unwrap_or_default());
                Self { minimum, maximum, ..of(common::AttributeType::Decimal) }
            }
            AttributeRule::Boolean => of(common::AttributeType::Boolean),
        }
    }
}

/// Reads a run of a job. `path` is where it stands in the message.
///
/// # Errors
///
/// The fields that break a rule.
pub fn job_run(run: common::JobRun, path: &str) -> Result<JobRun, Violations> {
    let wrong = |field: &str, rule: &str| Violations::one(format_args!("{path}.{field}"), rule);
    let job = run.job().try_into().map_err(|()| wrong("job", "is missing or not known"))?;
    if run.error.contains('\0') {
        return Err(wrong("error", "holds a NUL character"));
    }
    if i64::try_from(run.run_request).is_err() {
        return Err(wrong("run_request", "is larger than 2^63 - 1"));
    }
    let elapsed = run.elapsed.unwrap_or_default();
    let elapsed = elapsed.try_into().map_err(|_| wrong("elapsed", "is negative"))?;
    // One that does not say comes from a channel that only knows whether it failed.
    let state = match (run.state(), run.error.is_empty()) {
        (SessionState::Unspecified, true) => SessionState::Applied,
        (SessionState::Unspecified, false) => SessionState::ApplyFailed,
        (state, _) => state,
    };
    Ok(JobRun {
        job,
        run_request: run.run_request,
        started_at: micros(run.start_time.as_ref()),
        elapsed,
        state,
        rows: run.rows,
        bytes: run.bytes,
        error: run.error,
    })
}

impl From<&JobRun> for common::JobRun {
    fn from(run: &JobRun) -> Self {
        Self {
            job: common::Job::from(run.job).into(),
            run_request: run.run_request,
            start_time: Some(run.started_at.into()),
            elapsed: run.elapsed.try_into().ok(),
            state: run.state.into(),
            rows: run.rows,
            bytes: run.bytes,
            error: run.error.clone(),
        }
    }
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
            default_customer: profile.default_customer.map(Into::into),
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
