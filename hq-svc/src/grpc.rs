//! Wire in, wire out, no decisions.

mod admin;
mod exchange;
mod operations;
mod real_time;

use service_kit::door::{Access, Caller};
use tillsync_proto::{
    ChannelId, CustomerRef, Violations, access, convert,
    pb::{
        common,
        hq::{
            admin_service_server::AdminServiceServer,
            data_exchange_service_server::DataExchangeServiceServer,
            real_time_service_server::RealTimeServiceServer,
        },
    },
};
use tonic::service::{Routes, RoutesBuilder};

use crate::{
    error::Error,
    hq::Headquarters,
    store::{FeedRecord, Record, Session, Store},
};

/// The services, for the health service.
pub(crate) const NAMES: &[&str] =
    &["tillsync.hq.v1.RealTimeService", "tillsync.hq.v1.DataExchangeService", "tillsync.hq.v1.AdminService"];

/// Who may call what of them.
pub(crate) const ACCESS: Access =
    Access { roles: access::ROLES, table: access::HEADQUARTERS, named: access::NAMED };

/// All services of headquarters.
pub(crate) fn routes<S: Store>(hq: &Headquarters<S>) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(RealTimeServiceServer::new(real_time::RealTime { hq: hq.clone() }))
        .add_service(DataExchangeServiceServer::new(exchange::DataExchange { hq: hq.clone() }))
        .add_service(AdminServiceServer::new(admin::Admin { hq: hq.clone() }));
    routes.routes()
}

/// A page size: 0 is the default.
fn page_size(asked: i32, default: usize, max: usize) -> Result<usize, Violations> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(size) if size <= max => Ok(size),
        _ => Err(Violations::one("page_size", format!("is not between 0 and {max}"))),
    }
}

/// The channel that a request is about: the one that calls, where channels have to show who they are, and otherwise the one
/// that the message names (rule Z4).
fn channel<T>(request: &tonic::Request<T>, named: impl FnOnce(&T) -> &str) -> Result<ChannelId, Error> {
    let channel = Caller::itself(request, access::CHANNEL, named)?;
    Ok(convert::channel_id(&channel)?)
}

fn customer_ref(text: &str) -> Result<CustomerRef, Violations> {
    text.parse().map_err(|error| Violations::one("customer", error))
}

fn job(job: common::Job) -> Result<tillsync_proto::Job, Violations> {
    job.try_into().map_err(|()| Violations::one("job", "is missing or not known"))
}

impl From<&Record> for common::CustomerRecord {
    fn from(record: &Record) -> Self {
        Self { customer: Some((&record.customer).into()), version: record.version, ..Self::default() }
    }
}

/// Without `included_counter`, which is another one for each channel.
impl From<&FeedRecord> for common::CustomerRecord {
    fn from(feed: &FeedRecord) -> Self {
        Self { fingerprint: feed.stored.fingerprint.into_bytes().to_vec(), ..(&feed.stored.record).into() }
    }
}

impl From<Session> for tillsync_proto::pb::hq::Session {
    fn from(session: Session) -> Self {
        Self {
            channel_id: session.channel.map(|channel| channel.as_str().to_owned()).unwrap_or_default(),
            run: Some((&session.run).into()),
            session_id: u64::try_from(session.seq).unwrap_or_default(),
        }
    }
}
