//! The blocks of a chain behind its checkpoint, as they are found on the disk. Where a table is damaged the segment that
//! takes records is lost as far as reading goes, but the chain goes on: each block names the one before it, so what
//! follows shows whether anything behind the checkpoint is missing.

use bytes::Bytes;

use crate::block::{Block, BlockSummary};
use crate::codec::Damage;
use crate::damage_walk::{DamageWalk, Step};
use crate::error::OpenError;
use crate::keys::{Family, LogKey};
use crate::recovery::{damaged, store_error};
use crate::segment::{ChainId, LastBlock, Segment};
use crate::store::Store;
use crate::tail_cut::Tail;

const SCAN_BYTES: usize = 1024 * 1024;

/// What was found.
#[derive(Debug)]
pub(crate) struct ChainTail {
    pub(crate) tail: Tail,
    /// The latest opening that some block is of.
    pub(crate) term: u32,
    /// Something in the segment that takes records cannot be read, for this reason: it is to be sealed and quarantined.
    pub(crate) lost: Option<String>,
    /// Behind the last good block something cannot be read, for this reason. Nobody knows whether it was a block.
    pub(crate) unsettled: Option<String>,
}

/// Reads the tail of the chain whose last segment, as of the checkpoint, is `active`. `marked`: that lost something, as is
/// known already, for this reason. An error is a block that is gone without a trace of damage, or the disk's.
pub(crate) fn chain_tail(store: &dyn Store, active: &Segment, marked: Option<String>) -> Result<ChainTail, OpenError> {
    let ChainId { partition, class } = active.chain;
    let place = format!("partition {partition}, {} chain", class.name());
    let from = active.last_block.map_or(active.base, |last| last.base);
    let range = (active.block_key(from).encode().to_vec(), LogKey::chain_end(partition, class).encode().to_vec());
    let mut walk = DamageWalk::new(store, (Family::Log, decode), range, SCAN_BYTES);
    let tail = Tail::new(active.last_crc());
    let mut found = ChainTail { tail, term: 0, lost: marked, unsettled: None };
    let mut named = active.last_block;
    while let Some(step) = walk.next().map_err(store_error(&place))? {
        // Where the store vouches for nothing, an entry may hide the ones behind it.
        let doubt = walk.refused.clone().filter(|_| !walk.is_vouched_for());
        let is_known = walk.refused.is_some();
        match step {
            Step::Good(_, block) if named.is_some_and(|last| is_last(&last, &block)) => {
                named = None;
                found.unsettled = doubt;
            }
            Step::Good(key, block) => {
                found.expect_none(&mut named, is_known).map_err(damaged(&place))?;
                if found.add(active, key, block) {
                    found.unsettled = doubt;
                }
            }
            Step::Damaged { key, what } => {
                found.unsettled = doubt.or(found.unsettled);
                if named.is_some_and(|last| key == active.block_key(last.base).encode()) {
                    named = None;
                    found.lost.get_or_insert(what);
                    continue;
                }
                found.expect_none(&mut named, is_known).map_err(damaged(&place))?;
                found.tail.add(key, Err(Damage(what)));
            }
            Step::Unreadable { what, .. } => {
                named = None;
                found.unsettled = Some(what);
            }
        }
    }
    found.expect_none(&mut named, walk.refused.is_some()).map_err(damaged(&place))?;
    if !walk.is_vouched_for() {
        found.unsettled = found.unsettled.or_else(|| walk.refused.clone());
    }
    found.lost = found.lost.or(walk.refused);
    Ok(found)
}

impl ChainTail {
    /// The checkpoint's last block was not met. That is an error unless the reason is known.
    fn expect_none(&mut self, named: &mut Option<LastBlock>, is_known: bool) -> Result<(), Damage> {
        match named.take() {
            Some(last) if self.lost.is_none() && !is_known => {
                Err(Damage(format!("the block at position {} that the checkpoint names is missing", last.base)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether it follows on the last good one: then nothing lies between.
    fn add(&mut self, active: &Segment, key: Vec<u8>, (block, summary): (Block, BlockSummary)) -> bool {
        self.term = self.term.max(block.header.term);
        self.tail.add(key, in_segment(active, (block, summary)));
        self.tail.damage.is_none()
    }
}

fn is_last(last: &LastBlock, (block, summary): &(Block, BlockSummary)) -> bool {
    summary.key.base == last.base && block.header.crc == last.crc
}

fn decode(key: &[u8], value: &Bytes) -> Result<(Block, BlockSummary), Damage> {
    let block = Block::decode(&LogKey::decode(key)?, value.clone())?;
    block.summary().map(|summary| (block, summary))
}

/// A new segment begins together with a checkpoint, so all blocks after one are in the segment that it names.
fn in_segment(active: &Segment, found: (Block, BlockSummary)) -> Result<(Block, BlockSummary), Damage> {
    let segment = found.1.key.segment;
    if segment == active.number {
        return Ok(found);
    }
    Err(Damage(format!("a block lies in segment {segment}, which was never begun")))
}
