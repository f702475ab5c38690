//! `tillsync.channel.v1.StatusService`.

use std::sync::Arc;

use tillsync_proto::{
    OperationTable, Violations,
    pb::{
        channel::{
            GetStatusRequest, GetStatusResponse, ListOperationsRequest, ListOperationsResponse, PingRequest,
            PingResponse, status_service_server::StatusService,
        },
        common,
    },
};
use tonic::{Request, Response, Status};

use crate::{error::Error, exchange::Exchange, store::Store};

/// The service over its use cases.
pub(super) struct Service<S>(pub Arc<Exchange<S>>);

#[tonic::async_trait]
impl<S: Store> StatusService for Service<S> {
    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        Ok(Response::new(PingResponse {}))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let status = self.0.status().await.map_err(Error::from)?;
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let message = request.into_inner();
        let table = common::OperationTable::try_from(message.table)
            .map_err(|_| Error::from(Violations::one("table", "is not known")))?;
        let table = OperationTable::from_pb(table);
        let page = self.0.operations(table, message.page_size, &message.page_token).await?;
        let (operations, next_page_token) = (page.operations, page.next_page_token);
        Ok(Response::new(ListOperationsResponse { operations, next_page_token }))
    }
}
