//! `CustomerService` of a terminal: passed on to its store, or served by its own engine.

use std::sync::Arc;

use service_kit::{deadline, way::Way};
use tillsync_proto::{
    CustomerId,
    pb::channel::{
        self as wire, customer_service_client::CustomerServiceClient,
        customer_service_server::CustomerService,
    },
};
use tonic::{Request, Response, Status};

use super::{customers, optional_id};
use crate::{
    error::Error,
    store::Store,
    terminal::{Link, Passed},
};

/// The service: its own engine behind a link to the store.
pub(super) struct Service<S> {
    pub own: customers::Service<S>,
    pub link: Arc<Link>,
}

type Answer<T> = Result<Response<T>, Status>;

/// The same request for the store, with what remains of the caller's time (rule Z2).
fn onward<M: Clone>(request: &Request<M>) -> Request<M> {
    let mut onward = Request::new(request.get_ref().clone());
    if let Some(time) = deadline::parse(request.metadata().as_ref()).and_then(deadline::header) {
        onward.metadata_mut().as_mut().insert("grpc-timeout", time);
    }
    onward
}

impl<S: Store> Service<S> {
    /// The store's answer, or that of `own`.
    async fn either<M: Clone, A>(
        &self,
        request: Request<M>,
        store: impl AsyncFnOnce(CustomerServiceClient<Way>, Request<M>) -> Answer<A>,
        own: impl AsyncFnOnce(Request<M>) -> Answer<A>,
    ) -> Answer<A> {
        let call = async |channel, request| store(CustomerServiceClient::new(channel), request).await;
        match self.link.pass(onward(&request), call).await {
            Passed::Answered(answer) => answer,
            Passed::Offline => own(request).await,
        }
    }

    /// The store's answer; offline there is none (rule L5).
    async fn store_only<M: Clone, A>(
        &self,
        request: Request<M>,
        store: impl AsyncFnOnce(CustomerServiceClient<Way>, Request<M>) -> Answer<A>,
    ) -> Answer<A> {
        self.either(request, store, async |_| Err(Error::Offline.into())).await
    }
}

/// Offline, headquarters cannot be asked.
fn this_store(scope: i32) -> Result<(), Status> {
    if scope == i32::from(wire::Scope::AllStores) { Err(Error::Offline.into()) } else { Ok(()) }
}

#[tonic::async_trait]
impl<S: Store> CustomerService for Service<S> {
    type WatchCustomerStream = <customers::Service<S> as CustomerService>::WatchCustomerStream;

    async fn create_customer(
        &self,
        mut request: Request<wire::CreateCustomerRequest>,
    ) -> Answer<wire::CreateCustomerResponse> {
        // One GUID serves the store and this terminal: an answer that was lost never makes a second customer
        // (rules M6, O4).
        let id: Option<CustomerId> = optional_id("customer_id", &request.get_ref().customer_id)?;
        if id.is_none() && !request.get_ref().validate_only {
            request.get_mut().customer_id = self.own.0.ids.mint().to_string();
        }
        self.either(
            request,
            async |mut s, m| s.create_customer(m).await,
            async |m| self.own.create_customer(m).await,
        )
        .await
    }

    async fn get_customer(
        &self,
        request: Request<wire::GetCustomerRequest>,
    ) -> Answer<wire::GetCustomerResponse> {
        self.either(
            request,
            async |mut s, m| s.get_customer(m).await,
            async |m| {
                this_store(m.get_ref().scope)?;
                self.own.get_customer(m).await
            },
        )
        .await
    }

    async fn update_customer(
        &self,
        request: Request<wire::UpdateCustomerRequest>,
    ) -> Answer<wire::UpdateCustomerResponse> {
        self.either(
            request,
            async |mut s, m| s.update_customer(m).await,
            async |m| {
                // Offline, affiliations can be added and removed, and nothing else (rule L5).
                let paths = m.get_ref().update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
                if paths.is_empty() || paths.iter().any(|path| path != "affiliations") {
                    return Err(Error::Offline.into());
                }
                self.own.update_customer(m).await
            },
        )
        .await
    }

    async fn search_customers(
        &self,
        request: Request<wire::SearchCustomersRequest>,
    ) -> Answer<wire::SearchCustomersResponse> {
        self.either(
            request,
            async |mut s, m| s.search_customers(m).await,
            async |m| {
                this_store(m.get_ref().scope)?;
                self.own.search_customers(m).await
            },
        )
        .await
    }

    async fn list_customers(
        &self,
        request: Request<wire::ListCustomersRequest>,
    ) -> Answer<wire::ListCustomersResponse> {
        self.either(
            request,
            async |mut s, m| {
                // As large here as where it is read.
                let _reading = self.own.0.reading()?;
                s.list_customers(m).await
            },
            async |m| self.own.list_customers(m).await,
        )
        .await
    }

    async fn watch_customer(
        &self,
        request: Request<wire::WatchCustomerRequest>,
    ) -> Answer<Self::WatchCustomerStream> {
        let call = async |channel, request| {
            let states = CustomerServiceClient::new(channel).watch_customer(request).await?;
            Ok(Response::new(Box::pin(states.into_inner()) as Self::WatchCustomerStream))
        };
        match self.link.pass(onward(&request), call).await {
            Passed::Answered(answer) => answer,
            Passed::Offline => self.own.watch_customer(request).await,
        }
    }

    async fn create_address(
        &self,
        request: Request<wire::CreateAddressRequest>,
    ) -> Answer<wire::CreateAddressResponse> {
        self.store_only(request, async |mut s, m| s.create_address(m).await).await
    }

    async fn update_address(
        &self,
        request: Request<wire::UpdateAddressRequest>,
    ) -> Answer<wire::UpdateAddressResponse> {
        self.store_only(request, async |mut s, m| s.update_address(m).await).await
    }

    async fn delete_address(
        &self,
        request: Request<wire::DeleteAddressRequest>,
    ) -> Answer<wire::DeleteAddressResponse> {
        self.store_only(request, async |mut s, m| s.delete_address(m).await).await
    }

    async fn issue_loyalty_card(
        &self,
        request: Request<wire::IssueLoyaltyCardRequest>,
    ) -> Answer<wire::IssueLoyaltyCardResponse> {
        self.store_only(request, async |mut s, m| s.issue_loyalty_card(m).await).await
    }
}
