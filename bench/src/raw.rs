//! Calls whose messages are bytes already: a generator that spends less on a call leaves more of the machine to
//! the server that it measures.

use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _, Bytes},
};
use tillsync_proto::pb::channel::CreateCustomerRequest;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};
use uuid::Uuid;

use crate::{
    customers::{phone, unique_email},
    way::Way,
};

/// Makes one unary call, and leaves the answer unread.
///
/// # Errors
///
/// What the server answered, or what happened to the call.
pub async fn call(client: &mut Grpc<Way>, path: &'static str, message: Bytes) -> Result<(), Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    client.unary(Request::new(message), PathAndQuery::from_static(path), Raw).await.map(drop)
}

/// An encoded create that is given the GUID, the e-mail and the phone of one customer after the other.
pub struct Template {
    bytes: Vec<u8>,
    guid: usize,
    email: usize,
    phone: usize,
}

impl Template {
    /// Encodes a request whose customer has the GUID `id`, and [`unique_email`] and [`phone`] of it. `None` if it has not.
    #[must_use]
    pub fn new(request: &CreateCustomerRequest, id: Uuid) -> Option<Self> {
        let bytes = request.encode_to_vec();
        let find = |text: &str| bytes.windows(text.len()).position(|window| window == text.as_bytes());
        let (guid, email, phone) = (find(&id.to_string())?, find(&unique_email(id))?, find(&phone(id))?);
        Some(Self { bytes, guid, email, phone })
    }

    /// The same request for another customer.
    #[must_use]
    pub fn with(&self, id: Uuid) -> Bytes {
        let mut bytes = self.bytes.clone();
        for (at, text) in
            [(self.guid, id.to_string()), (self.email, unique_email(id)), (self.phone, phone(id))]
        {
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        bytes.into()
    }
}

#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        from.advance(from.remaining());
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customers::{customer, rng_of};

    #[test]
    fn a_template_is_the_request_for_another_customer() {
        let request = |id: Uuid| CreateCustomerRequest {
            customer: Some(customer(id, &mut rng_of(1, 0, 0))),
            customer_id: id.to_string(),
            validate_only: false,
        };
        let (one, other) = (Uuid::from_u128(1 << 100), Uuid::from_u128(7 << 90));
        let template = Template::new(&request(one), one).unwrap();
        assert_eq!(CreateCustomerRequest::decode(template.with(other)), Ok(request(other)));
        assert!(Template::new(&request(one), other).is_none());
    }
}
