//! A wire between two services that can be cut: one way or both, without a word to either end, as a network does it.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// Which way nothing comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// From who calls to who is called.
    There,
    /// The answers.
    Back,
    Both,
}

#[derive(Clone, Copy)]
struct State {
    cut: Option<Cut>,
    /// Connections that were made under another number are dead for good, and nobody has told their ends.
    number: u64,
}

/// A TCP relay to one address.
pub struct Wire {
    state: Arc<watch::Sender<State>>,
    pub url: String,
}

impl Wire {
    /// A wire to an address such as `127.0.0.1:7200`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = watch::Sender::new(State { cut: None, number: 0 });
        let (target, states) = (target.to_owned(), state.subscribe());
        tokio::spawn(async move {
            let mut end = states.clone();
            loop {
                let connection = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = ended(&mut end) => return,
                };
                let Ok((from, _)) = connection else { continue };
                tokio::spawn(carry(from, target.clone(), states.clone()));
            }
        });
        Self { state: Arc::new(state), url }
    }

    pub fn cut(&self, cut: Cut) {
        self.state.send_modify(|state| state.cut = Some(cut));
    }

    /// Everything comes through again; what was held up too, unless the connections did not outlive the cut.
    pub fn mend(&self, connections_are_dead: bool) {
        self.state.send_modify(|state| {
            state.cut = None;
            state.number += u64::from(connections_are_dead);
        });
    }
}

async fn ended(states: &mut watch::Receiver<State>) {
    while states.changed().await.is_ok() {}
}

async fn carry(from: TcpStream, target: String, states: watch::Receiver<State>) {
    let Ok(to) = TcpStream::connect(target).await else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let number = states.borrow().number;
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    // Whoever closes first, the other end learns of it by the drop.
    tokio::select! {
        () = pump(from_read, to_write, states.clone(), number, Cut::There) => {}
        () = pump(to_read, from_write, states, number, Cut::Back) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut states: watch::Receiver<State>,
    number: u64,
    way: Cut,
) {
    let open =
        |state: &State| state.number == number && state.cut.is_none_or(|cut| cut != way && cut != Cut::Both);
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await;
        // A cut holds up the end of a connection too.
        if states.wait_for(open).await.is_err() {
            return;
        }
        match read {
            Ok(read) if read > 0 && to.write_all(&bytes[..read]).await.is_ok() => {}
            _ => return,
        }
    }
}
