//! `tillsync.channel.v1.CustomerService`.

use std::pin::Pin;

use service_kit::timing;
use tillsync_proto::{
    Criterion, Violations,
    pb::{
        channel::{self as wire, customer_service_server::CustomerService, search_customers_request},
        common, hq,
    },
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{optional_id, parts};
use crate::{
    create::{Create, Created},
    customers::{Customers, Scope},
    edit::{SaveAddress, Update},
    error::Error,
    find::Search,
    log::entry::{CreatePath, Row},
    store::Store,
};

/// The service over its use cases.
pub(super) struct Service<S>(pub Customers<S>);

type Answer<T> = Result<Response<T>, Status>;

fn customer(row: &Row) -> Option<common::Customer> {
    Some(row.shown())
}

fn scope(scope: i32) -> Result<Scope, Error> {
    match wire::Scope::try_from(scope) {
        Ok(wire::Scope::Unspecified | wire::Scope::Store) => Ok(Scope::Store),
        Ok(wire::Scope::AllStores) => Ok(Scope::AllStores),
        Err(_) => Err(Violations::one("scope", "is not known").into()),
    }
}

fn created(created: Created) -> Response<wire::CreateCustomerResponse> {
    let (path, fallback_cause) = match created.path {
        None => (wire::CreatePath::Unspecified, String::new()),
        Some(CreatePath::Sync) => (wire::CreatePath::Sync, String::new()),
        Some(CreatePath::Async) => (wire::CreatePath::Async, String::new()),
        Some(CreatePath::Fallback { cause }) => (wire::CreatePath::AsyncFallback, cause),
    };
    let mut answer = Response::new(wire::CreateCustomerResponse {
        customer: Some(created.customer),
        path: path.into(),
        fallback_cause,
    });
    if let Some((took, spent)) = created.called {
        let spent = spent.map(|spent| [("queue", spent.queue), ("service", spent.service)]);
        let parts: Vec<_> = [("rts", took)].into_iter().chain(spent.into_iter().flatten()).collect();
        timing::tell(answer.metadata_mut(), &parts);
    }
    answer
}

/// The same criterion in headquarters' words.
fn remote(criterion: &search_customers_request::Criterion) -> hq::search_customers_request::Criterion {
    use hq::search_customers_request::Criterion as Hq;
    use search_customers_request::Criterion as Own;
    match criterion {
        Own::Name(text) => Hq::Name(text.clone()),
        Own::Email(text) => Hq::Email(text.clone()),
        Own::Phone(text) => Hq::Phone(text.clone()),
        Own::AccountNumber(text) => Hq::AccountNumber(text.clone()),
        Own::LoyaltyCard(text) => Hq::LoyaltyCard(text.clone()),
    }
}

#[tonic::async_trait]
impl<S: Store> CustomerService for Service<S> {
    type WatchCustomerStream =
        Pin<Box<dyn Stream<Item = Result<wire::WatchCustomerResponse, Status>> + Send>>;

    async fn create_customer(
        &self,
        request: Request<wire::CreateCustomerRequest>,
    ) -> Answer<wire::CreateCustomerResponse> {
        let (message, deadline) = parts(request);
        let id = optional_id("customer_id", &message.customer_id)?;
        let (customer, validate_only) = (message.customer, message.validate_only);
        let create = Create { customer, id, validate_only, deadline };
        Ok(created(self.0.create(create).await?))
    }

    async fn get_customer(
        &self,
        request: Request<wire::GetCustomerRequest>,
    ) -> Answer<wire::GetCustomerResponse> {
        let (message, deadline) = parts(request);
        let row = self.0.get(&message.customer, scope(message.scope)?, deadline).await?;
        Ok(Response::new(wire::GetCustomerResponse { customer: customer(&row) }))
    }

    async fn update_customer(
        &self,
        request: Request<wire::UpdateCustomerRequest>,
    ) -> Answer<wire::UpdateCustomerResponse> {
        let (message, deadline) = parts(request);
        let update = Update {
            customer: message.customer,
            values: message.values,
            mask: message.update_mask,
            validate_only: message.validate_only,
        };
        let row = self.0.update(update, deadline).await?;
        Ok(Response::new(wire::UpdateCustomerResponse { customer: customer(&row) }))
    }

    async fn search_customers(
        &self,
        request: Request<wire::SearchCustomersRequest>,
    ) -> Answer<wire::SearchCustomersResponse> {
        let (message, deadline) = parts(request);
        let scope = scope(message.scope)?;
        let wire = message.criterion.as_ref().map(remote);
        let criterion = Criterion::try_from(message.criterion).map_err(Error::from)?;
        let search =
            Search { criterion, wire, scope, page_size: message.page_size, page_token: message.page_token };
        let page = self.0.search(search, deadline).await?;
        let customers = page.rows.iter().map(Row::shown).collect();
        let next_page_token = page.next_page_token;
        Ok(Response::new(wire::SearchCustomersResponse { customers, next_page_token }))
    }

    async fn list_customers(
        &self,
        request: Request<wire::ListCustomersRequest>,
    ) -> Answer<wire::ListCustomersResponse> {
        let message = request.into_inner();
        let page = self.0.list(message.page_size, &message.page_token).await?;
        let customers = page.rows.iter().map(Row::shown).collect();
        let next_page_token = page.next_page_token;
        Ok(Response::new(wire::ListCustomersResponse { customers, next_page_token }))
    }

    async fn watch_customer(
        &self,
        request: Request<wire::WatchCustomerRequest>,
    ) -> Answer<Self::WatchCustomerStream> {
        let message = request.into_inner();
        let states = self.0.watch(&message.customer, message.allow_missing).await?;
        let states = states.map(|state| match state {
            Ok(row) => Ok(wire::WatchCustomerResponse { customer: customer(&row) }),
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(Box::pin(states)))
    }

    async fn create_address(
        &self,
        request: Request<wire::CreateAddressRequest>,
    ) -> Answer<wire::CreateAddressResponse> {
        let (message, deadline) = parts(request);
        let wire::CreateAddressRequest { customer: name, address, validate_only } = message;
        let create = SaveAddress { customer: name, address, validate_only };
        let (row, id) = self.0.create_address(create, deadline).await?;
        let address_id = id.to_string();
        Ok(Response::new(wire::CreateAddressResponse { customer: customer(&row), address_id }))
    }

    async fn update_address(
        &self,
        request: Request<wire::UpdateAddressRequest>,
    ) -> Answer<wire::UpdateAddressResponse> {
        let (message, deadline) = parts(request);
        let wire::UpdateAddressRequest { customer: name, address, validate_only } = message;
        let update = SaveAddress { customer: name, address, validate_only };
        let row = self.0.update_address(update, deadline).await?;
        Ok(Response::new(wire::UpdateAddressResponse { customer: customer(&row) }))
    }

    async fn delete_address(
        &self,
        request: Request<wire::DeleteAddressRequest>,
    ) -> Answer<wire::DeleteAddressResponse> {
        let (message, deadline) = parts(request);
        let row = self.0.delete_address(&message.customer, &message.address_id, deadline).await?;
        Ok(Response::new(wire::DeleteAddressResponse { customer: customer(&row) }))
    }

    async fn issue_loyalty_card(
        &self,
        request: Request<wire::IssueLoyaltyCardRequest>,
    ) -> Answer<wire::IssueLoyaltyCardResponse> {
        let (message, deadline) = parts(request);
        let wire::IssueLoyaltyCardRequest { customer: name, card_number, request_id } = message;
        let (row, card_number) = self.0.issue_card(&name, card_number, &request_id, deadline).await?;
        Ok(Response::new(wire::IssueLoyaltyCardResponse { customer: customer(&row), card_number }))
    }
}
