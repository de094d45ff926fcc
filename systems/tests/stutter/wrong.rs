//! For each promise of a batch policy one that breaks it and one that differs from that in nothing but keeping it: the stutter
//! test tells them apart.

use oracle_components::SimTime;
use oracle_components::engine::PriorityKey;
use oracle_systems::{BatchPolicy, Boundary, Standing, Vllm};

use crate::plain;
use crate::strategy::Size;
use crate::{Caches, agree_on_many, cases_asked_for};

/// How many cases a policy has to agree on; one that breaks its promise has so many to be found out.
const CASES: u32 = 150;

/// Whether a policy does what it has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Kept,
    Broken,
}

use Promise::{Broken, Kept};

/// The stutter test passes the one and finds the other out.
fn told_apart<P: BatchPolicy + Clone>(policy: impl Fn(Promise) -> P) {
    let cases = cases_asked_for().unwrap_or(CASES);
    let agree =
        |promise, cases, shrinks| agree_on_many(policy(promise), Caches::OfOneKind, Size::SMALL, cases, shrinks);
    agree(Kept, cases, 20_000).unwrap_or_else(|difference| panic!("{difference}"));
    let difference = agree(Broken, cases.max(CASES), 0).expect_err("a broken promise shows");
    println!("{}", difference.lines().take(4).collect::<Vec<_>>().join("\n"));
}

/// A first chunk of `most` tokens, or of half as many: as an odd or an even number has it.
fn whole_or_half(number: u64, most: u32) -> u32 {
    if number.is_multiple_of(2) { most } else { most.div_ceil(2) }
}

/// How long [`Windows`] lets requests in, and how long it does not.
const WINDOW: SimTime = SimTime(10_000_000);

/// Lets requests in during every other window of time, or if nobody runs. Promise 1: a batch that stands until a window is over has
/// to say so; the broken one forgets, and would have another batch at a boundary after it.
#[derive(Clone)]
struct Windows(Promise);

impl BatchPolicy for Windows {
    type Memory = ();

    fn form(&self, (): &mut (), boundary: &mut Boundary<'_, '_>) -> Standing {
        let window = boundary.now().0 / WINDOW.0;
        let is_open = window.is_multiple_of(2) || boundary.running() == 0;
        boundary.limit_entries(if is_open { u32::MAX } else { 0 });
        let standing = Vllm.form(&mut Default::default(), boundary);
        let knows_when = self.0 == Kept && boundary.running() > 0;
        Standing { until: if knows_when { SimTime((window + 1) * WINDOW.0) } else { SimTime::NEVER }, ..standing }
    }
}

#[test]
fn stationary() {
    told_apart(Windows);
}

/// Every other first chunk is half as long. Promise 2: counted by who was admitted; the broken one counts boundaries, and one too many
/// makes a difference to the next.
#[derive(Clone)]
struct Turns(Promise);

impl BatchPolicy for Turns {
    type Memory = u64;

    fn form(&self, turn: &mut u64, boundary: &mut Boundary<'_, '_>) -> Standing {
        plain::decodes(boundary, |boundary| boundary.victim());
        plain::prefills(boundary);
        *turn += u64::from(self.0 == Broken);
        plain::admissions(boundary, |_, most| {
            *turn += u64::from(self.0 == Kept);
            whole_or_half(*turn, most)
        })
    }
}

#[test]
fn idempotent() {
    told_apart(Turns);
}

/// A first chunk is half as long after an odd number of steps. Promise 3: the broken one takes several steps that have run for one.
#[derive(Clone)]
struct Steps(Promise);

impl BatchPolicy for Steps {
    type Memory = u64;

    fn form(&self, steps: &mut u64, boundary: &mut Boundary<'_, '_>) -> Standing {
        plain::decodes(boundary, |boundary| boundary.victim());
        plain::prefills(boundary);
        plain::admissions(boundary, |_, most| whole_or_half(*steps, most))
    }

    fn advance(&self, memory: &mut u64, steps: u64) {
        *memory += if self.0 == Kept { steps } else { steps.min(1) };
    }
}

#[test]
fn composable() {
    told_apart(Steps);
}

/// Lets requests in before every eighth step, or if nobody runs. Promise 4: the broken one says that its batch stands for three steps
/// more than it does, and is not asked when it would let them in.
#[derive(Clone)]
struct EveryEighth(Promise);

impl BatchPolicy for EveryEighth {
    type Memory = u64;

    fn form(&self, steps: &mut u64, boundary: &mut Boundary<'_, '_>) -> Standing {
        let past = *steps % 8;
        let is_open = past == 0 || boundary.running() == 0;
        boundary.limit_entries(if is_open { u32::MAX } else { 0 });
        let standing = Vllm.form(&mut Default::default(), boundary);
        let late = if self.0 == Broken { 3 } else { 0 };
        Standing { steps: standing.steps.min(8 - past + late), ..standing }
    }

    fn advance(&self, memory: &mut u64, steps: u64) {
        *memory += steps;
    }
}

#[test]
fn a_lower_bound() {
    told_apart(EveryEighth);
}

/// Preempts whom it found at the last boundary to have the most tokens. Promise 5: all decodes get a token a step, so who has the
/// most has the most later; the broken one goes by the remainder of a division, and who had the greatest has it no longer.
#[derive(Clone)]
struct Longest(Promise);

impl BatchPolicy for Longest {
    /// Who runs, in the order in which they yield.
    type Memory = Vec<PriorityKey>;

    fn form(&self, order: &mut Vec<PriorityKey>, boundary: &mut Boundary<'_, '_>) -> Standing {
        plain::decodes(boundary, |boundary| {
            let who_runs = |key: &PriorityKey| boundary.all_running().find(|one| one.key == *key);
            let longest = order.iter().find_map(who_runs).map(|one| one.who);
            longest.unwrap_or_else(|| boundary.victim())
        });
        plain::prefills(boundary);
        let standing = plain::admissions(boundary, |_, most| most);
        let length = |known: u32| if self.0 == Kept { known } else { known % 7 };
        let mut running: Vec<_> = boundary.all_running().map(|one| (length(one.known), one.key)).collect();
        running.sort_unstable();
        *order = running.into_iter().rev().map(|(_, key)| key).collect();
        standing
    }
}

#[test]
fn order_among_decodes() {
    told_apart(Longest);
}

/// First chunks are halved by chance. Promise 6: drawn by the request; the broken one draws whenever it is asked.
#[derive(Clone)]
struct Chance(Promise);

impl BatchPolicy for Chance {
    type Memory = u64;

    fn form(&self, state: &mut u64, boundary: &mut Boundary<'_, '_>) -> Standing {
        plain::decodes(boundary, |boundary| boundary.victim());
        plain::prefills(boundary);
        *state = drawn(*state);
        plain::admissions(boundary, |head, most| {
            let of_request = drawn(head.key.2 << 8 | u64::from(head.preemptions));
            whole_or_half(if self.0 == Kept { of_request } else { *state } >> 33, most)
        })
    }
}

/// The next state of a congruential generator (Knuth's MMIX).
fn drawn(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

#[test]
fn undrawn() {
    told_apart(Chance);
}
