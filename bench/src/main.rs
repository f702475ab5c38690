//! `tillsync`: see `tillsync --help`.

use std::{env, process::ExitCode};

use clap::{Parser as _, error::ErrorKind};
use mimalloc::MiMalloc;
use service_kit::{
    config::{Chain, EXIT_USAGE, without_secrets},
    process::allow_many_files,
    telemetry::init_logs,
};
use tillsync::{cli, run};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        // A group of commands without one of them: its list says more than a line does.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = help.print();
            return ExitCode::from(EXIT_USAGE);
        }
        Err(error) if error.use_stderr() => {
            let line = without_secrets(&cli::one_line(&error));
            eprintln!("tillsync: {line} (tillsync --help tells more)");
            return ExitCode::from(EXIT_USAGE);
        }
        Err(help) => {
            // Nobody reads it any more if it cannot be printed.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    init_logs(cli.log);
    allow_many_files();
    match run(cli, env::args().map(|argument| without_secrets(&argument)).collect()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tillsync: {}", without_secrets(&Chain(&error).to_string()));
            error.exit_code()
        }
    }
}
