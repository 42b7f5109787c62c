//! How the fake's streams tell what a producer repeats from what it left out.

use gateway::backend::Producer;
use types::{Code, Refusal};

use super::Stream;

impl Stream {
    /// `Ok(false)`: it was there before.
    pub(super) fn admits(&self, producer: &Producer) -> Result<bool, Refusal> {
        if self.closed_by.as_ref() == Some(producer) {
            return Ok(false);
        }
        let gap = |expected: u64| {
            let refusal = Refusal::new(Code::ProducerGap, format!("{} came, {expected} is next", producer.seq));
            refusal.detail("expected", expected).detail("received", producer.seq)
        };
        match self.producers.get(producer.id.as_str()) {
            Some(&(epoch, _)) if producer.epoch < epoch => {
                Err(Refusal::new(Code::ProducerFenced, "an old epoch").detail("epoch", epoch))
            }
            Some(&(epoch, last)) if producer.epoch == epoch => match producer.seq {
                seq if seq <= last => Ok(false),
                seq if seq == last + 1 => Ok(true),
                _ => Err(gap(last + 1)),
            },
            Some(_) | None if producer.seq == 0 => Ok(true),
            Some(_) | None => Err(gap(0)),
        }
    }
}
