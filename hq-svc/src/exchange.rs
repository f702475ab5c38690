//! The Commerce Data Exchange, as channels call it: uploads, the feed, configuration, reports.

use std::sync::Arc;

use prost::Message as _;
use service_kit::retry::transaction;
use tillsync_proto::{
    Change, ChannelId, CustomerId, FunctionalityProfile, Job, Micros, Violations, convert, feed,
    pb::{common, hq},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    board::JobOrder,
    error::Result,
    hq::Headquarters,
    planted::planted,
    store::{Arrival, Arrived, GlobalConfiguration, Payload, Report, Session, Store},
};

/// Most operations and bytes of a page (rule X4).
const MAX_UPLOAD: usize = 1_000;
const MAX_UPLOAD_BYTES: usize = 3 << 20;
/// Largest status, in bytes.
const MAX_STATUS_BYTES: usize = 16 << 10;
/// Most ended runs in one report.
const MAX_RUNS: usize = 100;
/// Longest error of a run, in characters; the rest is cut.
const MAX_RUN_ERROR_CHARS: usize = 500;
/// Orders that wait in a stream for a slow channel; what changes meanwhile is sent at its newest.
const MAX_ORDERS: usize = 16;

/// That a channel has to start anew.
pub(crate) struct Resync {
    pub reason: hq::ResyncReason,
    /// The databases that this one was restored from, and up to which version it has their customers.
    pub continues: Vec<(Uuid, u64)>,
    /// The newest operation of the channel that has arrived here.
    pub arrived_through: u64,
}

/// A page of the feed.
pub(crate) struct Changes {
    pub resync: Option<Resync>,
    pub records: Vec<feed::FeedRecord>,
    /// Where the channel is after the page.
    pub next: u64,
    pub head: u64,
}

impl<S: Store> Headquarters<S> {
    /// Takes a page of operations, each answered on its own. One that cannot be used is kept as it came and
    /// set aside; the others arrive. None is taken, nor answered, if they are meant for another database than this one:
    /// `epoch` names the one that took those before, unless it is empty.
    pub async fn upload(
        &self,
        channel: &ChannelId,
        epoch: &str,
        operations: Vec<common::Operation>,
    ) -> Result<Vec<hq::OperationOutcome>> {
        check_page(&operations)?;
        self.contacts.called(channel).await?;
        // What this database lacks comes first: an edit must not arrive before its customer, or an older edit after it.
        if !epoch.is_empty() && epoch != self.epoch.to_string() {
            return Ok(Vec::new());
        }
        let counters: Vec<u64> = operations.iter().map(|operation| operation.counter).collect();
        let mut page: Vec<Arrival> = operations.into_iter().map(read).collect();
        // What comes after its customer was erased is not written down.
        let mut customers: Vec<CustomerId> = page.iter().filter_map(|arrival| arrival.customer).collect();
        customers.sort_unstable();
        customers.dedup();
        let erased = self.store.are_erased(&customers).await?;
        for arrival in &mut page {
            if arrival.customer.is_some_and(|customer| erased.contains(&customer)) {
                arrival.payload = Payload::Erased;
            }
        }
        let now = Micros(self.clock.wall_micros());
        let arrive = || self.store.arrive(channel, &page, now);
        let arrived = transaction("take an upload", &self.ids, arrive).await?;
        check_known(&page, &arrived)?;
        Ok(counters.into_iter().zip(arrived).map(outcome).collect())
    }

    /// The records after a cursor, each customer once at its newest version (rule X7).
    pub async fn changes(
        &self,
        channel: &ChannelId,
        cursor: Option<common::FeedCursor>,
        page_size: usize,
    ) -> Result<Changes> {
        let cursor = cursor.filter(|cursor| !cursor.epoch.is_empty()).map(|cursor| {
            let epoch = cursor.epoch.parse::<Uuid>().ok();
            (epoch, cursor.version)
        });
        self.contacts.called(channel).await?;
        // The head is read first: what commits after it is in a later page at worst, never left out.
        let head = self.crowd.head().await?.version;
        let resync = match cursor {
            Some((epoch, _)) if epoch != Some(self.epoch) => Some(hq::ResyncReason::OtherEpoch),
            Some((_, version)) if version > head => Some(hq::ResyncReason::Ahead),
            _ => None,
        };
        if let Some(reason) = resync {
            let (continues, arrived_through) =
                (self.store.lineage().await?, self.store.arrived_through(channel).await?);
            let resync = Some(Resync { reason, continues, arrived_through });
            return Ok(Changes { resync, records: Vec::new(), next: 0, head });
        }
        let after = cursor.map_or(0, |(_, version)| version);
        if after == head {
            return Ok(Changes { resync: None, records: Vec::new(), next: after, head });
        }
        let page = self.crowd.page(after, page_size, head).await?;
        let next = if planted("the cursor is the head") { head } else { page.last.unwrap_or(after) };
        Ok(Changes { resync: None, records: page.records(channel), next, head: head.max(next) })
    }

    /// 1070.
    pub async fn profile_of(&self, channel: &ChannelId) -> Result<(FunctionalityProfile, u64)> {
        self.contacts.called(channel).await?;
        self.crowd.profile(channel).await
    }

    /// 1110.
    pub async fn configuration_for(&self, channel: &ChannelId) -> Result<Arc<GlobalConfiguration>> {
        self.contacts.called(channel).await?;
        Ok(self.configuration())
    }

    /// The orders for a channel: all at once, then each as it changes, until the receiver is dropped or the
    /// service stops. The channel counts as connected meanwhile.
    pub async fn watch_jobs(&self, channel: ChannelId) -> Result<mpsc::Receiver<JobOrder>> {
        self.contacts.called(&channel).await?;
        let (sender, receiver) = mpsc::channel(MAX_ORDERS);
        let (board, shutdown) = (self.board.clone(), self.shutdown.clone());
        let listening = board.listen(channel.clone());
        tokio::spawn(async move {
            let _listening = listening;
            let mut changes = board.watch();
            let mut told: Vec<JobOrder> = Vec::new();
            loop {
                for order in board.orders(&channel) {
                    if !told.contains(&order) {
                        told.retain(|other| other.schedule.job != order.schedule.job);
                        told.push(order);
                        tokio::select! {
                            sent = sender.send(order) => if sent.is_err() { return },
                            () = shutdown.cancelled() => return,
                        }
                    }
                }
                tokio::select! {
                    there = changes.changed() => if !there { return },
                    () = sender.closed() => return,
                    () = shutdown.cancelled() => return,
                }
            }
        });
        Ok(receiver)
    }

    /// Keeps what a channel says of itself, and its runs that moved rows, failed, or were asked for: those that have
    /// ended, and those under way.
    pub async fn report(
        &self,
        channel: &ChannelId,
        status: common::ChannelStatus,
        ended: Vec<common::JobRun>,
        running: Vec<common::JobRun>,
    ) -> Result<()> {
        if status.encoded_len() > MAX_STATUS_BYTES {
            let message = format!("is larger than {MAX_STATUS_BYTES} bytes");
            return Err(Violations::one("status", message).into());
        }
        let mut runs = sessions(channel, "running", running, Job::ALL.len())?;
        if let Some(i) = runs.iter().position(|session| session.run.state.has_ended()) {
            return Err(Violations::one(format_args!("running[{i}].state"), "says that it has ended").into());
        }
        runs.append(&mut sessions(channel, "ended_runs", ended, MAX_RUNS)?);
        runs.retain(|session| session.run.is_session());
        self.contacts.called(channel).await?;
        self.has_recovered(channel, status.feed_cursor.as_ref()).await?;
        let news = !runs.is_empty();
        self.crowd.report(Report { channel: channel.clone(), status: status.encode_to_vec(), runs }).await?;
        if news {
            self.board.sessions_changed();
        }
        Ok(())
    }
}

fn check_page(operations: &[common::Operation]) -> Result<()> {
    if operations.len() > MAX_UPLOAD {
        return Err(Violations::one("operations", format!("has more than {MAX_UPLOAD} entries")).into());
    }
    if operations.iter().map(prost::Message::encoded_len).sum::<usize>() > MAX_UPLOAD_BYTES {
        return Err(Violations::one("operations", format!("has more than {MAX_UPLOAD_BYTES} bytes")).into());
    }
    // Without a counter there is no place to keep an operation in, and it would be lost.
    let mut v = Violations::default();
    for (i, operation) in operations.iter().enumerate() {
        if operation.counter == 0 || i64::try_from(operation.counter).is_err() {
            v.add(format_args!("operations[{i}].counter"), "is not between 1 and 2^63 - 1");
        }
    }
    Ok(v.or(())?)
}

/// A channel whose log began anew would have its new operations taken for old ones, and lost. That is refused
/// as loudly as can be.
fn check_known(page: &[Arrival], arrived: &[Arrived]) -> Result<()> {
    let mut v = Violations::default();
    for (i, (arrival, arrived)) in page.iter().zip(arrived).enumerate() {
        // A channel has nothing left of what it erased, so it cannot say the same again.
        if matches!(arrival.payload, Payload::Erased) {
            continue;
        }
        if arrived.known && arrival.customer != arrived.customer {
            let field = format!("operations[{i}].counter");
            v.add(field, "is that of an operation of another customer, which this channel sent before");
        } else if arrived.known && arrived.logged_at.is_some_and(|logged_at| logged_at != arrival.logged_at) {
            let field = format!("operations[{i}].counter");
            v.add(field, "is that of an operation of another time, which this channel sent before");
        }
    }
    Ok(v.or(())?)
}

fn read(operation: common::Operation) -> Arrival {
    let counter = i64::try_from(operation.counter).unwrap_or_default();
    let customer = operation.customer_id.parse::<CustomerId>().ok();
    let logged_at = convert::micros(operation.log_time.as_ref());
    let raw = operation.encode_to_vec();
    let checked = convert::operation(operation).and_then(|operation| {
        operation.validate()?;
        match &operation.change {
            // The values of an update are validated when they are applied; a NUL would break the views.
            Change::Update(update) if holds_nul(&update.values) => {
                Err(Violations::one("update.customer", "holds a NUL character"))
            }
            _ => Ok(operation),
        }
    });
    let payload = match checked {
        Ok(operation) => Payload::Good(operation),
        Err(violations) => Payload::Bad { raw, message: violations.to_string().replace('\0', " ") },
    };
    Arrival { counter, customer, logged_at, payload }
}

fn holds_nul(content: &tillsync_proto::Content) -> bool {
    fn in_value(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => text.contains('\0'),
            serde_json::Value::Array(values) => values.iter().any(in_value),
            serde_json::Value::Object(fields) => fields.values().any(in_value),
            _ => false,
        }
    }
    serde_json::to_value(content).is_ok_and(|value| in_value(&value))
}

fn outcome((counter, arrived): (u64, Arrived)) -> hq::OperationOutcome {
    let result = match (&arrived.known, &arrived.reason) {
        (true, _) => hq::OperationResult::Known,
        (false, Some(_)) => hq::OperationResult::SetAside,
        (false, None) => hq::OperationResult::Arrived,
    };
    hq::OperationOutcome {
        counter,
        result: result.into(),
        account_number: arrived.account_number.unwrap_or_default(),
        reason: arrived.reason.unwrap_or_default(),
    }
}

/// At most `max` runs of a channel, as they stand in `field`.
fn sessions(
    channel: &ChannelId,
    field: &str,
    runs: Vec<common::JobRun>,
    max: usize,
) -> std::result::Result<Vec<Session>, Violations> {
    if runs.len() > max {
        return Err(Violations::one(field, format!("has more than {max} entries")));
    }
    let session = |(i, run)| {
        let mut run = convert::job_run(run, &format!("{field}[{i}]"))?;
        if let Some((end, _)) = run.error.char_indices().nth(MAX_RUN_ERROR_CHARS) {
            run.error.truncate(end);
        }
        Ok(Session { seq: 0, channel: Some(channel.clone()), run })
    };
    runs.into_iter().enumerate().map(session).collect()
}
