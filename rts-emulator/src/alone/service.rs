//! The in-memory headquarters as a real-time service: wire in, wire out.

use tillsync_proto::pb::hq::{self, real_time_service_server::RealTimeService};
use tonic::{Request, Response, Status};

use crate::alone::MemoryHq;

#[tonic::async_trait]
impl RealTimeService for MemoryHq {
    async fn create_customer(
        &self,
        request: Request<hq::CreateCustomerRequest>,
    ) -> Result<Response<hq::CreateCustomerResponse>, Status> {
        let record = Some(self.create(request.into_inner())?);
        Ok(Response::new(hq::CreateCustomerResponse { record, epoch: self.epoch() }))
    }

    async fn get_customer(
        &self,
        request: Request<hq::GetCustomerRequest>,
    ) -> Result<Response<hq::GetCustomerResponse>, Status> {
        let record = Some(self.get(&request.get_ref().customer)?);
        Ok(Response::new(hq::GetCustomerResponse { record, epoch: self.epoch() }))
    }

    async fn search_customers(
        &self,
        request: Request<hq::SearchCustomersRequest>,
    ) -> Result<Response<hq::SearchCustomersResponse>, Status> {
        let (records, next_page_token) = self.search(request.into_inner())?;
        Ok(Response::new(hq::SearchCustomersResponse { records, next_page_token, epoch: self.epoch() }))
    }

    async fn update_customer(
        &self,
        request: Request<hq::UpdateCustomerRequest>,
    ) -> Result<Response<hq::UpdateCustomerResponse>, Status> {
        let record = Some(self.update(request.into_inner())?);
        Ok(Response::new(hq::UpdateCustomerResponse { record, epoch: self.epoch() }))
    }

    async fn save_address(
        &self,
        request: Request<hq::SaveAddressRequest>,
    ) -> Result<Response<hq::SaveAddressResponse>, Status> {
        let record = Some(self.save_address(request.into_inner())?);
        Ok(Response::new(hq::SaveAddressResponse { record, epoch: self.epoch() }))
    }

    async fn issue_loyalty_card(
        &self,
        request: Request<hq::IssueLoyaltyCardRequest>,
    ) -> Result<Response<hq::IssueLoyaltyCardResponse>, Status> {
        let (record, card_number) = self.issue_card(request.get_ref())?;
        let record = Some(record);
        Ok(Response::new(hq::IssueLoyaltyCardResponse { record, card_number, epoch: self.epoch() }))
    }
}
