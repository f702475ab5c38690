//! The generator's own thread: calls are made and answers received apart from the services, so that a busy
//! service does not slow the clock that measures it.

use std::{future::Future, io};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

/// A small runtime, shut down when dropped.
#[derive(Debug)]
pub struct Generator(Option<Runtime>);

impl Generator {
    /// Starts this many threads.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn start(threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("generator").enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    /// To spawn from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }

    /// Runs a future there.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle().spawn(future)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
