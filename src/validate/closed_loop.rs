//! A closed loop: so many clients, each of which sends its next request when it has the answer to the last; and an offline
//! load, all of whose requests are sent at once.

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;

use super::capped_client::in_flight;
use super::replay::Replay;

/// `clients` that send requests of these prompt and answer tokens in order, with no text in common; the first ones
/// together at second 0.
pub(super) fn closed_loop(clients: u32, lengths: Vec<(u32, u32)>) -> Box<dyn RequestSource> {
    in_flight(together(lengths), Some(clients.max(1)))
}

/// Requests of these prompt and answer tokens, all at second 0.
pub(super) fn together(lengths: Vec<(u32, u32)>) -> Box<dyn RequestSource> {
    let spec = |(session, (prompt_tokens, output_tokens))| RequestSpec {
        arrival: SimTime::ZERO,
        profile: 0,
        client: 0,
        session,
        turn: 0,
        prompt_tokens,
        encoder_tokens: 0,
        max_output_tokens: output_tokens,
        output_tokens,
        priority: 0,
        streaming: true,
        timeout: SimTime::NEVER,
        prefix: Vec::new(),
        tail_key: 0,
    };
    let specs = (0..).zip(lengths).map(spec).collect();
    Box::new(Replay::of(specs))
}
