//! A prompt as ids of whole blocks, the last of which may be partial, as Mooncake's traces have them: an id names a block and
//! all before it.
//!
//! The law: two prompts share as many blocks from their beginning as lie whole within what they share, and a last one that is
//! partial only where both end with it: an id names so many tokens, and AIPerf refuses it at another length. Blocks that nothing
//! names get ids of their own, for the tools that read these traces want the whole prompt covered.

use oracle_components::request::RequestSpec;

use crate::workload::streams::combine;

/// Keeps ids of blocks that nobody shares apart.
const OWN: u64 = 0x6f77_6e62_6c6f_636b;
/// Ids are integers that signed 64 bits hold.
const ID_BITS: u64 = u64::MAX >> 1;

/// Calls `id` with the id of each block of a prompt; gives the tokens that have a name but not a whole block of it.
pub(super) fn blocks(spec: &RequestSpec, request: u64, block_tokens: u32, mut id: impl FnMut(u64)) -> u32 {
    let prompt = spec.prompt_tokens;
    let named: u32 = spec.prefix.iter().map(|segment| segment.tokens).sum();
    let named = if spec.tail_key == 0 { named } else { prompt };
    let mut segments = spec.prefix.iter();
    let mut key = spec.tail_key;
    let mut key_end = 0;
    let mut whole = 0;
    for block in 0..prompt.div_ceil(block_tokens) {
        let end = prompt.min((block + 1).saturating_mul(block_tokens));
        // The piece that holds the block's last token; its key names all before it.
        while key_end < end {
            let Some(segment) = segments.next() else {
                key = spec.tail_key;
                key_end = u32::MAX;
                break;
            };
            key = segment.key;
            key_end += segment.tokens;
        }
        let name = if end <= named {
            whole = end;
            combine(key, u64::from(block))
        } else {
            combine(combine(OWN, request), u64::from(block))
        };
        let tokens = end - block * block_tokens;
        id((if tokens < block_tokens { combine(name, u64::from(tokens)) } else { name }) & ID_BITS);
    }
    named - whole
}
