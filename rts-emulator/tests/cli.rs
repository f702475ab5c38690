//! The binary's own words: one line on standard error and exit code 64 for a configuration that cannot work.

#![expect(clippy::expect_used, reason = "a test")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rts-emulator"));
    command.args(arguments).env_clear().output().expect("it runs")
}

#[test]
fn a_configuration_that_cannot_work_is_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "workers = 0").expect("a file");
    let bad = bad.to_str().expect("text");
    let cases: [(&[&str], &str); 8] = [
        (&[], "the following required arguments were not provided: <--hq <URL>|--alone>"),
        (&["--alone", "--hq", "http://127.0.0.1:1"], "cannot be used with"),
        (&["--alone", "--workers", "3"], "unexpected argument '--workers' found"),
        (&["--alone", "--seed", "x"], "invalid value 'x' for '--seed <NUMBER>'"),
        (&["--alone", "--listen", "0.0.0.0:0"], "add --insecure"),
        (&["--alone", "--profile", bad], "missing field `queue_capacity`"),
        (&["--alone", "--profile", "nowhere.toml"], "--profile nowhere.toml: No such file"),
        (
            &["--hq", "ftp://x", "--listen", "127.0.0.1:0"],
            "ftp://x is not an address such as http://127.0.0.1:7100",
        ),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        let told = String::from_utf8(output.stderr).expect("text");
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {told:?}");
        assert!(told.len() == 1 && told[0].starts_with("rts-emulator: "), "{arguments:?}: {told:?}");
        assert!(told[0].contains(expected), "{arguments:?}: {told:?}");
    }
}

#[test]
fn a_file_that_cannot_tell_is_no_fault_of_the_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let calls = folder.path().join("calls.csv");
    std::fs::write(&calls, "start_ms,duration_ms,status\n1,2,OK\n").expect("a file");
    let calls = calls.to_str().expect("text");
    for (arguments, code, expected) in [
        (&["calibrate", calls][..], 65, "1 served calls are too few to tell anything"),
        (&["calibrate", "nowhere.csv"], 64, "nowhere.csv: No such file"),
        (&["top", "--emulator", "http://127.0.0.1:1", "--times", "1"], 64, "no emulator answers at"),
    ] {
        let output = run(arguments);
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.lines().count() == 1 && told.contains(expected), "{told}");
    }
}

#[test]
fn help_is_the_manual() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).expect("text");
    for word in [
        "--hq",
        "--alone",
        "--profile",
        "--seed",
        "--listen",
        "--insecure",
        "RTS_EMULATOR_LISTEN",
        "check-queue",
        "check-model",
        "calibrate",
        "overhead",
        "top",
    ] {
        assert!(text.contains(word), "{word}");
    }
    let help = run(&["check-queue", "--help"]);
    assert!(String::from_utf8(help.stdout).expect("text").contains("recursion of Kiefer and Wolfowitz"));
}
