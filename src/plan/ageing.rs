//! Ageing: near the end of the model's window, old texts get smaller budgets, in two steps.
//!
//! Each step changes what was sent before, and so breaks the upstream's cached prefix once. Between the steps, nothing
//! changes.

use epitome_compactor::Budget;

use crate::wire::conversation::Conversation;

/// Bytes of a body's text that make about a token.
const BYTES: usize = 4;

/// How far the texts of a conversation have aged.
#[derive(Clone, Debug)]
pub(super) struct Ageing {
    window: usize,
    /// About how many tokens stand before each message.
    before: Vec<usize>,
    /// 0, 1 from half of the window on, 2 from three quarters on.
    step: u8,
}

impl Ageing {
    /// The ageing in a window of so many tokens; 0: nothing ages.
    pub(super) fn of(conversation: &Conversation<'_>, window: usize) -> Self {
        let mut all = 0;
        let mut before = Vec::with_capacity(conversation.messages.len());
        for message in &conversation.messages {
            before.push(all);
            let bytes: usize = message.texts.iter().map(|text| text.literal.max_len()).sum();
            let calls: usize = message.calls.iter().map(|call| call.arguments.len()).sum();
            all += (bytes + calls) / BYTES;
        }
        let step = match window {
            0 => 0,
            window if all.saturating_mul(4) >= window.saturating_mul(3) => 2,
            window if all.saturating_mul(2) >= window => 1,
            _ => 0,
        };
        Self { window, before, step }
    }

    /// How many steps were taken.
    pub(super) fn step(&self) -> u8 {
        self.step
    }

    /// The budget for a text of message `at`: halved with each step for what stands in the first quarter of the window,
    /// and with the second one for what stands in the next quarter.
    pub(super) fn budget(&self, at: usize, budget: Budget) -> Budget {
        let place = self.before.get(at).copied().unwrap_or_default();
        let halvings = match self.step {
            0 => 0,
            step if place.saturating_mul(4) < self.window => u32::from(step),
            2 if place.saturating_mul(2) < self.window => 1,
            _ => 0,
        };
        match budget {
            Budget::Share(share) => Budget::Share(share / f64::from(1 << halvings)),
            Budget::Tokens(tokens) => Budget::Tokens((tokens >> halvings).max(1)),
            Budget::Floor(_) => budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::Dialect;

    #[test]
    fn old_texts_age_in_two_steps() {
        // 100 tokens a message, in a window of 1,000.
        let budgets = |count: usize, window: usize| {
            let messages: Vec<_> = (0..count)
                .map(|_| serde_json::json!({ "role": "user", "content": "a".repeat(400) }))
                .collect();
            let body = serde_json::json!({ "messages": messages }).to_string();
            let ageing = Ageing::of(&Dialect::Chat.read(body.as_bytes()).unwrap(), window);
            let share = |at: usize| match ageing.budget(at, Budget::Share(0.5)) {
                Budget::Share(share) => (share * 1000.0) as u32,
                _ => 0,
            };
            (ageing.step(), (0..count).map(share).collect::<Vec<_>>())
        };
        assert_eq!(budgets(4, 1000), (0, vec![500; 4]));
        assert_eq!(budgets(5, 1000), (1, vec![250, 250, 250, 500, 500]));
        assert_eq!(budgets(7, 1000), (1, [vec![250; 3], vec![500; 4]].concat()));
        assert_eq!(budgets(8, 1000), (2, [vec![125; 3], vec![250; 2], vec![500; 3]].concat()));
        assert_eq!(budgets(20, 1000).1[..8], budgets(8, 1000).1);
        assert_eq!(budgets(20, 0), (0, vec![500; 20]));
    }
}
