//! The client of headquarters' data exchange service.

use std::time::Duration;

use service_kit::way::{Route, Way};
use tillsync_proto::{
    ChannelId, Job,
    pb::{
        common::{ChannelStatus, CustomerRecord, FeedCursor, Job as WireJob, JobRun, Operation},
        hq::{
            GetConfigurationRequest, GetConfigurationResponse, ListCustomerChangesRequest,
            ListCustomerChangesResponse, RecoverCustomersRequest, ReportStatusRequest,
            UploadOperationsRequest, UploadOperationsResponse, WatchJobsRequest, WatchJobsResponse,
            data_exchange_service_client::DataExchangeServiceClient,
        },
    },
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::JobError;
use crate::status::{describe, is_unreached};

/// How long a call of the exchange may take; the next run tries again.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Customers in one page of changes.
const CHANGES: i32 = 5_000;

/// What a failed call is to a job.
pub(super) fn failed(status: &Status) -> JobError {
    let text = describe(status);
    if is_unreached(status) { JobError::Unreached(text) } else { JobError::Refused(text) }
}

/// Headquarters, as the jobs call it.
#[derive(Clone)]
pub(crate) struct Headquarters {
    client: DataExchangeServiceClient<Way>,
    channel: String,
}

impl Headquarters {
    /// A client that connects when it is first used.
    pub fn new(route: &Route, channel: &ChannelId) -> Self {
        let route = route.clone().with(|endpoint| endpoint.keep_alive_while_idle(true));
        let client = DataExchangeServiceClient::new(route.connect_lazy());
        Self { client, channel: channel.to_string() }
    }

    async fn call<M, A>(
        &self,
        message: M,
        call: impl AsyncFnOnce(DataExchangeServiceClient<Way>, Request<M>) -> Result<Response<A>, Status>,
    ) -> Result<A, JobError> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        match timeout(CALL_TIMEOUT, call(self.client.clone(), request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(failed(&status)),
            Err(_) => Err(JobError::Unreached("no answer in time".to_owned())),
        }
    }

    /// Brings a page of operations to the database that took those before, if one has.
    ///
    /// # Errors
    ///
    /// [`JobError::Unreached`] or [`JobError::Refused`].
    pub async fn upload(
        &self,
        operations: Vec<Operation>,
        epoch: &str,
    ) -> Result<UploadOperationsResponse, JobError> {
        let (channel_id, epoch) = (self.channel.clone(), epoch.to_owned());
        let message = UploadOperationsRequest { channel_id, operations, epoch };
        self.call(message, async |mut hq, m| hq.upload_operations(m).await).await
    }

    /// Asks for the changes after a cursor.
    ///
    /// # Errors
    ///
    /// [`JobError::Unreached`] or [`JobError::Refused`].
    pub async fn changes(&self, cursor: FeedCursor) -> Result<ListCustomerChangesResponse, JobError> {
        let channel_id = self.channel.clone();
        let message = ListCustomerChangesRequest { channel_id, cursor: Some(cursor), page_size: CHANGES };
        self.call(message, async |mut hq, m| hq.list_customer_changes(m).await).await
    }

    /// Asks for configuration.
    ///
    /// # Errors
    ///
    /// [`JobError::Unreached`] or [`JobError::Refused`].
    pub async fn configuration(&self, job: Job) -> Result<GetConfigurationResponse, JobError> {
        let message =
            GetConfigurationRequest { channel_id: self.channel.clone(), job: WireJob::from(job).into() };
        self.call(message, async |mut hq, m| hq.get_configuration(m).await).await
    }

    /// Listens for schedules. The stream has no time limit; keep-alive notices when headquarters is gone.
    ///
    /// # Errors
    ///
    /// [`JobError::Unreached`] or [`JobError::Refused`].
    pub async fn watch(&self) -> Result<Streaming<WatchJobsResponse>, JobError> {
        let message = WatchJobsRequest { channel_id: self.channel.clone() };
        let answer = timeout(CALL_TIMEOUT, self.client.clone().watch_jobs(message)).await;
        match answer {
            Ok(Ok(stream)) => Ok(stream.into_inner()),
            Ok(Err(status)) => Err(failed(&status)),
            Err(_) => Err(JobError::Unreached("no answer in time".to_owned())),
        }
    }

    /// Brings customers that headquarters has lost.
    ///
    /// # Errors
    ///
    /// [`JobError::Unreached`] or [`JobError::Refused`].
    pub async fn recover(&self, records: Vec<CustomerRecord>) -> Result<(), JobError> {
        let message = RecoverCustomersRequest { channel_id: self.channel.clone(), records };
        self.call(message, async |mut hq, m| hq.recover_customers(m).await).await.map(|_| ())
    }

    /// Tells how the channel is; gives the name of the database that takes its operations, if it is told.
    ///
    /// # Errors
    ///
    /// [`JobError::Unreached`] or [`JobError::Refused`].
    pub async fn report(
        &self,
        status: ChannelStatus,
        ended_runs: Vec<JobRun>,
        running: Vec<JobRun>,
    ) -> Result<String, JobError> {
        let message = ReportStatusRequest { status: Some(status), ended_runs, running };
        self.call(message, async |mut hq, m| hq.report_status(m).await).await.map(|answer| answer.epoch)
    }
}

impl Headquarters {
    /// The channel that calls.
    pub fn channel(&self) -> &str {
        &self.channel
    }
}
