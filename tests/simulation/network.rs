//! A network of hosts by number. What is written arrives after some milliseconds, in order; it can be held, for good or until
//! it is let go, in one direction or in both; connections can be reset; a host can vanish, with or without a word.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use service_kit::{
    clock::{Clock as _, SystemClock},
    network::{Connect, Stream},
    serve::Boxed,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, mpsc},
    time::{Instant, Sleep, sleep, sleep_until},
};
use tonic::codegen::http::Uri;

/// Bytes that are under way in one direction; then whoever writes waits.
const WINDOW: usize = 256 << 10;

/// What comes of the connections that a cut has held, once it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// What was held is delivered, late.
    Outlive,
    /// Both sides are told that the connection is gone, and what was held is.
    Reset,
    /// Nothing is ever delivered again, and nobody is told.
    Vanish,
}

/// The network. Clones are the same.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    seed: u64,
    state: Mutex<State>,
    /// A link was let go, or a host came up.
    changed: Notify,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<usize, Host>,
    /// Links, from and to, on which nothing arrives.
    held: BTreeSet<(usize, usize)>,
    connections: BTreeMap<u64, Connection>,
    made: u64,
}

#[derive(Default)]
struct Host {
    name: String,
    /// How often it was started or has ended: who belongs to an earlier life is not there any more.
    life: u64,
    /// Where its connections go; absent while it is down.
    incoming: Option<mpsc::Sender<(Box<dyn Stream>, SocketAddr)>>,
    /// It is down and does not even refuse.
    dark: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Well,
    Vanished,
    Reset,
}

struct Connection {
    /// Who made it and who took it: host and life.
    ends: [(usize, u64); 2],
    condition: Condition,
    /// What each end has written.
    ways: [Way; 2],
    /// Ends that have not been dropped.
    left: u8,
}

#[derive(Default)]
struct Way {
    queue: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Nothing comes behind what is queued; from when on that can be known.
    ended: Option<Instant>,
    /// The end that reads is gone.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Connection {
    fn set(&mut self, condition: Condition) {
        self.condition = condition;
        self.ways.iter_mut().for_each(Way::wake);
    }

    fn crosses(&self, links: &[(usize, usize)]) -> bool {
        let (one, other) = (self.ends[0].0, self.ends[1].0);
        links.contains(&(one, other)) || links.contains(&(other, one))
    }
}

impl Network {
    pub fn new(seed: u64, names: &[String]) -> Self {
        let host = |name: &String| Host { name: name.clone(), ..Host::default() };
        let hosts = names.iter().map(host).enumerate().collect();
        let state = Mutex::new(State { hosts, ..State::default() });
        Self(Arc::new(Shared { seed, state, changed: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics while holding it")
    }

    /// How a host in its present life reaches others.
    pub fn from(&self, host: usize) -> service_kit::network::Network {
        let life = self.lock().hosts[&host].life;
        service_kit::network::Network::new(From { network: self.clone(), host, life })
    }

    /// A host comes up; gives what comes in.
    pub fn up(&self, host: usize) -> mpsc::Receiver<(Box<dyn Stream>, SocketAddr)> {
        let (sender, receiver) = mpsc::channel(1024);
        let mut state = self.lock();
        let came = state.hosts.get_mut(&host).expect("a host");
        (came.life, came.incoming, came.dark) = (came.life + 1, Some(sender), false);
        // Whoever still believes in a connection to its earlier life learns better.
        for connection in state.connections.values_mut() {
            if connection.condition == Condition::Vanished && connection.ends.iter().any(|end| end.0 == host)
            {
                connection.set(Condition::Reset);
            }
        }
        self.0.changed.notify_waiters();
        receiver
    }

    /// A host ends: its operating system says so to whoever is connected, unless that is gone too.
    pub fn down(&self, host: usize, dark: bool) {
        let mut state = self.lock();
        let State { hosts, connections, held, .. } = &mut *state;
        let gone = hosts.get_mut(&host).expect("a host");
        (gone.life, gone.incoming, gone.dark) = (gone.life + 1, None, dark);
        for connection in connections.values_mut() {
            let ends = connection.ends;
            let Some(side) = ends.iter().position(|end| end.0 == host) else { continue };
            let held = held.contains(&(host, ends[1 - side].0));
            connection.set(if dark || held { Condition::Vanished } else { Condition::Reset });
        }
    }

    /// Holds what goes over links, each from and to.
    pub fn hold(&self, links: &[(usize, usize)]) {
        self.lock().held.extend(links);
    }

    /// Lets links go; what comes of the connections over them is their fate.
    pub fn release(&self, links: &[(usize, usize)], fate: Fate) {
        let mut state = self.lock();
        state.held.retain(|link| !links.contains(link));
        let across = state.connections.values_mut();
        for connection in across.filter(|connection| connection.crosses(links)) {
            match fate {
                Fate::Reset => connection.set(Condition::Reset),
                Fate::Vanish if connection.condition == Condition::Well => {
                    connection.set(Condition::Vanished);
                }
                _ => connection.ways.iter_mut().for_each(Way::wake),
            }
        }
        self.0.changed.notify_waiters();
    }

    /// Resets every connection over these links, without holding anything.
    pub fn reset(&self, links: &[(usize, usize)]) {
        self.release(links, Fate::Reset);
    }

    /// How long something takes from here to there over a connection: always the same, so that it does not matter in how many
    /// pieces it is written.
    fn latency(&self, link: (usize, usize), connection: u64) -> Duration {
        let mut mixed = self.0.seed ^ connection.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for part in [link.0 as u64, link.1 as u64] {
            mixed = (mixed ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(29);
        }
        Duration::from_millis(1 + (mixed >> 32) % 20)
    }
}

/// How a host in one of its lives reaches others.
struct From {
    network: Network,
    host: usize,
    life: u64,
}

impl Connect for From {
    fn connect(&self, to: Uri) -> Boxed<'static, io::Result<Box<dyn Stream>>> {
        let (network, from) = (self.network.clone(), (self.host, self.life));
        Box::pin(async move { network.connect(from, to.host().unwrap_or_default()).await })
    }
}

impl Network {
    async fn connect(&self, from: (usize, u64), to: &str) -> io::Result<Box<dyn Stream>> {
        let to = self.lock().hosts.iter().find(|(_, host)| host.name == to).map(|(number, _)| *number);
        let to = to.ok_or(io::ErrorKind::NotFound)?;
        sleep(self.latency((from.0, to), 0) * 2).await;
        loop {
            let changed = self.0.changed.notified();
            if let Some(made) = self.try_connect(from, to) {
                return made;
            }
            // Whoever has no patience gives up.
            changed.await;
        }
    }

    /// `None`: nobody answers at present.
    fn try_connect(&self, from: (usize, u64), to: usize) -> Option<io::Result<Box<dyn Stream>>> {
        let mut state = self.lock();
        let gone = state.hosts[&from.0].life != from.1;
        let held = state.held.contains(&(from.0, to)) || state.held.contains(&(to, from.0));
        if gone || held || state.hosts[&to].dark {
            return None;
        }
        let Some(incoming) = state.hosts[&to].incoming.clone() else {
            return Some(Err(io::ErrorKind::ConnectionRefused.into()));
        };
        let ends = [from, (to, state.hosts[&to].life)];
        let number = state.made;
        state.made += 1;
        let ways = [Way::default(), Way::default()];
        state.connections.insert(number, Connection { ends, condition: Condition::Well, ways, left: 2 });
        drop(state);
        let end = |side| Box::new(End { network: self.clone(), number, side, delivery: None });
        let address = SocketAddr::from(([10, 0, 0, from.0.try_into().unwrap_or(u8::MAX)], 1024));
        let (near, far) = (end(0), end(1));
        // Without the lock: what is refused is dropped.
        Some(match incoming.try_send((far, address)) {
            Ok(()) => Ok(near),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        })
    }
}

/// One end of a connection.
struct End {
    network: Network,
    number: u64,
    side: usize,
    /// Until the next bytes are there.
    delivery: Option<Pin<Box<Sleep>>>,
}

impl State {
    /// The connection of an end, or what becomes of whoever asks. Who belongs to an earlier life waits for ever.
    fn of(&mut self, number: u64, side: usize) -> Poll<io::Result<&mut Connection>> {
        let connection = self.connections.get_mut(&number).expect("an end is left");
        let (host, life) = connection.ends[side];
        if self.hosts[&host].life != life {
            return Poll::Pending;
        }
        match connection.condition {
            Condition::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ => Poll::Ready(Ok(connection)),
        }
    }

    fn is_held(&self, number: u64, side: usize) -> bool {
        let ends = self.connections[&number].ends;
        self.held.contains(&(ends[side].0, ends[1 - side].0))
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (network, number, side) = (self.network.clone(), self.number, self.side);
        loop {
            let mut state = network.lock();
            let held = state.is_held(number, 1 - side);
            let connection = ready!(state.of(number, side))?;
            let silent = held || connection.condition == Condition::Vanished;
            let way = &mut connection.ways[1 - side];
            let next = way.queue.front().map(|(at, _)| *at).or(way.ended);
            let Some(at) = next.filter(|_| !silent) else {
                way.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            if at > SystemClock.now() {
                way.reader = Some(cx.waker().clone());
                drop(state);
                let mut delivery = Box::pin(sleep_until(at));
                let there = delivery.as_mut().poll(cx);
                self.delivery = Some(delivery);
                ready!(there);
                continue;
            }
            let Some((_, bytes)) = way.queue.front_mut() else { return Poll::Ready(Ok(())) };
            let taken = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..taken]);
            bytes.drain(..taken);
            if bytes.is_empty() {
                way.queue.pop_front();
            }
            way.bytes -= taken;
            if let Some(writer) = way.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (number, side) = (self.number, self.side);
        let mut state = self.network.lock();
        let held = state.is_held(number, side) || state.is_held(number, 1 - side);
        let connection = ready!(state.of(number, side))?;
        let (ends, well) = (connection.ends, connection.condition == Condition::Well);
        let way = &mut connection.ways[side];
        if way.deaf {
            let told = well && !held;
            return Poll::Ready(if told { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) });
        }
        if way.bytes >= WINDOW {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let at = SystemClock.now() + self.network.latency((ends[side].0, ends[1 - side].0), number);
        way.queue.push_back((at, bytes.to_vec()));
        way.bytes += bytes.len();
        if let Some(reader) = way.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.lock();
        let connection = ready!(state.of(self.number, self.side))?;
        connection.end(&self.network, self.number, self.side);
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    fn end(&mut self, network: &Network, number: u64, side: usize) {
        let at = SystemClock.now() + network.latency((self.ends[side].0, self.ends[1 - side].0), number);
        let way = &mut self.ways[side];
        way.ended.get_or_insert(at);
        way.wake();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // At the very end of a simulation nothing is left to be told.
        let Ok(mut state) = self.network.0.state.lock() else { return };
        let alive = matches!(state.of(self.number, self.side), Poll::Ready(Ok(_)));
        let Some(connection) = state.connections.get_mut(&self.number) else { return };
        connection.left -= 1;
        if connection.left == 0 {
            state.connections.remove(&self.number);
            return;
        }
        // Whoever belongs to an earlier life says nothing any more.
        if alive && tokio::runtime::Handle::try_current().is_ok() {
            connection.end(&self.network, self.number, self.side);
        }
        let heard = &mut connection.ways[1 - self.side];
        heard.deaf = true;
        (heard.queue, heard.bytes) = (VecDeque::new(), 0);
        heard.wake();
    }
}
