//! `tillsync.hq.v1.DataExchangeService`.

use tillsync_proto::{
    Job, Violations,
    pb::{
        common,
        hq::{self, data_exchange_service_server::DataExchangeService},
    },
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use super::{channel, job, page_size};
use crate::{error::Error, hq::Headquarters, store::Store};

/// The data exchange.
pub(super) struct DataExchange<S> {
    pub hq: Headquarters<S>,
}

impl<S> DataExchange<S> {
    fn cursor(&self, version: u64) -> common::FeedCursor {
        cursor((self.hq.epoch, version))
    }
}

fn cursor((epoch, version): (Uuid, u64)) -> common::FeedCursor {
    common::FeedCursor { epoch: epoch.to_string(), version }
}

#[async_trait]
impl<S: Store> DataExchangeService for DataExchange<S> {
    type WatchJobsStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<hq::WatchJobsResponse, Status>> + Send>>;

    async fn upload_operations(
        &self,
        request: Request<hq::UploadOperationsRequest>,
    ) -> Result<Response<hq::UploadOperationsResponse>, Status> {
        let channel = channel(&request, |request| &request.channel_id)?;
        let (request, epoch) = (request.into_inner(), self.hq.epoch.to_string());
        let work = move |hq: Headquarters<S>| async move {
            hq.upload(&channel, &request.epoch, request.operations).await
        };
        let outcomes = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::UploadOperationsResponse { outcomes, epoch }))
    }

    async fn list_customer_changes(
        &self,
        request: Request<hq::ListCustomerChangesRequest>,
    ) -> Result<Response<hq::ListCustomerChangesResponse>, Status> {
        let channel = channel(&request, |request| &request.channel_id)?;
        let request = request.into_inner();
        let page_size = page_size(request.page_size, 1_000, 5_000).map_err(Error::from)?;
        let changes = self.hq.changes(&channel, request.cursor, page_size).await?;
        Ok(Response::new(hq::ListCustomerChangesResponse {
            resync: changes.resync.map(|resync| hq::Resync {
                reason: resync.reason.into(),
                cursor: Some(self.cursor(0)),
                continues: resync.continues.into_iter().map(cursor).collect(),
                arrived_through: Some(resync.arrived_through),
            }),
            records: changes.records,
            next_cursor: Some(self.cursor(changes.next)),
            head_version: changes.head,
        }))
    }

    async fn get_configuration(
        &self,
        request: Request<hq::GetConfigurationRequest>,
    ) -> Result<Response<hq::GetConfigurationResponse>, Status> {
        let channel = channel(&request, |request| &request.channel_id)?;
        let request = request.into_inner();
        let answer = match job(request.job()).map_err(Error::from)? {
            Job::ChannelConfiguration1070 => {
                let (profile, version) = self.hq.profile_of(&channel).await?;
                hq::GetConfigurationResponse { version, profile: Some(profile.into()), ..Default::default() }
            }
            Job::GlobalConfiguration1110 => {
                let configuration = self.hq.configuration_for(&channel).await?;
                let features = configuration.features.iter();
                hq::GetConfigurationResponse {
                    version: configuration.version,
                    profile: None,
                    features: features.map(|feature| common::Feature::from(feature).into()).collect(),
                    attributes: configuration.attributes.iter().map(Into::into).collect(),
                }
            }
            Job::Upload | Job::CustomerSync | Job::Customers1010 => {
                let violations = Violations::one("job", "carries no configuration: ask for 1070 or 1110");
                return Err(Error::from(violations).into());
            }
        };
        Ok(Response::new(answer))
    }

    async fn watch_jobs(
        &self,
        request: Request<hq::WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        let channel = channel(&request, |request| &request.channel_id)?;
        let orders = ReceiverStream::new(self.hq.watch_jobs(channel).await?);
        let answers = orders.map(|order| {
            Ok(hq::WatchJobsResponse {
                schedule: Some(order.schedule.into()),
                run_request: order.run.request,
                canceled_through: order.run.canceled,
                canceled_start_time: order.run.canceled_start.map(Into::into),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn recover_customers(
        &self,
        request: Request<hq::RecoverCustomersRequest>,
    ) -> Result<Response<hq::RecoverCustomersResponse>, Status> {
        let channel = channel(&request, |request| &request.channel_id)?;
        let request = request.into_inner();
        self.hq.unhurried(move |hq| async move { hq.recover(&channel, request.records).await }).await?;
        Ok(Response::new(hq::RecoverCustomersResponse {}))
    }

    async fn report_status(
        &self,
        request: Request<hq::ReportStatusRequest>,
    ) -> Result<Response<hq::ReportStatusResponse>, Status> {
        let channel = channel(&request, |request| request.status.as_ref().map_or("", |s| &s.channel_id));
        let channel = channel.map_err(|error| match error {
            Error::Invalid(violations) => Error::Invalid(violations.under("status")),
            error => error,
        });
        let request = request.into_inner();
        let status = request.status.ok_or_else(|| Error::from(Violations::one("status", "is required")))?;
        let channel = channel?;
        let work = move |hq: Headquarters<S>| async move {
            hq.report(&channel, status, request.ended_runs, request.running).await
        };
        self.hq.unhurried(work).await?;
        Ok(Response::new(hq::ReportStatusResponse { epoch: self.hq.epoch.to_string() }))
    }
}
