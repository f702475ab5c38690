//! An answer that ends once its caller may not call any more: a stream goes on for days, and a token or a certificate can be
//! revoked meanwhile.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::HeaderMap,
};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{Caller, Door, Shown, unknown};
use crate::reload::LOOK;

/// By what a caller has come in.
pub(super) struct Pass {
    pub door: Arc<Door>,
    pub shown: Shown,
    pub caller: Arc<Caller>,
}

impl Pass {
    /// Whether it would come in now.
    fn holds(&self) -> bool {
        self.door.owner(&self.shown).is_some_and(|owner| owner == self.caller)
    }
}

/// An answer. What is there at once, as that of a call without a stream, goes out as it is.
pub(super) struct Held {
    body: Body,
    pass: Pass,
    /// When it is looked next whether the pass holds; from when the answer first has nothing to say.
    look: Option<Pin<Box<Sleep>>>,
}

impl Held {
    pub fn new(body: Body, pass: Pass) -> Self {
        Self { body, pass, look: None }
    }

    /// Whether it is time to look, and the pass does not hold.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        while let Some(look) = &mut self.look
            && look.as_mut().poll(context).is_ready()
        {
            if !self.pass.holds() {
                return true;
            }
            self.look = Some(Box::pin(sleep(LOOK)));
        }
        false
    }
}

/// How a stream ends that is not allowed any more.
fn revoked() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Its message and details are ours, and go into a header.
    let _ =
        unknown("what was shown at the beginning has been revoked, or has run out").add_header(&mut trailers);
    trailers
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_over(context) {
            // Whoever makes the stream learns that nobody listens.
            self.body = Body::empty();
            self.look = None;
            return Poll::Ready(Some(Ok(Frame::trailers(revoked()))));
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && self.look.is_none() {
            self.look = Some(Box::pin(sleep(LOOK)));
            // So that it wakes this task.
            let _ = self.is_over(context);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
