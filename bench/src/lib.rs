//! The harness: pace → measure → result file → table and report; the ledger (rules B1 to B9).
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`], [`session`] | what was asked for, checked |
//! | [`arrivals`], [`trace`], [`load`], [`pacer`] | when creates fall due, and sending them then |
//! | [`customers`] | synthetic customers |
//! | [`site`], [`embedded`], [`services`] | the services under test, started here or up already |
//! | [`run`] | one mode at one rate |
//! | [`counts`], [`measured`], [`stats`] | what is counted, and the figures made from it |
//! | [`raw`] | calls that cost the generator little, for the ceiling |
//! | [`compare`], [`ceiling`] | the two jobs |
//! | [`knee`] | the highest rate that keeps a goal |
//! | [`diff`] | two results compared |
//! | [`plan`] | the same in virtual time |
//! | [`acknowledged`], [`ledger`] | nobody lost, nobody doubled |
//! | [`trust`] | when not to trust a run |
//! | [`result`] | what was measured, as plain data |
//! | [`goal`], [`slo`] | what runs have to keep |
//! | [`verdict`], [`table`], [`report`], [`export`] | the same in words, on the terminal, as a page, for other programs |
//! | [`chain`], [`shell`] | a chain to try things on, and what an administrator and a till do there |

pub mod acknowledged;
pub mod arrivals;
pub mod ceiling;
pub mod chain;
pub mod cli;
pub mod compare;
pub mod counts;
pub mod customers;
pub mod diff;
pub mod embedded;
pub mod error;
pub mod export;
pub mod generator;
pub mod goal;
pub mod knee;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod measured;
pub mod pacer;
pub mod plan;
pub mod progress;
pub mod raw;
pub mod report;
pub mod result;
pub mod run;
pub mod services;
pub mod session;
pub mod shell;
pub mod site;
pub mod slo;
pub mod stats;
pub mod table;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod trust;
pub mod verdict;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use crate::{
    cli::{Cli, Command, LedgerArgs, ReportArgs},
    error::Error,
    result::ResultFile,
    services::{Addresses, Fleet},
};

/// Does what the command line says.
///
/// # Errors
///
/// Whatever keeps it from that.
pub async fn run(cli: Cli, command: Vec<String>) -> Result<ExitCode, Error> {
    match cli.command {
        None => compare::compare(cli.compare, command).await,
        Some(Command::Compare(args)) => compare::compare(*args, command).await,
        Some(Command::Knee(args)) => knee::find(*args, command).await,
        Some(Command::Plan(args)) => plan::plan(*args, command).await,
        Some(Command::Profiles(args)) => plan::profiles::profiles(&args),
        Some(Command::WhatIf(args)) => plan::what_if::what_if(*args),
        Some(Command::Ceiling(args)) => ceiling::ceiling(args).await,
        Some(Command::Ledger(args)) => check_ledger(args).await,
        Some(Command::Report(args)) => render_report(&args),
        Some(Command::Diff(args)) => diff::diff(&args),
        Some(Command::Generate) => run::generators::generate().await,
        Some(Command::Up(args)) => chain::up(args).await,
        Some(Command::Hq(args)) => shell::hq::hq(args).await,
        Some(Command::Customer(args)) => shell::customer::customer(args).await,
        Some(Command::Doctor(args)) => shell::doctor::doctor(args).await,
    }
}

async fn check_ledger(args: LedgerArgs) -> Result<ExitCode, Error> {
    let acknowledged = args.acknowledged.as_deref().map(acknowledged::read).transpose()?;
    let fleet = Fleet::connect(&Addresses { hq: args.hq, emulator: None, channels: args.channel }).await?;
    let ledger = ledger::read::check(&fleet, acknowledged, Duration::from_secs_f64(args.wait)).await?;
    if args.json {
        say(&(serde_json::to_string_pretty(&ledger).map_err(io::Error::from)? + "\n"));
    } else {
        let examples = ledger.examples.iter().map(|example| format!("  {example}\n"));
        say(&format!("{}\n{}", verdict::ledger_line(&ledger), examples.collect::<String>()));
    }
    Ok(compare::ledger_code(Some(&ledger)))
}

fn render_report(args: &ReportArgs) -> Result<ExitCode, Error> {
    let path = args.result.as_path();
    let result = ResultFile::read(path)?;
    let beside = path.parent().unwrap_or(Path::new("")).join("report.html");
    let out = args.out.as_deref().unwrap_or(&beside);
    fs::write(out, report::render(&result))
        .map_err(|source| Error::Write { path: out.to_owned(), source })?;
    say(&format!("{}\nReport: {}\n", table::render(&result), out.display()));
    Ok(compare::exit_code(&result))
}

/// Prints. Whoever reads may have gone, as `head` does: that is no reason to fail.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
