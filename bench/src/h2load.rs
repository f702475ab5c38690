//! The load generator of nghttp2 (Debian: nghttp2-client), an outside client for ceilings. It does not look at gRPC
//! statuses: whoever uses it asks the server what it has done.

use std::{io::Write as _, process::Stdio, time::Duration};

use prost::bytes::BufMut as _;
use tokio::process::Command;

use crate::{callers::Calls, error::Error};

/// Sends one message again and again, closed-loop: so many calls under way on so many connections. Nothing if it is not
/// installed, or has said nothing that is understood.
///
/// # Errors
///
/// No temporary file can be had.
pub async fn drive(
    url: &str,
    message: &[u8],
    callers: u16,
    connections: u16,
    length: Duration,
) -> Result<Option<Calls>, Error> {
    // A gRPC frame: not compressed, its length, the message.
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    let mut body = tempfile::NamedTempFile::new()?;
    body.write_all(&frame)?;
    let said = Command::new("h2load")
        .args(["-c", &connections.to_string(), "-m", &(callers / connections).max(1).to_string()])
        .args(["-D", &length.as_secs().max(1).to_string()])
        .arg("-d")
        .arg(body.path())
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .arg(url)
        .stderr(Stdio::null())
        .output()
        .await;
    Ok(said.ok().and_then(|output| understood(&String::from_utf8_lossy(&output.stdout))))
}

/// Of the lines `finished in 4.00s, 101234.50 req/s, 5.50MB/s` and `requests: 9 total, 9 started, 9 done, …, 0 failed, …`.
fn understood(said: &str) -> Option<Calls> {
    let line = |start| said.lines().find_map(|line| line.strip_prefix(start));
    let requests = line("requests: ")?;
    let count = |what| requests.split(", ").find_map(|part| part.strip_suffix(what))?.parse().ok();
    let per_s: f64 =
        line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()?;
    let answered: u64 = count(" succeeded")?;
    Some(Calls {
        answered,
        failed: count(" failed")?,
        elapsed: Duration::try_from_secs_f64(answered as f64 / per_s).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_says_is_understood() {
        let said = "starting benchmark...\nfinished in 4.00s, 101234.50 req/s, 5.50MB/s\n\
                    requests: 404938 total, 405002 started, 404938 done, 404938 succeeded, 3 failed, 0 errored";
        let calls = understood(said).unwrap();
        assert_eq!((calls.answered, calls.failed), (404_938, 3));
        assert!((calls.per_s() - 101_234.5).abs() < 0.1);
        for nonsense in
            ["", "finished in 4.00s, many req/s\nrequests: 1 done", "finished in 4.00s, 1.0 req/s"]
        {
            assert!(understood(nonsense).is_none(), "{nonsense}");
        }
    }
}
