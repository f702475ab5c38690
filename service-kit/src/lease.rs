//! Which of several processes on one PostgreSQL database does its background work. A lease is a row with a holder and an
//! end by the database's clock; its token grows with every new holder, and a transaction that asks for it is refused to
//! whoever held it before, however late it comes ("fencing"). A SQLite file has one process, which needs no lease.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{clock::Clock, config::Chain};

/// How long a lease lasts without being renewed: so long after its holder has died another takes over.
pub const LASTS: Duration = Duration::from_secs(3);
/// How often it is renewed, or asked for.
const RENEWED: Duration = Duration::from_millis(750);
/// After so many times a lease of somebody who does not renew it any more has ended.
const ATTEMPTS: u128 = LASTS.as_millis() / RENEWED.as_millis() + 1;

/// How long an attempt may take: it waits for a transaction of the holder's own that has asked for the lease, and no other
/// process can take the lease meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);

/// Takes the lease or prolongs it, unless another holds it.
const TAKE: &str = "insert into leases (name, holder, token, ends_at) \
     values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3)) \
     on conflict (name) do update set holder = excluded.holder, ends_at = excluded.ends_at, \
     token = leases.token + case when leases.holder = excluded.holder then 0 else 1 end \
     where leases.holder = excluded.holder or leases.ends_at < clock_timestamp() returning token";
/// Held until the end of the transaction: nobody takes the lease over meanwhile.
const FENCE: &str = "select token from leases where name = $1 and holder = $2 for update";
const END: &str = "update leases set ends_at = clock_timestamp() where name = $1 and holder = $2";

/// The right to do a database's background work. Clones are the same.
#[derive(Clone)]
pub struct Lease(Option<Arc<Shared>>);

struct Shared {
    pool: PgPool,
    name: &'static str,
    holder: Uuid,
    /// The token, while it is held.
    held: watch::Sender<Option<i64>>,
}

impl Lease {
    /// Of a database that no other process serves: it is held for ever.
    #[must_use]
    pub fn alone() -> Self {
        Self(None)
    }

    /// Of a PostgreSQL database with the table `leases`; taken at once if nobody holds it. Who wants to keep it runs
    /// [`Lease::keep`].
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn shared(pool: PgPool, name: &'static str, holder: Uuid) -> sqlx::Result<Self> {
        let shared = Shared { pool, name, holder, held: watch::channel(None).0 };
        shared.held.send_replace(shared.take().await?);
        Ok(Self(Some(Arc::new(shared))))
    }

    /// Whether other processes may serve the database too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.is_some()
    }

    /// By what this process is known to the others; absent where there are none.
    #[must_use]
    pub fn holder(&self) -> Option<Uuid> {
        self.0.as_ref().map(|shared| shared.holder)
    }

    /// Whether it is held, as far as is known here.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.held.borrow().is_some())
    }

    /// Waits until it is held, for a command that works alone: whoever held it may have died a moment ago. False: somebody goes
    /// on holding it.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn won(&self) -> sqlx::Result<bool> {
        let Some(shared) = &self.0 else { return Ok(true) };
        for _ in 0..ATTEMPTS {
            if self.is_held() {
                break;
            }
            sleep(RENEWED).await;
            shared.held.send_replace(shared.take().await?);
        }
        Ok(self.is_held())
    }

    /// Takes the lease whenever it is free and renews it, until the token is cancelled; then it is given back.
    pub async fn keep(&self, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let Some(shared) = &self.0 else { return };
        let mut until = clock.now() + LASTS;
        loop {
            let begun = clock.now();
            if let Some(took) = stop.run_until_cancelled(timeout(PATIENCE, shared.take())).await {
                shared.learn(took.unwrap_or(Err(sqlx::Error::PoolTimedOut)), begun, &mut until, clock.now());
            }
            if stop.run_until_cancelled(sleep(RENEWED)).await.is_none() {
                break;
            }
        }
        shared.held.send_replace(None);
        let end = sqlx::query(END).bind(shared.name).bind(shared.holder).execute(&shared.pool);
        // If the database does not answer any more, the lease ends by itself.
        let _ = timeout(RENEWED, end).await;
    }

    /// Does the work while the lease is held, again each time that it is won, until `stop`. The token that the work is
    /// given is cancelled when the lease is lost.
    pub async fn while_held<F: Future<Output = ()>>(
        &self,
        stop: &CancellationToken,
        mut work: impl FnMut(CancellationToken) -> F,
    ) {
        let Some(shared) = &self.0 else { return work(stop.clone()).await };
        let mut held = shared.held.subscribe();
        loop {
            let Some(won) = stop.run_until_cancelled(held.wait_for(Option::is_some)).await else { return };
            let Ok(won) = won.map(|token| *token) else { return };
            let turn = stop.child_token();
            let mut working = pin!(work(turn.clone()));
            let lost = tokio::select! {
                () = &mut working => false,
                _ = held.wait_for(|token| *token != won) => true,
            };
            if lost {
                turn.cancel();
                working.await;
            } else {
                // It has ended by itself, as it does when everything stops.
                return;
            }
        }
    }

    /// Within a transaction: whether the lease is held, for certain, and to the transaction's end.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn fence(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let Some(shared) = &self.0 else { return Ok(true) };
        let Some(held) = *shared.held.borrow() else { return Ok(false) };
        let query = sqlx::query_scalar(FENCE).bind(shared.name).bind(shared.holder);
        let token: Option<i64> = query.fetch_optional(connection).await?;
        Ok(token == Some(held))
    }
}

impl Shared {
    /// The token, if the lease is ours now.
    async fn take(&self) -> sqlx::Result<Option<i64>> {
        let query = sqlx::query_scalar(TAKE).bind(self.name).bind(self.holder).bind(LASTS.as_secs_f64());
        query.fetch_optional(&self.pool).await
    }

    /// What an attempt to take it has shown; `until` is when it ends if it is not renewed.
    fn learn(&self, took: sqlx::Result<Option<i64>>, begun: Instant, until: &mut Instant, now: Instant) {
        let held = match took {
            Ok(held) => {
                if held.is_some() {
                    // From before it was asked for: the database's clock began later.
                    *until = begun + LASTS;
                }
                held
            }
            Err(error) => {
                warn!(lease = self.name, error = %Chain(&error), "a lease cannot be renewed");
                self.held.borrow().filter(|_| now < *until)
            }
        };
        let before = self.held.send_replace(held);
        match (before, held) {
            (None, Some(token)) => info!(lease = self.name, token, "this process does the background work"),
            (Some(_), None) => warn!(lease = self.name, "this process does the background work no longer"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;
    use crate::{
        clock::SystemClock,
        database::{DatabaseUrl, Step, open_postgres},
        testing::postgres,
    };

    const STEPS: &[Step] = &[(
        1,
        "start",
        "create table leases (name text primary key, holder uuid not null, token bigint not null, \
         ends_at timestamptz not null)",
    )];

    async fn database(test: &str) -> Option<PgPool> {
        let DatabaseUrl::Postgres(url) = postgres(test).await? else { return None };
        Some(open_postgres(&url, 4, STEPS).await.unwrap())
    }

    async fn lease(pool: &PgPool, holder: u128) -> Lease {
        Lease::shared(pool.clone(), "work", Uuid::from_u128(holder)).await.unwrap()
    }

    async fn passes(pool: &PgPool, lease: &Lease) -> bool {
        let mut connection = pool.acquire().await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        let passes = lease.fence(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        passes
    }

    #[tokio::test]
    async fn one_holds_it_and_who_held_it_before_is_refused() {
        let Some(pool) = database("leases").await else { return };
        let (one, other) = (lease(&pool, 1).await, lease(&pool, 2).await);
        assert!(one.is_held() && !other.is_held());
        assert!(passes(&pool, &one).await && !passes(&pool, &other).await);
        // The holder stands still for too long, and does not know it.
        sqlx::query("update leases set ends_at = clock_timestamp() - interval '1 second'")
            .execute(&pool)
            .await
            .unwrap();
        assert!(passes(&pool, &one).await, "nobody has taken it over");
        let other = lease(&pool, 2).await;
        assert!(one.is_held() && other.is_held());
        assert!(!passes(&pool, &one).await && passes(&pool, &other).await);
        assert!(Lease::alone().is_held() && !Lease::alone().is_shared());
    }

    #[tokio::test]
    async fn a_command_waits_for_who_has_died_a_moment_ago() {
        let Some(pool) = database("leases of the dead").await else { return };
        let (_dead, command) = (lease(&pool, 1).await, lease(&pool, 2).await);
        assert!(!command.is_held());
        assert!(command.won().await.unwrap());
        assert!(Lease::alone().won().await.unwrap());
    }

    #[tokio::test]
    async fn a_command_is_refused_while_somebody_holds_on() {
        let Some(pool) = database("leases of the living").await else { return };
        let (living, command) = (lease(&pool, 1).await, lease(&pool, 2).await);
        let (stop, keeper) = (CancellationToken::new(), living.clone());
        let keeping = tokio::spawn({
            let stop = stop.clone();
            async move { keeper.keep(Arc::new(SystemClock), stop).await }
        });
        assert!(!command.won().await.unwrap());
        assert!(living.is_held());
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test]
    async fn the_work_goes_to_the_next_when_its_holder_ends() {
        let Some(pool) = database("leases at work").await else { return };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (told, mut at_work) = tokio::sync::mpsc::unbounded_channel();
        let mut stops = Vec::new();
        for holder in [1, 2] {
            let lease = lease(&pool, holder).await;
            let (stop, told, clock) = (CancellationToken::new(), told.clone(), Arc::clone(&clock));
            stops.push(stop.clone());
            let keeper = lease.clone();
            let token = stop.clone();
            tokio::spawn(async move { keeper.keep(clock, token).await });
            tokio::spawn(async move {
                let work = |turn: CancellationToken| {
                    let told = told.clone();
                    async move {
                        told.send(holder).unwrap();
                        turn.cancelled().await;
                    }
                };
                lease.while_held(&stop, work).await;
            });
        }
        assert_eq!(at_work.recv().await, Some(1));
        stops[0].cancel();
        assert_eq!(at_work.recv().await, Some(2));
        stops[1].cancel();
    }
}
