//! What requests of a profile are beside plain prompts and answers, as the configuration describes it.

use super::law::Distribution;

/// All of it; the default is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// Spearman's rank correlation of prompt and answer lengths, by a Gaussian copula; `None`: drawn apart.
    pub length_correlation: Option<f64>,
    /// What the model thinks before it answers.
    pub reasoning: Option<Reasoning>,
    /// Turns that a tool asks for rather than the user.
    pub tool_calls: Option<ToolCalls>,
    /// Requests that a turn starts side by side.
    pub sub_agents: Option<SubAgents>,
    /// Images in prompts.
    pub images: Option<Images>,
}

/// Reasoning: a part of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reasoning {
    /// Tokens of it, beside those of the answer proper.
    pub tokens: Distribution,
    /// The next prompt of the conversation holds it too; else it holds the answer proper alone.
    pub is_kept: bool,
}

/// A tool's turn: so long after the answer that called it, with so much new text.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCalls {
    /// Probability that a further turn is a tool's.
    pub probability: f64,
    /// Seconds that the tool takes.
    pub time_s: Distribution,
    /// Tokens that it gives back.
    pub result_tokens: Distribution,
}

/// Requests that an answer starts all at once; the session's next turn waits for all of them and holds their answers.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAgents {
    /// Probability that an answer after which the session goes on starts any.
    pub probability: f64,
    /// How many.
    pub count: Distribution,
    /// Tokens a prompt.
    pub prompt_tokens: Distribution,
    /// Tokens an answer.
    pub output_tokens: Distribution,
}

/// Images as the tokens that they become in the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// How many a turn has; 0 is possible.
    pub count: Distribution,
    /// Tokens of each.
    pub tokens_each: u32,
    /// Tokens of each in the vision encoder; 0: its work is left out.
    pub encoder_tokens_each: u32,
}
