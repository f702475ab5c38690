//! Wire in, wire out, no decisions.

mod customers;
mod exchange;
mod status;
mod terminal;

use std::sync::Arc;

use service_kit::{
    deadline::Deadline,
    door::{Access, Caller},
};
use tillsync_proto::{
    Violations, access,
    pb::{
        DESCRIPTORS,
        channel::{
            customer_service_server::CustomerServiceServer, status_service_server::StatusServiceServer,
        },
        hq::data_exchange_service_server::DataExchangeServiceServer,
    },
};
use tonic::{Request, service::Routes};

use crate::{customers::Customers, error::Error, exchange::Exchange, store::Store, terminal::Link};

/// Full names of the services, for health.
pub(crate) const NAMES: &[&str] = &[
    "tillsync.channel.v1.CustomerService",
    "tillsync.channel.v1.StatusService",
    "tillsync.hq.v1.DataExchangeService",
];
/// The same of a terminal.
pub(crate) const TERMINAL_NAMES: &[&str] =
    &["tillsync.channel.v1.CustomerService", "tillsync.channel.v1.StatusService"];

/// Who may call what of a store.
pub(crate) const ACCESS: Access = Access { roles: access::ROLES, table: access::STORE, named: access::NAMED };
/// The same of a terminal.
pub(crate) const TERMINAL_ACCESS: Access = Access { table: access::OF_TERMINAL, ..ACCESS };

/// Descriptors of everything, for reflection.
pub(crate) const REFLECTED: &[u8] = DESCRIPTORS;

/// The services over their use cases.
pub(crate) fn routes<S: Store>(customers: Customers<S>, exchange: Arc<Exchange<S>>) -> Routes {
    let for_terminals = exchange::Service { customers: customers.clone(), exchange: Arc::clone(&exchange) };
    Routes::new(CustomerServiceServer::new(customers::Service(customers)))
        .add_service(StatusServiceServer::new(status::Service(exchange)))
        .add_service(DataExchangeServiceServer::new(for_terminals))
}

/// The services of a terminal.
pub(crate) fn terminal_routes<S: Store>(
    customers: Customers<S>,
    exchange: Arc<Exchange<S>>,
    link: Arc<Link>,
) -> Routes {
    let service = terminal::Service { own: customers::Service(customers), link };
    Routes::new(CustomerServiceServer::new(service))
        .add_service(StatusServiceServer::new(status::Service(exchange)))
}

/// The terminal that a message names has to be the one that calls, where terminals have to show who they are (rule Z4).
fn by_terminal<T>(request: &Request<T>, named: impl FnOnce(&T) -> &str) -> Result<(), Error> {
    Ok(Caller::itself(request, access::TERMINAL, named).map(|_| ())?)
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
