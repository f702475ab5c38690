//! Functionality profiles, jobs, their schedules and their runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Content, Micros, ReceiptOption, pb::common::SessionState};

/// Settings of one channel, made at headquarters and carried down by 1070.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionalityProfile {
    /// "Create customer in async mode" (rule M2).
    pub create_customer_async: bool,
    /// Turn a sync create into an async one when the call to headquarters fails in communication (rule M4).
    pub async_fallback: bool,
    /// How long a create waits for headquarters, 10 ms to 10 min.
    pub rts_timeout: Duration,
    /// Creates that keep failing at headquarters go straight to the log until it answers (rule M10). Has effect with
    /// `async_fallback` only.
    #[serde(default)]
    pub circuit_breaker: bool,
    /// "Filter shared customer data tables": no customer is created offline (rule O3).
    #[serde(default)]
    pub filter_shared_customer_data: bool,
    /// Fills in what a create leaves blank (rule M11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_customer: Option<DefaultCustomer>,
}

impl Default for FunctionalityProfile {
    /// The documented behaviour: sync, with the fallback.
    fn default() -> Self {
        Self {
            create_customer_async: false,
            async_fallback: true,
            rts_timeout: Duration::from_secs(5),
            circuit_breaker: false,
            filter_shared_customer_data: false,
            default_customer: None,
        }
    }
}

/// A store's default customer: the values that a create gets where it says none (rule M11). The kind of customer,
/// person or organization, is always said by a create.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DefaultCustomer {
    /// Customer group.
    pub customer_group: String,
    /// Currency.
    pub currency: String,
    /// Language.
    pub language: String,
    /// Receipt option.
    pub receipt_option: Option<ReceiptOption>,
    /// Affiliations, for creates that name none; with flag E2 only.
    pub affiliations: Vec<String>,
}

impl DefaultCustomer {
    /// Fills in what is blank; gives whether that changed anything. `enhanced`: flag E2 is in force.
    pub fn fill(&self, content: &mut Content, enhanced: bool) -> bool {
        let texts = [
            (&self.customer_group, &mut content.customer_group),
            (&self.currency, &mut content.currency),
            (&self.language, &mut content.language),
        ];
        let mut filled = false;
        for (default, place) in texts {
            if place.is_empty() && !default.is_empty() {
                place.clone_from(default);
                filled = true;
            }
        }
        if content.receipt_option.is_none() && self.receipt_option.is_some() {
            content.receipt_option = self.receipt_option;
            filled = true;
        }
        if enhanced && content.affiliations.is_empty() && !self.affiliations.is_empty() {
            content.affiliations.clone_from(&self.affiliations);
            filled = true;
        }
        filled
    }

    /// The content of a customer that has these values and no other.
    #[must_use]
    pub fn content(&self) -> Content {
        let mut content = Content::blank();
        self.fill(&mut content, true);
        content
    }
}

/// The jobs of the exchange, in the order that makes a pending customer real (rule X1), then configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Job {
    /// P-job.
    Upload,
    /// Customer sync job; the only one that runs at headquarters.
    CustomerSync,
    /// 1010.
    Customers1010,
    /// 1070.
    ChannelConfiguration1070,
    /// 1110.
    GlobalConfiguration1110,
}

impl Job {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Upload,
        Self::CustomerSync,
        Self::Customers1010,
        Self::ChannelConfiguration1070,
        Self::GlobalConfiguration1110,
    ];

    /// The short name: in storage, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "p-job",
            Self::CustomerSync => "customer-sync",
            Self::Customers1010 => "1010",
            Self::ChannelConfiguration1070 => "1070",
            Self::GlobalConfiguration1110 => "1110",
        }
    }

    /// The job of a short name, or of one of the documented names of the customer sync job.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        const CUSTOMER_SYNC: [&str; 2] = [
            "Synchronize customers and business partners from async mode",
            "Synchronize customers and channel requests",
        ];
        let alias = CUSTOMER_SYNC.iter().any(|alias| alias.eq_ignore_ascii_case(name));
        let named = Self::ALL.into_iter().find(|job| job.name() == name);
        named.or_else(|| alias.then_some(Self::CustomerSync))
    }

    /// Whether it brings something to headquarters, rather than from there.
    #[must_use]
    pub fn is_upload(self) -> bool {
        matches!(self, Self::Upload | Self::CustomerSync)
    }
}

/// One run of a job (rule X9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// Which job.
    pub job: Job,
    /// The request that it carries out; 0 for a scheduled one.
    pub run_request: u64,
    /// When it began, or was asked for.
    pub started_at: Micros,
    /// How long it took.
    pub elapsed: Duration,
    /// How far it came.
    pub state: SessionState,
    /// Rows moved.
    pub rows: u64,
    /// Bytes moved, as they were encoded.
    pub bytes: u64,
    /// Why it failed; empty if it did not. Without personal data (rule Z5).
    pub error: String,
}

impl JobRun {
    /// A run that has not begun.
    #[must_use]
    pub fn new(job: Job) -> Self {
        Self {
            job,
            run_request: 0,
            started_at: Micros(0),
            elapsed: Duration::ZERO,
            state: SessionState::Started,
            rows: 0,
            bytes: 0,
            error: String::new(),
        }
    }

    /// Whether it is worth a session: it moved rows, failed, or was asked for.
    #[must_use]
    pub fn is_session(&self) -> bool {
        self.rows > 0 || !self.error.is_empty() || self.run_request > 0
    }
}

impl SessionState {
    /// Whether nothing more comes.
    #[must_use]
    pub fn has_ended(self) -> bool {
        self == Self::Applied || self == Self::Canceled || self.has_failed()
    }

    /// Whether it is one of the failures.
    #[must_use]
    pub fn has_failed(self) -> bool {
        matches!(self, Self::CreateFailed | Self::UploadFailed | Self::DownloadFailed | Self::ApplyFailed)
    }
}

/// When a job runs (rule X8).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Which job.
    pub job: Job,
    /// Pause between two runs, 50 ms to 24 h.
    pub interval: Duration,
    /// Share of the interval, 0 to 1, by which each pause is lengthened at random.
    pub jitter: f64,
    /// Runs only when asked for.
    pub held: bool,
}

impl Schedule {
    /// The default: a pending customer is real within a few seconds, and nobody has to set anything.
    #[must_use]
    pub fn default_for(job: Job) -> Self {
        let interval = match job {
            Job::Upload | Job::CustomerSync | Job::Customers1010 => Duration::from_millis(500),
            Job::ChannelConfiguration1070 | Job::GlobalConfiguration1110 => Duration::from_secs(2),
        };
        Self { job, interval, jitter: 0.2, held: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x1_the_customer_sync_job_has_two_documented_names() {
        for name in ["customer-sync", "Synchronize customers and channel requests"] {
            assert_eq!(Job::from_name(name), Some(Job::CustomerSync));
        }
        let other = "synchronize customers and business partners from async mode";
        assert_eq!(Job::from_name(other), Some(Job::CustomerSync));
        assert_eq!(Job::from_name("1010"), Some(Job::Customers1010));
        assert_eq!(Job::from_name("synchronize"), None);
    }

    #[test]
    fn m11_only_what_is_blank_is_filled_in() {
        let default = DefaultCustomer {
            customer_group: "retail".to_owned(),
            currency: "EUR".to_owned(),
            affiliations: vec!["club".to_owned()],
            receipt_option: Some(ReceiptOption::Email),
            ..DefaultCustomer::default()
        };
        let mut content = Content { currency: "SEK".to_owned(), ..Content::blank() };
        assert!(default.fill(&mut content, false));
        assert_eq!((content.customer_group.as_str(), content.currency.as_str()), ("retail", "SEK"));
        assert_eq!((content.receipt_option, content.affiliations.len()), (Some(ReceiptOption::Email), 0));
        assert!(default.fill(&mut content, true), "E2 brings the affiliations");
        assert_eq!(content.affiliations, ["club"]);
        assert!(!default.fill(&mut content, true));
    }
}
