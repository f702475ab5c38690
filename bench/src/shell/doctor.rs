//! `tillsync doctor`: looks at a running chain and answers in words.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use serde::Serialize;
use tillsync_proto::pb::hq::{DiagnoseRequest, Finding, Severity, admin_service_client::AdminServiceClient};

use super::Remote;
use crate::{error::Error, say, way::Credentials};

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Headquarters.
    #[arg(long, default_value = "http://127.0.0.1:7200", value_name = "URL")]
    pub hq: String,
    /// What proves to it who calls.
    #[command(flatten)]
    pub credentials: Credentials,
    /// Only this channel.
    #[arg(long, default_value = "", value_name = "NAME")]
    pub channel: String,
    /// Also why this customer is pending or not shown: GUID or account number.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    pub customer: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A finding as it is printed.
#[derive(Serialize)]
struct Told<'a> {
    severity: &'static str,
    channel: &'a str,
    question: &'a str,
    answer: &'a str,
    rule: &'a str,
    remedy: &'a str,
}

/// Asks headquarters and prints the answers. Exit code 1: something is amiss and needs a person.
///
/// # Errors
///
/// Headquarters cannot be reached or refuses.
pub async fn doctor(args: DoctorArgs) -> Result<ExitCode, Error> {
    let (text, amiss) = answer(args).await?;
    say(&text);
    Ok(ExitCode::from(u8::from(amiss)))
}

/// What is to be printed, and whether something is amiss.
///
/// # Errors
///
/// As [`doctor`].
pub async fn answer(args: DoctorArgs) -> Result<(String, bool), Error> {
    let hq = Remote::connect(&args.hq, &args.credentials, "headquarters").await?;
    let request = DiagnoseRequest { channel_id: args.channel, customer: args.customer };
    let answer = hq.call(request, async |hq, m| AdminServiceClient::new(hq).diagnose(m).await).await?;
    let told: Vec<Told<'_>> = answer.findings.iter().map(told).collect();
    let text = match args.json {
        true => serde_json::to_string_pretty(&told).map_err(std::io::Error::from)? + "\n",
        false => in_words(&told),
    };
    Ok((text, told.iter().any(|finding| finding.severity == "error")))
}

fn told(finding: &Finding) -> Told<'_> {
    let severity = match finding.severity() {
        Severity::Error => "error",
        Severity::Waiting => "waiting",
        Severity::Info | Severity::Unspecified => "info",
    };
    Told {
        severity,
        channel: &finding.channel_id,
        question: &finding.question,
        answer: &finding.answer,
        rule: &finding.rule,
        remedy: &finding.remedy,
    }
}

fn in_words(findings: &[Told<'_>]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.severity {
            "error" => "!",
            "waiting" => "~",
            _ => " ",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {}", finding.question);
        let _ = writeln!(text, "    {} [{}]", finding.answer, finding.rule);
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "    To do: {}", finding.remedy);
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = writeln!(text, "\n{} amiss (!), {} waiting (~).", count("error"), count("waiting"));
    text
}
