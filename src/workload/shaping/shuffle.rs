//! What requests are, permuted among the times at which they come: load as bursty as before, of other requests.
//!
//! Times stay in their places. The turns of a session stay in their order, in the places that the permutation gives the session.

use std::collections::HashMap;
use std::collections::VecDeque;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;

use crate::workload::streams::{combine, generator};
use crate::workload::trace::row::Row;

/// Names the draws.
const SHUFFLE: u64 = 0x7368_7566_666c_6500;

/// Permutes rows in place.
pub(super) fn shuffle(rows: &mut Vec<Row>, session_of: fn(&Row) -> Option<u64>, seed: u64) {
    let mut random = generator(combine(seed, SHUFFLE));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, below(last as u64 + 1, &mut random));
    }
    let mut turns: HashMap<u64, VecDeque<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        if let Some(session) = session_of(row) {
            turns.entry(session).or_default().push_back(index);
        }
    }
    let times: Vec<_> = rows.iter().map(|row| row.start.clone()).collect();
    let mut contents: Vec<Option<Row>> = rows.drain(..).map(Some).collect();
    let sessions: Vec<Option<u64>> = contents.iter().flatten().map(session_of).collect();
    let placed = order.into_iter().zip(times).map(|(index, start)| {
        let turn = sessions[index].and_then(|session| turns.get_mut(&session)?.pop_front());
        let row = contents[turn.unwrap_or(index)].take().expect("each has one place");
        Row { start, ..row }
    });
    rows.extend(placed);
}

/// A number below `limit`, as good as evenly (Lemire's multiplication, without his rejection: off by less than 2⁻³²).
fn below(limit: u64, random: &mut Xoshiro256PlusPlus) -> usize {
    ((u128::from(random.next_u64()) * u128::from(limit)) >> 64) as usize
}
