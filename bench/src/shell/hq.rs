//! `tillsync hq`: what an administrator does.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tillsync_proto::{
    Feature, Job,
    pb::{
        common::{self, FunctionalityProfile, Schedule},
        hq::{self, admin_service_client::AdminServiceClient},
    },
};

use super::{
    Remote, columns,
    lists::{attribute, duplicates, erasures, recovery, sequence},
    on_off,
    operations::{self, OperationsArgs},
    row, seconds,
    show::{sessions, status},
    switch,
    values::{Assignment, CUSTOMER_FIELDS},
};
use crate::{error::Error, say, way::Credentials};

/// Headquarters, and what to do there.
#[derive(Debug, Clone, Args)]
pub struct HqArgs {
    /// Headquarters.
    #[arg(long, default_value = "http://127.0.0.1:7200", value_name = "URL")]
    pub hq: String,
    /// What proves to it who calls.
    #[command(flatten)]
    pub credentials: Credentials,
    /// What to do.
    #[command(subcommand)]
    pub command: HqCommand,
}

/// What an administrator does.
#[derive(Debug, Clone, Subcommand)]
pub enum HqCommand {
    /// Shows headquarters and its channels, and which settings are on their way.
    Status,
    /// Shows the feature flags, or switches one.
    Flag {
        /// E0, E1, E2, E3 or E4.
        flag: Option<String>,
        /// on or off.
        #[arg(value_parser = switch, requires = "flag")]
        to: Option<bool>,
    },
    /// Shows the functionality profile of a channel, or changes it.
    Profile(ProfileArgs),
    /// Shows the schedules, or changes one.
    Schedule {
        /// p-job, customer-sync, 1010, 1070 or 1110.
        #[arg(value_parser = job)]
        job: Option<Job>,
        /// Seconds between two runs, 0.05 to 86400.
        #[arg(long, requires = "job")]
        interval: Option<f64>,
        /// Runs only when asked to (on), or by itself (off).
        #[arg(long, value_parser = switch, requires = "job", value_name = "ON|OFF")]
        hold: Option<bool>,
    },
    /// Runs a job now and waits until it has ended.
    Run {
        /// p-job, customer-sync (or its documented names), 1010, 1070 or 1110.
        #[arg(value_parser = job)]
        job: Job,
        /// The channel; without it every channel that is connected.
        #[arg(default_value = "")]
        channel: String,
    },
    /// Lists the newest sessions: runs that moved rows, failed, or were asked for.
    Sessions {
        /// At most this many, 1 to 1000.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
        limit: u16,
    },
    /// Runs the job of a failed session again.
    Rerun {
        /// The session.
        session: u64,
    },
    /// Cancels a session that has failed or has not ended.
    Cancel {
        /// The session.
        session: u64,
    },
    /// Lists operations with what became of them (flag E4).
    Operations(OperationsArgs),
    /// Saves new values for a failed operation (flag E4).
    Correct {
        /// The channel that logged it.
        channel: String,
        /// Its counter.
        counter: u64,
        /// FIELD=VALUE, such as first_name=Ann; repeat it for each.
        #[arg(required = true, value_name = "FIELD=VALUE", long_help = CUSTOMER_FIELDS)]
        set: Vec<Assignment>,
    },
    /// Processes a failed operation now (flag E4).
    Synchronize {
        /// The channel that logged it.
        channel: String,
        /// Its counter.
        counter: u64,
    },
    /// Shows the number sequences, or changes one.
    Sequence {
        /// accounts or cards.
        #[arg(requires = "format")]
        kind: Option<String>,
        /// A prefix, then # for each digit, such as C-########.
        format: Option<String>,
        /// Numbers that are reserved at a time; 0: continuous, without gaps.
        #[arg(long, default_value_t = 0, value_name = "N")]
        block: u32,
    },
    /// Shows the definitions of attributes, or changes one.
    Attribute(AttributeArgs),
    /// Erases a customer for good, everywhere. What remains is that there was one.
    Erase {
        /// GUID or account number.
        customer: String,
        /// Who asks for it, for the record: not the customer's name.
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Lists what was erased, for whom, and which channels have done it.
    Erasures {
        /// Of this customer only (GUID).
        #[arg(default_value = "")]
        customer: String,
    },
    /// Shows which channels headquarters waits for after it was restored from a backup, or waits for one no longer.
    Recovery {
        /// A channel that will not come, or all.
        #[arg(long, value_name = "CHANNEL")]
        without: Option<String>,
    },
    /// Lists customers that may be the same person, or takes a pair off the list.
    Duplicates {
        /// The two customers of a pair that is none, by GUID.
        #[arg(long, num_args = 2, value_name = "GUID")]
        dismiss: Vec<String>,
    },
}

/// A profile to show or to change.
#[derive(Debug, Clone, Args)]
pub struct ProfileArgs {
    /// The channel.
    pub channel: String,
    /// Create customers in async mode.
    #[arg(long = "async", value_parser = switch, value_name = "ON|OFF")]
    pub create_async: Option<bool>,
    /// Turn a sync create into an async one when headquarters cannot be reached.
    #[arg(long, value_parser = switch, value_name = "ON|OFF")]
    pub fallback: Option<bool>,
    /// How long a create waits for headquarters, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Send creates straight to the log while headquarters keeps failing.
    #[arg(long, value_parser = switch, value_name = "ON|OFF")]
    pub circuit_breaker: Option<bool>,
    /// "Filter shared customer data tables": no customer is created offline.
    #[arg(long, value_parser = switch, value_name = "ON|OFF")]
    pub filter_shared: Option<bool>,
    /// A value of the default customer: customer_group, currency, language, receipt_option or affiliations.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub default: Vec<Assignment>,
}

/// A definition to show or to change.
#[derive(Debug, Clone, Args)]
pub struct AttributeArgs {
    /// The attribute's name.
    pub name: Option<String>,
    /// text, integer, decimal or boolean.
    #[arg(long = "type", requires = "name", value_parser = attribute_type, value_name = "TYPE")]
    pub kind: Option<common::AttributeType>,
    /// Of a text: a value that it may have; repeat it for each.
    #[arg(long, requires = "kind")]
    pub option: Vec<String>,
    /// Of a number: the smallest.
    #[arg(long, requires = "kind", default_value = "", allow_hyphen_values = true)]
    pub min: String,
    /// Of a number: the largest.
    #[arg(long, requires = "kind", default_value = "", allow_hyphen_values = true)]
    pub max: String,
    /// Remove the definition.
    #[arg(long, requires = "name", conflicts_with = "kind")]
    pub remove: bool,
}

fn job(text: &str) -> Result<Job, String> {
    Job::from_name(text).ok_or_else(|| "is not one of p-job, customer-sync, 1010, 1070, 1110".to_owned())
}

fn attribute_type(text: &str) -> Result<common::AttributeType, String> {
    match text {
        "text" => Ok(common::AttributeType::Text),
        "integer" => Ok(common::AttributeType::Integer),
        "decimal" => Ok(common::AttributeType::Decimal),
        "boolean" => Ok(common::AttributeType::Boolean),
        _ => Err("is not one of text, integer, decimal, boolean".to_owned()),
    }
}

/// Does it.
///
/// # Errors
///
/// Headquarters cannot be reached or refuses.
pub async fn hq(args: HqArgs) -> Result<ExitCode, Error> {
    say(&answer(args).await?);
    Ok(ExitCode::SUCCESS)
}

/// Does it, and gives what is to be printed.
///
/// # Errors
///
/// As [`hq`].
pub async fn answer(args: HqArgs) -> Result<String, Error> {
    let hq = Remote::connect(&args.hq, &args.credentials, "headquarters").await?;
    match args.command {
        HqCommand::Status => status(&hq).await,
        HqCommand::Flag { flag, to } => flag_switched(&hq, flag, to).await,
        HqCommand::Profile(args) => profile(&hq, args).await,
        HqCommand::Schedule { job, interval, hold } => schedule(&hq, job, interval, hold).await,
        HqCommand::Run { job, channel } => {
            let request = hq::RunJobRequest { job: common::Job::from(job).into(), channel_id: channel };
            let ran = hq.call(request, async |c, m| AdminServiceClient::new(c).run_job(m).await).await?;
            Ok(match ran.sessions.as_slice() {
                [] => "No channel is connected.\n".to_owned(),
                ran => sessions(ran),
            })
        }
        HqCommand::Sessions { limit } => {
            let request = hq::ListSessionsRequest { page_size: limit.into(), page_token: String::new() };
            let list =
                hq.call(request, async |c, m| AdminServiceClient::new(c).list_sessions(m).await).await?;
            Ok(sessions(&list.sessions))
        }
        HqCommand::Rerun { session } => {
            let request = hq::RerunSessionRequest { session_id: session };
            let ran =
                hq.call(request, async |c, m| AdminServiceClient::new(c).rerun_session(m).await).await?;
            Ok(sessions(ran.session.as_slice()))
        }
        HqCommand::Cancel { session } => {
            let request = hq::CancelSessionRequest { session_id: session };
            let done =
                hq.call(request, async |c, m| AdminServiceClient::new(c).cancel_session(m).await).await?;
            Ok(sessions(done.session.as_slice()))
        }
        HqCommand::Operations(args) => operations::list(&hq, args).await,
        HqCommand::Correct { channel, counter, set } => {
            operations::correct(&hq, channel, counter, &set).await
        }
        HqCommand::Synchronize { channel, counter } => operations::synchronize(&hq, channel, counter).await,
        HqCommand::Sequence { kind, format, block } => sequence(&hq, kind, format, block).await,
        HqCommand::Attribute(args) => attribute(&hq, args).await,
        HqCommand::Erase { customer, by } => {
            let request = hq::EraseCustomerRequest { customer, requested_by: by };
            let done =
                hq.call(request, async |c, m| AdminServiceClient::new(c).erase_customer(m).await).await?;
            Ok(erasures(done.erasure.as_slice()))
        }
        HqCommand::Erasures { customer } => {
            let request = hq::ListErasuresRequest { customer_id: customer, ..Default::default() };
            let list =
                hq.call(request, async |c, m| AdminServiceClient::new(c).list_erasures(m).await).await?;
            Ok(erasures(&list.erasures))
        }
        HqCommand::Recovery { without } => recovery(&hq, without).await,
        HqCommand::Duplicates { dismiss } => duplicates(&hq, &dismiss).await,
    }
}

async fn flag_switched(hq: &Remote, flag: Option<String>, to: Option<bool>) -> Result<String, Error> {
    if let (Some(flag), Some(enabled)) = (&flag, to) {
        let named = |feature: &Feature| feature.to_string().eq_ignore_ascii_case(flag);
        let feature = Feature::ALL.into_iter().find(named);
        let feature =
            feature.ok_or_else(|| Error::Usage(format!("{flag} is not one of E0, E1, E2, E3, E4")))?;
        let request = hq::UpdateFlagRequest { feature: common::Feature::from(feature).into(), enabled };
        let done = hq.call(request, async |c, m| AdminServiceClient::new(c).update_flag(m).await).await?;
        return Ok(format!(
            "{feature} is {} at headquarters, version {}; a channel has it when 1110 has run there.\n",
            on_off(enabled),
            done.version
        ));
    }
    let request = hq::ListFlagsRequest {};
    let list = hq.call(request, async |c, m| AdminServiceClient::new(c).list_flags(m).await).await?;
    let line = |one: &hq::Flag| {
        let feature = Feature::try_from(one.feature()).ok()?;
        let wanted = flag.as_ref().is_none_or(|flag| feature.to_string().eq_ignore_ascii_case(flag));
        let what = match feature {
            Feature::E0 => "performance improvements for customer orders and transactions",
            Feature::E1 => "asynchronous creation of customer addresses",
            Feature::E2 => "enhanced async customer creation",
            Feature::E3 => "editing customers in asynchronous mode",
            Feature::E4 => "audit of customer operations",
        };
        wanted.then(|| row([&feature.to_string(), on_off(one.enabled), what]))
    };
    let rows: Vec<Vec<String>> = list.flags.iter().filter_map(line).collect();
    Ok(format!("{}version {}\n", columns(&rows), list.version))
}

async fn profile(hq: &Remote, args: ProfileArgs) -> Result<String, Error> {
    let channel_id = args.channel.clone();
    let request = hq::GetProfileRequest { channel_id: channel_id.clone() };
    let got = hq.call(request, async |c, m| AdminServiceClient::new(c).get_profile(m).await).await?;
    let mut profile = got.profile.unwrap_or_default();
    let mut version = got.version;
    let before = profile.clone();
    change(&mut profile, &args)?;
    if profile != before {
        // Somebody else's change in between is not undone.
        let request =
            hq::UpdateProfileRequest { channel_id, profile: Some(profile.clone()), from_version: version };
        let set = hq.call(request, async |c, m| AdminServiceClient::new(c).update_profile(m).await).await?;
        version = set.version;
    }
    let default = profile.default_customer.clone().unwrap_or_default();
    let mut rows = vec![
        row(["create customers in async mode", on_off(profile.create_customer_async)]),
        row(["fallback to async", on_off(profile.async_fallback)]),
        row(["timeout of a create", &seconds(profile.rts_timeout.as_ref())]),
        row(["circuit breaker", on_off(profile.circuit_breaker)]),
        row(["filter shared customer data tables", on_off(profile.filter_shared_customer_data)]),
    ];
    if profile.default_customer.is_some() {
        let receipt = format!("{:?}", default.receipt_option()).to_lowercase();
        let values = [&default.customer_group, &default.currency, &default.language, &receipt];
        let values: Vec<&str> =
            values.into_iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        let default = format!("{}; affiliations: {}", values.join(", "), default.affiliations.join(", "));
        rows.push(row(["default customer", &default]));
    }
    let when = if version == got.version { "" } else { "; the channel has it when 1070 has run there" };
    Ok(format!("{}version {version}{when}\n", columns(&rows)))
}

fn change(profile: &mut FunctionalityProfile, args: &ProfileArgs) -> Result<(), Error> {
    profile.create_customer_async = args.create_async.unwrap_or(profile.create_customer_async);
    profile.async_fallback = args.fallback.unwrap_or(profile.async_fallback);
    profile.circuit_breaker = args.circuit_breaker.unwrap_or(profile.circuit_breaker);
    profile.filter_shared_customer_data = args.filter_shared.unwrap_or(profile.filter_shared_customer_data);
    if let Some(timeout) = args.timeout {
        profile.rts_timeout = Some(duration("--timeout", timeout)?);
    }
    if !args.default.is_empty() {
        let default = profile.default_customer.get_or_insert_default();
        let mut customer = common::Customer {
            customer_group: default.customer_group.clone(),
            currency: default.currency.clone(),
            language: default.language.clone(),
            receipt_option: default.receipt_option,
            affiliations: default.affiliations.clone(),
            ..common::Customer::default()
        };
        for assignment in &args.default {
            let path = assignment.set(&mut customer).map_err(Error::Usage)?;
            let known = ["customer_group", "currency", "language", "receipt_option", "affiliations"];
            if !known.contains(&path) {
                return Err(Error::Usage(format!(
                    "a default customer has no {path}, only {}",
                    known.join(", ")
                )));
            }
        }
        *default = common::DefaultCustomer {
            customer_group: customer.customer_group,
            currency: customer.currency,
            language: customer.language,
            receipt_option: customer.receipt_option,
            affiliations: customer.affiliations,
        };
    }
    Ok(())
}

fn duration(what: &str, seconds: f64) -> Result<prost_types::Duration, Error> {
    let duration = std::time::Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.and_then(|duration| prost_types::Duration::try_from(duration).ok());
    duration.ok_or_else(|| Error::Usage(format!("{what} {seconds} is not a time in seconds")))
}

async fn schedule(
    hq: &Remote,
    job: Option<Job>,
    interval: Option<f64>,
    hold: Option<bool>,
) -> Result<String, Error> {
    let request = hq::ListSchedulesRequest {};
    let list = hq.call(request, async |c, m| AdminServiceClient::new(c).list_schedules(m).await).await?;
    let mut schedules = list.schedules;
    schedules.retain(|one| job.is_none_or(|job| one.job() == common::Job::from(job)));
    if let (Some(one), true) = (schedules.first_mut(), interval.is_some() || hold.is_some()) {
        one.held = hold.unwrap_or(one.held);
        if let Some(interval) = interval {
            one.interval = Some(duration("--interval", interval)?);
        }
        let request = hq::UpdateScheduleRequest { schedule: Some(*one) };
        hq.call(request, async |c, m| AdminServiceClient::new(c).update_schedule(m).await).await?;
    }
    let line = |one: &Schedule| {
        let name = Job::try_from(one.job()).map_or("?", Job::name);
        let every = format!("every {}", seconds(one.interval.as_ref()));
        row([name, &every, &format!("jitter {}", one.jitter), if one.held { "held" } else { "" }])
    };
    Ok(columns(&schedules.iter().map(line).collect::<Vec<_>>()))
}
