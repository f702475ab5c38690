//! A store's disk, simulated: what it does is real (SQLite, on threads of its own), and takes no time but that which is passed
//! in. To whoever awaits it a transaction is one step, before and after which everything can happen.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Debug,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::{runtime::Handle, task::unconstrained};

use crate::serve::Boxed;

/// How long a disk takes.
pub trait Pace: Send + Sync + 'static {
    /// Ends when the transaction reaches the disk; never, if the power has failed before.
    fn before(&self, transaction: &'static str) -> Boxed<'_, ()>;

    /// Ends when what it gave reaches whoever asked.
    fn after(&self, transaction: &'static str) -> Boxed<'_, ()>;
}

/// A disk.
#[derive(Clone)]
pub struct Disk {
    runtime: Handle,
    pace: Arc<dyn Pace>,
    /// What was read since something was written: services ask the same again and again, and a simulation of hours would do
    /// little else than read it. Bounded by how much is asked for between two writes.
    read: Arc<Mutex<Known>>,
}

/// What was read, by the transaction and what it was asked.
type Known = BTreeMap<(&'static str, String), Box<dyn Any + Send>>;

impl Disk {
    /// A disk whose transactions run on this runtime, which has threads of its own.
    #[must_use]
    pub fn new(runtime: Handle, pace: Arc<dyn Pace>) -> Self {
        Self { runtime, pace, read: Arc::default() }
    }

    /// Carries out a transaction, at the pace of the disk.
    pub async fn carry_out<T: Send>(
        &self,
        transaction: &'static str,
        changes: &'static [&'static str],
        work: impl Future<Output = T> + Send,
    ) -> T {
        self.pace.before(transaction).await;
        let result = self.at_once(work);
        self.known().retain(|(name, _), _| !changes.is_empty() && !changes.contains(name));
        self.pace.after(transaction).await;
        result
    }

    /// The same of a transaction that only reads what `asked` says.
    ///
    /// # Errors
    ///
    /// Those of the transaction.
    pub async fn look<T: Clone + Send + 'static, E: Send>(
        &self,
        transaction: &'static str,
        asked: impl Debug + Send,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        self.pace.before(transaction).await;
        let key = (transaction, format!("{asked:?}"));
        let known = self.known().get(&key).and_then(|known| known.downcast_ref::<T>().cloned());
        let result = match known {
            Some(known) => Ok(known),
            None => self.at_once(work).inspect(|found| {
                self.known().insert(key, Box::new(found.clone()));
            }),
        };
        self.pace.after(transaction).await;
        result
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out something that takes no time: the calling thread stands still meanwhile, and with it its clock.
    pub fn at_once<T>(&self, work: impl Future<Output = T>) -> T {
        let _runtime = self.runtime.enter();
        let mut work = pin!(unconstrained(work));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            thread::park();
        }
    }
}

/// Methods of a store that has a `store` and the [`Disk`] it is on: each is the one of the `store`, at the pace of the disk. What only reads says so; what writes names the reads that
/// see it, if not all do.
#[macro_export]
macro_rules! at_its_pace {
    ($(read $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(async fn $name(&self, $($argument: $type),*) -> $result {
            let asked = ($(format!("{:?}", $argument),)*);
            self.disk.look(stringify!($name), asked, self.store.$name($($argument),*)).await
        })*
    };
    ($(write $([$($changes:ident),*])? $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(async fn $name(&self, $($argument: $type),*) -> $result {
            let changes = &[$($(stringify!($changes)),*)?];
            self.disk.carry_out(stringify!($name), changes, self.store.$name($($argument),*)).await
        })*
    };
}

/// Wakes a thread that stands still.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
