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
    pin::Pin,
    process::ExitCode,
    time::Duration,
};

use tokio::runtime::Runtime;

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
pub fn run(cli: Cli, command: Vec<String>) -> Result<ExitCode, Error> {
    let work: Pin<Box<dyn Future<Output = Result<ExitCode, Error>>>> = match cli.command {
        None => Box::pin(compare::compare(cli.compare, command)),
        Some(Command::Compare(args)) => Box::pin(compare::compare(*args, command)),
        Some(Command::Knee(args)) => Box::pin(knee::find(*args, command)),
        Some(Command::Scenario(args)) => Box::pin(scenario::scenario(*args, command)),
        Some(Command::Plan(args)) => Box::pin(plan::plan(*args, command)),
        Some(Command::Profiles(args)) => return plan::profiles::profiles(&args),
        Some(Command::WhatIf(args)) => return plan::what_if::what_if(*args),
        Some(Command::Ceiling(args)) => Box::pin(ceiling::ceiling(args)),
        Some(Command::Channels(args)) => Box::pin(channels::channels(args)),
        Some(Command::Costs(args)) => Box::pin(costs::costs(args)),
        Some(Command::Drain(args)) => Box::pin(drain::drain(args)),
        Some(Command::Searches(args)) => Box::pin(searches::searches(args)),
        Some(Command::Shelter(args)) => Box::pin(shelter::shelter(args)),
        Some(Command::Steady(args)) => Box::pin(steady::steady(args)),
        Some(Command::Pacing(args)) => Box::pin(pacing::pacing(args)),
        Some(Command::Ledger(args)) => Box::pin(check_ledger(args)),
        Some(Command::Report(args)) => return render_report(&args),
        Some(Command::Diff(args)) => return diff::diff(&args),
        Some(Command::Generate) => Box::pin(run::generators::generate()),
        // Its service has a runtime of its own.
        Some(Command::Serve) => return embedded::serve(),
        Some(Command::Up(args)) => Box::pin(chain::up(args)),
        Some(Command::Hq(args)) => Box::pin(shell::hq::hq(args)),
        Some(Command::Customer(args)) => Box::pin(shell::customer::customer(args)),
        Some(Command::Doctor(args)) => Box::pin(shell::doctor::doctor(args)),
        Some(Command::Token(args)) => return shell::token::token(&args),
    };
    Runtime::new()?.block_on(work)
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
