//! Where a partition's good records end: chains are followed block by block, and both together must leave no position
//! out. Decides over what was read; reads nothing.

use std::collections::VecDeque;

use types::Position;

use crate::block::{Block, BlockSummary};
use crate::codec::Damage;
use crate::record::CHAINS;

/// The blocks of one chain after a checkpoint.
#[derive(Debug)]
pub(crate) struct Tail {
    good: VecDeque<Candidate>,
    torn: Vec<TornBlock>,
    /// What ended the good ones.
    pub(crate) damage: Option<Damage>,
    /// The furthest position that any intact block says was durable, wherever it stands.
    pub(crate) claim: Option<Position>,
    last_crc: u32,
}

#[derive(Debug)]
struct Candidate {
    key: Vec<u8>,
    block: Block,
    summary: BlockSummary,
}

/// A block beyond the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TornBlock {
    pub(crate) key: Vec<u8>,
    /// 0 when it cannot be read.
    pub(crate) records: u64,
}

/// The blocks that one write brought, all of them.
#[derive(Debug)]
pub(crate) struct GoodGroup {
    pub(crate) blocks: Vec<(Block, BlockSummary)>,
    pub(crate) end: Position,
}

/// The decision.
#[derive(Debug)]
pub(crate) struct Cut {
    /// One past the last good record.
    pub(crate) end: Position,
    pub(crate) groups: Vec<GoodGroup>,
    pub(crate) torn: Vec<TornBlock>,
}

impl Tail {
    /// After a block with this check.
    pub(crate) fn new(last_crc: u32) -> Self {
        Self { good: VecDeque::new(), torn: Vec::new(), damage: None, claim: None, last_crc }
    }

    /// Adds what was found under the chain's next key.
    pub(crate) fn add(&mut self, key: Vec<u8>, found: Result<(Block, BlockSummary), Damage>) {
        let (block, summary) = match found {
            Ok(found) => found,
            Err(damage) => {
                self.damage.get_or_insert(damage);
                return self.torn.push(TornBlock { key, records: 0 });
            }
        };
        self.claim = self.claim.max(Some(block.header.durable_at_write));
        let follows = block.header.previous_crc == self.last_crc;
        if self.damage.is_none() && follows {
            self.last_crc = block.header.crc;
            return self.good.push_back(Candidate { key, block, summary });
        }
        let missing = || Damage(format!("the block before position {} is missing", summary.key.base));
        self.damage.get_or_insert_with(missing);
        self.torn.push(TornBlock { key, records: u64::from(summary.count) });
    }
}

/// Follows both chains from `start`. A group that is not whole is torn as a whole, with all that follows.
pub(crate) fn cut(start: Position, tails: [Tail; CHAINS]) -> Result<Cut, Damage> {
    let mut torn = Vec::new();
    let mut blocks = Vec::new();
    for tail in tails {
        torn.extend(tail.torn);
        blocks.extend(tail.good);
    }
    blocks.sort_by_key(|candidate| candidate.summary.key.base);
    let mut groups = Vec::new();
    let mut end = start;
    let mut rest = blocks.into_iter().peekable();
    while let Some(first) = rest.next() {
        let until = first.block.header.group_end();
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| next.summary.key.base < until) {
            group.push(next);
        }
        if !is_whole(&group, end, until)? {
            let all = group.into_iter().chain(rest);
            torn.extend(all.map(|torn| TornBlock { key: torn.key, records: u64::from(torn.summary.count) }));
            break;
        }
        end = until;
        let blocks = group.into_iter().map(|candidate| (candidate.block, candidate.summary)).collect();
        groups.push(GoodGroup { blocks, end });
    }
    Ok(Cut { end, groups, torn })
}

/// Whether the records of `group` are exactly those of `from..until`.
fn is_whole(group: &[Candidate], from: Position, until: Position) -> Result<bool, Damage> {
    let records: u64 = group.iter().map(|candidate| u64::from(candidate.summary.count)).sum();
    if records != until.since(from) {
        return Ok(false);
    }
    let mut positions = Vec::new();
    for candidate in group {
        for index in 0..candidate.block.count() {
            positions.push(candidate.block.position(index)?);
        }
    }
    positions.sort_unstable();
    Ok(positions.iter().zip(from.value()..).all(|(position, expected)| position.value() == expected))
}
