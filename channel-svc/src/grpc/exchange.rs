//! `tillsync.hq.v1.DataExchangeService`, as a store serves it to its terminals: what headquarters is to a store, the
//! store is to them (rule O2).

use std::{pin::Pin, sync::Arc};

use tillsync_proto::{
    Job, Schedule,
    pb::{
        common,
        hq::{
            GetConfigurationRequest, GetConfigurationResponse, ListCustomerChangesRequest,
            ListCustomerChangesResponse, RecoverCustomersRequest, RecoverCustomersResponse,
            ReportStatusRequest, ReportStatusResponse, UploadOperationsRequest, UploadOperationsResponse,
            WatchJobsRequest, WatchJobsResponse, data_exchange_service_server::DataExchangeService,
        },
    },
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::by_terminal;
use crate::{customers::Customers, error::Error, exchange::Exchange, store::Store};

/// The service over its use cases.
pub(super) struct Service<S> {
    pub customers: Customers<S>,
    pub exchange: Arc<Exchange<S>>,
}

impl<S: Store> Service<S> {
    /// The name of the store's database.
    fn epoch(&self) -> String {
        self.customers.current.get().identity.map(|identity| identity.to_string()).unwrap_or_default()
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<S: Store> DataExchangeService for Service<S> {
    type WatchJobsStream = Pin<Box<dyn Stream<Item = Result<WatchJobsResponse, Status>> + Send>>;

    async fn upload_operations(
        &self,
        request: Request<UploadOperationsRequest>,
    ) -> Answer<UploadOperationsResponse> {
        by_terminal(&request, |request| &request.channel_id)?;
        let (request, epoch) = (request.into_inner(), self.epoch());
        let elsewhere = !request.epoch.is_empty() && request.epoch != epoch;
        let outcomes = if elsewhere { Vec::new() } else { self.customers.take(request.operations).await? };
        Ok(Response::new(UploadOperationsResponse { outcomes, epoch }))
    }

    async fn list_customer_changes(
        &self,
        request: Request<ListCustomerChangesRequest>,
    ) -> Answer<ListCustomerChangesResponse> {
        by_terminal(&request, |request| &request.channel_id)?;
        let cursor = request.into_inner().cursor.unwrap_or_default();
        let page = self.exchange.hq.changes(cursor).await;
        Ok(Response::new(page.map_err(|_| Error::NoFeed)?))
    }

    /// What is in force in the store.
    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Answer<GetConfigurationResponse> {
        by_terminal(&request, |request| &request.channel_id)?;
        let settings = self.customers.current.get();
        let flags = request.get_ref().job() == common::Job::GlobalConfiguration1110;
        Ok(Response::new(if flags {
            let features = settings.features.iter().map(|f| common::Feature::from(f).into()).collect();
            let attributes = settings.attributes.iter().map(Into::into).collect();
            let version = settings.features_version;
            GetConfigurationResponse { version, features, attributes, ..Default::default() }
        } else {
            let profile = Some(settings.profile.clone().into());
            GetConfigurationResponse { version: settings.profile_version, profile, ..Default::default() }
        }))
    }

    /// The default schedules, which nobody changes.
    async fn watch_jobs(&self, request: Request<WatchJobsRequest>) -> Answer<Self::WatchJobsStream> {
        by_terminal(&request, |request| &request.channel_id)?;
        let told = Job::ALL.map(|job| {
            Ok(WatchJobsResponse {
                schedule: Some(Schedule::default_for(job).into()),
                run_request: 0,
                canceled_through: 0,
                canceled_start_time: None,
            })
        });
        let stop = self.customers.shutdown.clone();
        let rest = tokio_stream::once(()).then(move |()| {
            let stop = stop.clone();
            async move { stop.cancelled().await }
        });
        let rest = rest.filter_map(|()| None);
        Ok(Response::new(Box::pin(tokio_stream::iter(told).chain(rest))))
    }

    /// What headquarters has lost the stores bring, which know every customer.
    async fn recover_customers(
        &self,
        request: Request<RecoverCustomersRequest>,
    ) -> Answer<RecoverCustomersResponse> {
        by_terminal(&request, |request| &request.channel_id)?;
        Ok(Response::new(RecoverCustomersResponse {}))
    }

    /// A terminal is seen in what it uploads.
    async fn report_status(&self, request: Request<ReportStatusRequest>) -> Answer<ReportStatusResponse> {
        by_terminal(&request, |request| request.status.as_ref().map_or("", |status| &status.channel_id))?;
        Ok(Response::new(ReportStatusResponse { epoch: self.epoch() }))
    }
}
