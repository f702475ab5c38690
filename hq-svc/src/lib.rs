//! Headquarters: the real-time service, arrivals, the customer sync job, the feed.
