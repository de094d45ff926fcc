//! The proptest strategy over [`Case`]s. Everything is made of small ranges, so that a failing case shrinks.

use oracle_components::kv_groups::KvGroupRules;
use oracle_components::scenario::{ExpertExchange, KvSide, PrefixCaching, QueuePolicy, Role, Routing, SchedulerRules};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::cases::{
    AgentCase, Case, EngineCase, KindCase, KindsCase, PlacesCase, PoolsCase, SessionCase, Sharing, Tail, TurnCase,
};

/// How big the cases are.
#[derive(Clone, Copy)]
pub struct Size {
    /// Most sessions.
    pub sessions: usize,
    /// Fewest sessions.
    pub least_sessions: usize,
    /// Most sequences in a batch.
    pub slots: u32,
    /// Bounds of the KV pool, in tokens.
    pub pool_tokens: (u32, u32),
    /// Most tokens of an output.
    pub output: u32,
    /// Longest gap between sessions, in units of the case.
    pub gap: u64,
}

impl Size {
    /// Many sessions at once on pools that are too small for them.
    pub const SMALL: Self =
        Self { sessions: 40, least_sessions: 1, slots: 16, pool_tokens: (40, 600), output: 60, gap: 40 };

    /// Some 2,000 requests in bigger batches that stay as they are for many steps.
    pub const LONG: Self =
        Self { sessions: 1300, least_sessions: 1100, slots: 64, pool_tokens: (400, 3000), output: 200, gap: 60 };
}

const LINKS: usize = 3;

fn path_over_links() -> impl Strategy<Value = Vec<u32>> {
    let one = 0..LINKS as u32;
    prop_oneof![
        2 => Just(Vec::new()),
        2 => one.prop_map(|link| vec![link]),
        1 => Just(vec![0, 1]),
        1 => Just(vec![1, 2]),
    ]
}

fn sharing() -> impl Strategy<Value = Sharing> {
    let exchange = select(vec![ExpertExchange::AllGather, ExpertExchange::AllToAll]);
    let experts = (1..=3_u32, exchange, of(2..=5_u32)).prop_map(|(engines, exchange, imbalance)| Sharing::Experts {
        engines,
        exchange,
        imbalance,
    });
    prop_oneof![
        8 => Just(Sharing::Plain),
        1 => Just(Sharing::Sequence),
        1 => Just(Sharing::DecodeContext),
        3 => experts,
    ]
}

fn transfer() -> impl Strategy<Value = Option<(KvSide, u64)>> {
    let time = || prop_oneof![1 => Just(0_u64), 3 => 0..=40_u64, 1 => 0..=400_u64];
    prop_oneof![
        8 => Just(None),
        2 => time().prop_map(|time| Some((KvSide::Consumer, time))),
        1 => time().prop_map(|time| Some((KvSide::Producer, time))),
    ]
}

fn kinds() -> impl Strategy<Value = Option<KindsCase>> {
    use KindCase::{Chunk, Full, State, Window};
    let window = || 2..=40_u32;
    let groups = prop_oneof![
        4 => window().prop_map(|tokens| vec![(Full, 1), (Window(tokens), 1)]),
        2 => window().prop_map(|tokens| vec![(Window(tokens), 1), (Full, 1), (Window(tokens), 1)]),
        1 => window().prop_map(|tokens| vec![(Window(tokens), 2), (Full, 1)]),
        1 => window().prop_map(|tokens| vec![(Full, 2), (Window(tokens), 1)]),
        1 => (window(), window()).prop_map(|(one, other)| vec![(Window(one), 1), (Window(other), 1)]),
        1 => window().prop_map(|tokens| vec![(Window(tokens), 1)]),
        2 => (1..=6_u32).prop_map(|blocks| vec![(Chunk(blocks), 1), (Full, 1)]),
        3 => Just(vec![(State, 1), (State, 1), (Full, 1)]),
        1 => window().prop_map(|tokens| vec![(State, 1), (Full, 1), (Window(tokens), 1)]),
    ];
    let retention = prop_oneof![2 => Just(None), 3 => Just(Some(0_u32)), 1 => (1..=4_u32).prop_map(Some)];
    let kinds = (groups, retention, any::<[bool; 3]>()).prop_map(|(groups, retention, rules)| {
        Some(KindsCase {
            groups,
            retention,
            rules: KvGroupRules {
                windows_wait_for_output: rules[0],
                windows_are_capped: rules[1],
                states_are_kept_at_junctions: rules[2],
            },
        })
    });
    prop_oneof![2 => Just(None), 1 => kinds]
}

fn engine(size: Size) -> impl Strategy<Value = EngineCase> {
    let limits = (
        prop_oneof![1..=size.slots.min(4), 1..=size.slots],
        prop_oneof![4..=32_u32, 4..=128_u32, 4..=512_u32],
        select(vec![1_u32, 4, 16]),
        prop_oneof![size.pool_tokens.0..=size.pool_tokens.1, size.pool_tokens.0..=size.pool_tokens.1 / 3,],
        prop::bool::weighted(0.8),
        of(prop_oneof![2..=8_u32, 1..=64_u32]),
        select(vec![QueuePolicy::Fcfs, QueuePolicy::Priority]),
    );
    let caching = (
        select(vec![PrefixCaching::Full, PrefixCaching::Full, PrefixCaching::Conversational, PrefixCaching::Off]),
        prop_oneof![3 => Just(0_u32), 1 => 0..=64_u32],
        prop_oneof![3 => Just(100_000_u32), 1 => 20..=300_u32],
        any::<bool>(),
        prop::bool::weighted(0.7),
    );
    let settings = (
        prop::bool::weighted(0.2),
        prop_oneof![4 => Just(0_u32), 1 => 1..=8_u32],
        prop_oneof![4 => Just(1_u32), 1 => 2..=6_u32],
        prop::array::uniform4(prop::bool::weighted(0.8)),
        (prop_oneof![3 => Just(1_u32), 1 => 2..=8_u32], prop_oneof![5 => Just(None), 1 => (0..=12_u32).prop_map(Some)]),
        transfer(),
        (0..=20_u32, kinds()),
    );
    let place = (
        prop_oneof![4 => Just(1_u32), 1 => Just(2)],
        prop_oneof![4 => Just(1_u32), 1 => Just(2)],
        path_over_links(),
        path_over_links(),
        prop_oneof![Just(0_u32), 1..=64_u32],
        1..=4_u32,
        prop::bool::weighted(0.3),
        sharing(),
        prop::bool::weighted(0.25),
    );
    (limits, caching, place, settings).prop_map(|(limits, caching, place, settings)| EngineCase {
        slots: limits.0,
        // Without chunks most prompts have to fit.
        budget: if limits.4 { limits.1 } else { (limits.1 * 4).min(512) },
        block: limits.2,
        pool_tokens: limits.3,
        chunked: limits.4,
        reserve: caching.4,
        threshold: limits.5,
        adaptive: settings.0,
        watermark: settings.1,
        interval: settings.2,
        rules: SchedulerRules {
            lone_request_is_unlimited: settings.3[0],
            unnamed_blocks_first: settings.3[1],
            self_preempted_is_passed_over: settings.3[2],
            loads_leave_room_for_prompts: settings.3[3],
        },
        policy: limits.6,
        caching: caching.0,
        min_cached: caching.1,
        model_len: caching.2,
        asynchronous: caching.3,
        stream_interval: settings.4.0,
        max_queued: settings.4.1,
        tensor: place.0,
        pipeline: place.1,
        sharing: place.7,
        ingress: place.2,
        egress: place.3,
        response_bytes: place.4,
        weight: place.5,
        by_curve: place.6,
        halved: place.8,
        transfer: settings.5,
        encoder: settings.6.0,
        kinds: settings.6.1,
    })
}

fn routing() -> impl Strategy<Value = Routing> {
    select(Routing::NAMED.map(|(_, routing)| routing).to_vec())
}

fn pools() -> impl Strategy<Value = PoolsCase> {
    let others = prop::array::uniform2(select(vec![Role::Decode, Role::Prefill, Role::Both]));
    let links = vec((prop_oneof![100..=10_000_u32, 1_000..=1_000_000_u32], prop_oneof![Just(0_u32), 0..=20_u32]), 2);
    let (first, second) = (LINKS as u32, LINKS as u32 + 1);
    let paths = [vec![first], vec![second], vec![], vec![first, second], vec![0, second]];
    (any::<bool>(), others, routing(), links, vec(select(paths.to_vec()), 1..=3)).prop_map(
        |(decode_first, [third, fourth], routing, links, paths)| {
            let mut roles = [Role::Prefill, Role::Decode, third, fourth];
            if decode_first {
                roles.swap(0, 1);
            }
            PoolsCase { roles, routing, links, paths }
        },
    )
}

fn new_tokens() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0_u32), 3 => 0..=20_u32, 1 => 0..=100_u32, 1 => 60..=120_u32]
}

fn output(size: Size) -> impl Strategy<Value = u32> {
    prop_oneof![1..=8_u32, 1..=size.output, size.output / 2..=size.output]
}

fn agent(size: Size) -> impl Strategy<Value = AgentCase> {
    let after = prop_oneof![3 => Just(0_u64), 1 => 0..=30_u64];
    (after, any::<bool>(), new_tokens(), output(size)).prop_map(|(after, knows_all, new_tokens, output)| AgentCase {
        after,
        knows_all,
        new_tokens,
        output,
    })
}

fn turn(size: Size) -> impl Strategy<Value = TurnCase> {
    let think = prop_oneof![1 => Just(0_u64), 2 => 0..=30_u64];
    let tools = prop_oneof![2 => Just(0_u64), 1 => 0..=5_u64, 1 => 0..=60_u64];
    let agents = prop_oneof![4 => Just(Vec::new()), 1 => vec(agent(size), 1..=4)];
    let images = prop_oneof![3 => Just(0_u32), 1 => 1..=200_u32];
    (think, new_tokens(), images, output(size), tools, agents).prop_map(
        |(think, new_tokens, encoder_tokens, output, tools, agents)| TurnCase {
            think,
            new_tokens,
            encoder_tokens,
            output,
            tools,
            agents,
        },
    )
}

fn places(size: Size) -> impl Strategy<Value = Option<PlacesCase>> {
    let places = (1..=size.slots, any::<bool>()).prop_map(|(count, closed)| Some(PlacesCase { count, closed }));
    prop_oneof![3 => Just(None), 1 => places]
}

fn session(size: Size) -> impl Strategy<Value = SessionCase> {
    (
        prop_oneof![2 => Just(0_u64), 3 => 0..=size.gap],
        prop_oneof![1 => Just(Vec::new()), 2 => vec(0..2_u8, 0..=3)],
        select(vec![Tail::Anonymous, Tail::Own, Tail::Own, Tail::Common]),
        -1..=2_i32,
        any::<bool>(),
        prop_oneof![
            6 => Just(None),
            1 => (0..=20_u64).prop_map(Some),
            1 => (0..=200_u64).prop_map(Some),
        ],
        prop_oneof![2 => vec(turn(size), 1), 1 => vec(turn(size), 1..=4)],
    )
        .prop_map(|(gap, path, tail, priority, streaming, timeout, turns)| SessionCase {
            gap,
            path,
            tail,
            priority,
            streaming,
            timeout,
            turns,
        })
}

/// Cases of a size; in one of eight, long prompts in small chunks contend for a pool that holds little more than one; in
/// one of two there are no follow-ups, and in half of these all is streamed, so that engines may be ahead of each other.
pub fn case(size: Size) -> impl Strategy<Value = Case> {
    (any_case(size), prop::bool::weighted(0.125), 0..4_u32).prop_map(|(mut case, contend, windowed)| {
        if windowed >= 2 || contend {
            case.places = None;
            for session in &mut case.sessions {
                session.turns.truncate(1);
                session.turns[0].agents.clear();
            }
        }
        for session in &mut case.sessions {
            session.streaming |= windowed == 3;
        }
        if contend {
            for engine in &mut case.engines {
                engine.budget = engine.budget.max(64);
                engine.threshold = Some(engine.threshold.unwrap_or(8).min(16));
                engine.slots = engine.slots.max(2);
                engine.chunked = true;
                engine.pool_tokens = 130 + engine.pool_tokens % 64;
                engine.model_len = 100_000;
            }
            for (index, session) in case.sessions.iter_mut().enumerate() {
                // Who comes later is more important, so that the one who runs first yields.
                session.priority = -(index as i32) / 2;
                session.gap %= 8;
                session.path.clear();
                session.turns[0].new_tokens = 60 + session.turns[0].new_tokens % 60;
            }
        }
        case
    })
}

fn any_case(size: Size) -> impl Strategy<Value = Case> {
    let world = (
        0..4_u64,
        routing(),
        any::<bool>(),
        prop::bool::weighted(0.25),
        (prop_oneof![3 => Just(None), 1 => (1..=1000_u64).prop_map(Some)], any::<bool>()),
        vec((prop_oneof![1..=30_u32, 1..=1_000_000_u32], prop_oneof![Just(0_u32), 0..=20_u32]), LINKS),
        prop::array::uniform3(prop::array::uniform2(1..=30_u32)),
        (of(pools()), places(size)),
    );
    let engines = prop_oneof![
        5 => vec(engine(size), 1),
        3 => vec(engine(size), 2),
        1 => vec(engine(size), 3..=4),
    ];
    let sessions = vec(session(size), size.least_sessions..=size.sessions);
    (world, engines, sessions).prop_map(|(world, engines, sessions)| Case {
        seed: world.0,
        routing: world.1,
        high_detail: world.2,
        clockwork: world.3,
        horizon: world.4.0,
        short_intervals: world.4.1,
        links: world.5,
        segment_tokens: world.6,
        pools: world.7.0,
        engines,
        places: world.7.1,
        sessions,
    })
}
