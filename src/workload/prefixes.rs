//! Shared beginnings of prompts: named pieces become segments whose keys name their content.
//!
//! The law: a key is a rolling hash over the pieces so far (name and length), so two patterns that begin with the same
//! pieces share exactly these, and equal keys mean equal content at equal positions. Keys depend on no seed.

use oracle_components::request::PrefixSegment;
use rand::Rng;
use rand_distr::Distribution as _;

use super::distribution::{Choice, MAX_TOKENS, Sampler};
use super::error::WorkloadError;
use super::spec::{Documents, PrefixPattern};
use super::streams::{Purpose, combine, hash_bytes, stream};

/// Parent of the first segment's key.
const ROOT: u64 = 0x7072_6566_6978_6573;

/// All patterns of a workload; there may be none.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    choice: Option<Choice>,
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    name: String,
    segments: Vec<PrefixSegment>,
    tokens: u32,
    documents: Option<Shelf>,
}

/// The documents of a pattern: each is known by its number, and as long every time.
#[derive(Clone, Debug)]
struct Shelf {
    owner: u64,
    choice: rand_distr::Zipf<f64>,
    tokens: Sampler,
}

/// The beginning of one prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefix {
    pub segments: Vec<PrefixSegment>,
    pub tokens: u32,
    /// Tokens that come on top of the prompt's own: those of the document.
    pub added: u32,
}

impl Prefixes {
    pub fn new(patterns: &[PrefixPattern]) -> Result<Self, WorkloadError> {
        let weights = patterns.iter().map(|pattern| pattern.weight);
        let choice = Choice::new(weights);
        if choice.is_none() && !patterns.is_empty() {
            return Err(WorkloadError::Weights { what: "prefix patterns" });
        }
        let patterns: Result<_, _> = patterns.iter().map(Pattern::new).collect();
        Ok(Self { choice, patterns: patterns? })
    }

    /// The index of a pattern that `profile` names.
    pub fn find(&self, profile: &str, name: &str) -> Result<usize, WorkloadError> {
        let index = self.patterns.iter().position(|p| p.name == name);
        index.ok_or_else(|| WorkloadError::UnknownPrefixPattern {
            profile: profile.to_owned(),
            pattern: name.to_owned(),
            known: self.patterns.iter().map(|p| p.name.clone()).collect(),
        })
    }

    /// The beginning of a prompt: `pattern`, or one drawn by weight. Allocates only where there is something to share.
    #[inline]
    pub fn draw<R: Rng>(&self, pattern: Option<usize>, rng: &mut R, document: &mut R) -> Prefix {
        let Some(choice) = &self.choice else {
            return Prefix::default();
        };
        let pattern = &self.patterns[pattern.unwrap_or_else(|| choice.pick(rng))];
        let mut prefix = Prefix { segments: pattern.segments.clone(), tokens: pattern.tokens, added: 0 };
        if let Some(shelf) = &pattern.documents {
            let segment = shelf.take(pattern.segments.last(), document);
            prefix.added = segment.tokens;
            prefix.segments.push(segment);
        }
        prefix
    }
}

impl Pattern {
    fn new(pattern: &PrefixPattern) -> Result<Self, WorkloadError> {
        let total: u64 = pattern.pieces.iter().map(|&(_, n)| u64::from(n)).sum();
        let tokens = u32::try_from(total).ok().filter(|&n| n < MAX_TOKENS);
        let tokens =
            tokens.ok_or_else(|| WorkloadError::PrefixTooLong { pattern: pattern.name.clone(), tokens: total })?;
        let documents = pattern.documents.as_ref().map(|documents| Shelf::new(&pattern.name, documents)).transpose()?;
        Ok(Self { name: pattern.name.clone(), segments: segments(&pattern.pieces), tokens, documents })
    }
}

impl Shelf {
    fn new(pattern: &str, documents: &Documents) -> Result<Self, WorkloadError> {
        let wrong = |_| WorkloadError::Documents { pattern: pattern.to_owned() };
        let choice = rand_distr::Zipf::new(documents.count as f64, documents.popularity).map_err(wrong)?;
        let tokens = Sampler::new(&documents.tokens).map_err(|source| WorkloadError::Distribution {
            profile: pattern.to_owned(),
            quantity: "document tokens",
            source,
        })?;
        Ok(Self { owner: combine(ROOT, hash_bytes(pattern.as_bytes())), choice, tokens })
    }

    /// One of them, after what the prompt begins with.
    fn take<R: Rng>(&self, after: Option<&PrefixSegment>, rng: &mut R) -> PrefixSegment {
        let number = self.choice.sample(rng) as u64;
        let document = combine(self.owner, number);
        let tokens = self.tokens.sample_tokens(&mut stream(document, Purpose::DocumentTokens));
        let parent = after.map_or(ROOT, |segment| segment.key);
        PrefixSegment { key: combine(combine(parent, document), u64::from(tokens)).max(1), tokens }
    }
}

fn segments(pieces: &[(String, u32)]) -> Vec<PrefixSegment> {
    let mut parent = ROOT;
    let pieces = pieces.iter().filter(|&&(_, tokens)| tokens > 0);
    pieces
        .map(|(name, tokens)| {
            let name = hash_bytes(name.as_bytes());
            parent = combine(combine(parent, name), u64::from(*tokens)).max(1);
            PrefixSegment { key: parent, tokens: *tokens }
        })
        .collect()
}
