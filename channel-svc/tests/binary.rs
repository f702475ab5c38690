//! The binary: one line and exit code 64 for what cannot work, and an end without loss when it is told to stop.

#![expect(clippy::expect_used, reason = "this is test code")]

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_channel-svc"));
    command.args(arguments);
    command
}

fn fails(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = command(arguments).output().expect("the binary starts");
    assert_eq!(status.code(), Some(64), "{arguments:?}");
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn bad_configuration_is_one_line_and_exit_64() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    let database = format!("sqlite:{path}/store.db");
    assert!(fails(&["--channel-id", "a b"]).contains("--channel-id"));
    assert!(fails(&["--database-url", "mysql://x"]).contains("not supported"));
    assert!(fails(&["--nonsense"]).contains("--nonsense"));
    assert!(fails(&["--database-url", &path, "--log", "off"]).contains("is a directory"));
    assert!(fails(&["--database-url", &database, "--hq", "no address", "--log", "off"]).contains("--hq"));
    let open = ["--database-url", &database, "--listen", "0.0.0.0:0", "--log", "off"];
    assert!(fails(&open).contains("--insecure"), "rule Z4");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its number").to_string();
    let taken = ["--database-url", &database, "--listen", &address, "--log", "off"];
    assert!(fails(&taken).contains("in use"));
}

#[test]
fn z4_no_password_is_in_help_or_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}/store.db", folder.path().display());
    let said = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("CHANNEL_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/store");
        let output =
            command.env("TERMINAL_DATABASE_URL", "mysql://me:hunter2@host").output().expect("it starts");
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text")).concat()
    };
    for (arguments, says) in [
        (&["--help"][..], "CHANNEL_DATABASE_URL"),
        (&["terminal", "--help"], "TERMINAL_DATABASE_URL"),
        (&["terminal"], "…@host"),
        (&["--hq", "http://me:hunter2@hq:7200", "--database-url", &database], "http://…@hq:7200"),
        (&["--log", "trace"], "cannot open"),
    ] {
        let text = said(arguments);
        assert!(text.contains(says) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn it_serves_without_headquarters_and_stops_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}/store.db", folder.path().display());
    let nobody = "http://127.0.0.1:9";
    let mut child =
        command(&["--database-url", &database, "--listen", "127.0.0.1:0", "--hq", nobody, "--rts", nobody])
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("serving")), "the log says where it listens");
    let stop = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(stop.success());
    // Read on, so that the log never blocks it.
    lines.for_each(drop);
    assert!(child.wait().expect("its end").success());
}
