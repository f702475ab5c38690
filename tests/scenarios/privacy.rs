//! Nothing that people have entered is in what the services write: logs down to the finest level, metrics, error statuses
//! with their details, the sessions of jobs, statuses, and answers in words (rule Z5).

use std::fmt::Write as _;

use tillsync_proto::pb::{
    channel::{
        CreateAddressRequest, GetCustomerRequest, IssueLoyaltyCardRequest, ListCustomersRequest, Scope,
        SearchCustomersRequest, UpdateCustomerRequest, search_customers_request::Criterion,
    },
    common::{
        AttributeDefinition, AttributeType, Contact, ContactKind, Customer, Feature, Job, Operation, Person,
        customer::Party, operation::Change,
    },
    hq::{
        CorrectOperationRequest, DiagnoseRequest, GetStatusRequest, ListSessionsRequest,
        ListSyncStatusesRequest, SynchronizeOperationRequest, UpdateAttributeDefinitionRequest,
        UpdateFlagRequest, UploadOperationsRequest, data_exchange_service_client::DataExchangeServiceClient,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Response, Status};
use uuid::Uuid;

use crate::{
    client::{Headquarters, Store, mint, until},
    marked::{address, found, found_in, found_in_file, marked},
    processes::{Process, free_port},
    restored::Data,
};

const MARK: &str = "qvzxwy";
const DIGITS: &str = "9182736455";
const MARKS: [&str; 2] = [MARK, DIGITS];

/// What has been said, apart from what was asked for.
#[derive(Default)]
struct Said(String);

impl Said {
    fn status(&mut self, status: &Status) {
        let details = String::from_utf8_lossy(status.details()).into_owned();
        let _ = write!(self.0, "{status:?} {details} {:?}", status.metadata());
    }

    /// An answer has metadata, such as where its time went; a refusal is told whole.
    fn call<T>(&mut self, answer: Result<Response<T>, Status>) {
        match answer {
            Ok(answer) => _ = write!(self.0, "{:?}", answer.metadata()),
            Err(status) => self.status(&status),
        }
    }

    fn words(&mut self, words: &impl std::fmt::Debug) {
        let _ = write!(self.0, "{words:?}");
    }
}

/// Customers that break each rule with what is entered.
fn bad() -> Vec<Customer> {
    let long = MARK.repeat(60);
    let contact = |kind: ContactKind, value: &str| Contact {
        kind: kind.into(),
        value: value.to_owned(),
        ..Contact::default()
    };
    let with = |change: &dyn Fn(&mut Customer)| {
        let mut customer = marked(MARK, DIGITS);
        change(&mut customer);
        customer
    };
    vec![
        with(&|c| c.party = None),
        with(&|c| c.party = Some(Party::Person(Person { last_name: long.clone(), ..Person::default() }))),
        with(&|c| {
            c.party = Some(Party::Person(Person { first_name: format!("{MARK}\0"), ..Person::default() }))
        }),
        with(&|c| c.tax_id.clone_from(&long)),
        with(&|c| c.currency = MARK.to_owned()),
        with(&|c| c.language = format!("{MARK}-{MARK}!")),
        with(&|c| c.customer_group.clone_from(&long)),
        with(&|c| c.receipt_email = format!("{MARK} at home")),
        with(&|c| c.contacts = vec![contact(ContactKind::Email, MARK)]),
        with(&|c| c.contacts = vec![contact(ContactKind::Phone, MARK)]),
        with(&|c| c.contacts = vec![contact(ContactKind::Unspecified, MARK)]),
        with(&|c| c.contacts[0].contact_id = MARK.to_owned()),
        with(&|c| c.addresses[0].country = MARK.to_owned()),
        with(&|c| c.addresses[0].address_id = MARK.to_owned()),
        with(&|c| c.addresses[0].street.clone_from(&long)),
        with(&|c| c.affiliations = vec![long.clone()]),
        with(&|c| c.attributes[0].name.clone_from(&long)),
        with(&|c| c.attributes[0].value = None),
        with(&|c| c.attributes.push(c.attributes[0].clone())),
        with(&|c| c.customer_id = MARK.to_owned()),
    ]
}

#[expect(clippy::too_many_lines, reason = "one story, told from its beginning to its end")]
async fn at_a_till(said: &mut Said, store: &Store, id: Uuid, other: Uuid) {
    let mut tills = store.tills.clone();
    let named = |customer: &str| customer.to_owned();
    if let Err(status) = store.create(id, marked(MARK, DIGITS)).await {
        said.status(&status);
    }
    let _ = store.create(other, marked(MARK, DIGITS)).await;
    for customer in bad() {
        for id in [mint(), id] {
            let refused = store.create(id, customer.clone()).await;
            if let Err(status) = refused {
                said.status(&status);
            }
        }
    }
    for customer in [id.to_string(), MARK.to_owned(), format!("{MARK}\0"), MARK.repeat(60)] {
        for scope in [Scope::Store, Scope::AllStores] {
            let request = GetCustomerRequest { customer: customer.clone(), scope: scope.into() };
            said.call(tills.get_customer(request).await);
        }
        // Every rule for one that is there, the first few for the others.
        let rules = if customer == id.to_string() { usize::MAX } else { 3 };
        for mut values in bad().into_iter().take(rules) {
            values.etag = MARK.to_owned();
            let paths = vec![
                "person".to_owned(),
                "tax_id".to_owned(),
                "contacts".to_owned(),
                "receipt_email".to_owned(),
                MARK.to_owned(),
            ];
            for paths in [paths.clone(), paths[..4].to_vec()] {
                let update_mask = Some(prost_types::FieldMask { paths });
                let request = UpdateCustomerRequest {
                    customer: customer.clone(),
                    values: Some(values.clone()),
                    update_mask,
                    validate_only: false,
                };
                said.call(tills.update_customer(request).await);
            }
        }
        let values = Some(Customer { tax_id: format!("edited {MARK}"), ..Customer::default() });
        let update_mask = Some(prost_types::FieldMask { paths: vec!["tax_id".to_owned()] });
        let request =
            UpdateCustomerRequest { customer: customer.clone(), values, update_mask, validate_only: false };
        said.call(tills.update_customer(request).await);
        let request = CreateAddressRequest {
            customer: customer.clone(),
            address: Some(address(MARK)),
            validate_only: false,
        };
        said.call(tills.create_address(request).await);
        for card_number in [format!("{MARK}-{DIGITS}"), format!("{MARK} {DIGITS}")] {
            let request = IssueLoyaltyCardRequest {
                customer: customer.clone(),
                card_number,
                request_id: if customer == MARK { named(MARK) } else { String::new() },
            };
            said.call(tills.issue_loyalty_card(request).await);
        }
    }
    let criteria = [
        Criterion::Name(format!("{MARK} f{MARK}")),
        Criterion::Email(format!("{MARK}@")),
        Criterion::Phone(DIGITS.to_owned()),
        Criterion::AccountNumber(MARK.to_owned()),
        Criterion::LoyaltyCard(format!("{MARK}-{DIGITS}")),
        Criterion::Name(MARK.repeat(60)),
    ];
    for criterion in criteria {
        for (scope, page_token) in
            [(Scope::Store, String::new()), (Scope::AllStores, String::new()), (Scope::Store, named(MARK))]
        {
            let request = SearchCustomersRequest {
                criterion: Some(criterion.clone()),
                scope: scope.into(),
                page_token,
                page_size: 1,
            };
            if let Ok(page) = tills.search_customers(request).await.map_err(|status| said.status(&status)) {
                said.words(&page.into_inner().next_page_token);
            }
        }
    }
    let request = ListCustomersRequest { page_size: 1, page_token: MARK.to_owned() };
    said.call(tills.list_customers(request).await);
}

/// What headquarters is sent and asked by others than its stores.
async fn at_headquarters(said: &mut Said, hq: &Headquarters, hq_url: &str, id: Uuid) {
    let mut exchange = DataExchangeServiceClient::connect(hq_url.to_owned()).await.expect("headquarters");
    let operations = (1..).zip(bad()).map(|(counter, customer)| Operation {
        counter,
        customer_id: if counter % 2 == 0 { id.to_string() } else { MARK.to_owned() },
        change: Some(Change::Create(customer)),
        ..Operation::default()
    });
    let operations: Vec<Operation> = operations.collect();
    let request = UploadOperationsRequest {
        channel_id: "foreign".to_owned(),
        operations: operations.clone(),
        ..Default::default()
    };
    said.call(exchange.upload_operations(request.clone()).await);
    let request = UploadOperationsRequest { channel_id: format!("{MARK} {MARK}"), ..request };
    said.call(exchange.upload_operations(request).await);
    hq.run(Job::CustomerSync, "").await;
    let mut admin = hq.admin.clone();
    for operation in operations {
        let counter = operation.counter;
        let request =
            CorrectOperationRequest { channel_id: "foreign".to_owned(), operation: Some(operation) };
        said.call(admin.correct_operation(request).await);
        let request = SynchronizeOperationRequest { channel_id: "foreign".to_owned(), counter };
        said.call(admin.synchronize_operation(request).await);
    }
    for customer in [id.to_string(), MARK.to_owned()] {
        let request = DiagnoseRequest { customer: customer.clone(), ..Default::default() };
        match admin.diagnose(request).await {
            Ok(findings) => said.words(&findings.into_inner()),
            Err(status) => said.status(&status),
        }
        let request = ListSyncStatusesRequest { customer, value: MARK.to_owned(), ..Default::default() };
        match admin.list_sync_statuses(request).await {
            Ok(list) => {
                for one in list.into_inner().operations {
                    said.words(&(one.reason, one.message));
                }
            }
            Err(status) => said.status(&status),
        }
    }
    let request = ListSyncStatusesRequest { page_token: MARK.to_owned(), ..Default::default() };
    said.call(admin.list_sync_statuses(request).await);
    said.words(&admin.list_sessions(ListSessionsRequest::default()).await.expect("sessions").into_inner());
    said.words(&admin.get_status(GetStatusRequest {}).await.expect("a status").into_inner());
}

async fn metrics(url: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(text.contains("rpc_server_requests_total"), "these are metrics");
    text
}

#[expect(clippy::too_many_lines, reason = "one story, told from its beginning to its end")]
async fn nothing_personal_is_written(sqlite: bool) {
    const TEST: &str = "privacy";
    let Some(hq_data) = Data::new(sqlite, TEST).await else { return };
    let logs = tempfile::tempdir().expect("a folder");
    let mut processes = Vec::new();
    let mut urls = Vec::new();
    let mut start = |name: &str, before: &[&str], after: &[&str]| {
        let port = free_port();
        let log = logs.path().join(format!("{name}.log"));
        let arguments = [before, &[port.as_str()], after].concat();
        processes.push(Process::start_logged(&arguments, &log));
        let url = format!("http://127.0.0.1:{port}");
        urls.push(url.clone());
        url
    };
    let hq_url = start("hq", &["hq"], &[&hq_data.url]);
    let rts_url = start("emulator", &["emulator"], &[&hq_url]);
    let (mut data, mut stores) = (Vec::new(), Vec::new());
    for id in ["store-1", "store-2"] {
        let one = Data::new(sqlite, TEST).await.expect("as before");
        let url = start(id, &["channel"], &[&one.url, id, &rts_url, &hq_url]);
        stores.push(Store::new(id, &url));
        data.push(one);
    }
    let till_data = Data::new(true, TEST).await.expect("SQLite is built in");
    let till_url = start("till-1", &["terminal"], &[&till_data.url, "till-1", &stores[0].url]);
    let till = Store::new("till-1", &till_url);
    let hq = Headquarters::new(&hq_url);
    hq.answers().await;
    let mut said = Said::default();
    let definition = AttributeDefinition {
        name: "size".to_owned(),
        r#type: AttributeType::Integer.into(),
        ..AttributeDefinition::default()
    };
    let request = UpdateAttributeDefinitionRequest { definition: Some(definition) };
    hq.admin.clone().update_attribute_definition(request).await.expect("defined");
    for store in stores.iter().chain([&till]) {
        until("the service answers", async || store.status().await.is_ok()).await;
    }
    let request = UpdateFlagRequest { feature: Feature::OperationsAudit.into(), enabled: true };
    hq.admin.clone().update_flag(request).await.expect("switched");
    hq.set_mode(&stores[0], true, true).await;
    hq.set_mode(&stores[1], false, true).await;

    let ids = [mint(), mint(), mint(), mint()];
    // Without the flags much is refused; with them, edits are logged.
    for (store, id) in stores.iter().zip(ids) {
        at_a_till(&mut said, store, id, ids[3]).await;
    }
    for feature in
        [Feature::OrderPerformance, Feature::AsyncAddresses, Feature::EnhancedAsyncCreate, Feature::AsyncEdit]
    {
        let request = UpdateFlagRequest { feature: feature.into(), enabled: true };
        hq.admin.clone().update_flag(request).await.expect("switched");
    }
    for store in &stores {
        hq.run(Job::GlobalConfiguration1110, &store.id).await;
    }
    for store in stores.iter().chain([&till]) {
        at_a_till(&mut said, store, ids[2], ids[3]).await;
    }
    at_headquarters(&mut said, &hq, &hq_url, ids[0]).await;
    for store in &stores {
        hq.run(Job::Upload, &store.id).await;
        hq.run(Job::CustomerSync, "").await;
        hq.run(Job::Customers1010, &store.id).await;
        said.words(&store.status().await.expect("a status"));
    }
    let mut written = String::new();
    for url in &urls {
        written += &metrics(url).await;
    }
    assert!(found_in(&hq_data, &MARKS).is_some(), "what is looked for is found where it is");
    // The terminal offline; headquarters out of reach.
    processes.remove(2);
    at_a_till(&mut said, &till, mint(), ids[3]).await;
    processes.remove(0);
    at_a_till(&mut said, &stores[1], mint(), ids[3]).await;
    processes.clear();

    assert!(said.0.len() > 10_000, "much was said");
    assert_eq!(found(said.0.as_bytes(), &MARKS), None, "in what was answered");
    assert_eq!(found(written.as_bytes(), &MARKS), None, "in the metrics");
    for log in std::fs::read_dir(logs.path()).expect("the logs").flatten() {
        let length = log.metadata().expect("a file").len();
        assert!(length > 10_000, "{:?} has only {length} bytes", log.path());
        assert_eq!(found_in_file(&log.path(), &MARKS), None, "in a log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z5_nothing_that_was_entered_is_in_logs_metrics_or_refusals_on_sqlite() {
    nothing_personal_is_written(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z5_nothing_that_was_entered_is_in_logs_metrics_or_refusals_on_postgresql() {
    nothing_personal_is_written(false).await;
}
