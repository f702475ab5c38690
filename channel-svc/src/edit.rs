//! Changes of a customer: one call to headquarters each, kept here before the answer. A pending customer is
//! refused (rules L1 to L4): headquarters does not know it yet.

use service_kit::deadline::Deadline;
use tillsync_proto::{
    CustomerId, CustomerRef, Violations, convert,
    id::parse_guid,
    pb::{
        common::{self, Customer},
        hq,
    },
};
use uuid::Uuid;

use crate::{
    customers::{Customers, reference},
    error::Error,
    log::entry::Row,
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
    /// Changes fields of a customer.
    ///
    /// # Errors
    ///
    /// As `UpdateCustomer` promises them.
    pub async fn update(&self, update: Update, deadline: Option<Deadline>) -> Result<Row, Error> {
        let name = reference(&update.customer)?;
        let mut known = self.real(&name, deadline).await?;
        let id = known.customer.id;
        let values = update.values.ok_or_else(|| Violations::one("values", "is missing"))?;
        let etag = values.etag.clone();
        let change = convert::update(id, values, update.mask).map_err(under_values)?;
        check_etag(&known, &etag)?;
        change.apply(&mut known.customer.content);
        known.customer.content.validate().map_err(under_values)?;
        if update.validate_only {
            return Ok(known);
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
            Ok(this.keep(row).await?.row.clone())
        })
        .await
    }

    /// Adds an address; gives the customer and the address's id. The same again is free of effect.
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
        let mut known = self.real(&name, deadline).await?;
        let address = create.address.ok_or_else(|| Violations::one("address", "is missing"))?;
        let address = convert::address(&known.customer.content.party, address, || self.ids.mint())?;
        let there = known.customer.content.addresses.iter().find(|there| there.id == address.id);
        match there {
            Some(there) if *there == address => return Ok((known, address.id)),
            Some(_) => return Err(Error::GuidTaken(address.id.to_string())),
            None => {}
        }
        known.customer.content.save_address(address.clone());
        known.customer.content.validate().map_err(|violations| violations.under("customer"))?;
        if create.validate_only {
            return Ok((known, address.id));
        }
        let row = self.save_address(known.customer.id, (&address).into(), deadline).await?;
        Ok((row, address.id))
    }

    /// Replaces an address.
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
        let mut known = self.real(&name, deadline).await?;
        let address = update.address.ok_or_else(|| Violations::one("address", "is missing"))?;
        let id = address_id("address.address_id", &address.address_id)?;
        if !known.customer.content.addresses.iter().any(|there| there.id == id) {
            return Err(Error::NotFound("address"));
        }
        let address = convert::address(&known.customer.content.party, address, || id)?;
        known.customer.content.save_address(address.clone());
        known.customer.content.validate().map_err(|violations| violations.under("customer"))?;
        if update.validate_only {
            return Ok(known);
        }
        self.save_address(known.customer.id, (&address).into(), deadline).await
    }

    /// Deactivates an address.
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
        let known = self.real(&name, deadline).await?;
        let there = known.customer.content.addresses.iter().find(|there| there.id == id);
        let mut address = there.ok_or(Error::NotFound("address"))?.clone();
        if address.deactivated {
            return Ok(known);
        }
        address.deactivated = true;
        self.save_address(known.customer.id, (&address).into(), deadline).await
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
        let known = self.real(&name, deadline).await?;
        let message = hq::IssueLoyaltyCardRequest {
            customer: known.customer.id.to_string(),
            card_number,
            request_id: request_id.to_string(),
        };
        let this = self.clone();
        told(async move {
            let (row, number) = this.rts.issue_card(message, this.call_time(deadline)).await?;
            Ok((this.keep(row).await?.row.clone(), number))
        })
        .await
    }

    async fn save_address(
        &self,
        id: CustomerId,
        address: common::Address,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        let this = self.clone();
        told(async move {
            let row = this.rts.save_address(id, address, this.call_time(deadline)).await?;
            Ok(this.keep(row).await?.row.clone())
        })
        .await
    }

    /// A customer that may be changed: one with an account number. One that this store does not know may be
    /// another store's, so headquarters is asked.
    async fn real(&self, name: &CustomerRef, deadline: Option<Deadline>) -> Result<Row, Error> {
        match self.find(name).await? {
            Some(row) if row.customer.is_pending() => Err(Error::Pending(row.customer.id)),
            Some(row) => Ok(row),
            None => self.at_headquarters(name, deadline).await,
        }
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
