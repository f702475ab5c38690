//! The log: where every create is written first, by whichever path it came (rules M8, X3). A caller waits in a
//! bounded queue; one task commits what waits together and answers. What is committed stands in the [`Tail`]
//! until the follower has made the tables of it.

mod appender;
pub(crate) mod entry;
mod index;
mod pack;
mod tail;

#[cfg(test)]
pub(crate) use appender::QUEUE;
pub(crate) use appender::{Appended, Appender, EditRefusal, EditRequest, Log, LogError};
pub(crate) use pack::{scrubbed, slices, unpack};
pub(crate) use tail::{Tail, together};
