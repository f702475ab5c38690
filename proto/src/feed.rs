//! A page of the feed as it goes out to thousands of channels: each record is encoded once, for all of them. On the wire
//! it is `tillsync.hq.v1.ListCustomerChangesResponse`, as the contract has it.

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut, Bytes},
    encoding::{self, DecodeContext, WireType},
};

use crate::pb::{
    common::{CustomerRecord, FeedCursor},
    hq::Resync,
};

/// The field of a record that is another one for each channel: `CustomerRecord.included_counter`.
const INCLUDED: u32 = 3;

/// See `ListCustomerChangesResponse` in the contract.
#[derive(Clone, PartialEq, Message)]
pub struct ListCustomerChangesResponse {
    /// Present when the channel has to start anew.
    #[prost(message, optional, tag = "1")]
    pub resync: Option<Resync>,
    /// The records, by version.
    #[prost(message, repeated, tag = "2")]
    pub records: Vec<FeedRecord>,
    /// Where the channel is once it has applied them.
    #[prost(message, optional, tag = "3")]
    pub next_cursor: Option<FeedCursor>,
    /// The newest version at headquarters.
    #[prost(uint64, tag = "4")]
    pub head_version: u64,
}

/// A record of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedRecord(Form);

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "headquarters has the one and channels the other, never both")]
enum Form {
    /// As it was read.
    Read(CustomerRecord),
    /// As it is sent: what all channels share, and how far the edits of the one are in it.
    Shared(Bytes, u64),
}

impl FeedRecord {
    /// A record without `included_counter`, encoded, and that of the channel that it goes to.
    #[must_use]
    pub fn shared(encoded: Bytes, included: u64) -> Self {
        Self(Form::Shared(encoded, included))
    }

    /// The record.
    ///
    /// # Errors
    ///
    /// One that is shared is not a record.
    pub fn read(self) -> Result<CustomerRecord, DecodeError> {
        Ok(match self.0 {
            Form::Read(record) => record,
            Form::Shared(encoded, included_counter) => {
                CustomerRecord { included_counter, ..CustomerRecord::decode(encoded)? }
            }
        })
    }
}

impl From<CustomerRecord> for FeedRecord {
    fn from(record: CustomerRecord) -> Self {
        Self(Form::Read(record))
    }
}

impl Default for FeedRecord {
    fn default() -> Self {
        CustomerRecord::default().into()
    }
}

impl Message for FeedRecord {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        match &self.0 {
            Form::Read(record) => record.encode_raw(buffer),
            Form::Shared(encoded, included) => {
                buffer.put_slice(encoded);
                // Fields may come in any order.
                if *included != 0 {
                    encoding::uint64::encode(INCLUDED, included, buffer);
                }
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Form::Shared(..) = &self.0 {
            *self = std::mem::take(self).read()?.into();
        }
        match &mut self.0 {
            Form::Read(record) => record.merge_field(tag, wire_type, buffer, context),
            Form::Shared(..) => Ok(()),
        }
    }

    fn encoded_len(&self) -> usize {
        match &self.0 {
            Form::Read(record) => record.encoded_len(),
            Form::Shared(encoded, 0) => encoded.len(),
            Form::Shared(encoded, included) => {
                encoded.len() + encoding::uint64::encoded_len(INCLUDED, included)
            }
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::common::Customer;

    #[test]
    fn x7_a_shared_record_is_on_the_wire_what_the_contract_says() {
        let customer = Customer { customer_id: "x".to_owned(), ..Customer::default() };
        for included_counter in [0, 1, 300] {
            let record = CustomerRecord {
                customer: Some(customer.clone()),
                version: 7,
                included_counter,
                fingerprint: vec![9; 16],
            };
            let all = CustomerRecord { included_counter: 0, ..record.clone() }.encode_to_vec();
            let shared = FeedRecord::shared(all.into(), included_counter);
            assert_eq!(shared.clone().read().unwrap(), record);
            let page = |one: FeedRecord| ListCustomerChangesResponse {
                records: vec![one.clone(), one],
                head_version: 9,
                ..ListCustomerChangesResponse::default()
            };
            let (sent, told) = (page(shared).encode_to_vec(), page(record.into()));
            assert_eq!(sent.len(), told.encoded_len());
            assert_eq!(ListCustomerChangesResponse::decode(sent.as_slice()).unwrap(), told);
        }
        assert!(FeedRecord::shared(vec![0xff].into(), 0).read().is_err());
    }
}
