//! The harness against a server that is not ours: it speaks the contract of tills, and nothing else.

use std::{
    fs,
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
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

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

/// A certificate for 127.0.0.1 and its key, in PEM.
fn certified() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_a_server_that_asks_who_calls_is_measured_with_credentials() {
    let (out, memory) = (tempfile::tempdir().unwrap(), Memory::default());
    let ((server_cert, server_key), (client_cert, client_key)) = (certified(), certified());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&server_cert, server_key));
    let tls = tls.client_ca_root(Certificate::from_pem(&client_cert));
    let asks = |request: Request<()>| match request.metadata().get("authorization") {
        Some(token) if token == "Bearer open sesame" => Ok(request),
        _ => Err(Status::unauthenticated("who is there?")),
    };
    let service = CustomerServiceServer::with_interceptor(memory.clone(), asks);
    let server = Server::builder().tls_config(tls).unwrap().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let file = |name: &str, text: &str| {
        let path = out.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, cert) = (file("ca.pem", &server_cert), file("cert.pem", &client_cert));
    let (key, token) = (file("key.pem", &client_key), file("token", "open sesame\n"));
    let believed = ["--channel", &url, "--ca", &ca, "--client-cert", &cert, "--client-key", &key];
    let load = ["--modes", "async", "--rates", "50", "--seconds", "1", "--warmup", "0.2"];
    let folder = out.path().join("report");
    let measure = async |credentials: &[&str]| {
        let arguments: Vec<&str> = believed.iter().chain(&load).chain(credentials).copied().collect();
        super::measure(&folder, &arguments, tokio_util::sync::CancellationToken::new()).await
    };
    let result = measure(&[]).await;
    assert_eq!(result.runs[0].errors.keys().collect::<Vec<_>>(), ["UNAUTHENTICATED"]);
    let result = measure(&["--token-file", &token]).await;
    let (run, ledger) = (&result.runs[0], result.ledger.clone().unwrap());
    assert!(run.arrivals > 20 && run.failed() == 0, "{run:?}");
    assert!(ledger.holds() && ledger.in_hq == ledger.acknowledged, "{ledger:?}");
    assert!(!fs::read_to_string(folder.join("result.json")).unwrap().contains("sesame"));
    // Whom it does not know it does not believe, and the other way round.
    assert!(tillsync::way::connect(&url).await.is_err());
}
