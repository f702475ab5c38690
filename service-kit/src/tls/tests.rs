use std::{error::Error as _, fs};

use tokio_util::sync::CancellationToken;
use tonic::{Code, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::{
    clock::SystemClock,
    door::{Access, DoorConfig},
    serve::Server,
    testing::Authority,
    way::{Credentials, Way, WayError},
};

const ACCESS: Access = Access {
    roles: &["till"],
    table: &[&[("/grpc.health.v1.Health/Check", &["till"])]],
    named: ("till", "x-till"),
};

/// Serves, and gives the address.
async fn start(door: DoorConfig, stop: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let server = Server {
        routes: Routes::default(),
        names: &["a"],
        descriptors: &[],
        web: Vec::new(),
        door,
        access: ACCESS,
        clock: Arc::new(SystemClock),
    };
    tokio::spawn(server.serve(listener, stop));
    address
}

async fn check(way: Way) -> Code {
    let answer = HealthClient::new(way).check(HealthCheckRequest { service: "a".to_owned() }).await;
    // With TLS 1.3 a client learns that it was turned away only when it calls.
    let refused = |status: tonic::Status| status.source().map_or(status.code(), |_| Code::Unavailable);
    answer.map_or_else(refused, |_| Code::Ok)
}

/// Until it is so; each try is a connection of its own.
async fn until(mut so: impl AsyncFnMut() -> bool) {
    timeout(Duration::from_secs(30), async { while !so().await {} }).await.expect("it never came");
}

#[tokio::test]
async fn z4_a_certificate_is_replaced_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (old, new) = (Authority::new(folder.path(), "old"), Authority::new(folder.path(), "new"));
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    old.certify(None, 1, &cert, &key);
    let door =
        DoorConfig { tls_cert: Some(cert.clone()), tls_key: Some(key.clone()), ..DoorConfig::default() };
    let (stop, believes) = (CancellationToken::new(), |ca: &Authority| Credentials {
        ca: Some(ca.cert.clone()),
        ..Credentials::default()
    });
    let address = start(door, stop.clone()).await;
    let first = believes(&old).connect(&address).await.unwrap();
    assert_eq!(check(first.clone()).await, Code::Ok);
    let unknown = believes(&new).connect(&address).await;
    assert!(
        matches!(unknown, Err(WayError::Connect { .. })),
        "whom a client does not know it does not believe"
    );
    // A file that is half there changes nothing.
    fs::write(&key, "-----BEGIN PRIVATE KEY-----").unwrap();
    assert!(believes(&old).connect(&address).await.is_ok());
    new.certify(None, 2, &cert, &key);
    until(async || believes(&new).connect(&address).await.is_ok()).await;
    assert!(believes(&old).connect(&address).await.is_err());
    assert_eq!(check(first).await, Code::Ok, "a connection stays what it is");
    // Who does not speak TLS learns nothing.
    let plain = Credentials::default().connect(&address.replace("https", "http")).await.unwrap();
    assert_ne!(check(plain).await, Code::Ok);
    stop.cancel();
}

#[tokio::test]
async fn z4_a_caller_is_whom_its_certificate_names_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let ours = Authority::new(folder.path(), "ours");
    let (cert, key, crl) = (file("cert.pem"), file("key.pem"), file("crl.pem"));
    ours.certify(None, 1, &cert, &key);
    ours.revoke(99, &crl);
    let ca = Some(ours.cert.clone());
    let door = DoorConfig {
        tls_cert: Some(cert.clone()),
        tls_key: Some(key.clone()),
        client_ca: ca.clone(),
        client_crl: Some(crl.clone()),
        ..DoorConfig::default()
    };
    let stop = CancellationToken::new();
    let address = start(door, stop.clone()).await;
    let shows = |authority: &Authority, uri: &str, serial: u64| {
        let (client_cert, client_key) = (file("client.pem"), file("client.key"));
        authority.certify(Some(uri), serial, &client_cert, &client_key);
        let (client_cert, client_key) = (Some(client_cert), Some(client_key));
        Credentials { ca: ca.clone(), client_cert, client_key, token_file: None }
    };
    let code = async |credentials: Credentials| match credentials.connect(&address).await {
        Ok(way) => check(way).await,
        Err(_) => Code::Unavailable,
    };
    assert_eq!(code(shows(&ours, "tillsync://till/till-1", 2)).await, Code::Ok);
    assert_eq!(code(Credentials { ca: ca.clone(), ..Credentials::default() }).await, Code::Unauthenticated);
    for nobody in
        ["tillsync://cook/till-1", "tillsync://till/a%20b", "tillsync://till", "https://till/till-1"]
    {
        assert_eq!(code(shows(&ours, nobody, 3)).await, Code::Unauthenticated, "{nobody}");
    }
    let others = Authority::new(folder.path(), "others");
    assert_eq!(code(shows(&others, "tillsync://till/till-1", 4)).await, Code::Unavailable);
    ours.revoke(5, &crl);
    until(async || code(shows(&ours, "tillsync://till/till-1", 5)).await == Code::Unavailable).await;
    assert_eq!(code(shows(&ours, "tillsync://till/till-1", 6)).await, Code::Ok);
    stop.cancel();
}
