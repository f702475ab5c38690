//! Wire in, wire out, no decisions.

mod customers;
mod status;

use service_kit::deadline::Deadline;
use tillsync_proto::{
    Violations,
    pb::{
        DESCRIPTORS,
        channel::{
            customer_service_server::CustomerServiceServer, status_service_server::StatusServiceServer,
        },
    },
};
use tonic::{Request, service::Routes};

use crate::{customers::Customers, error::Error, exchange::Exchange, store::Store};

/// Full names of the services, for health.
pub(crate) const NAMES: &[&str] =
    &["tillsync.channel.v1.CustomerService", "tillsync.channel.v1.StatusService"];

/// Descriptors of everything, for reflection.
pub(crate) const REFLECTED: &[u8] = DESCRIPTORS;

/// The services over their use cases.
pub(crate) fn routes<S: Store>(customers: Customers<S>, exchange: std::sync::Arc<Exchange<S>>) -> Routes {
    Routes::new(CustomerServiceServer::new(customers::Service(customers)))
        .add_service(StatusServiceServer::new(status::Service(exchange)))
}

/// A request's message and deadline.
fn parts<M>(request: Request<M>) -> (M, Option<Deadline>) {
    let deadline = Deadline::of(&request);
    (request.into_inner(), deadline)
}

/// A GUID that a caller may have sent; empty is none.
fn optional_id<T: std::str::FromStr<Err = tillsync_proto::IdError>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| Violations::one(field, error).into())
}
