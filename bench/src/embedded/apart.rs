//! Services in processes of their own: each is this program, told by a line of JSON what to serve, and ends when its
//! input does.

use std::{process::ExitCode, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use service_kit::{
    clock::{Clock, SystemClock},
    config::Chain,
    serve::DRAIN,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin},
    process::{Child, ChildStdin},
    time::timeout,
};

use super::{Service, Services};
use crate::{child, error::Error};

/// The subcommand that makes a process a service.
const COMMAND: &str = "serve";
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
        let (child, mut input, output) = child::start(COMMAND)?;
        child::tell(&mut input, &Told { service, seed }).await?;
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
    child::leave_ctrl_c_alone();
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
    child::say(&said).await?;
    let mut rest = Vec::new();
    tokio::select! {
        _ = input.read_to_end(&mut rest) => {}
        // Its callers find out, and the log has said why.
        () = services.failed() => {}
    }
    services.stop().await;
    Ok(ExitCode::SUCCESS)
}
