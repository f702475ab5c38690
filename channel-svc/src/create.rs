//! Creating a customer: sync, async, and from sync to async where headquarters cannot be reached.

use std::time::Duration;

use service_kit::deadline::Deadline;
use tillsync_proto::{CustomerId, Feature, Micros, Violations, convert, enhanced_fields, pb::common};
use uuid::Uuid;

use crate::{
    breaker::CIRCUIT_OPEN,
    customers::{Customers, logged},
    error::Error,
    log::{
        Appended,
        entry::{CreatePath, Entry, Origin, Row},
    },
    rts::{CallError, Failure, FailureKind, Spent},
    store::Store,
};

/// A customer to create.
pub(crate) struct Create {
    /// The customer as the caller sent it.
    pub customer: Option<common::Customer>,
    /// The GUID, if the caller minted it.
    pub id: Option<CustomerId>,
    /// Check only.
    pub validate_only: bool,
    /// When the caller stops waiting.
    pub deadline: Option<Deadline>,
}

/// A created customer.
#[derive(Debug)]
pub(crate) struct Created {
    /// The customer.
    pub customer: common::Customer,
    /// The way it went; absent for a check, and for a repeat of what another channel created.
    pub path: Option<CreatePath>,
    /// How long headquarters took, if it was called; and where it says that the time went.
    pub called: Option<(Duration, Option<Spent>)>,
}

impl Created {
    fn known(row: &Row) -> Self {
        Self { customer: row.shown(), path: row.path(), called: None }
    }
}

/// A checked request.
struct Draft {
    id: CustomerId,
    /// Minted by the caller: it may be a repeat.
    check: bool,
    /// The content on the wire.
    content: common::Customer,
    /// The fields of it that need flag E2 on an async create.
    enhanced: Vec<String>,
    fingerprint: Uuid,
    created_at: Micros,
}

impl<S: Store> Customers<S> {
    /// Creates a customer (rules M1 to M9).
    ///
    /// # Errors
    ///
    /// As `CreateCustomer` promises them.
    pub async fn create(&self, create: Create) -> Result<Created, Error> {
        let customer = create.customer.ok_or_else(|| Violations::one("customer", "is missing"))?;
        let id = create.id.unwrap_or_else(|| CustomerId(self.ids.mint()));
        let settings = self.current.get();
        let to_log = self.offline || settings.profile.create_customer_async;
        if to_log && !create.validate_only {
            self.log.check_room()?;
        }
        let content = convert::content(id, customer).and_then(|content| {
            settings.attributes.check(&content)?;
            Ok(content)
        });
        let mut content = content.map_err(|violations| violations.under("customer"))?;
        // A repeat is recognised by what was asked for, whatever the default customer is by then (rules M9, M11).
        let mut asked = None;
        if let Some(default) = &settings.profile.default_customer {
            let before = content.clone();
            if default.fill(&mut content, settings.features.has(Feature::E2)) {
                asked = Some(before.fingerprint());
            }
        }
        let enhanced = enhanced_fields(&content);
        let (content, own) = content.into_wire();
        let fingerprint = asked.unwrap_or(own);
        if self.offline && settings.profile.filter_shared_customer_data {
            return Err(Error::SharedDataFiltered);
        }
        let created_at = Micros(self.clock.wall_micros());
        let check = create.id.is_some();
        let draft = Draft { id, check, content, enhanced, fingerprint, created_at };
        if create.validate_only {
            return Box::pin(self.preview(draft, to_log)).await;
        }
        if to_log {
            return self.create_async(draft, CreatePath::Async, None).await;
        }
        // Boxed: the future of the async path is made for every create, and stays small.
        if draft.check
            && let Some(known) = Box::pin(self.repeat(&draft)).await?
        {
            return Ok(known);
        }
        // A caller that goes away must not undo what headquarters has done.
        let (this, deadline) = (self.clone(), create.deadline);
        let task = tokio::spawn(async move { this.create_sync(draft, deadline).await });
        task.await.unwrap_or_else(|error| Err(Error::lost(&error)))
    }

    /// What a repeat is answered from: what this store knows, without any call.
    async fn repeat(&self, draft: &Draft) -> Result<Option<Created>, Error> {
        match self.find_id(draft.id).await? {
            None => Ok(None),
            Some(known) if known.is_erased() => Err(Error::Erased(draft.id)),
            Some(known) if known.repeats(draft.fingerprint) => Ok(Some(Created::known(&known))),
            Some(_) => Err(Error::GuidTaken(draft.id.to_string())),
        }
    }

    /// Everything that can be checked here, and nothing written.
    async fn preview(&self, draft: Draft, to_log: bool) -> Result<Created, Error> {
        if draft.check
            && let Some(known) = self.repeat(&draft).await?
        {
            return Ok(Created { path: None, ..known });
        }
        if to_log {
            self.check_enhanced(draft.enhanced, None)?;
        }
        let customer = convert::pending(draft.id, draft.content, draft.fingerprint, draft.created_at);
        Ok(Created { customer, path: None, called: None })
    }

    /// Without flag E2 some fields cannot travel on an async create: they are refused by name, never dropped
    /// (rules E2, L4).
    fn check_enhanced(&self, fields: Vec<String>, cause: Option<&'static str>) -> Result<(), Error> {
        if fields.is_empty() || self.current.has(Feature::E2) {
            return Ok(());
        }
        let fields = fields.into_iter().map(|field| format!("customer.{field}")).collect();
        Err(Error::NeedsEnhanced { fields, cause })
    }

    async fn create_async(
        &self,
        draft: Draft,
        path: CreatePath,
        cause: Option<&'static str>,
    ) -> Result<Created, Error> {
        let Draft { id, check, content, enhanced, fingerprint, created_at } = draft;
        self.check_enhanced(enhanced, cause)?;
        let origin = Origin { fingerprint, path: Some(path) };
        let (entry, customer) = Entry::create(id, content, created_at, &origin);
        match self.log.append(entry, check).await? {
            Appended::New(_) => Ok(Created { customer, path: origin.path, called: None }),
            Appended::Known(entry) => Ok(Created::known(&logged(&entry)?)),
            Appended::Taken => Err(Error::GuidTaken(id.to_string())),
            Appended::Erased => Err(Error::Erased(id)),
            Appended::Refused(_) | Appended::Nothing => Err(Error::Internal),
        }
    }

    async fn create_sync(&self, draft: Draft, deadline: Option<Deadline>) -> Result<Created, Error> {
        let wire = common::Customer {
            customer_id: draft.id.to_string(),
            create_time: Some(draft.created_at.into()),
            ..draft.content.clone()
        };
        let settings = self.current.get();
        let profile = &settings.profile;
        let began = self.clock.now();
        let result = if profile.async_fallback && profile.circuit_breaker && self.breaker.is_open() {
            let (kind, retry_after) = (FailureKind::Unavailable, None);
            Err(CallError::Failed(Failure { kind, cause: CIRCUIT_OPEN, retry_after }))
        } else {
            let limit = self.call_time(deadline);
            // Boxed: of the tasks that wait for the log during an outage none has to carry a call that has ended.
            let result = Box::pin(self.rts.create(draft.id, wire, draft.fingerprint, limit)).await;
            self.tell_breaker(&result);
            result
        };
        let took = self.clock.now().saturating_duration_since(began);
        let failure = match result {
            Ok((row, spent)) => {
                let origin = Some(Origin { fingerprint: draft.fingerprint, path: Some(CreatePath::Sync) });
                let row = self.keep(Row { origin, ..row }).await?;
                return Ok(Created { called: Some((took, spent)), ..Created::known(&row) });
            }
            Err(CallError::Failed(failure)) if profile.async_fallback => failure,
            Err(error) => return Err(error.into()),
        };
        // One GUID serves the try and the fallback: if headquarters did create it, the upload finds it (M6).
        let path = CreatePath::Fallback { cause: failure.cause.to_owned() };
        let created = self.create_async(draft, path, Some(failure.cause)).await?;
        self.metrics.fallback(failure.cause);
        // An open circuit is no call.
        let called = (failure.cause != CIRCUIT_OPEN).then_some((took, None));
        Ok(Created { called, ..created })
    }
}
