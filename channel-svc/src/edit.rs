//! Changes of a customer. Without flags: one call to headquarters each, kept here before the answer, and a pending
//! customer is refused (rules L1 to L4), because headquarters does not know it yet. With flag E1 new addresses, with
//! E3 every change is logged here instead, and goes up by the P-job.

use service_kit::deadline::Deadline;
use tillsync_proto::{
    Address, Change, CustomerRef, Feature, Micros, Violations, convert,
    id::parse_guid,
    pb::{
        common::{self, Customer},
        hq,
    },
};
use uuid::Uuid;

use crate::{
    customers::{Customers, logged, reference},
    error::Error,
    log::{
        Appended, EditRefusal, EditRequest,
        entry::{MAX_EDITS, Row},
    },
    store::Store,
};

/// New values for some fields.
pub(crate) struct Update {
    /// GUID or account number.
    pub customer: String,
    /// The values.
    pub values: Option<Customer>,
    /// Which of them count.
    pub mask: Option<prost_types::FieldMask>,
    /// Check only.
    pub validate_only: bool,
}

/// An address to add or to replace.
pub(crate) struct SaveAddress {
    /// GUID or account number.
    pub customer: String,
    /// The address.
    pub address: Option<common::Address>,
    /// Check only.
    pub validate_only: bool,
}

impl<S: Store> Customers<S> {
    /// Changes fields of a customer: by a call, or with flag E3 in the log. A terminal that is offline logs.
    ///
    /// # Errors
    ///
    /// As `UpdateCustomer` promises them.
    pub async fn update(&self, update: Update, deadline: Option<Deadline>) -> Result<Row, Error> {
        let name = reference(&update.customer)?;
        let logged = self.offline || self.current.has(Feature::E3);
        let base = self.editable(&name, logged, Feature::E3, deadline).await?;
        let mut known = base.clone();
        let id = known.customer.id;
        let values = update.values.ok_or_else(|| Violations::one("values", "is missing"))?;
        let etag = values.etag.clone();
        let change = convert::update(id, values, update.mask).map_err(under_values)?;
        check_etag(&known, &etag)?;
        change.apply(&mut known.customer.content);
        self.check(&known).map_err(under_values)?;
        if update.validate_only {
            return Ok(known);
        }
        if logged {
            return self.log_edit(base, Change::Update(change), etag, "values").await;
        }
        let wire = common::CustomerUpdate::from(&change);
        let message = hq::UpdateCustomerRequest {
            customer: id.to_string(),
            values: Some(Customer { etag, ..wire.customer.unwrap_or_default() }),
            update_mask: wire.update_mask,
        };
        let this = self.clone();
        told(async move {
            let row = this.rts.update(message, this.call_time(deadline)).await?;
            this.keep(row).await
        })
        .await
    }

    /// Adds an address, by a call or with flag E1 in the log; gives the customer and the address's id. The same again
    /// is free of effect.
    ///
    /// # Errors
    ///
    /// As `CreateAddress` promises them.
    pub async fn create_address(
        &self,
        create: SaveAddress,
        deadline: Option<Deadline>,
    ) -> Result<(Row, Uuid), Error> {
        let name = reference(&create.customer)?;
        let logged = self.current.has(Feature::E1);
        let known = self.editable(&name, logged, Feature::E1, deadline).await?;
        let address = create.address.ok_or_else(|| Violations::one("address", "is missing"))?;
        let address = convert::address(&known.customer.content.party, address, || self.ids.mint())?;
        let id = address.id;
        let there = known.customer.content.addresses.iter().find(|there| there.id == id);
        match there {
            Some(there) if *there == address => return Ok((known, id)),
            Some(_) => return Err(Error::GuidTaken(id.to_string())),
            None => {}
        }
        let row = self.save_address(known, address, logged, create.validate_only, deadline).await?;
        Ok((row, id))
    }

    /// Replaces an address, by a call or with flag E3 in the log.
    ///
    /// # Errors
    ///
    /// As `UpdateAddress` promises them.
    pub async fn update_address(
        &self,
        update: SaveAddress,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        let name = reference(&update.customer)?;
        let logged = self.current.has(Feature::E3);
        let known = self.editable(&name, logged, Feature::E3, deadline).await?;
        let address = update.address.ok_or_else(|| Violations::one("address", "is missing"))?;
        let id = address_id("address.address_id", &address.address_id)?;
        if !known.customer.content.addresses.iter().any(|there| there.id == id) {
            return Err(Error::NotFound("address"));
        }
        let address = convert::address(&known.customer.content.party, address, || id)?;
        self.save_address(known, address, logged, update.validate_only, deadline).await
    }

    /// Deactivates an address, by a call or with flag E3 in the log.
    ///
    /// # Errors
    ///
    /// As `DeleteAddress` promises them.
    pub async fn delete_address(
        &self,
        customer: &str,
        address: &str,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        let name = reference(customer)?;
        let id = address_id("address_id", address)?;
        let logged = self.current.has(Feature::E3);
        let known = self.editable(&name, logged, Feature::E3, deadline).await?;
        let there = known.customer.content.addresses.iter().find(|there| there.id == id);
        let mut address = there.ok_or(Error::NotFound("address"))?.clone();
        if address.deactivated {
            return Ok(known);
        }
        address.deactivated = true;
        self.save_address(known, address, logged, false, deadline).await
    }

    /// Issues a loyalty card; gives the customer and the card's number (rule L1).
    ///
    /// # Errors
    ///
    /// As `IssueLoyaltyCard` promises them.
    pub async fn issue_card(
        &self,
        customer: &str,
        card_number: String,
        request_id: &str,
        deadline: Option<Deadline>,
    ) -> Result<(Row, String), Error> {
        let name = reference(customer)?;
        let known_char = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let well_formed = (4..=40).contains(&card_number.len()) && card_number.chars().all(known_char);
        if !well_formed && !card_number.is_empty() {
            let rule = "is not 4 to 40 letters, digits and hyphens";
            return Err(Violations::one("card_number", rule).into());
        }
        let request_id = match request_id {
            "" => self.ids.mint(),
            text => parse_guid(text).map_err(|error| Violations::one("request_id", error))?,
        };
        let known = self.real(&name, None, deadline).await?;
        let message = hq::IssueLoyaltyCardRequest {
            customer: known.customer.id.to_string(),
            card_number,
            request_id: request_id.to_string(),
        };
        let this = self.clone();
        told(async move {
            let (row, number) = this.rts.issue_card(message, this.call_time(deadline)).await?;
            Ok((this.keep(row).await?, number))
        })
        .await
    }

    async fn save_address(
        &self,
        known: Row,
        address: Address,
        logged: bool,
        validate_only: bool,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        let mut saved = known.clone();
        saved.customer.content.save_address(address.clone());
        saved.customer.content.validate().map_err(|violations| violations.under("customer"))?;
        if validate_only {
            return Ok(saved);
        }
        if logged {
            return self.log_edit(known, Change::SaveAddress(address), String::new(), "customer").await;
        }
        let (this, id, wire) = (self.clone(), known.customer.id, (&address).into());
        told(async move {
            let row = this.rts.save_address(id, wire, this.call_time(deadline)).await?;
            this.keep(row).await
        })
        .await
    }

    /// Logs an edit as an operation; headquarters hears of it by the P-job (rule E3).
    async fn log_edit(&self, base: Row, change: Change, etag: String, path: &str) -> Result<Row, Error> {
        let customer = base.customer.id;
        let made_at = Micros(self.clock.wall_micros());
        let edit = EditRequest { customer, base: Some(base), change, previous: None, made_at, etag };
        match self.log.edit(edit).await? {
            Appended::New(entry) | Appended::Known(entry) => logged(&entry),
            Appended::Refused(EditRefusal::Changed) => Err(Error::EtagMismatch(customer)),
            Appended::Refused(EditRefusal::Invalid(violations)) => Err(violations.under(path).into()),
            Appended::Refused(EditRefusal::TooMany) => {
                Err(Error::Overloaded(format!("{MAX_EDITS} edits of the customer wait for headquarters")))
            }
            Appended::Refused(EditRefusal::Unknown) => Err(Error::NotFound("customer")),
            Appended::Erased => Err(Error::Erased(customer)),
            Appended::Taken | Appended::Nothing => Err(Error::Internal),
        }
    }

    /// A customer that may be changed: anybody if changes are logged, otherwise one with an account number. `needed` is
    /// the flag with which they would be.
    async fn editable(
        &self,
        name: &CustomerRef,
        logged: bool,
        needed: Feature,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        if !logged {
            return self.real(name, Some(needed), deadline).await;
        }
        match self.find(name).await? {
            Some(row) if row.is_erased() => Err(Error::Erased(row.customer.id)),
            Some(row) => Ok(row),
            None if self.offline => Err(Error::NotFound("customer")),
            None => self.at_headquarters(name, deadline).await,
        }
    }

    /// A customer with an account number. One that this store does not know may be another store's, so headquarters is
    /// asked. `lifted_by` is the flag with which the account number is not needed.
    async fn real(
        &self,
        name: &CustomerRef,
        lifted_by: Option<Feature>,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        match self.find(name).await? {
            Some(row) if row.is_erased() => Err(Error::Erased(row.customer.id)),
            Some(row) if row.customer.is_pending() => Err(Error::Pending(row.customer.id, lifted_by)),
            Some(row) => Ok(row),
            None => self.at_headquarters(name, deadline).await,
        }
    }

    /// The rules of entry and the definitions of attributes.
    fn check(&self, row: &Row) -> Result<(), Violations> {
        row.customer.content.validate()?;
        self.current.get().attributes.check(&row.customer.content)
    }
}

/// Runs a call and what follows it in a task of its own: a caller that goes away must not undo what
/// headquarters has done.
async fn told<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Error::lost(&error)))
}

fn check_etag(known: &Row, etag: &str) -> Result<(), Error> {
    if etag.is_empty() || known.customer.etag() == etag {
        Ok(())
    } else {
        Err(Error::EtagMismatch(known.customer.id))
    }
}

fn under_values(violations: Violations) -> Error {
    // The mask stands beside the values, not in them.
    if violations.as_slice().iter().all(|v| v.field == "update_mask") {
        violations.into()
    } else {
        violations.under("values").into()
    }
}

fn address_id(field: &str, text: &str) -> Result<Uuid, Error> {
    parse_guid(text).map_err(|error| Violations::one(field, error).into())
}
