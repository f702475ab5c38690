//! The language that all parts of Tillsync share: the generated protobuf behind [`pb`], and checked
//! domain types. A value of a domain type has been validated (rule C2); the conversions in [`convert`] are
//! the only way from one to the other.

pub mod access;
mod attribute;
pub mod convert;
mod customer;
mod feature;
pub mod feed;
pub mod id;
mod operation;
mod profile;
mod query;
pub mod search;
mod validate;

pub use attribute::{AttributeDefinition, AttributeDefinitions, AttributeRule};
pub use customer::{
    Address, AddressPurpose, Attribute, AttributeValue, Contact, ContactKind, Content, Customer,
    PENDING_DISPLAY, Party, PersonName, ReceiptOption,
};
pub use feature::{Feature, Features, UnknownFeature};
pub use id::{ChannelId, CustomerId, CustomerRef, IdError, Micros};
pub use operation::{Change, Field, Operation, OperationTable, Previous, Update};
pub use pb::common::SessionState;
pub use profile::{DefaultCustomer, FunctionalityProfile, Job, JobRun, Schedule};
pub use query::{Criterion, PageToken};
pub use search::{Term, TermKind, fold, prefix_end, terms, terms_of_numbers};
pub use validate::{Violation, Violations, enhanced_fields};

/// Stable reason codes of refusals; see `error_reason.proto`.
pub use pb::common::ErrorReason as Reason;

/// The domain of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "tillsync";

/// Request metadata in which a channel names itself to headquarters.
pub const CHANNEL_METADATA: &str = "x-tillsync-channel";

/// The name of a reason as it goes out: without the enum's prefix.
#[must_use]
pub fn reason_name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// Generated from `proto/tillsync`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod pb {
    /// `tillsync.common.v1`
    pub mod common {
        pub mod v1 {
            tonic::include_proto!("tillsync.common.v1");
        }
        pub use v1::*;
    }
    /// `tillsync.channel.v1`
    pub mod channel {
        pub mod v1 {
            tonic::include_proto!("tillsync.channel.v1");
        }
        pub use v1::*;
    }
    /// `tillsync.hq.v1`
    pub mod hq {
        pub mod v1 {
            tonic::include_proto!("tillsync.hq.v1");
            pub use crate::feed::ListCustomerChangesResponse;
        }
        pub use v1::*;
    }
    /// `tillsync.emulator.v1`
    pub mod emulator {
        pub mod v1 {
            tonic::include_proto!("tillsync.emulator.v1");
        }
        pub use v1::*;
    }

    /// The encoded `FileDescriptorSet` of all packages, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
