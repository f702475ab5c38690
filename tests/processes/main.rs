//! One service of a chain in a process of its own, so that a scenario can kill it.
//!
//! `service-under-test hq PORT DATABASE`, `service-under-test channel PORT DATABASE ID RTS_URL HQ_URL`,
//! `service-under-test terminal PORT DATABASE ID STORE_URL`, `service-under-test emulator PORT HQ_URL`
//!
//! `SERVICE_LOG` is the least severe level that is logged, to standard error; without it nothing is.

use std::{error::Error, sync::Arc, time::Duration};

use channel_svc as channel;
use hq_svc as hq;
use mimalloc::MiMalloc;
use service_kit::clock::{Clock, Ids, SystemClock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// As the services that are shipped have it: how much memory they take is part of what is tested.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // What they say is of interest to who looks for a fault: `SERVICE_LOG=warn`.
    if let Ok(level) = std::env::var("SERVICE_LOG") {
        service_kit::telemetry::init_logs(level.parse()?);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    service_kit::process::allow_many_files();
    // Of a panic in a task nobody outside would learn.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Ids::from_os(Arc::clone(&clock));
    let listen = async |port: &str| TcpListener::bind(("127.0.0.1", port.parse().unwrap_or(0))).await;
    let never = CancellationToken::new();
    match arguments[..] {
        ["hq", port, database] => {
            let config = hq::Config { database: database.parse()?, ..hq::Config::default() };
            let hq = hq::open(&config, clock, ids).await?;
            hq::serve(listen(port).await?, never, hq).await?;
        }
        ["channel", port, database, id, rts, hq] => {
            let config = channel::Config::new(id.parse()?, database.parse()?, rts, hq);
            let store = channel::open(&config, clock, ids).await?;
            channel::serve(listen(port).await?, never, store).await?;
        }
        ["terminal", port, database, id, store] => {
            let (timeout, reconnect) = (Duration::from_secs(2), Duration::from_millis(200));
            let terminal = channel::TerminalConfig { store: store.to_owned(), timeout, reconnect };
            let config = channel::Config::terminal(id.parse()?, database.parse()?, terminal);
            let terminal = channel::open(&config, clock, ids).await?;
            channel::serve(listen(port).await?, never, terminal).await?;
        }
        ["emulator", port, hq] => {
            let deps = rts_emulator::Deps::forwarding(rts_emulator::Profile::default(), hq, clock);
            rts_emulator::serve(listen(port).await?, never, deps).await?;
        }
        _ => return Err("usage: see the source".into()),
    }
    Ok(())
}
