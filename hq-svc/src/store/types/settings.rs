//! Channels, configuration, sessions, number sequences.

use std::collections::HashMap;

use tillsync_proto::{
    AttributeDefinition, AttributeDefinitions, ChannelId, Feature, Features, Job, JobRun, Micros,
};

use crate::numbers::{NumberFormat, SequenceKind};

/// A channel as it is stored.
#[derive(Debug, Clone)]
pub struct ChannelRow {
    /// The channel.
    pub id: ChannelId,
    /// When it last called, in wall-clock micros, as far as that was written.
    pub last_contact_at: Option<i64>,
    /// The encoded `tillsync.common.v1.ChannelStatus` it last reported.
    pub status: Option<Vec<u8>>,
    /// Version of its profile.
    pub profile_version: u64,
}

/// A session: a run of a job that is listed (rule X9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it, and orders sessions; 0 before it is kept.
    pub seq: i64,
    /// The channel; `None` for the customer sync job.
    pub channel: Option<ChannelId>,
    /// The run.
    pub run: JobRun,
}

/// A request to run a job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunRequest {
    /// The newest, counted from 1; 0: none.
    pub request: u64,
    /// Requests up to here have been canceled.
    pub canceled: u64,
    /// A scheduled run that began then, or before, has been canceled.
    pub canceled_start: Option<Micros>,
}

/// Requests to run jobs now, by job and channel; the channel of the customer sync job is empty.
pub type RunRequests = HashMap<(Job, String), RunRequest>;

/// What 1110 carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalConfiguration {
    /// The flags that are on.
    pub features: Features,
    /// The definitions of attributes.
    pub attributes: AttributeDefinitions,
    /// The version of both together, from 1.
    pub version: u64,
}

/// A change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconfigure {
    /// Switches a flag.
    Flag(Feature, bool),
    /// Makes or replaces a definition.
    Define(AttributeDefinition),
    /// Removes a definition.
    Undefine(String),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconfigured {
    /// The set has this version now.
    Done(u64),
    /// Nothing was switched: these flags are in the way (rule F1).
    InTheWay(Vec<Feature>),
    /// There is no such definition.
    Unknown,
    /// There are too many definitions.
    Full,
}

impl GlobalConfiguration {
    /// Makes a change; gives what became of it, with the version before.
    pub fn change(&mut self, change: &Reconfigure) -> Reconfigured {
        match change {
            Reconfigure::Flag(feature, enabled) => {
                let in_the_way = self.features.in_the_way(*feature, *enabled);
                if self.features.has(*feature) != *enabled && !in_the_way.is_empty() {
                    return Reconfigured::InTheWay(in_the_way);
                }
                self.features = self.features.with(*feature, *enabled);
            }
            Reconfigure::Define(definition) => {
                if !self.attributes.set(definition.clone()) {
                    return Reconfigured::Full;
                }
            }
            Reconfigure::Undefine(name) => {
                if !self.attributes.remove(name) {
                    return Reconfigured::Unknown;
                }
            }
        }
        Reconfigured::Done(self.version)
    }
}

/// A number sequence and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceState {
    /// What it numbers.
    pub kind: SequenceKind,
    /// How numbers are written.
    pub format: NumberFormat,
    /// 0: continuous.
    pub block_size: u32,
    /// The next number that is reserved or given out.
    pub next: u64,
    /// How many numbers are left.
    pub left: u64,
}
