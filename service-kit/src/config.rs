//! What every binary does around its service: check where it listens, wait for a signal, and say in one line
//! what is wrong with its configuration.

use std::{fmt, net::SocketAddr, process::ExitCode};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{door::DoorConfig, process::allow_many_files};

/// Exit code for a configuration that cannot work (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address that other machines can reach, without the flag that accepts it (rule Z4).
    #[error(
        "{address} can be reached from other machines, and {lacks}: listen on 127.0.0.1; or give \
         --tls-cert, --tls-key, and --tokens or --client-ca; or add --insecure"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
        /// What is not there.
        lacks: &'static str,
    },
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
/// TLS and callers who show who they are, or `insecure` (rule Z4).
///
/// # Errors
///
/// [`ListenError`].
pub async fn listen(
    address: SocketAddr,
    door: &DoorConfig,
    insecure: bool,
) -> Result<TcpListener, ListenError> {
    if !address.ip().is_loopback() && !insecure {
        let lacks = match (door.is_encrypted(), door.is_guarded()) {
            (true, true) => None,
            (true, false) => Some("nothing here checks who calls"),
            (false, true) => Some("what is sent here, tokens too, can be read on the way"),
            (false, false) => Some("nothing here checks who calls or keeps others from reading along"),
        };
        if let Some(lacks) = lacks {
            return Err(ListenError::NotLoopback { address, lacks });
        }
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
            eprintln!("{name}: {}", without_secrets(&Chain(&error).to_string()));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// A text without the user and the password of any URL in it, for what a person entered and is shown again.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c.is_whitespace() || "'\"<>".contains(c)).unwrap_or(after.len());
        shown.push_str(before);
        shown.push_str("://");
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push('…');
                &after[at..]
            }
            None => after,
        };
    }
    shown + rest
}

/// What is wrong with a command line, from the manual that says so: its first paragraph in one line.
#[must_use]
pub fn one_line(manual: &str) -> String {
    let first = manual.split("\n\n").next().unwrap_or(manual);
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    without_secrets(&words.join(" "))
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

    #[test]
    fn z4_what_is_shown_again_has_no_password() {
        for (entered, shown) in [
            ("invalid value 'mysql://me:secret@host/db' for", "invalid value 'mysql://…@host/db' for"),
            ("postgres://me:se/c@ret@host, http://a:1/b", "postgres://…@host, http://a:1/b"),
            ("http://127.0.0.1:7100 me@till", "http://127.0.0.1:7100 me@till"),
            ("http://", "http://"),
            ("no URL: a@b", "no URL: a@b"),
        ] {
            assert_eq!(without_secrets(entered), shown);
        }
    }

    #[tokio::test]
    async fn z4_beyond_loopback_only_with_tls_and_credentials_or_the_flag() {
        let far: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let file = || Some("file".into());
        let open = DoorConfig::default();
        let tokens = DoorConfig { tokens: file(), ..open.clone() };
        let tls = DoorConfig { tls_cert: file(), tls_key: file(), ..open.clone() };
        let both = DoorConfig { tokens: file(), ..tls.clone() };
        let mutual = DoorConfig { client_ca: file(), ..tls.clone() };
        for (door, lacks) in [(&open, "who calls or"), (&tokens, "tokens too"), (&tls, "checks who calls:")] {
            let error = listen(far, door, false).await.unwrap_err();
            assert!(matches!(error, ListenError::NotLoopback { .. }));
            let text = error.to_string();
            assert!(
                text.contains(lacks) && text.contains("--tls-cert") && text.contains("--insecure"),
                "{text}"
            );
            assert!(listen(far, door, true).await.is_ok());
        }
        assert!(listen(far, &both, false).await.is_ok() && listen(far, &mutual, false).await.is_ok());
        let taken = listen("127.0.0.1:0".parse().unwrap(), &open, false).await.unwrap();
        let error = listen(taken.local_addr().unwrap(), &open, false).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
