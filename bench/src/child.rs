//! Processes of this program that are told by lines of JSON what to do, and end when their input does.

use std::{env, io, process::Stdio};

use serde::Serialize;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, stdout},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tracing::level_filters::LevelFilter;

/// Starts one that does what a subcommand does; it is killed when it is dropped, and logs as this one does.
///
/// # Errors
///
/// The operating system refuses.
pub fn start(subcommand: &str) -> io::Result<(Child, ChildStdin, ChildStdout)> {
    let mut child = Command::new(env::current_exe()?)
        .args([subcommand, "--log", &LevelFilter::current().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok((child, input, output)),
        _ => Err(io::Error::other("a process has no input or output")),
    }
}

/// Writes a message as a line.
///
/// # Errors
///
/// Nobody reads it any more.
pub async fn tell(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(message).map_err(io::Error::from)? + "\n";
    to.write_all(line.as_bytes()).await?;
    to.flush().await
}

/// Tells the process that has started this one.
///
/// # Errors
///
/// As for [`tell`].
pub async fn say(message: &impl Serialize) -> io::Result<()> {
    tell(&mut stdout(), message).await
}

/// A terminal's Ctrl-C reaches every process; such a one ends when the one that has started it does.
pub fn leave_ctrl_c_alone() {
    tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
}
