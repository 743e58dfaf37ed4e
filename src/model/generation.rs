//! Choosing tokens, and knowing when to stop.

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// system, user, assistant, tool.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// How to choose tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    /// Nucleus; 1 is all.
    pub top_p: f64,
    /// Of the random numbers.
    pub seed: u64,
    /// Generation ends before any of these.
    pub stop: Vec<String>,
    /// Ends generation when the output begins to loop.
    pub repetition_guard: bool,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// End token or stop string.
    Stop,
    /// Token limit, or the context is full.
    Length,
    /// The output began to loop.
    Repetition,
    /// The sink asked for it.
    Cancelled,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}
