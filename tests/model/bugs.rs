//! Bugs that can be planted in the model, and the property that has to catch each.

use crate::{properties as p, protocol::World, worlds as w};

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A store answers a create before the log is committed (rule M8).
    AnswerBeforeCommit,
    /// The fallback mints a GUID of its own (rule M6).
    FallbackMintsAnew,
    /// A repeat is logged again (rule M9).
    RepeatIsLogged,
    /// A whole page is cleared though only a part of it was answered (rule X4).
    WholePageIsCleared,
    /// Headquarters answers an upload before it is committed (rule M8).
    UploadAnsweredBeforeCommit,
    /// Headquarters keeps an operation again that has arrived before (rule X4).
    RepeatArrives,
    /// The customer sync job trusts what it has read, and does not look under the lock whether the GUID is free (rule
    /// X5).
    GuidIsNotLookedAt,
    /// A number is spent on a create whose customer is there already (rule X6).
    NumberForADuplicate,
    /// What was reserved is used although it is not known whether the commit took place (rule X6).
    BlockIsKept,
    /// A process commits under a lease that it has lost.
    NoFence,
    /// One operation that has to be set aside stops its whole batch (rule X5).
    OneBadStopsAll,
    /// Versions are taken when a transaction begins, as a clock would be read, and not in the order of commits (rule
    /// X7).
    WallClockWatermark,
    /// The cursor becomes the newest version that headquarters named, not the end of the page (rule X7).
    CursorIsHead,
    /// The cursor is saved before the rows, in a transaction of its own (rule X7).
    CursorBeforeRows,
    /// The cursor is kept in another file than the rows, which survives a power cut that the rows do not (rule X7).
    CursorKeptApart,
    /// An older row replaces a newer one (rule X7).
    OlderRowApplies,
}

/// Each, with the property that catches it, and the world in which it is looked for.
pub const ALL: [(Bug, &str, World); 16] = [
    (Bug::AnswerBeforeCommit, p::NOT_LOST, w::CHAIN),
    (Bug::FallbackMintsAnew, p::NOBODY_ELSE, w::CALLS),
    (Bug::RepeatIsLogged, p::LOGGED_ONCE, w::CHAIN),
    (Bug::WholePageIsCleared, p::CLEARED_HAS_ARRIVED, w::CHAIN),
    (Bug::UploadAnsweredBeforeCommit, p::CLEARED_HAS_ARRIVED, w::UPLOADS),
    (Bug::RepeatArrives, p::ARRIVES_ONCE, w::UPLOADS),
    (Bug::GuidIsNotLookedAt, p::ONE_NUMBER, w::CALLS),
    (Bug::NumberForADuplicate, p::NO_NUMBER_WASTED, w::CHAIN),
    (Bug::BlockIsKept, p::ONE_CUSTOMER, w::BLOCKS),
    (Bug::NoFence, p::FENCED, w::PROCESSES),
    (Bug::OneBadStopsAll, p::HEALS, w::CONFLICT),
    (Bug::WallClockWatermark, p::NEVER_SKIPS, w::CALLS),
    (Bug::CursorIsHead, p::NEVER_SKIPS, w::CHAIN),
    (Bug::CursorBeforeRows, p::NEVER_SKIPS, w::FEEDS),
    (Bug::CursorKeptApart, p::NEVER_SKIPS, w::FEEDS),
    (Bug::OlderRowApplies, p::NEVER_SKIPS, w::FEEDS),
];
