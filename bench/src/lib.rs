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
//! | [`raw`], [`callers`] | calls that cost the generator little; closed-loop callers |
//! | [`compare`] | the main job |
//! | [`bed`], [`ceiling`], [`drain`], [`searches`], [`channels`], [`costs`], [`shelter`] | what one store and its headquarters can do, and on what they are measured |
//! | [`inserts`] | how fast plain rows go into a database |
//! | [`pacing`] | how well the generator keeps time |
//! | [`scenario`], [`relay`] | what a chain goes through, as a file; a way that can be cut |
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
pub mod bed;
pub mod callers;
pub mod ceiling;
pub mod chain;
pub mod channels;
pub mod child;
pub mod cli;
pub mod compare;
pub mod costs;
pub mod counts;
pub mod customers;
pub mod database;
pub mod diff;
pub mod drain;
pub mod embedded;
pub mod error;
pub mod export;
pub mod generator;
pub mod goal;
pub mod h2load;
pub mod inserts;
pub mod knee;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod measured;
pub mod pacer;
pub mod pacing;
pub mod plan;
pub mod progress;
pub mod raw;
pub mod relay;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod searches;
pub mod services;
pub mod session;
pub mod shell;
pub mod shelter;
pub mod site;
pub mod slo;
pub mod stats;
pub mod steady;
pub mod table;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod trust;
pub mod usage;
pub mod verdict;
pub mod way;

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use crate::{
    cli::{Cli, Command, LedgerArgs, ReportArgs},
    error::Error,
    report::Named,
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
        Some(Command::Scenario(args)) => scenario::scenario(*args, command).await,
        Some(Command::Plan(args)) => plan::plan(*args, command).await,
        Some(Command::Profiles(args)) => plan::profiles::profiles(&args),
        Some(Command::WhatIf(args)) => plan::what_if::what_if(*args),
        Some(Command::Ceiling(args)) => ceiling::ceiling(args).await,
        Some(Command::Channels(args)) => channels::channels(args).await,
        Some(Command::Costs(args)) => costs::costs(args).await,
        Some(Command::Drain(args)) => drain::drain(args).await,
        Some(Command::Searches(args)) => searches::searches(args).await,
        Some(Command::Shelter(args)) => shelter::shelter(args).await,
        Some(Command::Steady(args)) => steady::steady(args).await,
        Some(Command::Pacing(args)) => pacing::pacing(args).await,
        Some(Command::Ledger(args)) => check_ledger(args).await,
        Some(Command::Report(args)) => render_report(&args),
        Some(Command::Diff(args)) => diff::diff(&args),
        Some(Command::Generate) => run::generators::generate().await,
        Some(Command::Serve) => embedded::serve().await,
        Some(Command::Up(args)) => chain::up(args).await,
        Some(Command::Hq(args)) => shell::hq::hq(args).await,
        Some(Command::Customer(args)) => shell::customer::customer(args).await,
        Some(Command::Doctor(args)) => shell::doctor::doctor(args).await,
        Some(Command::Token(args)) => shell::token::token(&args),
    }
}

async fn check_ledger(args: LedgerArgs) -> Result<ExitCode, Error> {
    let fleet = Fleet::connect(&Addresses {
        hq: Some(args.hq),
        emulator: None,
        channels: args.channel,
        credentials: args.credentials,
    })
    .await?;
    let ledger =
        ledger::read::check(&fleet, args.acknowledged.as_deref(), Duration::from_secs_f64(args.wait)).await?;
    if args.json {
        say(&(serde_json::to_string_pretty(&ledger).map_err(io::Error::from)? + "\n"));
    } else {
        let examples = ledger.examples.iter().map(|example| format!("  {example}\n"));
        say(&format!("{}\n{}", verdict::ledger_line(&ledger), examples.collect::<String>()));
    }
    Ok(compare::ledger_code(Some(&ledger)))
}

fn render_report(args: &ReportArgs) -> Result<ExitCode, Error> {
    let results = args.result.iter().map(|path| Ok((name_of(path), ResultFile::read(path)?)));
    let results = results.collect::<Result<Vec<_>, Error>>()?;
    let first = args.result.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    let beside = first.parent().unwrap_or(Path::new("")).join("report.html");
    let out = args.out.as_deref().unwrap_or(&beside);
    let page = match results.as_slice() {
        [(_, result)] => report::render(result),
        several => {
            let named: Vec<Named<'_>> = several.iter().map(|(name, result)| Named { name, result }).collect();
            report::overlay(&named)
        }
    };
    fs::write(out, page).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    for (_, result) in &results {
        say(&format!("{}\n", table::render(result)));
    }
    say(&format!("Report: {}\n", out.display()));
    let bad =
        results.iter().map(|(_, result)| compare::exit_code(result)).find(|code| *code != ExitCode::SUCCESS);
    Ok(bad.unwrap_or(ExitCode::SUCCESS))
}

/// What a result is called beside others: its folder, if the file's name says nothing.
fn name_of(path: &Path) -> String {
    let name =
        |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    match path.file_stem() {
        Some(stem) if stem != "result" => name(Some(stem)),
        stem => match path.parent().and_then(Path::file_name) {
            Some(folder) => name(Some(folder)),
            None => name(stem),
        },
    }
}

/// Prints. Whoever reads may have gone, as `head` does: that is no reason to fail.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
