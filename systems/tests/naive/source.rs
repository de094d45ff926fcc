//! The requests of a case: sessions that come at their own times or share places, their turns, and the agents between two
//! turns. Both engines ask it for requests and tell it of ends in an order that is part of what they agree in.

use std::collections::HashMap;

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

use super::cases::{AgentCase, Case, SessionCase, Tail};
use super::coverage::Coverage;

/// The source of a case.
pub struct CaseSource {
    case: Case,
    next_session: usize,
    /// Sessions that have begun at their own times.
    opened: usize,
    /// When the latest session that has a time of its own was due.
    clock: SimTime,
    /// Turns whose agents are at work, by session.
    waiting: HashMap<u64, Answered>,
    /// What happened, for the tests to know.
    pub coverage: Coverage,
}

/// A turn that has ended.
struct Answered {
    spec: RequestSpec,
    /// Tokens of its prompt, its answer and the answers of its agents.
    known: u32,
    /// When the latest of these was there.
    completion: SimTime,
    agents_at_work: usize,
}

impl CaseSource {
    /// The requests of `case`.
    pub fn new(case: Case) -> Self {
        let waiting = HashMap::new();
        Self { case, next_session: 0, opened: 0, clock: SimTime::ZERO, waiting, coverage: Coverage::default() }
    }

    fn session_of(&self, spec: &RequestSpec) -> &SessionCase {
        &self.case.sessions[spec.session as usize]
    }

    /// The first turn of the next session, which comes at its own time.
    fn begin_session(&mut self) -> Option<RequestSpec> {
        let index = self.next_session;
        let session = self.case.sessions.get(index)?;
        self.next_session += 1;
        self.clock += self.case.time(session.gap);
        let first = &session.turns[0];
        let prefix = self.case.prefix(&session.path);
        let shared: u32 = prefix.iter().map(|segment| segment.tokens).sum();
        let path_key = prefix.last().map_or(0, |segment| segment.key);
        Some(RequestSpec {
            arrival: self.clock,
            profile: 0,
            client: index as u32,
            session: index as u64,
            turn: 0,
            prompt_tokens: (shared + first.new_tokens).max(1),
            encoder_tokens: first.encoder_tokens,
            max_output_tokens: first.output + 1,
            output_tokens: first.output,
            priority: session.priority,
            streaming: session.streaming,
            timeout: self.case.timeout(index as u64),
            prefix,
            tail_key: match session.tail {
                Tail::Anonymous => 0,
                Tail::Own => 1_000_000 + index as u64,
                Tail::Common => 2_000_000 + path_key,
            },
        })
    }

    /// The first turn of the next session where one has ended at `free`.
    fn begin_in_place(&mut self, free: SimTime) -> Option<RequestSpec> {
        let places = self.case.places?;
        let first = self.begin_session()?;
        if places.closed {
            self.coverage.note("session begins when another ends");
            let pause = self.case.time(self.session_of(&first).gap);
            return Some(RequestSpec { arrival: free + pause, ..first });
        }
        let held_back = first.arrival < free;
        self.coverage.note(match held_back {
            true => "session held back for a place",
            false => "place is free before a session is due",
        });
        Some(RequestSpec { arrival: first.arrival.max(free), ..first })
    }

    /// What a turn starts when it has ended.
    fn start_agents(&mut self, answered: &Answered, next: &mut Vec<RequestSpec>) {
        let spec = &answered.spec;
        let agents = &self.session_of(spec).turns[spec.turn as usize].agents;
        next.extend(agents.iter().map(|agent| self.agent(agent, answered)));
        if next.windows(2).any(|two| two[0].arrival == two[1].arrival) {
            self.coverage.note("agents begin at one instant");
        }
    }

    fn agent(&self, agent: &AgentCase, answered: &Answered) -> RequestSpec {
        let spec = &answered.spec;
        let shared: u32 = spec.prefix.iter().map(|segment| segment.tokens).sum();
        let (known, tail_key) = if agent.knows_all { (answered.known, spec.tail_key) } else { (shared, 0) };
        RequestSpec {
            arrival: answered.completion + self.case.time(agent.after),
            prompt_tokens: (known + agent.new_tokens).max(1),
            max_output_tokens: agent.output,
            output_tokens: agent.output,
            tail_key,
            ..spec.clone()
        }
    }

    /// The next turn of the session, or what its end gives rise to.
    fn go_on(&mut self, answered: &Answered, next: &mut Vec<RequestSpec>) {
        let spec = &answered.spec;
        let turns = &self.session_of(spec).turns;
        let ended = &turns[spec.turn as usize];
        let Some(turn) = turns.get(spec.turn as usize + 1) else {
            if !ended.agents.is_empty() && self.case.places.is_some() {
                self.coverage.note("session ends with its agents");
            }
            next.extend(self.begin_in_place(answered.completion));
            return;
        };
        next.push(RequestSpec {
            arrival: answered.completion + self.case.time(ended.tools + turn.think),
            turn: spec.turn + 1,
            prompt_tokens: answered.known + turn.new_tokens,
            encoder_tokens: turn.encoder_tokens,
            max_output_tokens: turn.output,
            output_tokens: turn.output,
            ..spec.clone()
        });
        if ended.tools > 0 {
            self.coverage.note("turn waits for tools");
        }
    }
}

impl RequestSource for CaseSource {
    fn next_request(&mut self) -> Option<RequestSpec> {
        let places = self.case.places.map_or(usize::MAX, |places| places.count as usize);
        // Every place is taken once; who takes it then follows from who leaves it.
        if self.opened == places {
            return None;
        }
        self.opened += 1;
        self.begin_session()
    }

    fn follow_ups(&mut self, spec: &RequestSpec, record: &RequestRecord, next: &mut Vec<RequestSpec>) {
        let Some(mut turn) = self.waiting.remove(&spec.session) else {
            let (known, completion) = (spec.prompt_tokens + record.output_tokens, record.completion);
            let answered = Answered { spec: spec.clone(), known, completion, agents_at_work: 0 };
            self.start_agents(&answered, next);
            match next.len() {
                0 => self.go_on(&answered, next),
                agents_at_work => drop(self.waiting.insert(spec.session, Answered { agents_at_work, ..answered })),
            }
            return;
        };
        turn.agents_at_work -= 1;
        turn.known += record.output_tokens;
        turn.completion = turn.completion.max(record.completion);
        if turn.agents_at_work > 0 {
            self.waiting.insert(spec.session, turn);
            return;
        }
        self.coverage.note("turn waits for its agents");
        if turn.completion > record.completion {
            self.coverage.note("last answer of agents comes first");
        }
        self.go_on(&turn, next);
    }

    fn promises(&self) -> Promises {
        self.case.promises()
    }
}
