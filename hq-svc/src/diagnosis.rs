//! Answers in words, from what the system is now (rule F3): what headquarters' tables hold and what the channels have
//! last said of themselves. Plain logic: [`Facts`] in, findings out.

mod channel;

use std::sync::Arc;

use tillsync_proto::{
    ChannelId, CustomerRef, Feature, Job, Schedule, Violations,
    pb::{
        common::ChannelStatus,
        hq::{ChannelSummary, Finding, Severity},
    },
};

use crate::{
    error::{Error, Result},
    hq::Headquarters,
    store::{
        ArrivalCounts, GlobalConfiguration, OperationRow, Record, SequenceState, StatusFilter, Store,
        SyncStatus,
    },
    supervision::Supervised,
};

/// Most findings.
const MAX_FINDINGS: usize = 200;
/// Most operations of one customer that are looked at.
const MAX_OPERATIONS: usize = 1_000;

/// What the answers are made from.
pub(crate) struct Facts {
    pub configuration: Arc<GlobalConfiguration>,
    pub schedules: Vec<Schedule>,
    pub channels: Vec<ChannelSummary>,
    /// The profiles of these channels, at headquarters: whether it says async.
    pub wants_async: Vec<bool>,
    pub arrivals: ArrivalCounts,
    pub head_version: u64,
    pub supervised: Supervised,
    pub sequences: Vec<SequenceState>,
    pub customer: Option<CustomerFacts>,
}

/// What is known of the customer that was asked for.
pub(crate) struct CustomerFacts {
    pub record: Option<Record>,
    /// Newest arrival first.
    pub operations: Vec<OperationRow>,
}

impl<S: Store> Headquarters<S> {
    /// Looks at the system, at one channel or all, and at a customer if one is named.
    pub async fn diagnose(
        &self,
        channel: Option<ChannelId>,
        customer: Option<CustomerRef>,
    ) -> Result<Vec<Finding>> {
        let status = self.status().await?;
        let mut channels = status.channels;
        if let Some(channel) = channel {
            channels.retain(|summary| name(summary) == channel.as_str());
            if channels.is_empty() {
                return Err(Error::NoChannel(channel));
            }
        }
        let mut wants_async = Vec::with_capacity(channels.len());
        for summary in &channels {
            let id: ChannelId =
                name(summary).parse().map_err(|error| Violations::one("channel_id", error))?;
            wants_async.push(self.profile(&id).await?.0.create_customer_async);
        }
        let customer = match customer {
            None => None,
            Some(by) => Some(self.customer_facts(&by).await?),
        };
        let facts = Facts {
            configuration: self.configuration(),
            schedules: self.board.schedules(),
            channels,
            wants_async,
            arrivals: status.arrivals,
            head_version: status.head.version,
            supervised: status.supervised,
            sequences: self.store.sequences().await?,
            customer,
        };
        Ok(findings(&facts))
    }

    async fn customer_facts(&self, by: &CustomerRef) -> Result<CustomerFacts> {
        let record = self.store.customer(by).await?;
        let id = match (by, &record) {
            (CustomerRef::Id(id), _) => Some(*id),
            (CustomerRef::Account(_), record) => record.as_ref().map(|record| record.customer.id),
        };
        let operations = match id {
            None => Vec::new(),
            Some(id) => {
                let filter = StatusFilter { customer: Some(id), ..StatusFilter::default() };
                self.store.operations(&filter, None, MAX_OPERATIONS, 3 << 20).await?.0
            }
        };
        Ok(CustomerFacts { record, operations })
    }
}

fn name(summary: &ChannelSummary) -> &str {
    summary.status.as_ref().map_or("", |status| &status.channel_id)
}

/// The findings, most pressing first.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Found { facts, all: Vec::new() };
    found.customer();
    found.headquarters();
    found.flags();
    for (summary, wants_async) in facts.channels.iter().zip(&facts.wants_async) {
        let status = summary.status.clone().unwrap_or_default();
        found.channel(summary, &status);
        found.real_time_calls(summary, &status, *wants_async);
        found.settings(summary);
        found.pending(&status);
    }
    found.next();
    let mut all = found.all;
    all.sort_by_key(|finding| match finding.severity() {
        Severity::Error => 0,
        Severity::Waiting => 1,
        Severity::Info | Severity::Unspecified => 2,
    });
    all.truncate(MAX_FINDINGS);
    all
}

/// An answer with its rule and its remedy.
struct Answer<'a> {
    severity: Severity,
    rule: &'a str,
    answer: String,
    remedy: String,
}

impl<'a> Answer<'a> {
    fn new(severity: Severity, rule: &'a str, answer: impl Into<String>) -> Self {
        Self { severity, rule, answer: answer.into(), remedy: String::new() }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

struct Found<'a> {
    facts: &'a Facts,
    all: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, channel: &str, question: impl Into<String>, answer: Answer<'_>) {
        self.all.push(Finding {
            question: question.into(),
            answer: answer.answer,
            rule: answer.rule.to_owned(),
            remedy: answer.remedy,
            channel_id: channel.to_owned(),
            severity: answer.severity.into(),
        });
    }

    /// When a job runs, and what to do if it does not run by itself.
    fn when(&self, job: Job, channel: &str) -> (String, String) {
        let run = match (job, channel) {
            (Job::CustomerSync, _) | (_, "") => format!("tillsync hq run {}", job.name()),
            (_, channel) => format!("tillsync hq run {} {channel}", job.name()),
        };
        match self.facts.schedules.iter().find(|schedule| schedule.job == job) {
            Some(schedule) if schedule.held => {
                ("it is held and runs only when it is asked to".to_owned(), run)
            }
            Some(schedule) => {
                let seconds = schedule.interval.as_secs_f64();
                (format!("it runs by itself every {seconds} s"), run)
            }
            None => ("it has no schedule".to_owned(), run),
        }
    }

    fn waits_for(&self, job: Job, channel: &str, rule: &'static str, what: &str) -> Answer<'static> {
        let (when, run) = self.when(job, channel);
        let at = if channel.is_empty() || job == Job::CustomerSync { "" } else { " at " };
        let channel = if at.is_empty() { "" } else { channel };
        let answer = format!("{what}: {}{at}{channel} has to run; {when}.", spoken(job));
        Answer::new(Severity::Waiting, rule, answer).remedy(run)
    }

    fn headquarters(&mut self) {
        if let Some((reason, _)) = &self.facts.supervised.stall {
            let answer = format!("Arrivals wait and nothing is processed: {reason}.");
            let answer = Answer::new(Severity::Error, "X10", answer).remedy("tillsync hq run customer-sync");
            self.add("", "Why does nothing move at headquarters?", answer);
        }
        for sequence in self.facts.sequences.iter().filter(|sequence| sequence.left == 0) {
            let answer = format!("The number sequence of {} has no numbers left.", sequence.kind.name());
            let remedy = format!("tillsync hq sequence {} FORMAT-WITH-MORE-DIGITS", sequence.kind.name());
            let answer = Answer::new(Severity::Error, "X6", answer).remedy(remedy);
            self.add("", "Why are no numbers given out?", answer);
        }
        if self.facts.arrivals.set_aside > 0 {
            let answer = format!(
                "{} operations have failed and were set aside; later ones of the same customers wait for them.",
                self.facts.arrivals.set_aside
            );
            let answer =
                Answer::new(Severity::Error, "X5", answer).remedy("tillsync hq operations --status failed");
            self.add("", "Has anything failed?", answer);
        }
    }

    fn flags(&mut self) {
        let on = self.facts.configuration.features;
        let lacking = on.in_the_way(Feature::E3, true);
        let answer = match (on.has(Feature::E3), lacking.as_slice()) {
            (true, _) => Answer::new(Severity::Info, "F1", "It is on at headquarters."),
            (false, []) => Answer::new(Severity::Info, "F1", "It can: E0, E1 and E2 are on.")
                .remedy("tillsync hq flag E3 on"),
            (false, lacking) => {
                let names = crate::error::join(lacking);
                let answer =
                    format!("It needs E0, E1 and E2, and of these {names} {} off.", are(lacking.len()));
                Answer::new(Severity::Info, "F1", answer)
                    .remedy(format!("tillsync hq flag {} on", lacking[0]))
            }
        };
        self.add("", "Why can E3 (editing customers in asynchronous mode) not be switched on?", answer);
    }

    fn customer(&mut self) {
        let Some(customer) = &self.facts.customer else { return };
        let (question, pending) =
            ("Why does headquarters not show the customer?", "Why is the customer pending?");
        // In the order of their arrival the first that is not through decides.
        let open = customer.operations.iter().rev().find(|row| row.status != SyncStatus::Succeeded);
        match (&customer.record, open) {
            (_, Some(row)) if row.status == SyncStatus::Failed => {
                let (counter, channel) = (row.counter, &row.channel);
                let answer =
                    format!("Operation {counter} of {channel} has failed: {} ({}).", row.message, row.reason);
                let remedy = format!(
                    "tillsync hq correct {channel} {counter}, then tillsync hq synchronize {channel} {counter}"
                );
                self.add(channel, question, Answer::new(Severity::Error, "S1", answer).remedy(remedy));
            }
            (record, Some(_)) => {
                let answer = self.waits_for(
                    Job::CustomerSync,
                    "",
                    "X1",
                    "Operations have been uploaded and wait at headquarters",
                );
                self.add(
                    "",
                    if record.is_some() { "Why is an edit of the customer not shown?" } else { question },
                    answer,
                );
            }
            (None, None) => self.nowhere(question),
            (Some(_), None) => {}
        }
        let Some(record) = &customer.record else { return };
        let number = record.customer.account_number.clone().unwrap_or_default();
        let answer =
            format!("It does: the account number is {number}, at version {} of the feed.", record.version);
        self.add("", "Does headquarters know the customer?", Answer::new(Severity::Info, "M1", answer));
        for status in self.facts.channels.iter().filter_map(|summary| summary.status.as_ref()) {
            if version(status) < record.version {
                let what = format!("{} has not heard of version {}", status.channel_id, record.version);
                let answer = self.waits_for(Job::Customers1010, &status.channel_id, "C4", &what);
                self.add(&status.channel_id, pending, answer);
            }
        }
    }

    /// Nothing of the customer has come here.
    fn nowhere(&mut self, question: &str) {
        let behind = |status: &&ChannelStatus| status.uploaded_counter < status.logged_counter;
        let statuses = self.facts.channels.iter().filter_map(|summary| summary.status.as_ref());
        let channels: Vec<String> = statuses.filter(behind).map(|status| status.channel_id.clone()).collect();
        for channel in &channels {
            let what = format!(
                "No operation of the customer has arrived, and {channel} has some that it has not brought"
            );
            let answer = self.waits_for(Job::Upload, channel, "X1", &what);
            self.add(channel, question, answer);
        }
        if channels.is_empty() {
            let text = "No operation of the customer has arrived, and no channel has any left to bring. \
                        A terminal that is offline may have it, or nobody has.";
            self.add(
                "",
                question,
                Answer::new(Severity::Error, "O2", text).remedy("bring the terminal back to its store"),
            );
        }
    }

    /// The job that has to run next for something to move.
    fn next(&mut self) {
        const QUESTION: &str = "What has to run next?";
        let statuses = || self.facts.channels.iter().filter_map(|summary| summary.status.as_ref());
        let upload = statuses().find(|status| status.uploaded_counter < status.logged_counter);
        let behind = statuses().find(|status| version(status) < self.facts.head_version);
        let setting = self.facts.channels.iter().find_map(|summary| {
            let job = summary.settings.iter().find_map(|state| Job::try_from(state.job_to_run()).ok())?;
            Some((job, name(summary).to_owned()))
        });
        let answer = if let Some(status) = upload {
            self.waits_for(Job::Upload, &status.channel_id, "X1", "Operations wait to be brought")
        } else if self.facts.arrivals.waiting > 0 {
            self.waits_for(Job::CustomerSync, "", "X1", "Operations wait at headquarters")
        } else if let Some(status) = behind {
            self.waits_for(Job::Customers1010, &status.channel_id, "X1", "Changes wait to be brought down")
        } else if let Some((job, channel)) = setting {
            self.waits_for(job, &channel, "F2", "A setting waits to be brought down")
        } else {
            Answer::new(Severity::Info, "X1", "Nothing: everything that has been reported is through.")
        };
        self.add("", QUESTION, answer);
    }
}

fn version(status: &ChannelStatus) -> u64 {
    status.feed_cursor.as_ref().map_or(0, |cursor| cursor.version)
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// A job as people call it.
fn spoken(job: Job) -> &'static str {
    match job {
        Job::Upload => "the P-job",
        Job::CustomerSync => "the customer sync job",
        Job::Customers1010 => "1010",
        Job::ChannelConfiguration1070 => "1070",
        Job::GlobalConfiguration1110 => "1110",
    }
}
