//! An answer with tasks in it. If it is never handed to the network whole, the tasks go to other workers.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};

use super::answers::Expendable;

/// Takes the tokens of tasks that were not delivered.
type GiveBack = Box<dyn FnOnce(Vec<String>) + Send>;

/// Tasks on their way. Dropped before they were handed over, it gives them back.
pub(super) struct Delivery {
    pub(super) tokens: Vec<String>,
    give_back: Option<GiveBack>,
}

impl Delivery {
    pub(super) fn new(give_back: impl FnOnce(Vec<String>) + Send + 'static) -> Self {
        Self { tokens: Vec::new(), give_back: Some(Box::new(give_back)) }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take()
            && !self.tokens.is_empty()
        {
            give_back(std::mem::take(&mut self.tokens));
        }
    }
}

/// The response, which carries the delivery until all of it is written.
pub(super) fn delivered(response: Response, delivery: Delivery) -> Response {
    if delivery.tokens.is_empty() {
        return response;
    }
    let mut response = response.map(|body| Body::new(Carried { body, delivery, stage: Stage::Sending }));
    response.extensions_mut().insert(Expendable);
    response
}

struct Carried {
    body: Body,
    delivery: Delivery,
    stage: Stage,
}

enum Stage {
    Sending,
    /// The server has all of it, and writes it out before it asks again, which shows a connection that is gone.
    Flushing,
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.stage {
            Stage::Sending => match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => {
                    self.stage = Stage::Flushing;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                sent @ (Poll::Ready(Some(_)) | Poll::Pending) => sent,
            },
            Stage::Flushing => {
                self.delivery.tokens.clear();
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use http_body_util::BodyExt;

    use super::*;

    fn carrying(tokens: &[&str]) -> (Response, mpsc::Receiver<Vec<String>>) {
        let (sender, back) = mpsc::channel();
        let mut delivery = Delivery::new(move |tokens| sender.send(tokens).expect("the test listens"));
        delivery.tokens.extend(tokens.iter().map(|token| (*token).to_owned()));
        (delivered(Response::new(Body::from("the tasks")), delivery), back)
    }

    #[tokio::test]
    async fn what_was_handed_over_whole_stays_with_the_worker() {
        let (response, back) = carrying(&["t1"]);
        let body = response.into_body().collect().await.expect("a whole body").to_bytes();
        assert_eq!(&body[..], b"the tasks");
        assert!(back.recv().is_err(), "nothing came back, and nothing will");
    }

    #[tokio::test]
    async fn what_was_not_handed_over_whole_comes_back() {
        let (response, back) = carrying(&["t1", "t2"]);
        drop(response);
        assert_eq!(back.recv(), Ok(vec!["t1".to_owned(), "t2".to_owned()]));

        let (response, back) = carrying(&["t3"]);
        let mut body = response.into_body();
        body.frame().await.expect("a frame").expect("no error");
        drop(body);
        assert_eq!(back.recv(), Ok(vec!["t3".to_owned()]), "the server had it, but could not write it");
    }
}
