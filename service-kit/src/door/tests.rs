use super::*;
use crate::clock::SystemClock;

const ACCESS: Access = Access {
    roles: &["till", "office"],
    table: &[&[("/a.B/Open", &[NOBODY]), ("/a.B/Sell", &["till", "office"]), ("/a.B/Close", &["office"])]],
    named: ("till", "x-till"),
};

fn door(tokens: PathBuf) -> Door {
    let config = DoorConfig { tokens: Some(tokens), ..DoorConfig::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Door::open(&config, ACCESS, None, &clock).unwrap().unwrap()
}

fn request(path: &str, token: &str) -> Request {
    let request = Request::post(path);
    let request =
        if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
    request.body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn z4_a_token_opens_what_the_table_says_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let till = add(&file, &ACCESS, "till", "till-1", [1; 32]).unwrap();
    let office = add(&file, &ACCESS, "office", "ann", [2; 32]).unwrap();
    assert!(
        !fs_text(&file).contains(&till) && !fs_text(&file).contains(&office[20..]),
        "only hashes are kept"
    );
    let door = door(file.clone());
    let code = |path: &str, token: &str| {
        door.judge(&mut request(path, token)).map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(
        [code("/a.B/Open", ""), code("/a.B/Sell", ""), code("/a.B/Close", "")],
        [Code::Ok, Code::Unauthenticated, Code::Unauthenticated]
    );
    assert_eq!([code("/a.B/Sell", &till), code("/a.B/Close", &till)], [Code::Ok, Code::PermissionDenied]);
    assert_eq!([code("/a.B/Sell", &office), code("/a.B/Close", &office)], [Code::Ok, Code::Ok]);
    assert_eq!(code("/a.B/Other", &office), Code::PermissionDenied, "no row, nobody");
    for wrong in [&till[..till.len() - 1], "x", &format!("{till} ")] {
        assert_eq!(code("/a.B/Sell", wrong), Code::Unauthenticated, "{wrong}");
    }
    assert_eq!(list(&file).unwrap(), [("till".into(), "till-1".into()), ("office".into(), "ann".into())]);
    assert_eq!(revoke(&file, "till", "till-1", 0).unwrap(), 1);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!([code("/a.B/Sell", &till), code("/a.B/Sell", &office)], [Code::Unauthenticated, Code::Ok]);
    assert!(matches!(revoke(&file, "till", "till-1", 0), Err(TokenError::None { .. })));
}

#[tokio::test]
async fn z4_a_caller_is_whom_its_token_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let till = add(&file, &ACCESS, "till", "till-1", [1; 32]).unwrap();
    let office = add(&file, &ACCESS, "office", "ann", [2; 32]).unwrap();
    let door = door(file);
    let named = |token: &str, name: &str| {
        let mut request = request("/a.B/Sell", token);
        if !name.is_empty() {
            request.headers_mut().insert("x-till", name.parse().unwrap());
        }
        door.judge(&mut request).map(|_| request)
    };
    for own in ["", "till-1"] {
        let request = named(&till, own).unwrap();
        assert_eq!(request.headers()["x-till"], "till-1", "it is filled in");
        let request = tonic::Request::from_parts(
            tonic::metadata::MetadataMap::new(),
            request.extensions().clone(),
            String::new(),
        );
        let about = |named: &'static str| Caller::itself(&request, "till", |_| named);
        assert_eq!(about("till-1").unwrap(), "till-1");
        assert_eq!(about("").unwrap(), "till-1");
        assert_eq!(about("till-2"), Err(NotItself("till")));
    }
    let other = named(&till, "till-2").unwrap_err();
    assert_eq!(
        (other.code(), crate::problem::reason(&other).as_deref()),
        (Code::PermissionDenied, Some("NOT_ITSELF"))
    );
    // Who has another role may speak of any.
    let request = named(&office, "till-2").unwrap();
    assert_eq!(request.headers()["x-till"], "till-2");
}

#[test]
fn z4_a_file_of_tokens_is_told_by_line_and_never_by_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let good = format!("till till-1 {}", "ab".repeat(32));
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Tokens::read(&file, &ACCESS).map(|tokens| tokens.0.len()).map_err(|error| error.to_string())
    };
    assert_eq!(read(&format!("# callers\n\n{good} # the old one\n")), Ok(1));
    let hash = "ab".repeat(32);
    for wrong in [
        "secret".to_owned(),
        format!("cook jo {hash}"),
        format!("till ti/ll {hash}"),
        format!("till till-1 {}", &hash[2..]),
        format!("till till-1 {}zz", &hash[2..]),
        format!("{good} secret"),
    ] {
        let told = read(&format!("{good}\n{wrong}\n")).unwrap_err();
        assert!(told.ends_with("line 2 is not: role, name, hash") && !told.contains("secret"), "{told}");
    }
    assert!(matches!(add(&file, &ACCESS, "cook", "jo", [0; 32]), Err(TokenError::Role { .. })));
    assert!(matches!(add(&file, &ACCESS, "till", "a b", [0; 32]), Err(TokenError::Name(_))));
}

#[test]
fn z4_calls_are_limited_by_default_only_where_callers_come_from_other_machines() {
    let (near, far) = (Some("127.0.0.1:1".parse().unwrap()), Some("192.0.2.1:1".parse().unwrap()));
    let open = DoorConfig::default();
    let path = || Some(PathBuf::from("x"));
    let closed = DoorConfig { tls_cert: path(), tls_key: path(), tokens: path(), ..DoorConfig::default() };
    assert_eq!([near, far].map(|address| open.calls_per_second(address)), [0, 0]);
    assert_eq!([near, far].map(|address| closed.calls_per_second(address)), [0, RATE_LIMIT]);
    let set = DoorConfig { rate_limit: Some(7), ..closed };
    assert_eq!([near, far].map(|address| set.calls_per_second(address)), [7, 7]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    assert!(
        Door::open(&open, ACCESS, near, &clock).unwrap().is_none(),
        "nothing stands in the way of a call"
    );
}

fn fs_text(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(start_paused = true)]
async fn z4_whoever_calls_too_often_is_told_when_to_come_back() {
    let config = DoorConfig { rate_limit: Some(2), ..DoorConfig::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let door = Door::open(&config, ACCESS, None, &clock).unwrap().unwrap();
    let call = || door.judge(&mut request("/a.B/Sell", "")).map(drop);
    assert!(call().is_ok() && call().is_ok(), "nobody has to show who he is");
    let refused = call().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(crate::problem::reason(&refused).as_deref(), Some("OVERLOADED"));
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "500");
    tokio::time::advance(std::time::Duration::from_millis(500)).await;
    assert!(call().is_ok());
}
