//! Services in processes of their own: each is this program, told by a line of JSON what to serve, and ends when its
//! input does.

use std::{
    env,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use service_kit::{
    clock::{Clock, SystemClock},
    config::Chain,
    serve::DRAIN,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout},
    process::{Child, ChildStdin, Command},
    time::timeout,
};
use tracing::level_filters::LevelFilter;

use super::{Service, Services};
use crate::error::Error;

/// The subcommand that makes a process a service.
pub const COMMAND: &str = "serve";
/// How long a process may go on after its service was told to end.
const END: Duration = Duration::from_secs(DRAIN.as_secs() + 5);

/// What a process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    service: Service,
    seed: u64,
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// The URL.
    Serving(String),
    /// Why it does not.
    Failed(String),
}

/// Processes; killed when they are dropped.
#[derive(Default)]
pub struct Apart(Vec<(Child, ChildStdin)>);

impl Apart {
    /// Starts a service, and gives its URL.
    pub async fn start(&mut self, service: Service, seed: u64) -> Result<String, Error> {
        let name = service.name();
        let failed = |message: String| Error::Start { service: name, message };
        let mut child = Command::new(env::current_exe()?)
            .args([COMMAND, "--log", &LevelFilter::current().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("its process has no input or output".to_owned()));
        };
        let line = serde_json::to_string(&Told { service, seed }).map_err(std::io::Error::from)? + "\n";
        input.write_all(line.as_bytes()).await?;
        let said = BufReader::new(output).lines().next_line().await?;
        let said = said.ok_or_else(|| failed("its process has ended".to_owned()))?;
        match serde_json::from_str(&said).map_err(std::io::Error::from)? {
            Said::Serving(url) => {
                self.0.push((child, input));
                Ok(url)
            }
            Said::Failed(message) => Err(failed(message)),
        }
    }

    /// Ends them, all at once; one that does not end is killed.
    pub async fn stop(self) {
        let children: Vec<Child> = self.0.into_iter().map(|(child, _)| child).collect();
        for mut child in children {
            if timeout(END, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

/// Is a service until its input ends.
///
/// # Errors
///
/// A service that cannot be started, or an input that makes no sense.
pub async fn serve() -> Result<ExitCode, Error> {
    // A terminal's Ctrl-C reaches every process; this one ends when the one that measures does.
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let told: Told = serde_json::from_str(&line)
        .map_err(|_| Error::Usage(format!("tillsync {COMMAND} is for tillsync itself")))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut services = Services::new(&clock);
    let said = match services.start(told.service, told.seed).await {
        Ok(url) => Said::Serving(url),
        Err(error) => Said::Failed(Chain(&error).to_string()),
    };
    let line = serde_json::to_string(&said).map_err(std::io::Error::from)? + "\n";
    let mut out = stdout();
    out.write_all(line.as_bytes()).await?;
    out.flush().await?;
    let mut rest = Vec::new();
    tokio::select! {
        _ = input.read_to_end(&mut rest) => {}
        // Its callers find out, and the log has said why.
        () = services.failed() => {}
    }
    services.stop().await;
    Ok(ExitCode::SUCCESS)
}
