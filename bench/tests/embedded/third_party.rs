//! The harness against a server that is not ours: it speaks the contract of tills, and nothing else.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use tillsync_proto::pb::{
    channel::{
        self as wire,
        customer_service_server::{CustomerService, CustomerServiceServer},
    },
    common::Customer,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// Customers in memory, in the order of their creation.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<Customer>>>);

type Watch = Pin<Box<dyn Stream<Item = Result<wire::WatchCustomerResponse, Status>> + Send>>;

macro_rules! service {
    ($($name:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl CustomerService for Memory {
            type WatchCustomerStream = Watch;

            async fn create_customer(
                &self,
                request: Request<wire::CreateCustomerRequest>,
            ) -> Result<Response<wire::CreateCustomerResponse>, Status> {
                let wire::CreateCustomerRequest { customer, customer_id, .. } = request.into_inner();
                let customer = Customer { customer_id, ..customer.unwrap_or_default() };
                self.0.lock().unwrap().push(customer.clone());
                Ok(Response::new(wire::CreateCustomerResponse {
                    customer: Some(customer),
                    path: wire::CreatePath::Async.into(),
                    fallback_cause: String::new(),
                }))
            }

            /// Pages of ten; the token is the place.
            async fn list_customers(
                &self,
                request: Request<wire::ListCustomersRequest>,
            ) -> Result<Response<wire::ListCustomersResponse>, Status> {
                let all = self.0.lock().unwrap();
                let from: usize = request.into_inner().page_token.parse().unwrap_or_default();
                let customers: Vec<Customer> = all.iter().skip(from).take(10).cloned().collect();
                let next = from + customers.len();
                let next_page_token = if next < all.len() { next.to_string() } else { String::new() };
                Ok(Response::new(wire::ListCustomersResponse { customers, next_page_token }))
            }

            async fn watch_customer(
                &self,
                _: Request<wire::WatchCustomerRequest>,
            ) -> Result<Response<Watch>, Status> {
                Err(Status::unimplemented("not here"))
            }

            $(
                async fn $name(
                    &self,
                    _: Request<wire::$request>,
                ) -> Result<Response<wire::$response>, Status> {
                    Err(Status::unimplemented("not here"))
                }
            )*
        }
    };
}

service! {
    get_customer(GetCustomerRequest) -> GetCustomerResponse;
    update_customer(UpdateCustomerRequest) -> UpdateCustomerResponse;
    search_customers(SearchCustomersRequest) -> SearchCustomersResponse;
    create_address(CreateAddressRequest) -> CreateAddressResponse;
    update_address(UpdateAddressRequest) -> UpdateAddressResponse;
    delete_address(DeleteAddressRequest) -> DeleteAddressResponse;
    issue_loyalty_card(IssueLoyaltyCardRequest) -> IssueLoyaltyCardResponse;
}

/// Starts one, and gives its URL.
async fn start(memory: Memory) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(CustomerServiceServer::new(memory));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_any_server_that_speaks_the_contract_is_measured() {
    let (out, memory) = (tempfile::tempdir().unwrap(), Memory::default());
    let url = start(memory.clone()).await;
    let arguments =
        ["--channel", &url, "--modes", "async", "--rates", "50", "--seconds", "1", "--warmup", "0.2"];
    let result = super::measure(out.path(), &arguments, tokio_util::sync::CancellationToken::new()).await;
    super::valid(out.path());
    let (run, ledger) = (&result.runs[0], result.ledger.clone().unwrap());
    assert!(
        run.arrivals > 20 && run.failed() == 0 && run.warnings.iter().all(|w| !w.text.contains("pending"))
    );
    assert!(ledger.stores_only && ledger.holds() && ledger.in_hq == ledger.acknowledged, "{ledger:?}");
    assert_eq!(memory.0.lock().unwrap().len() as u64, ledger.acknowledged);
    assert!(result.warnings.is_empty(), "{:?}", result.warnings);
}
