//! What every binary does around its service: check where it listens, wait for a signal, and say in one line
//! what is wrong with its configuration.

use std::{fmt, net::SocketAddr, process::ExitCode};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::process::allow_many_files;

/// Exit code for a configuration that cannot work (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address that other machines can reach, without the flag that accepts it (rule Z4).
    #[error(
        "{0} can be reached from other machines, and nothing here checks who calls: \
         listen on 127.0.0.1, or add --insecure"
    )]
    NotLoopback(SocketAddr),
    /// The operating system refused.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Its reason.
        source: std::io::Error,
    },
}

/// Binds a listener, of a process that may serve as many connections as the system allows; an address beyond loopback needs
/// `insecure`.
///
/// # Errors
///
/// [`ListenError`].
pub async fn listen(address: SocketAddr, insecure: bool) -> Result<TcpListener, ListenError> {
    if !address.ip().is_loopback() && !insecure {
        return Err(ListenError::NotLoopback(address));
    }
    allow_many_files();
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// A token that is cancelled by SIGINT or SIGTERM.
///
/// # Errors
///
/// The operating system refuses a signal handler.
pub fn shutdown_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let stop = token.clone();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping");
        stop.cancel();
    });
    Ok(token)
}

/// Ends a binary: on an error one line on the terminal, causes included, and [`EXIT_USAGE`].
pub fn exit<E: std::error::Error>(name: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}", Chain(&error));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Shows an error with its causes, leaving out a cause that the error before it has already told.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        f.write_str(&told)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !told.contains(&text) {
                write!(f, ": {text}")?;
                told = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn z4_only_loopback_without_the_flag() {
        let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
        assert!(matches!(listen(open, false).await, Err(ListenError::NotLoopback(_))));
        let taken = listen("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let error = listen(taken.local_addr().unwrap(), false).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
