//! A closed loop: so many clients, each of which sends its next request when it has the answer to the last.

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::RequestSource;

use super::capped_client::in_flight;
use super::replay::Replay;

/// `clients` that send requests of these prompt and answer tokens in order, with no text in common; the first ones
/// together at second 0.
pub(super) fn closed_loop(clients: u32, lengths: Vec<(u32, u32)>) -> Box<dyn RequestSource> {
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
    in_flight(Box::new(Replay::of(specs)), Some(clients.max(1)))
}
