//! Bytes between ranks: ring collectives within a stage, sends from stage to stage.
//!
//! A hop is a path of links: its latency is their sum, its bandwidth their least. A ring of `N` ranks takes the slowest
//! of its hops' latencies and bandwidths, since every step of a ring waits for all hops:
//! - all-reduce of `S` bytes: `2(N − 1)·latency + 2(N − 1)/N·S / bandwidth` (reduce-scatter, then all-gather; Patarasuk
//!   and Yuan, 2009);
//! - all-gather to `S` bytes: half of that.
//!
//! So it is on links that a user writes out; `timing` has what was measured on links of a known kind.
//!
//! At [`LevelOfDetail::High`] a link that `k` ring hops share, of this or of other engines, gives each `1/k` of its
//! bandwidth; the sends of stages are not counted among them.

use oracle_components::scenario::{EngineSpec, LevelOfDetail, LinkIndex, LinkSpec, Path, Scenario};

/// Seconds that bytes take from one place to another: `latency_s + bytes × s_per_byte`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Wire {
    pub(crate) latency_s: f64,
    pub(crate) s_per_byte: f64,
}

impl Wire {
    /// The slower of both in each respect.
    pub(crate) fn slowest(self, other: Self) -> Self {
        Self { latency_s: self.latency_s.max(other.latency_s), s_per_byte: self.s_per_byte.max(other.s_per_byte) }
    }

    /// A path of links; nothing at all where it is empty.
    pub(crate) fn of_path(path: &Path, links: &[LinkSpec], sharers: impl Fn(LinkIndex) -> f64) -> Self {
        path.iter().fold(Self::default(), |wire, &index| {
            let link = &links[index as usize];
            Self {
                latency_s: wire.latency_s + link.latency_s,
                s_per_byte: wire.s_per_byte.max(sharers(index) / link.bytes_per_s),
            }
        })
    }
}

/// The ring of one stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ring {
    ranks: f64,
    hop: Wire,
}

impl Ring {
    /// The ring of stage `stage`, with its share of contended links.
    pub(crate) fn of_stage(engine: &EngineSpec, scenario: &Scenario, stage: usize, sharing: &LinkSharing) -> Self {
        let hops = engine.rings.get(stage).map_or(&[][..], Vec::as_slice);
        let hop = slowest_hop(hops, &scenario.links, |link| sharing.sharers(link));
        Self { ranks: f64::from(engine.tensor_parallel.max(1)), hop }
    }

    /// A ring of `ranks`, of which `hops` are some.
    pub(crate) fn of_hops(ranks: u32, hops: &[Path], scenario: &Scenario) -> Self {
        Self { ranks: f64::from(ranks), hop: slowest_hop(hops, &scenario.links, |_| 1.0) }
    }

    /// Of `ranks` of its ranks.
    pub(crate) fn of_ranks(self, ranks: u32) -> Self {
        Self { ranks: f64::from(ranks), ..self }
    }

    /// One that bounds nothing.
    pub(crate) fn without_links(ranks: u32) -> Self {
        Self { ranks: f64::from(ranks), hop: Wire::default() }
    }

    /// Its number of ranks.
    pub(crate) fn ranks(&self) -> u32 {
        self.ranks as u32
    }

    pub(crate) fn slowest(self, other: Self) -> Self {
        Self { hop: self.hop.slowest(other.hop), ..self }
    }

    /// Bytes that cross each hop, for each byte of an all-reduced tensor.
    pub(crate) fn all_reduce_share(&self) -> f64 {
        2.0 * (self.ranks - 1.0) / self.ranks
    }

    /// Bytes that cross each hop, for each byte of a gathered tensor.
    pub(crate) fn all_gather_share(&self) -> f64 {
        (self.ranks - 1.0) / self.ranks
    }

    /// An all-reduce, by the tensor's bytes.
    pub(crate) fn all_reduce(&self) -> Wire {
        Wire {
            latency_s: 2.0 * (self.ranks - 1.0) * self.hop.latency_s,
            s_per_byte: self.all_reduce_share() * self.hop.s_per_byte,
        }
    }

    /// An all-gather, by the gathered tensor's bytes.
    pub(crate) fn all_gather(&self) -> Wire {
        Wire {
            latency_s: (self.ranks - 1.0) * self.hop.latency_s,
            s_per_byte: self.all_gather_share() * self.hop.s_per_byte,
        }
    }

    /// An all-to-all, by the bytes of the buffer of each rank, of which `1/N` stays: as many steps as an all-gather.
    pub(crate) fn all_to_all(&self) -> Wire {
        self.all_gather()
    }
}

/// The slowest in each respect; nothing at all without hops.
fn slowest_hop(hops: &[Path], links: &[LinkSpec], sharers: impl Fn(LinkIndex) -> f64) -> Wire {
    hops.iter().map(|path| Wire::of_path(path, links, &sharers)).fold(Wire::default(), Wire::slowest)
}

/// How much longer each byte takes over hops that others cross too.
pub(crate) fn contention(hops: &[Path], scenario: &Scenario, sharing: &LinkSharing) -> f64 {
    let shared = slowest_hop(hops, &scenario.links, |link| sharing.sharers(link)).s_per_byte;
    let alone = slowest_hop(hops, &scenario.links, |_| 1.0).s_per_byte;
    if alone > 0.0 { shared / alone } else { 1.0 }
}

/// How many ring hops cross each link.
#[derive(Clone, Debug)]
pub(crate) struct LinkSharing(Vec<u32>);

impl LinkSharing {
    /// Counted over all engines at high detail; nothing is shared at medium.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut hops = vec![0; scenario.links.len()];
        if scenario.level_of_detail == LevelOfDetail::High {
            let rings = scenario.engines.iter().filter(|engine| engine.tensor_parallel > 1).flat_map(|e| &e.rings);
            for &link in rings.flatten().flatten() {
                hops[link as usize] += 1;
            }
        }
        Self(hops)
    }

    fn sharers(&self, link: LinkIndex) -> f64 {
        f64::from(self.0[link as usize].max(1))
    }
}
