//! Shared prefixes out of ideal hits.
//!
//! A recorded run says of each request how many of its first tokens a cache that forgets nothing would hold, not whose they
//! are. The prompts are rebuilt as a tree: a request that hits `h` tokens begins with the first `h` of one earlier
//! request's prompt, its *parent*, and goes its own way from there. Whoever the parent, the longest prefix it then shares
//! with any earlier request is `h`, so an ideal cache hits what was recorded; what the engine's cache hits is up to
//! eviction and timing.
//!
//! The parent is the earlier request of the same tenant whose prompt exceeds `h` by the least, in full blocks, the latest of
//! equals. Hits are counted in full blocks of prompts, so a conversation's earlier turn exceeds by none: 119 of the 121
//! hits of the recorded `ShareGPT` runs have such a parent.
//!
//! Where paths part, there is a border of segments: a segment is named by whose own text it is and where it ends.

use std::collections::{BTreeMap, BTreeSet};

use oracle_components::request::PrefixSegment;

use super::requests_file::RecordedRequest;
use crate::workload::streams::combine;

/// Keeps the keys apart from those of other sources.
const NAMESPACE: u64 = 0x7661_6c69_6461_7465;

/// Part of a prompt: up to `end`, the text is that of request `owner`.
type Stretch = (usize, u32);

/// The shared segments that each prompt begins with, for requests in order of arrival and blocks of `block_tokens`.
pub(super) fn segments(requests: &[RecordedRequest], block_tokens: u32) -> Vec<Vec<PrefixSegment>> {
    let mut paths: Vec<Vec<Stretch>> = Vec::with_capacity(requests.len());
    // For each owner, where others part from its text.
    let mut borders: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); requests.len()];
    let mut earlier: BTreeMap<(Option<&str>, u32), usize> = BTreeMap::new();
    for (index, request) in requests.iter().enumerate() {
        let (tenant, hit) = (request.tenant.as_deref(), request.ideal_prefix_hit_tokens);
        let blocks = |tokens: u32| tokens / block_tokens;
        // The fewest full blocks that hold the hit.
        let least = hit.div_ceil(block_tokens);
        let candidates = earlier.range((tenant, least)..=(tenant, u32::MAX));
        let parent = candidates.map(|(_, &parent)| parent).next().filter(|_| hit > 0);
        let mut path = parent.map_or_else(Vec::new, |parent| truncated(&paths[parent], hit));
        if let Some(&(owner, _)) = path.last() {
            borders[owner].insert(hit);
        }
        path.push((index, request.prompt_tokens));
        paths.push(path);
        earlier.insert((tenant, blocks(request.prompt_tokens)), index);
    }
    paths.iter().map(|path| cut(path, &borders)).collect()
}

/// The first `tokens` of a path.
fn truncated(path: &[Stretch], tokens: u32) -> Vec<Stretch> {
    let mut kept = Vec::new();
    for &(owner, end) in path {
        kept.push((owner, end.min(tokens)));
        if end >= tokens {
            break;
        }
    }
    kept
}

/// A path as segments, as far as somebody else may share it: up to the last border.
fn cut(path: &[Stretch], borders: &[BTreeSet<u32>]) -> Vec<PrefixSegment> {
    let mut segments = Vec::new();
    let mut start = 0;
    for &(owner, end) in path {
        for &border in borders[owner].range(start + 1..=end) {
            segments.push(segment(owner, start, border));
            start = border;
        }
    }
    segments
}

fn segment(owner: usize, start: u32, end: u32) -> PrefixSegment {
    let key = combine(combine(NAMESPACE, owner as u64), u64::from(end));
    PrefixSegment { key: key.max(1), tokens: end - start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt_tokens: u32, hit: u32, tenant: Option<&str>) -> RecordedRequest {
        RecordedRequest {
            arrival_s: 0.0,
            prompt_tokens,
            output_tokens: 1,
            ideal_prefix_hit_tokens: hit,
            tenant: tenant.map(str::to_owned),
            real_ttft_ms: None,
            real_tpot_ms: None,
            real_e2e_ms: None,
        }
    }

    /// Tokens at the beginning of the `later` prompt that the `earlier` one has too.
    fn shared(earlier: &[PrefixSegment], later: &[PrefixSegment]) -> u32 {
        earlier.iter().zip(later).take_while(|(a, b)| a == b).map(|(a, _)| a.tokens).sum()
    }

    #[test]
    fn the_longest_prefix_shared_with_any_earlier_request_is_the_recorded_one() {
        let hits = [(100, 0), (64, 0), (200, 96), (300, 96), (400, 192), (120, 48), (500, 192), (90, 32), (210, 16)];
        let requests: Vec<_> = hits.iter().map(|&(prompt, hit)| request(prompt, hit, None)).collect();
        let all = segments(&requests, 16);
        for (index, &(prompt, hit)) in hits.iter().enumerate() {
            let longest = all[..index].iter().map(|earlier| shared(earlier, &all[index])).max().unwrap_or(0);
            assert_eq!(longest, hit, "request {index}");
            assert!(all[index].iter().map(|segment| segment.tokens).sum::<u32>() <= prompt);
        }
        // A turn follows the turn whose whole blocks it repeats.
        assert_eq!(shared(&all[0], &all[2]), 96);
        assert_eq!(shared(&all[2], &all[4]), 192);
    }

    #[test]
    fn tenants_share_nothing_and_a_hit_without_a_parent_is_none() {
        let requests = [request(100, 0, Some("a")), request(100, 64, Some("b")), request(100, 64, Some("a"))];
        let all = segments(&requests, 16);
        assert_eq!(shared(&all[0], &all[1]), 0);
        assert_eq!(shared(&all[0], &all[2]), 64);
    }
}
