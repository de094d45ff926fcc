//! Seconds of collectives over links that were measured.
//!
//! A library carries a collective out by the fastest of several protocols, each of a latency and a bandwidth, so the time
//! is the least of a few lines: `min_i (latency_i + bytes / bandwidth_i)`. The lines are fitted to measurements by number
//! of ranks (`configs/collectives`). Between two such numbers they are interpolated; above the largest, latencies grow
//! by [`LATENCY_PER_RANK`] and bytes by `(N − 1) / N`, as in a ring.
//!
//! - Small all-reduces are the serving engine's own, up to a size that it sets; there the time steps up to NCCL's.
//! - Over several nodes what happens within a node comes on top of what happens between the nodes.
//! - Where GPUs may read each other's memory over a bus that leads through the host, NCCL takes the host's memory where that is
//!   faster.
//! - No collective is faster than its ring's bytes over the slowest hop, and none gets faster with more bytes.

use oracle_components::collectives::{Fabric, GroupFabric, MOST_PROTOCOLS, RankProtocols};

use super::collectives::{Ring, Wire};
use super::shape::{Feature, Features};

/// A collective operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Every rank has the sum of all ranks' tensors.
    AllReduce,
    /// Every rank has all ranks' parts.
    AllGather,
    /// Every rank has its part of the sum.
    ReduceScatter,
    /// Every rank has a part from each.
    AllToAll,
}

/// Collectives that are not linear in what they move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Collective {
    /// How many a pass.
    pub(crate) times: f64,
    pub(crate) timing: Timing,
    pub(crate) rows: Feature,
    pub(crate) bytes_per_row: f64,
}

impl Collective {
    #[inline]
    pub(crate) fn seconds(&self, features: &Features) -> f64 {
        self.times * self.timing.seconds(self.bytes_per_row * features.get(self.rows))
    }
}

/// Seconds of an operation among `ranks` ranks over measured links that nothing else crosses, by the bytes of its tensor.
#[must_use]
pub fn collective_seconds(operation: Operation, fabric: &GroupFabric, ranks: u32, bytes: f64) -> f64 {
    let timings = GroupTimings::of_fabric(fabric, &Ring::without_links(ranks), Contention::NONE);
    let timing = match operation {
        Operation::AllReduce => timings.all_reduce,
        Operation::AllGather => timings.all_gather,
        Operation::ReduceScatter => timings.reduce_scatter,
        Operation::AllToAll => timings.all_to_all,
    };
    timing.seconds(bytes)
}

/// Growth of a latency with each rank above two, in latencies of two ranks: NCCL's all-reduce of 1 KiB takes 10.1, 13.9
/// and 21.8 µs among 2, 4 and 8 A100s, and 5.9, 9.3 and 15.6 µs among as many H100s.
const LATENCY_PER_RANK: f64 = 0.2;

/// Numbers of ranks for which vLLM has an all-reduce of its own.
const CUSTOM_ALL_REDUCE_RANKS: [u32; 4] = [2, 4, 6, 8];

/// The least of a few lines. Unused places repeat the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lines([Wire; MOST_PROTOCOLS]);

impl Lines {
    fn of_table(table: &[RankProtocols], ranks: u32) -> Self {
        let Some(above) = table.iter().position(|entry| entry.ranks >= ranks) else {
            return table.last().map_or_else(Self::default, |last| Self::of(last).extended(last.ranks, ranks));
        };
        let (upper, lower) = (&table[above], &table[above.saturating_sub(1)]);
        if upper.ranks == ranks || above == 0 {
            return Self::of(upper);
        }
        let share = f64::from(ranks - lower.ranks) / f64::from(upper.ranks - lower.ranks);
        Self::of(lower).zip(Self::of(upper), |lower, upper| lower + share * (upper - lower))
    }

    fn of(entry: &RankProtocols) -> Self {
        let wires = entry.protocols.iter().map(|p| Wire { latency_s: p.latency_s, s_per_byte: p.s_per_byte });
        let mut lines = Self::default();
        let last = wires.clone().next_back().unwrap_or_default();
        for (line, wire) in lines.0.iter_mut().zip(wires.chain(std::iter::repeat(last))) {
            *line = wire;
        }
        lines
    }

    fn zip(self, other: Self, join: impl Fn(f64, f64) -> f64) -> Self {
        let mut joined = self;
        for (line, other) in joined.0.iter_mut().zip(other.0) {
            line.latency_s = join(line.latency_s, other.latency_s);
            line.s_per_byte = join(line.s_per_byte, other.s_per_byte);
        }
        joined
    }

    fn extended(self, from: u32, to: u32) -> Self {
        let latency = |ranks: u32| 1.0 + LATENCY_PER_RANK * (f64::from(ranks) - 2.0);
        let bytes = |ranks: u32| f64::from(ranks - 1) / f64::from(ranks);
        self.scaled(latency(to) / latency(from), bytes(to) / bytes(from))
    }

    fn scaled(mut self, latencies: f64, bytes: f64) -> Self {
        for line in &mut self.0 {
            line.latency_s *= latencies;
            line.s_per_byte *= bytes;
        }
        self
    }

    #[inline]
    fn seconds(&self, bytes: f64) -> f64 {
        self.0.iter().map(|line| line.latency_s + line.s_per_byte * bytes).fold(f64::INFINITY, f64::min)
    }
}

/// The engine's own collective, for tensors up to a size.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Small {
    lines: Lines,
    up_to_bytes: f64,
}

/// Seconds of a collective by the bytes of its tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    small: Option<Small>,
    local: Lines,
    by_host: Option<Lines>,
    across: Lines,
    least_s_per_byte: f64,
}

impl Timing {
    /// A ring over links that were not measured.
    pub(crate) fn of_wire(wire: Wire) -> Self {
        Self { local: Lines([wire; MOST_PROTOCOLS]), ..Self::default() }
    }

    /// Of a tensor of `bytes`. It never falls as the bytes rise.
    #[inline]
    pub(crate) fn seconds(&self, bytes: f64) -> f64 {
        if bytes <= 0.0 {
            return 0.0;
        }
        let seconds = match &self.small {
            Some(small) if bytes <= small.up_to_bytes => small.lines.seconds(bytes),
            Some(small) => self.local_seconds(bytes).max(small.lines.seconds(small.up_to_bytes)),
            None => self.local_seconds(bytes) + self.across.seconds(bytes),
        };
        seconds.max(self.least_s_per_byte * bytes)
    }

    #[inline]
    fn local_seconds(&self, bytes: f64) -> f64 {
        let seconds = self.local.seconds(bytes);
        self.by_host.as_ref().map_or(seconds, |by_host| seconds.min(by_host.seconds(bytes)))
    }

    /// The slower of both in each respect.
    fn slowest(self, other: Self) -> Self {
        Self {
            small: self.small.zip(other.small).map(|(small, other)| Small {
                lines: small.lines.zip(other.lines, f64::max),
                up_to_bytes: small.up_to_bytes.min(other.up_to_bytes),
            }),
            local: self.local.zip(other.local, f64::max),
            by_host: self.by_host.zip(other.by_host).map(|(one, other)| one.zip(other, f64::max)),
            across: self.across.zip(other.across, f64::max),
            least_s_per_byte: self.least_s_per_byte.max(other.least_s_per_byte),
        }
    }
}

/// How many groups of ranks cross the same links at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Contention {
    pub(crate) within: f64,
    pub(crate) between: f64,
}

impl Contention {
    pub(crate) const NONE: Self = Self::everywhere(1.0);

    pub(crate) const fn everywhere(groups: f64) -> Self {
        Self { within: groups, between: groups }
    }
}

/// The collectives of a group of ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GroupTimings {
    pub(crate) all_reduce: Timing,
    pub(crate) all_gather: Timing,
    pub(crate) reduce_scatter: Timing,
    pub(crate) all_to_all: Timing,
}

impl GroupTimings {
    /// As measured on `fabric`. Each byte takes as many times as long as `contention` says.
    pub(crate) fn of_fabric(fabric: &GroupFabric, ring: &Ring, contention: Contention) -> Self {
        let ranks = ring.ranks();
        let nodes = fabric.across.as_ref().map_or(1, |(nodes, _)| *nodes);
        let local_ranks = ranks.div_ceil(nodes);
        let within_node = |table: &[RankProtocols]| {
            let one_rank = local_ranks <= 1;
            if one_rank { Lines::default() } else { Lines::of_table(table, local_ranks).scaled(1.0, contention.within) }
        };
        let timing = |table: fn(&Fabric) -> &[RankProtocols], least: Wire, tensors_a_node: f64| Timing {
            small: None,
            local: within_node(table(&fabric.local)),
            by_host: fabric.local.by_host.as_ref().map(|by_host| within_node(table(by_host))),
            across: fabric.across.as_ref().map_or_else(Lines::default, |(nodes, across)| {
                Lines::of_table(table(across), *nodes).scaled(1.0, contention.between * tensors_a_node)
            }),
            least_s_per_byte: least.s_per_byte,
        };
        let (gather, to_all) = (ring.all_gather(), ring.all_to_all());
        let mut timings = Self {
            all_reduce: timing(|fabric| &fabric.all_reduce, ring.all_reduce(), 1.0),
            all_gather: timing(|fabric| &fabric.all_gather, gather, 1.0),
            reduce_scatter: timing(|fabric| &fabric.reduce_scatter, gather, 1.0),
            // Each rank of a node has a buffer of its own to send.
            all_to_all: timing(|fabric| &fabric.all_to_all, to_all, f64::from(local_ranks)),
        };
        if fabric.custom_all_reduce && fabric.across.is_none() {
            timings.all_reduce.small = custom_all_reduce(&fabric.local.custom_all_reduce, ranks, contention.within);
        }
        timings
    }

    /// By the ring's formula.
    pub(crate) fn of_ring(ring: &Ring) -> Self {
        let gather = Timing::of_wire(ring.all_gather());
        Self {
            all_reduce: Timing::of_wire(ring.all_reduce()),
            all_gather: gather,
            reduce_scatter: gather,
            all_to_all: Timing::of_wire(ring.all_to_all()),
        }
    }

    pub(crate) fn slowest(self, other: Self) -> Self {
        Self {
            all_reduce: self.all_reduce.slowest(other.all_reduce),
            all_gather: self.all_gather.slowest(other.all_gather),
            reduce_scatter: self.reduce_scatter.slowest(other.reduce_scatter),
            all_to_all: self.all_to_all.slowest(other.all_to_all),
        }
    }
}

/// For the numbers of ranks that it has, as far as they were measured; its limit is the lower of its neighbours'.
fn custom_all_reduce(table: &[RankProtocols], ranks: u32, contention: f64) -> Option<Small> {
    let is_served = CUSTOM_ALL_REDUCE_RANKS.contains(&ranks);
    let above = table.iter().position(|entry| entry.ranks >= ranks).filter(|_| is_served)?;
    let below = if table[above].ranks == ranks { above } else { above.saturating_sub(1) };
    Some(Small {
        lines: Lines::of_table(table, ranks).scaled(1.0, contention),
        up_to_bytes: table[above].up_to_bytes.min(table[below].up_to_bytes),
    })
}
