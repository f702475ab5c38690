//! Who may call what (rule Z4): every method of the contract, called by everybody, at every service, beside the table.

mod streams;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use http_body_util::Full;
use prost::{Message as _, encoding::encode_varint};
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use service_kit::{
    clock::{Clock, Ids, SystemClock},
    database::DatabaseUrl,
    door::{self, Access, DoorConfig},
    testing::Authority,
    way::{Credentials, Way},
};
use tempfile::TempDir;
use tillsync_proto::{
    access::{self, ADMINISTRATOR, CHANNEL, MONITOR, NOBODY, TERMINAL, Table},
    pb::{
        self,
        channel::{
            CreateCustomerRequest, GetCustomerRequest, ListCustomersRequest,
            customer_service_client::CustomerServiceClient,
        },
        hq::{
            EraseCustomerRequest, GetStatusRequest, ListErasuresRequest,
            admin_service_client::AdminServiceClient,
        },
    },
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{
        Bytes, Service as _,
        http::{Request, Response},
    },
};
use uuid::Uuid;

use crate::client::{PATIENCE, person, until};

/// `UNAUTHENTICATED` and `PERMISSION_DENIED`, as they travel; anything else is let in.
const UNKNOWN: &str = "16";
const DENIED: &str = "7";
const LET_IN: &str = "let in";
/// The number of no certificate.
const NOBODYS: u64 = 99;

/// A chain whose doors are closed, on loopback.
struct Chain {
    folder: TempDir,
    authority: Authority,
    /// Headquarters, the emulator, a store and its terminal, with the table that holds there.
    services: Vec<(&'static str, String, Table)>,
    stop: CancellationToken,
}

impl Chain {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(folder.path(), "ca");
        let mut chain = Self { folder, authority, services: Vec::new(), stop: CancellationToken::new() };
        chain.authority.certify(None, 1, &chain.file("server.pem"), &chain.file("server.key"));
        chain.authority.revoke(NOBODYS, &chain.file("crl.pem"));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = || Ids::from_os(Arc::clone(&clock));
        let database = |name: &str| DatabaseUrl::Sqlite(chain.file(&format!("{name}.db")));

        let (listener, hq_url) = listen().await;
        let config = hq_svc::Config { door: chain.door("hq"), ..hq_svc::Config::new(database("hq")) };
        let hq = hq_svc::open(&config, Arc::clone(&clock), ids()).await.expect("headquarters opens");
        tokio::spawn(hq_svc::serve(listener, chain.stop.clone(), hq));

        let (listener, rts_url) = listen().await;
        // Channels' tokens are those of headquarters: the emulator passes them on.
        let deps = rts_emulator::Deps {
            door: chain.door("hq"),
            credentials: chain.shows(None),
            ..rts_emulator::Deps::forwarding(rts_emulator::Profile::default(), &hq_url, Arc::clone(&clock))
        };
        tokio::spawn(rts_emulator::serve(listener, chain.stop.clone(), deps));

        let (listener, store_url) = listen().await;
        let id = "store-1".parse().expect("a name");
        let config = channel_svc::Config {
            door: chain.door("store"),
            credentials: chain.token("hq", CHANNEL, "store-1"),
            ..channel_svc::Config::new(id, database("store"), &rts_url, &hq_url)
        };
        let store = channel_svc::open(&config, Arc::clone(&clock), ids()).await.expect("the store opens");
        tokio::spawn(channel_svc::serve(listener, chain.stop.clone(), store));

        let (listener, till_url) = listen().await;
        let (second, id) = (Duration::from_secs(1), "till-1".parse().expect("a name"));
        let link =
            channel_svc::TerminalConfig { store: store_url.clone(), timeout: 10 * second, reconnect: second };
        let config = channel_svc::Config {
            door: chain.door("till"),
            credentials: chain.certificate(TERMINAL, "till-1"),
            ..channel_svc::Config::terminal(id, database("till"), link)
        };
        let till = channel_svc::open(&config, Arc::clone(&clock), ids()).await.expect("the terminal opens");
        tokio::spawn(channel_svc::serve(listener, chain.stop.clone(), till));

        chain.services = vec![
            ("hq", hq_url, access::HEADQUARTERS),
            ("hq", rts_url, access::EMULATOR),
            ("store", store_url, access::STORE),
            ("till", till_url, access::OF_TERMINAL),
        ];
        chain
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certificates are believed, and the tokens in the file of that name.
    fn door(&self, tokens: &str) -> DoorConfig {
        let tokens = self.file(tokens);
        if !tokens.exists() {
            fs::write(&tokens, "").expect("a file");
        }
        DoorConfig {
            tls_cert: Some(self.file("server.pem")),
            tls_key: Some(self.file("server.key")),
            client_ca: Some(self.authority.cert.clone()),
            client_crl: Some(self.file("crl.pem")),
            tokens: Some(tokens),
            ..DoorConfig::default()
        }
    }

    fn shows(&self, token_file: Option<PathBuf>) -> Credentials {
        Credentials { ca: Some(self.authority.cert.clone()), token_file, ..Credentials::default() }
    }

    /// A caller with a token that is in the file of that name.
    fn token(&self, tokens: &str, role: &str, name: &str) -> Credentials {
        let access = Access { roles: access::ROLES, ..Access::default() };
        let mut secret = [0; 32];
        for (byte, own) in secret.iter_mut().zip(format!("{tokens}{role}{name}").bytes()) {
            *byte = own;
        }
        let token = door::add(&self.file(tokens), &access, role, name, secret).expect("a token");
        let file = self.file(&format!("{tokens}-{role}-{name}.token"));
        fs::write(&file, token).expect("a file");
        self.shows(Some(file))
    }

    /// A caller with a certificate.
    fn certificate(&self, role: &str, name: &str) -> Credentials {
        self.certificate_of(2, role, name)
    }

    /// The same with a number by which it can be revoked.
    fn certificate_of(&self, serial: u64, role: &str, name: &str) -> Credentials {
        let (cert, key) =
            (self.file(&format!("{role}-{name}.pem")), self.file(&format!("{role}-{name}.key")));
        self.authority.certify(Some(&format!("tillsync://{role}/{name}")), serial, &cert, &key);
        Credentials { client_cert: Some(cert), client_key: Some(key), ..self.shows(None) }
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("its address"));
    (listener, url)
}

/// A method: its path, the name of its service, and how a message that names somebody begins.
struct Method {
    path: String,
    service: String,
    names: Names,
}

/// Where a message has the name of the channel or terminal that sends it.
#[derive(Clone, Copy)]
enum Names {
    Nowhere,
    Field(u32),
    Within(u32, u32),
}

impl Names {
    fn message(self, name: &str) -> Vec<u8> {
        let field = |number: u32, content: &[u8]| {
            let mut bytes = Vec::new();
            encode_varint(u64::from(number << 3 | 2), &mut bytes);
            encode_varint(content.len() as u64, &mut bytes);
            bytes.extend_from_slice(content);
            bytes
        };
        match self {
            Self::Nowhere => Vec::new(),
            Self::Field(number) => field(number, name.as_bytes()),
            Self::Within(outer, inner) => field(outer, &field(inner, name.as_bytes())),
        }
    }
}

/// Every method of the contract, of health and of reflection.
fn methods() -> Vec<Method> {
    let sets = [
        pb::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files: Vec<_> =
        sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).expect("descriptors").file).collect();
    let mut messages: BTreeMap<String, DescriptorProto> = BTreeMap::new();
    for file in &files {
        for message in &file.message_type {
            messages.insert(format!(".{}.{}", file.package(), message.name()), message.clone());
        }
    }
    let own = |message: &DescriptorProto| {
        let field =
            message.field.iter().find(|field| field.name() == "channel_id" && field.r#type() == Type::String);
        field.map(|field| field.number() as u32)
    };
    let names = |input: &str| {
        let Some(message) = messages.get(input) else { return Names::Nowhere };
        if let Some(number) = own(message) {
            return Names::Field(number);
        }
        let status = message.field.iter().find(|field| field.name() == "status");
        let within =
            status.and_then(|field| Some((field.number() as u32, own(messages.get(field.type_name())?)?)));
        within.map_or(Names::Nowhere, |(outer, inner)| Names::Within(outer, inner))
    };
    let mut methods = Vec::new();
    for file in &files {
        for service in &file.service {
            let full = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let path = format!("/{full}/{}", method.name());
                methods.push(Method { path, service: full.clone(), names: names(method.input_type()) });
            }
        }
    }
    methods
}

async fn send(mut way: Way, request: Request<Body>) -> Response<Body> {
    std::future::poll_fn(|context| way.poll_ready(context)).await.expect("a connection");
    way.call(request).await.expect("an answer")
}

/// What becomes of a call: a refusal at the door is the head of its answer.
async fn call(way: &Way, path: &str, message: &[u8], named: Option<&str>) -> &'static str {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
    frame.extend_from_slice(message);
    let mut request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(name) = named {
        request = request.header(access::NAMED.1, name);
    }
    let request = request.body(Body::new(Full::new(Bytes::from(frame)))).expect("a request");
    let answer = timeout(PATIENCE, send(way.clone(), request)).await.expect("an answer in time");
    match answer.headers().get("grpc-status").map(|status| status.as_bytes()) {
        Some(b"16") => UNKNOWN,
        Some(b"7") => DENIED,
        _ => LET_IN,
    }
}

/// What the table says of a caller. One that says it is another is turned away wherever it says so.
fn expected(table: Table, method: &Method, role: &str, is_other: bool) -> &'static str {
    let row = table.iter().copied().flatten().find(|(path, _)| *path == method.path);
    let may = row.map_or(&[][..], |(_, roles)| roles);
    let says = role == CHANNEL || !matches!(method.names, Names::Nowhere);
    match () {
        () if may.contains(&NOBODY) => LET_IN,
        () if role == NOBODY => UNKNOWN,
        () if !may.contains(&role) || (is_other && says) => DENIED,
        () => LET_IN,
    }
}

#[test]
fn z4_every_method_has_a_row_and_every_row_is_one_of_a_method() {
    let methods = methods();
    for (table, services) in [
        (
            access::HEADQUARTERS,
            &[
                "tillsync.hq.v1.RealTimeService",
                "tillsync.hq.v1.DataExchangeService",
                "tillsync.hq.v1.AdminService",
            ][..],
        ),
        (access::EMULATOR, &["tillsync.hq.v1.RealTimeService", "tillsync.emulator.v1.EmulatorService"]),
        (
            access::STORE,
            &[
                "tillsync.channel.v1.CustomerService",
                "tillsync.channel.v1.StatusService",
                "tillsync.hq.v1.DataExchangeService",
            ],
        ),
        (access::OF_TERMINAL, &["tillsync.channel.v1.CustomerService", "tillsync.channel.v1.StatusService"]),
    ] {
        let served = |method: &&Method| {
            method.service.starts_with("grpc.") || services.contains(&method.service.as_str())
        };
        let mut served: Vec<&str> =
            methods.iter().filter(served).map(|method| method.path.as_str()).collect();
        served.push("/metrics");
        let mut rows: Vec<&str> = table.iter().copied().flatten().map(|(path, _)| *path).collect();
        served.sort_unstable();
        rows.sort_unstable();
        assert_eq!(served, rows);
        for (path, roles) in table.iter().copied().flatten() {
            assert!((*roles == [NOBODY] || roles.iter().all(|r| access::ROLES.contains(r))), "{path}");
        }
    }
    assert_eq!(NOBODY, door::NOBODY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z4_every_call_of_everybody_at_every_service_is_what_the_table_says() {
    let (chain, methods) = (Chain::start().await, methods());
    let (mut cells, mut let_in, mut wrong) = (0, 0, Vec::new());
    for (tokens, url, table) in &chain.services {
        // Each with whom it is and whom it says it is.
        let callers = [
            (NOBODY, "store-1", false, chain.shows(None)),
            (TERMINAL, "till-1", false, chain.certificate(TERMINAL, "till-1")),
            (TERMINAL, "till-1", true, chain.token(tokens, TERMINAL, "till-2")),
            (CHANNEL, "store-1", false, chain.token(tokens, CHANNEL, "store-1")),
            (CHANNEL, "store-1", true, chain.token(tokens, CHANNEL, "store-2")),
            (CHANNEL, "store-1", true, chain.certificate(CHANNEL, "store-2")),
            (ADMINISTRATOR, "store-1", false, chain.token(tokens, ADMINISTRATOR, "ann")),
            (MONITOR, "store-1", false, chain.token(tokens, MONITOR, "prometheus")),
        ];
        for (role, says, is_other, credentials) in callers {
            let way = credentials.connect(url).await.expect("a connection");
            // The tokens are in the file only now; the door looks once a second.
            if role != NOBODY {
                let health = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
                until("the token is known", async || call(&way, health, &[], None).await == LET_IN).await;
            }
            for method in &methods {
                let message = method.names.message(says);
                let named = (role == CHANNEL).then_some(says);
                let outcome = call(&way, &method.path, &message, named).await;
                cells += 1;
                let_in += usize::from(outcome == LET_IN);
                let table_says = expected(table, method, role, is_other);
                if outcome != table_says {
                    wrong.push(format!(
                        "{url}{} for {role} ({is_other}): {outcome}, not {table_says}",
                        method.path
                    ));
                }
            }
            let request = Request::get("/metrics").body(Body::empty()).expect("a request");
            let seen = send(way, request).await.status().as_u16();
            let may = [MONITOR, ADMINISTRATOR].contains(&role);
            assert_eq!(
                seen,
                if may {
                    200
                } else if role == NOBODY {
                    401
                } else {
                    403
                },
                "{role}"
            );
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells: {wrong:#?}", wrong.len());
    assert!(cells == 4 * 8 * methods.len() && let_in > cells / 10, "{let_in} of {cells}");
    chain.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z4_a_customer_travels_behind_closed_doors() {
    let chain = Chain::start().await;
    let url = |at: usize| chain.services[at].1.as_str();
    let till = chain.certificate(TERMINAL, "till-9").connect(url(3)).await.expect("a connection");
    let mut till = CustomerServiceClient::new(till);
    let id = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001);
    let create = CreateCustomerRequest {
        customer: Some(person("ada")),
        customer_id: id.to_string(),
        validate_only: false,
    };
    // Sync: the till's certificate, the terminal's, the store's token, which the emulator passes on.
    until("it is created", async || till.clone().create_customer(create.clone()).await.is_ok()).await;
    let get = GetCustomerRequest { customer: id.to_string(), scope: 0 };
    let customer =
        till.get_customer(get).await.expect("an answer").into_inner().customer.expect("the customer");
    assert!(!customer.account_number.is_empty());
    // The exchange too.
    let admin = chain.token("hq", ADMINISTRATOR, "ann").connect(url(0)).await.expect("a connection");
    let admin = AdminServiceClient::new(admin);
    until("store-1 is known at headquarters, by its token", async || {
        let status = admin.clone().get_status(GetStatusRequest {}).await;
        status.is_ok_and(|status| {
            let channels = status.into_inner().channels;
            channels.len() == 1 && format!("{:?}", channels[0]).contains("\"store-1\"")
        })
    })
    .await;
    // Who has a customer erased is whom the credential names, whatever the message says.
    for (requested_by, n) in [("eve", 2), ("", 3)] {
        let customer = Uuid::from_u128(id.as_u128() + n).to_string();
        let erase = EraseCustomerRequest { customer, requested_by: requested_by.to_owned() };
        admin.clone().erase_customer(erase).await.expect("erased");
    }
    let list = admin.clone().list_erasures(ListErasuresRequest::default()).await.expect("the record");
    let by: Vec<_> =
        list.get_ref().erasures.iter().map(|one| (one.caller.as_str(), one.requested_by.as_str())).collect();
    assert_eq!(by, [("administrator ann", ""), ("administrator ann", "eve")]);
    let refused = till.list_customers(ListCustomersRequest::default()).await.expect_err("a till searches");
    assert_eq!(service_kit::problem::reason(&refused).as_deref(), Some("NOT_ALLOWED"));
    chain.stop.cancel();
}
