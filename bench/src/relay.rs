//! A way between two services that can be cut: a TCP relay. While it is cut, connections break and none can be made.

use std::io;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
};

/// Ways that are cut and mended together. Dropping it ends them.
#[derive(Debug)]
pub struct Relays(watch::Sender<bool>);

impl Default for Relays {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Relays {
    /// A way to an address such as `127.0.0.1:7200`; gives the address to use in its place.
    ///
    /// # Errors
    ///
    /// No port.
    pub async fn to(&self, target: &str) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(serve(listener, target.to_owned(), self.0.subscribe()));
        Ok(address)
    }

    /// Cuts all of them.
    pub fn cut(&self) {
        self.0.send_replace(false);
    }

    /// Mends all of them.
    pub fn mend(&self) {
        self.0.send_replace(true);
    }
}

async fn serve(listener: TcpListener, target: String, open: watch::Receiver<bool>) {
    let mut ended = open.clone();
    loop {
        let connection = select! {
            accepted = listener.accept() => accepted,
            () = gone(&mut ended) => return,
        };
        // A connection that was lost before it was taken is none.
        let Ok((connection, _)) = connection else { continue };
        if *open.borrow() {
            tokio::spawn(carry(connection, target.clone(), open.clone()));
        }
    }
}

/// Until nobody can cut or mend any more.
async fn gone(open: &mut watch::Receiver<bool>) {
    while open.changed().await.is_ok() {}
}

async fn carry(mut from: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    let Ok(mut to) = TcpStream::connect(target).await else { return };
    // Without it each hop would wait for more to send.
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    select! {
        // Whoever closes first, the other end learns of it by the drop.
        _ = copy_bidirectional(&mut from, &mut to) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_way_is_cut_and_mended() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relays = Relays::default();
        let address = relays.to(&server.local_addr().unwrap().to_string()).await.unwrap();
        let echo = async |client: &mut TcpStream| {
            let (mut served, _) = server.accept().await.unwrap();
            client.write_all(b"till").await.unwrap();
            let mut heard = [0; 4];
            served.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"till");
            served
        };
        let mut client = TcpStream::connect(&address).await.unwrap();
        let _served = echo(&mut client).await;
        relays.cut();
        assert_eq!(client.read(&mut [0; 4]).await.unwrap_or(0), 0);
        let mut refused = TcpStream::connect(&address).await.unwrap();
        assert_eq!(refused.read(&mut [0; 4]).await.unwrap_or(0), 0);
        relays.mend();
        let mut client = TcpStream::connect(&address).await.unwrap();
        let _served = echo(&mut client).await;
    }
}
